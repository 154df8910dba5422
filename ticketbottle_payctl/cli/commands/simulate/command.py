"""Implement ``payctl simulate``, which creates a signed callback for testing the payment service and payctl."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.simulate.result import (
    SCHEMA,
    Delivery,
    facts_of,
    of_reply,
    of_report,
    result_of,
    text_of,
)
from ticketbottle_payctl.cli.input import change_options, selector_options
from ticketbottle_payctl.cli.input.callback_url import callback_url
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.missing_keys import missing_keys
from ticketbottle_payctl.cli.output.result import Raw, Result
from ticketbottle_payctl.cli.safety.confirm import permit
from ticketbottle_payctl.cli.safety.not_in_production import refuse_in_production
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.jobs.find_order import find_order
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.providers.queries.exchange import HttpRequest
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, scenarios, with_wrong_keys
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

DUPLICATE = "duplicate"
_PATIENCE = timedelta(seconds=15)
_MADE_UP = {
    "zalopay": "261123_TB-TEST-20261123-SIMULATE",
    "payos": "0123456789abcdef0123456789abcdef",
    "vnpay": "TB-TEST-20261123-SIMULATE",
    "momo": "TB-TEST-20261123-SIMULATE",
}
"""The reference of each gateway's made-up payment."""

SCENARIOS = tuple(sorted({each.value.replace("_", "-") for each in Scenario} | {DUPLICATE}))


class Destination(StrEnum):
    """Where the callback goes, unless --url is given."""

    STDOUT = "stdout"
    PROCESS_WEBHOOK = "process-webhook"


def _scenario(text: str) -> str:
    text = text.replace("_", "-")
    if text not in SCENARIOS:
        message = f"{text!r} is not one of {', '.join(SCENARIOS)}"
        raise typer.BadParameter(message)
    return text


def _change(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not (path and equals):
        message = f"{text!r} is not PATH=VALUE; write, for example, data.amount=1"
        raise typer.BadParameter(message)
    return path, value


Provider = Annotated[
    str,
    typer.Argument(
        metavar="PROVIDER", callback=selector_options.provider, help=f"One of {', '.join(providers.GATEWAYS)}."
    ),
]
ScenarioName = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", callback=_scenario, help=f"One of {', '.join(SCENARIOS)}."),
]
OrderCode = Annotated[str | None, typer.Option(metavar="CODE", help="Use the payment of this order from the database.")]
Amount = Annotated[
    int | None,
    typer.Option(metavar="VND", min=1, help="The amount paid [default: the order's, else 250000]."),
]
Reference = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The payment's reference, in the gateway's format."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a value before signing; repeatable."),
]
To = Annotated[Destination, typer.Option("--to", help="Print the callback, or process it.")]
Url = Annotated[str | None, typer.Option(metavar="URL", help="Send the callback to this URL, and show the reply.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Allow --url to name another machine.")]
Timeout = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="15s", help="Time limit for the reply [default: 15s].")
]


def simulate_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    provider: Provider,
    scenario: ScenarioName,
    *,
    order_code: OrderCode = None,
    amount: Amount = None,
    reference: Reference = None,
    changes: Changes = None,
    to: To = Destination.STDOUT,
    url: Url = None,
    allow_remote: AllowRemote = False,
    timeout: Timeout = None,
    dry_run: change_options.DryRun = False,
) -> None:
    """Create a signed callback, as the gateway would send it.

    The callback is signed with the configured keys. The scenario "duplicate" sends it twice. Not every gateway supports
    every scenario. All calls for an order are about the same transfer. To make a second transfer, change the number of
    the transfer with --set. The command is refused in protected profiles, and if ENVIRONMENT is production.
    """
    session = Session.of(ctx)
    gateway = providers.by_name(provider)
    refuse_in_production(session, "simulate")
    if url is None and (allow_remote or timeout is not None):
        message = "needs --url"
        raise typer.BadParameter(message, param_hint="--allow-remote" if allow_remote else "--timeout")
    if url is not None and to is not Destination.STDOUT:
        message = "--url cannot be combined with --to"
        raise InputError(message, hint="give one of them")
    keys = _keys(session, gateway)
    changed = [_change(each) for each in changes or ()]
    if order_code is not None or to is Destination.PROCESS_WEBHOOK:
        session.note_target()
    onward = ["--to", to.value] if to is Destination.PROCESS_WEBHOOK else []
    payment = _payment(session, gateway, scenario, order_code, amount, reference, onward)
    request = _request(payment, scenario, changed, keys)
    if dry_run or (url is None and to is Destination.STDOUT):
        facts = facts_of(gateway, scenario, request)
        session.finish(Result(SCHEMA, result=facts, human=[Raw(text_of(request))], dry_run=dry_run))
    times = 2 if scenario == DUPLICATE else 1
    permit(session, "simulate")
    if url is not None:
        sent = _send(
            gateway,
            request,
            callback_url(url, gateway, option="--url", allow_remote=allow_remote),
            timeout or _PATIENCE,
            times,
        )
    else:
        sent = _process(session, gateway, request, times)
    session.finish(result_of(gateway, scenario, request, sent))


def _keys(session: Session, gateway: Gateway) -> dict[str, str]:
    """Return the gateway's settings, by variable name.

    Raises:
        ConfigError: a signing key is not set, or ZALOPAY_APP_ID is not a number.
    """
    credentials = session.services.credentials(gateway)
    keys = {field.env: credentials[field.name][0].reveal() for field in gateway.fields if credentials[field.name]}
    if any(field.signs_callbacks and field.env not in keys for field in gateway.fields):
        raise missing_keys(gateway, credentials)
    if not keys.get("ZALOPAY_APP_ID", "0").isdecimal():
        message = "ZALOPAY_APP_ID is not a number"
        raise ConfigError(message)
    return keys


def _payment(  # noqa: PLR0913, PLR0917 - the options that describe the payment
    session: Session,
    gateway: Gateway,
    scenario: str,
    order_code: str | None,
    amount: int | None,
    reference: str | None,
    onward: Sequence[str],
) -> SandboxPayment:
    """Return the order's payment, or a made-up one if ``order_code`` is None.

    The arguments in ``onward`` are appended to any command that an error suggests.

    Raises:
        NotFoundError: no payment has this order code.
        InputError: the payment uses a different gateway.
    """
    if order_code is None:
        made = SandboxPayment("simulated", "TB-TEST-20261123-SIMULATE", 250_000, gateway.name, _MADE_UP[gateway.name])
        return replace(made, amount=amount or made.amount, reference=reference or made.reference)
    row = find_order(session.services.engine, order_code)
    if row.gateway != gateway.name:
        message = f"the order's gateway is {gateway_name(row.gateway)}, not {gateway_name(gateway.name)}"
        possible = scenario if scenario in _names(row.gateway) else Scenario.PAID.value
        command = ["payctl", "simulate", row.gateway, possible, "--order-code", order_code, *onward]
        raise InputError(message, hint=shlex.join(command))
    return SandboxPayment(row.id, row.order_code, amount or row.amount, gateway.name, reference or row.reference)


def _request(
    payment: SandboxPayment, scenario: str, changes: list[tuple[str, str]], keys: Mapping[str, str]
) -> Request:
    wanted = Scenario.PAID if scenario == DUPLICATE else Scenario(scenario.replace("-", "_"))
    if scenario not in _names(payment.provider):
        message = f"{gateway_name(payment.provider)} never sends this callback: {scenario}"
        raise InputError(message, hint=f"one of: {', '.join(_names(payment.provider))}")
    request = callback(payment, wanted, keys)
    signing = with_wrong_keys(keys) if wanted is Scenario.BAD_SIGNATURE else keys
    return alter(request, payment.provider, changes, signing) if changes else request


def _names(provider: str) -> list[str]:
    """Return the scenarios of a gateway as the user types them."""
    return [*(each.replace("_", "-") for each in scenarios(provider)), DUPLICATE]


def _process(session: Session, gateway: Gateway, request: Request, times: int) -> list[Delivery]:
    services = session.services
    credentials = services.credentials(gateway)
    reports = [process_webhook(services.engine, request, gateway, credentials) for _ in range(times)]
    return [of_report(gateway, report) for report in reports]


def _send(gateway: Gateway, request: Request, url: str, patience: timedelta, times: int) -> list[Delivery]:
    from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only if something is sent

    query = f"?{request.query}" if request.query else ""
    headers = {"Content-Type": gateway.content_type} if request.body else {}
    outgoing = HttpRequest(request.method, f"{url}{query}", headers, request.body)
    return [of_reply(gateway, send(outgoing, patience)) for _ in range(times)]
