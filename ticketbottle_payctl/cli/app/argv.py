"""What arrives from the shell is text, or goes no further.

POSIX gives bytes. Those that are not UTF-8 Python carries along as lone surrogates, which nothing behind this takes:
no database, no broker, no JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ticketbottle_payctl.errors import InputError

_OURS = (
    *("PAYCTL_", "DATABASE_URL", "KAFKA_", "OUTBOX_", "ZALOPAY_", "PAYOS_", "VNPAY_", "MOMO_"),
    *("ENVIRONMENT", "LOG_LEVEL"),
)


def require_utf8(arguments: Iterable[str], environ: Mapping[str, str]) -> None:
    """Return where every argument and every variable that payctl reads is UTF-8.

    Raises:
        InputError: one is not. A variable is named, its value never quoted.
    """
    for argument in arguments:
        if not _is_text(argument):
            message = f"the argument {argument} is not UTF-8"
            raise InputError(message, hint="write it in UTF-8, or rename the file")
    for name, value in environ.items():
        if name.startswith(_OURS) and not _is_text(value):
            message = f"{name} is not UTF-8"
            raise InputError(message, hint=f"export {name} in UTF-8")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
