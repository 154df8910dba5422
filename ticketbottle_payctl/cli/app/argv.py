"""Refuse arguments and settings that are not UTF-8.

The operating system passes arguments as bytes. Python decodes bytes that are not UTF-8 as lone surrogates, which no
database, broker or JSON document accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import PROVIDERS

ARGUMENTS = "payctl.arguments"
"""The key under which a context's ``meta`` holds the arguments as the user typed them."""

_OURS = (
    *("PAYCTL_", "DATABASE_URL", "KAFKA_", "OUTBOX_", "ENVIRONMENT", "LOG_LEVEL"),
    *(f"{gateway.upper()}_" for gateway in PROVIDERS),
)


def require_utf8(arguments: Iterable[str], environ: Mapping[str, str]) -> None:
    """Raise an error if an argument, or a variable that payctl reads, is not UTF-8.

    Raises:
        InputError: an argument or a value is not UTF-8. The message contains the variable's name but not its value.
    """
    for argument in arguments:
        if not _is_text(argument):
            message = f"the argument {argument} is not UTF-8"
            raise InputError(message, hint="use a UTF-8 terminal; if the argument is a file name, rename the file")
    for name, value in environ.items():
        if name.startswith(_OURS) and not _is_text(value):
            message = f"{name} is not UTF-8"
            raise InputError(message, hint=f"set {name} to a value that is valid UTF-8")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
