"""The built-in callbacks that ``payctl verify-signature --example`` tries, as they are or changed after signing."""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.cli.input.callback_source import Source
from ticketbottle_payctl.cli.input.missing_keys import CredentialsFor
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.samples import sample, tamper


def choose(name: str | None, field: str | None, source: Source) -> tuple[Request, CredentialsFor, str]:
    """The callback to check, the keys to check it with, and what to say about it.

    Raises:
        InputError: there is another callback too, or nothing to change, or no such field.
        NotFoundError: there is no example of that name.
    """
    if name is None:
        message = "--tamper changes a built-in example and needs --example"
        raise InputError(message, hint="payctl verify-signature --example zalopay --tamper amount")
    if any((source.file, source.query, source.event, source.path)):
        message = "--example brings its own callback and path: give no other"
        raise InputError(message)
    original = sample(name)
    keys: Mapping[str, Credentials] = {original.gateway: original.credentials}
    changed = tamper(original, field) if field is not None else None
    return (
        changed.request if changed else original.request,
        lambda gateway: keys.get(gateway.name, {}),
        changed.sentence if changed else original.about,
    )
