"""Check brokers of Amazon MSK against the login.

https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html lists the ports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BROKER = re.compile(
    r"\.kafka(?P<serverless>-serverless)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?:(?P<port>\d+)$"
)
"""A pattern that matches a broker of Amazon MSK, as ``host:port``."""

_SERVERLESS_LOGIN = "aws-iam"
_PORTS = {
    "no login and no TLS": (9092, None, 20092),
    "TLS without a login": (9094, 9194, 20094),
    "scram-sha-512": (9096, 9196, 20096),
    "aws-iam": (9098, 9198, 20098),
}
"""For each kind of connection, the port, the port for public access, and the port for IPv6."""

_FIRST_FOR_OTHER_VPCS = 14001
"""The first of the ports that MSK chooses for clients in other VPCs. These ports say nothing about the login."""

_KNOWN = {port for ports in _PORTS.values() for port in ports}


class Names(NamedTuple):
    """The settings' names in a message.

    A message shows ``without`` instead of the login if no login is set. ``ports`` names every setting that contains the
    port.
    """

    brokers: str
    login: str
    encryption: str
    without: str
    ports: str


VARIABLES = Names("KAFKA_BROKERS", "KAFKA_SASL_MECHANISM", "KAFKA_SSL", "not set", "KAFKA_BROKERS")


def contradictions(brokers: str, login: str | None, *, encrypted: bool, names: Names = VARIABLES) -> Iterator[str]:
    """Yield a sentence for each port and login that Amazon MSK does not have. Ignore all other brokers."""
    found = [each for broker in brokers.split(",") if (each := BROKER.search(broker))]
    if not found:
        return
    if any(each["serverless"] for each in found) and login != _SERVERLESS_LOGIN:
        yield f"{names.login} is {login or names.without}, but MSK Serverless accepts only {_SERVERLESS_LOGIN}"
    elif login in {"plain", "scram-sha-256"}:
        accepted = "aws-iam, scram-sha-512 and connections without a login"
        yield f"{names.login} is {login}, but Amazon MSK accepts only {accepted}"
    elif login == "scram-sha-512" and not encrypted:
        only = f"Amazon MSK accepts {login} only with TLS"
        yield f"{names.encryption} is false, but {only}: set {names.encryption}=true"
    else:
        connection = login or ("TLS without a login" if encrypted else "no login and no TLS")
        private, public, _ = ports = _PORTS[connection]
        right = f"{private}, or {public} for public access" if public else f"{private}"
        for port in sorted({int(each["port"]) for each in found}):
            if port not in ports and (port in _KNOWN or port < _FIRST_FOR_OTHER_VPCS):
                fault = f"{names.brokers} has port {port}, but for {connection} Amazon MSK uses port {right}"
                yield f"{fault}: change {names.ports}"
