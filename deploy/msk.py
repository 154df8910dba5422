"""Check brokers of Amazon MSK against the login, the cluster's ARN and the stack's region."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from deploy.configuration import is_example
from ticketbottle_payctl.settings.msk import BROKER, Names
from ticketbottle_payctl.settings.msk import contradictions as contradictions_of

_PARAMETERS = Names("KafkaBrokers", "KafkaAuth", "KafkaSsl", "none", "KafkaBrokers and KafkaPort")
_NAME_IN_HOST = re.compile(r"b-\d+(?:-public)?\.(?P<name>[A-Za-z0-9-]+)\.[a-z0-9]+\.c\d+\.kafka\.")
_NAME_IN_ARN = re.compile(r":cluster/(?P<name>[^/]+)/")
_SHORTENED = 18
"""MSK shortens long cluster names in host names. A cluster name that is shorter than this is complete."""


def contradictions(parameters: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence if Amazon MSK does not accept the login or a port. Ignore brokers of other clusters."""
    login, encrypted = parameters["KafkaAuth"], parameters["KafkaSsl"] == "true"
    given = None if login == _PARAMETERS.without else login
    yield from contradictions_of(parameters["KafkaBrokers"], given, encrypted=encrypted, names=_PARAMETERS)


def other_regions(parameters: Mapping[str, str], region: str) -> Iterator[str]:
    """Yield a sentence for each region that contains a broker but is not the stack's region."""
    found = {each["region"] for broker in parameters["KafkaBrokers"].split(",") if (each := BROKER.search(broker))}
    for there in sorted(found - {region}):
        yield f"KafkaBrokers names region {there}, but the stack is in {region}"


def other_clusters(parameters: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each cluster that contains a broker but is not the cluster of ``KafkaClusterArn``."""
    arn = parameters["KafkaClusterArn"]
    named = _NAME_IN_ARN.search(arn)
    if named is None or is_example(arn):
        return
    hosts = [each for each in parameters["KafkaBrokers"].split(",") if BROKER.search(each) and not is_example(each)]
    found = {each["name"] for host in hosts if (each := _NAME_IN_HOST.match(host))}
    for there in sorted(found):
        if not _is_same(there.lower(), named["name"].lower()):
            yield f"KafkaBrokers names cluster {there}, but KafkaClusterArn names cluster {named['name']}"


def _is_same(in_host: str, in_arn: str) -> bool:
    """Return whether a host can belong to the cluster of an ARN."""
    return in_host == in_arn or (len(in_host) >= _SHORTENED and in_arn.startswith(in_host))
