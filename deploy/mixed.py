"""Find values that belong to another environment, account or function than the one that is deployed.

Most of these values are mistakes from copying a section or an ARN. Some are intended, so an option allows them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from deploy.configuration import Config, overrides, stacks

_WORDS = {
    "dev": {"dev", "develop", "development"},
    "staging": {"staging", "stage", "stg"},
    "prod": {"prod", "prd", "production"},
}
"""The words that name each environment, in lower case."""

_PRODUCTION = "prod"
_SHARED = ("KafkaClusterArn", "KmsKeyArn", "PreviousKmsKeyArn")
"""The parameters that can name a resource of another account, if that account allows it."""

_KAFKA = ("KafkaBrokers", "KafkaClusterArn")
_BY_NAME = ("KafkaBrokers", "DomainName")
_ACCOUNT, _RESOURCE = 4, 5
"""The positions of the account and of the resource in an ARN."""


def same_stack(known: Mapping[str, Config], section: str) -> list[str]:
    """Return a sentence for each other section that has the same stack name as this section."""
    names = stacks(known)
    return [
        f"stack_name is {stack} in the section {section} and in the section {other}: give each section its own stack,"
        " because a deployment of one section would replace the stack of the other"
        for other, stack in names.items()
        if other != section and stack == names.get(section)
    ]


def mixed_settings(known: Mapping[str, Config], section: str) -> list[str]:
    """Return a sentence if the stack name names another environment, and a sentence if the tags name one."""
    tags = known[section]["deploy"]["parameters"]["tags"]
    return list(_other_environment(section, {"stack_name": stacks(known)[section], "tags": " ".join(tags)}))


def mixed(known: Mapping[str, Config], section: str, values: Mapping[str, str]) -> list[str]:
    """Return a sentence for each value that probably belongs to another environment, account or function."""
    arns = _arns(values)
    return [
        *_other_environment(section, _names(values, arns)),
        *_secret_of_production(known, section, values),
        *_kafka_of_production(known, section, values),
        *_same_secret(values),
        *(_other_account(name, arns) for name in arns if name not in _SHARED and _is_foreign(name, arns)),
    ]


def shared(values: Mapping[str, str]) -> list[str]:
    """Return a sentence for each resource that another account has shared with this account.

    Such a resource needs only a warning.
    """
    arns = _arns(values)
    return [_other_account(name, arns) for name in arns if name in _SHARED and _is_foreign(name, arns)]


def account(values: Mapping[str, str]) -> str | None:
    """Return the account that most ARNs name. Ignore the ARNs of resources that accounts can share."""
    found = Counter(one for name, arn in _arns(values).items() if name not in _SHARED and (one := _account(arn)))
    return max(found, key=lambda one: found[one]) if found else None


def _names(values: Mapping[str, str], arns: Mapping[str, str]) -> dict[str, str]:
    """Return the part of each parameter that can contain an environment's name."""
    texts = {name: arn.split(":", _RESOURCE)[_RESOURCE].removeprefix("secret:") for name, arn in arns.items()}
    return texts | {name: values[name] for name in _BY_NAME if values.get(name)}


def _other_environment(section: str, texts: Mapping[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        words = set(re.findall("[a-z0-9]+", text.lower()))
        there = [other for other, spellings in _WORDS.items() if words & spellings]
        if there and section in _WORDS and section not in there:
            yield f"{name} names {' and '.join(there)} ({text}), but is in the section {section}"


def _secret_of_production(known: Mapping[str, Config], section: str, values: Mapping[str, str]) -> Iterator[str]:
    for other, one in known.items():
        if other != section and _PRODUCTION in {other, section}:
            theirs = overrides(one)
            for name in _secrets(values):
                if theirs.get(name) == values[name]:
                    yield f"{name} names the same secret in the sections {section} and {other}"


def _kafka_of_production(known: Mapping[str, Config], section: str, values: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each other section with the same brokers or cluster, if one of both is production."""
    for other, one in known.items():
        if other != section and _PRODUCTION in {other, section}:
            theirs = overrides(one)
            for name in _KAFKA:
                if common := _entries(values.get(name, "")) & _entries(theirs.get(name, "")):
                    same = ", ".join(sorted(common))
                    yield f"{name} names the same cluster in the sections {section} and {other} ({same})"


def _entries(value: str) -> set[str]:
    """Return the entries of a list without their ports, because a cluster has a port for each login."""
    return {re.sub(r":\d+$", "", each.strip().lower()) for each in value.split(",")} - {""}


def _same_secret(values: Mapping[str, str]) -> Iterator[str]:
    names = _secrets(values)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if values[first] == values[second]:
                yield f"{first} and {second} name the same secret, but each function needs its own"


def _secrets(values: Mapping[str, str]) -> list[str]:
    return [name for name in values if name.endswith("SecretArn") and not name.startswith("Previous") and values[name]]


def _arns(values: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in values.items()
        if name.endswith("Arn") and value.startswith("arn:") and value.count(":") >= _RESOURCE
    }


def _account(arn: str) -> str | None:
    found = arn.split(":")[_ACCOUNT]
    return found if found.isdigit() else None


def _is_foreign(name: str, arns: Mapping[str, str]) -> bool:
    return _account(arns[name]) not in {None, account(arns)}


def _other_account(name: str, arns: Mapping[str, str]) -> str:
    return f"{name} names account {_account(arns[name])}, but the other ARNs name account {account(arns)}"
