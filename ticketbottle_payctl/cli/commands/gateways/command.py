"""Implement ``payctl gateways``, which lists the gateways and registers the webhook's URL with PayOS."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from ticketbottle_payctl import providers, redaction
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.gateways.keys import keys_of, only_for_functions, state_of
from ticketbottle_payctl.cli.commands.gateways.result import listed, planned, registered
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.output.result import Fields
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.jobs.reconcile.address import gateway_address
from ticketbottle_payctl.jobs.register_webhook import register_webhook
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.queries import payos
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.fingerprint import fingerprint

_TIMEOUT = timedelta(seconds=30)
_ELSEWHERE = {
    "zalopay": "give ZaloPay the URL as callback_url of each order, or in its merchant portal",
    "vnpay": "give the URL to VNPay's merchant support, as the IPN URL of the terminal",
    "momo": "give MoMo the URL as ipnUrl of each payment",
}

Gateway = Annotated[str, typer.Argument(metavar="GATEWAY", help="The gateway: payos.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="The webhook's URL, such as https://HOST/webhook/payos.")]
Timeout = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="30s", help="Time limit for PayOS's response [default: 30s]."),
]


def list_command(ctx: typer.Context) -> None:
    """Show which gateways are configured, and with which keys.

    A key is shown by its length and its fingerprint, the first eight hex digits of its SHA-256. Two people can compare
    fingerprints without showing the key: `printf %s "$KEY" | sha256sum` prints the same digits.
    """
    session = Session.of(ctx)
    environ = session.settings.environ
    gateways = providers.GATEWAYS.values()
    items = [item for gateway in gateways for item in keys_of(gateway, environ)]
    states = {gateway.name: state_of(gateway, environ) for gateway in gateways}
    notes = [
        f"only the functions read {', '.join(names)}; the command line ignores them"
        for gateway in gateways
        if (names := only_for_functions(gateway, environ))
    ]
    session.finish(listed(items, states, notes))


def register_webhook_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    gateway: Gateway,
    url: Url,
    *,
    timeout: Timeout = None,
    dry_run: change_options.DryRun = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Register the webhook's URL with PayOS.

    PayOS immediately calls the URL with a signed test callback, and registers it only if it gets a 2xx reply within ten
    seconds. Therefore deploy the webhook with PayOS's checksum key first. From then on, PayOS reports new payments to
    this URL and not to the previous one.
    """
    session = Session.of(ctx)
    _refuse_other_gateway(gateway)
    shown = _checked(url)
    credentials = _credentials(session)
    base = gateway_address(session.services.environ, payos.QUERY, production=session.settings.is_production) or ""
    plan = Fields(
        (
            ("profile", session.profile.name or "none"),
            ("gateway", "payos"),
            ("address", shown),
            ("entered at", base),
            *((f"with {name}", f"fingerprint {digits}") for name, digits in _fingerprints(credentials)),
            ("then", "PayOS tests the URL, and then stops calling the previous URL"),
        )
    )
    if dry_run:
        session.finish(planned(shown, plan))
    act = Act("register", 1, "webhook address", [plan], "PayOS calls the URL immediately")
    approve(session, act, Approval(yes=yes, reason=reason, confirm=confirm))

    from ticketbottle_payctl.payos_sdk import PayosAccount, confirm_webhook  # noqa: PLC0415 - pydantic, only here

    account = PayosAccount(base, credentials)
    done = register_webhook(url, lambda address: confirm_webhook(account, address, timeout or _TIMEOUT))
    session.finish(registered(shown, done))


def _refuse_other_gateway(name: str) -> None:
    known = providers.by_name(name).name
    if known != payos.NAME:
        message = f"{gateway_name(known)} has no API to register a webhook URL"
        raise InputError(message, hint=_ELSEWHERE[known])


def _checked(url: str) -> str:
    """Return the URL for display. The part after the gateway's name is hidden, because it may be a secret.

    Raises:
        InputError: the value is not an https URL, or is the URL of a different gateway's webhook. The message does not
            quote the value.
    """
    parts = checked_url(url) if url.casefold().startswith("https://") else None
    if parts is None or parts.fragment:
        message = "the URL has a fragment" if parts else "the value is not an https URL"
        raise InputError(message, hint="give a URL such as https://HOST/webhook/payos")
    segments = parts.path.split("/")
    for place, segment in enumerate(segments):
        named = next((one.name for one in providers.GATEWAYS.values() if segment.casefold() in one.spellings), None)
        if named == payos.NAME:
            secrets = list(filter(None, segments[place + 1 :]))
            for secret in (*secrets, parts.query):
                redaction.register(Secret(secret))  # PayOS's reply may quote the URL
            path = "/".join([*segments[: place + 1], *("***" for _ in secrets)])
            return f"https://{parts.netloc}{path}{'?***' if parts.query else ''}"
        if named is not None:
            message = f"this URL receives the callbacks of {gateway_name(named)}, but PayOS would call it"
            raise InputError(message, hint="give a URL such as https://HOST/webhook/payos")
    return f"https://{parts.netloc}{parts.path}{'?***' if parts.query else ''}"


def _credentials(session: Session) -> Credentials:
    gateway = providers.by_name(payos.NAME)
    found = session.services.credentials(gateway)
    absent = [field.env for field in gateway.fields if not any(found.get(field.name, ()))]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        message = f"payctl cannot ask PayOS: {', '.join(absent)} {verb} not set"
        raise ConfigError(
            message, hint="set them in the environment or in a profile; `payctl gateways list` shows them"
        )
    return found


def _fingerprints(credentials: Credentials) -> list[tuple[str, str]]:
    gateway = providers.by_name(payos.NAME)
    return [(field.env, fingerprint(credentials[field.name][0])) for field in gateway.fields]
