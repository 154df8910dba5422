"""Check that the stacks of two sections cannot reach each other, and that a deployment has its own bucket."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.configuration import Config, is_example, overrides, stacks
from deploy.mixed import account


def overlapping_names(known: Mapping[str, Config], section: str) -> list[str]:
    """Return a sentence for each other stack of the account whose name begins with this stack's name, or vice versa.

    The deployment role of a stack can change everything whose name begins with the stack's name and a hyphen.
    """
    names, here = stacks(known), _account(known[section])
    found = []
    for other, name in names.items():
        shorter, longer = sorted((name, names[section]), key=len)
        apart = {here, _account(known[other])} - {None}
        if longer.startswith(f"{shorter}-") and len(apart) < 2:  # noqa: PLR2004 - two accounts
            where = f"in the sections {section} and {other}"
            reason = f"the deployment role of {shorter} could change {longer}"
            found.append(f"stack_name is {names[section]} and {name} {where}: rename one of them, because {reason}")
    return found


def shared_bucket(known: Mapping[str, Config], section: str) -> list[str]:
    """Return a sentence for each other section that has the same bucket as this section.

    A shared bucket needs only a warning.
    """
    bucket = _settings(known[section]).get("s3_bucket")
    if not isinstance(bucket, str) or is_example(bucket):
        return []
    others = [name for name, one in known.items() if name != section and _settings(one).get("s3_bucket") == bucket]
    reason = "the deployment role of one stack could replace the builds of the other"
    return [f"s3_bucket is {bucket} in the sections {section} and {name}, so {reason}" for name in others]


def no_bucket(config: Config, section: str) -> list[str]:
    """Return a sentence if the section lets the SAM CLI create a bucket, or does not name a bucket."""
    place = f"[{section}.deploy.parameters]"
    if _settings(config).get("resolve_s3"):
        reason = "the SAM CLI would create a bucket, which the deployment role does not allow"
        return [f"resolve_s3 is set in the section {section}: set s3_bucket in {place} instead, because {reason}"]
    if not _settings(config).get("s3_bucket"):
        return [f"s3_bucket is missing in {place}: the SAM CLI uploads the build to this bucket"]
    return []


def _settings(config: Config) -> Mapping[str, object]:
    tables = [table for table in (config.get("global"), config.get("deploy")) if isinstance(table, dict)]
    parts = [part for table in tables if isinstance(part := table.get("parameters"), dict)]
    return {name: value for part in parts for name, value in part.items()}


def _account(config: Config) -> str | None:
    return account({name: value for name, value in overrides(config).items() if not is_example(value)})
