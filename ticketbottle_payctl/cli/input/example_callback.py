"""Choose the built-in callback for ``payctl verify-signature --example``, and change a field for ``--tamper``."""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.cli.input.callback_source import Source
from ticketbottle_payctl.cli.input.missing_keys import CredentialsFor
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.samples import sample, tamper


def choose(name: str | None, field: str | None, source: Source) -> tuple[Request, CredentialsFor, str]:
    """Return the callback to check, its keys, and a sentence about the callback.

    Raises:
        InputError: both an example and another callback were given, ``--tamper`` was given without an example, or the
            field does not exist.
        NotFoundError: no example has this name.
    """
    if name is None:
        message = "--tamper needs --example: it changes a built-in callback"
        raise InputError(message, hint="payctl verify-signature --example zalopay --tamper amount")
    if any((source.file, source.query, source.event, source.path)):
        message = "--example cannot be combined with FILE, --query, --event or --path"
        raise InputError(message)
    original = sample(name)
    keys: Mapping[str, Credentials] = {original.gateway: original.credentials}
    changed = tamper(original, field) if field is not None else None
    return (
        changed.request if changed else original.request,
        lambda gateway: keys.get(gateway.name, {}),
        changed.sentence if changed else original.about,
    )
