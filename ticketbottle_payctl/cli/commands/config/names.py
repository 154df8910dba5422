"""List the names that payctl reads from the environment or a profile, and find names that payctl does not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.profile.profiles import Profile
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.settings import Settings

DEFAULTED: dict[str, Callable[[Settings], object]] = {
    "ENVIRONMENT": lambda settings: settings.environment,
    "LOG_LEVEL": lambda settings: settings.log_level,
    "OUTBOX_BATCH_SIZE": lambda settings: settings.batch_size,
    "OUTBOX_MAX_RETRIES": lambda settings: settings.max_retries,
    "OUTBOX_RETENTION_DAYS": lambda settings: settings.retention.days,
    "PAYCTL_SHARDS": lambda settings: settings.shards,
    "PAYCTL_LOOP_SECONDS": lambda settings: round(settings.loop.total_seconds()),
    "PAYCTL_RECONCILE_MAX_PAYMENTS": lambda settings: settings.reconcile_cap,
}
"""The settings with a default. Each function returns the setting's value in the format that the variable uses."""

PLAIN = (
    *("KAFKA_BROKERS", "KAFKA_SSL", "KAFKA_SASL_MECHANISM", "KAFKA_CA_FILE", "KAFKA_CLIENT_ID", "PAYCTL_DB_POOL"),
    *("PGSSLMODE", "PGSSLROOTCERT"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "PAYCTL_ACTOR", "PAYCTL_TRACES"),
    *("PAYCTL_ALERTS_TOPIC_ARN", "PAYCTL_DEAD_EVENTS_QUEUE_URL"),
)
ASKED_AT = tuple(query.url_variable for query in QUERIES.values())
KEYS = tuple(field.env for gateway in providers.GATEWAYS.values() for field in gateway.fields)
HIDDEN = ("KAFKA_USERNAME", "KAFKA_PASSWORD", *KEYS)

SECRET_ARN, PREVIOUS = "_SECRET_ARN", "_PREVIOUS"
_ROTATED = tuple(f"{name}{PREVIOUS}" for name in KEYS)
ARNS = tuple(f"{name}{SECRET_ARN}" for name in ("DATABASE_URL", *HIDDEN))
ONLY_WHERE_SET = (*_ROTATED, *ARNS)
"""The variables for previous keys and for secrets' ARNs. They are shown only if they are set."""

_OF_A_PROFILE = frozenset({"DATABASE_URL", *DEFAULTED, *PLAIN, *ASKED_AT, *HIDDEN, *ONLY_WHERE_SET})
_OF_THE_ENVIRONMENT = _OF_A_PROFILE | {"PAYCTL_OUTPUT", "PAYCTL_PROFILE", "PAYCTL_CONFIG", "PAYCTL_KAFKA_HOME"}
_SURELY_MEANT = 0.9


def unknown(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield the names that no part of payctl reads, each with a message.

    Every unknown name in the profile is reported. Other programs use the environment too, so a name in the environment
    is reported only if it starts with ``PAYCTL_`` and is similar to a name that payctl reads.
    """
    for name in sorted({*profile.origins, *profile.hidden} - _OF_A_PROFILE):
        if name.isupper():
            near = get_close_matches(name, _OF_A_PROFILE, n=1)
            yield name, f"is not a setting{f'; did you mean {near[0]}?' if near else ', and payctl does not read it'}"
    for name in sorted(set(profile.environ) - set(profile.origins) - _OF_THE_ENVIRONMENT):
        near = get_close_matches(name, _OF_THE_ENVIRONMENT, n=1, cutoff=_SURELY_MEANT)
        if name.startswith("PAYCTL_") and near:
            yield name, f"is not a setting; did you mean {near[0]}?"
