"""Read a merchant's keys from a small file or stdin, so that they need not be given as arguments.

The file has ``NAME=value`` lines. NAME is the environment variable (``ZALOPAY_KEY2``) or the gateway's name for the key
(``key2``). Alternatively, the file contains only the key that signs the gateway's callbacks.
"""

from __future__ import annotations

from ticketbottle_payctl import redaction
from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.secret import Secret

_LARGEST = 65_536


def read_keys(name: str, gateway: Gateway) -> Credentials:
    """Return the values in the file that belong to ``gateway``. Other values are ignored. ``-`` means stdin.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has no value for this gateway.
    """
    try:
        text = read_bounded(name, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = "the key file is not UTF-8"
        raise InputError(message) from error
    found = _parse(text, gateway)
    if not found:
        wanted = ", ".join(field.env for field in gateway.fields if field.signs_callbacks)
        message = f"the key file has no value for {gateway_name(gateway.name)}"
        raise InputError(message, hint=f"write NAME=value lines for {wanted}, or write only the key")
    for values in found.values():
        for value in values:
            redaction.register(value)
    return found


def _parse(text: str, gateway: Gateway) -> Credentials:
    lines = [line for line in (raw.strip() for raw in text.splitlines()) if line and not line.startswith("#")]
    names = {spelling.casefold(): field.name for field in gateway.fields for spelling in (field.env, field.name)}
    pairs = [line.removeprefix("export ").partition("=") for line in lines]
    named = {names.get(key.strip().casefold()): _unquoted(value) for key, _, value in pairs}
    found = {key: value for key, value in named.items() if key and value}
    if not found and len(lines) == 1 and "_" not in lines[0].partition("=")[0]:
        found = {signing_field(gateway): _unquoted(lines[0])}
    variables = {field.name: field.env for field in gateway.fields}
    return {key: (Secret(value, f"{variables[key]} of the key file"),) for key, value in found.items()}


def signing_field(gateway: Gateway) -> str:
    """Return the field that a key without a name belongs to: the last field whose key signs callbacks."""
    return [field.name for field in gateway.fields if field.signs_callbacks][-1]


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
