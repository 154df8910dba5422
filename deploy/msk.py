"""Check brokers of Amazon MSK against the login and the stack's region.

https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html lists the ports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_HOST = re.compile(r"\.kafka(?P<serverless>-serverless)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?:(?P<port>\d+)$")
_SERVERLESS_LOGIN = "aws-iam"
_PORTS = {
    "no login and no TLS": (9092, None, 20092),
    "TLS without a login": (9094, 9194, 20094),
    "scram-sha-512": (9096, 9196, 20096),
    "aws-iam": (9098, 9198, 20098),
}
"""The port of each connection, its port for public access, and its port for IPv6."""

_FIRST_FOR_OTHER_VPCS = 14001
"""MSK chooses the ports for clients in other VPCs from this one on. Their numbers say nothing about the login."""

_KNOWN = {port for ports in _PORTS.values() for port in ports}


def contradictions(parameters: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each port and login that Amazon MSK does not have. Ignore all other brokers."""
    found = [each for broker in parameters["KafkaBrokers"].split(",") if (each := _HOST.search(broker))]
    if not found:
        return
    login, encrypted = parameters["KafkaAuth"], parameters["KafkaSsl"] == "true"
    if any(each["serverless"] for each in found) and login != _SERVERLESS_LOGIN:
        yield f"KafkaAuth is {login}, but MSK Serverless accepts only {_SERVERLESS_LOGIN}"
    elif login in {"plain", "scram-sha-256"}:
        yield f"KafkaAuth is {login}, but Amazon MSK accepts only aws-iam, scram-sha-512 and none"
    elif login == "scram-sha-512" and not encrypted:
        yield f"KafkaSsl is false, but Amazon MSK accepts {login} only with TLS: set KafkaSsl=true"
    else:
        connection = login if login != "none" else "TLS without a login" if encrypted else "no login and no TLS"
        private, public, _ = ports = _PORTS[connection]
        right = f"{private}, or {public} for public access" if public else f"{private}"
        for port in sorted({int(each["port"]) for each in found}):
            if port not in ports and (port in _KNOWN or port < _FIRST_FOR_OTHER_VPCS):
                yield f"KafkaBrokers has port {port}, but for {connection} Amazon MSK uses port {right}"


def other_regions(parameters: Mapping[str, str], region: str) -> Iterator[str]:
    """Yield a sentence for each region of the brokers that is not the stack's region."""
    found = {each["region"] for broker in parameters["KafkaBrokers"].split(",") if (each := _HOST.search(broker))}
    for there in sorted(found - {region}):
        yield f"KafkaBrokers names region {there}, but the stack is in {region}"
