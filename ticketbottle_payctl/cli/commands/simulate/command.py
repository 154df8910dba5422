"""``payctl simulate``: a signed callback as the gateway would send it, to try the payment service and payctl with."""

from __future__ import annotations

from collections.abc import Mapping
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
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.missing_keys import missing_keys
from ticketbottle_payctl.cli.output.result import Raw, Result
from ticketbottle_payctl.cli.safety.confirm import permit
from ticketbottle_payctl.cli.safety.sandbox_only import refuse_in_production
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.http_address import checked_url, is_loopback
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.providers.queries.exchange import HttpRequest
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, scenarios, somebody_elses
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

DUPLICATE = "duplicate"
_PATIENCE = timedelta(seconds=15)
_MADE_UP = {
    "zalopay": "261123_TB-TEST-20261123-SIMULATE",
    "payos": "0123456789abcdef0123456789abcdef",
    "vnpay": "TB-TEST-20261123-SIMULATE",
    "momo": "TB-TEST-20261123-SIMULATE",
}
"""What a payment is created with that nobody named."""

SCENARIOS = tuple(sorted({each.value.replace("_", "-") for each in Scenario} | {DUPLICATE}))


class Destination(StrEnum):
    """Where the callback goes, beside a URL."""

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
        message = f"{text!r} is not of the form path=value; an example is data.amount=1"
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
OrderCode = Annotated[
    str | None, typer.Option(metavar="CODE", help="For the payment of this order, as the database has it.")
]
Amount = Annotated[
    int | None,
    typer.Option(metavar="VND", min=1, help="The amount that it says was paid [default: the order's, else 250000]."),
]
Reference = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What it was created with: app_trans_id, paymentLinkId, vnp_TxnRef, orderId."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Put a value in before it is signed; repeatable."),
]
To = Annotated[Destination, typer.Option("--to", help="Print it, or settle the payment with it.")]
Url = Annotated[str | None, typer.Option(metavar="URL", help="Send it there, and show what is answered.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="--url may be another machine's.")]
Timeout = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="15s", help="How long the answer may take [default: 15s].")
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
    """Make a gateway's callback for a payment, signed with the configured keys.

    Printed, it goes into a pipe: `payctl simulate momo paid --order-code X | payctl verify-signature -`. A duplicate is
    sent twice. Not every gateway sends every kind. Refused on protected profiles and where ENVIRONMENT is production.
    """
    session = Session.of(ctx)
    gateway = providers.by_name(provider)
    refuse_in_production(session, "simulate")
    if url is None and (allow_remote or timeout is not None):
        message = "goes with --url"
        raise typer.BadParameter(message, param_hint="--allow-remote" if allow_remote else "--timeout")
    if url is not None and to is not Destination.STDOUT:
        message = "--url and --to are two destinations"
        raise InputError(message, hint="give one of the two")
    keys = _keys(session, gateway)
    changed = [_change(each) for each in changes or ()]
    if order_code is not None or to is Destination.PROCESS_WEBHOOK:
        session.note_target()
    payment = _payment(session, gateway, order_code, amount, reference)
    request = _request(payment, scenario, changed, keys)
    if dry_run or (url is None and to is Destination.STDOUT):
        facts = facts_of(gateway, scenario, request)
        session.finish(Result(SCHEMA, result=facts, human=[Raw(text_of(request))], dry_run=dry_run))
    times = 2 if scenario == DUPLICATE else 1
    permit(session, "simulate")
    if url is not None:
        sent = _send(gateway, request, _target(url, gateway, allow_remote=allow_remote), timeout or _PATIENCE, times)
    else:
        sent = _process(session, gateway, request, times)
    session.finish(result_of(gateway, scenario, request, sent))


def _keys(session: Session, gateway: Gateway) -> dict[str, str]:
    """The gateway's settings, by their variables' names.

    Raises:
        ConfigError: what signs is not set, or ZaloPay's app id is no number.
    """
    credentials = session.services.credentials(gateway)
    keys = {field.env: credentials[field.name][0].reveal() for field in gateway.fields if credentials[field.name]}
    if any(field.signs_callbacks and field.env not in keys for field in gateway.fields):
        raise missing_keys(gateway, credentials)
    if not keys.get("ZALOPAY_APP_ID", "0").isdecimal():
        message = "ZALOPAY_APP_ID is not a number"
        raise ConfigError(message)
    return keys


def _payment(
    session: Session, gateway: Gateway, order_code: str | None, amount: int | None, reference: str | None
) -> SandboxPayment:
    """The payment that was named, or one that is made up.

    Raises:
        NotFoundError: there is no such order.
        InputError: it is paid through another gateway.
    """
    if order_code is None:
        made = SandboxPayment("simulated", "TB-TEST-20261123-SIMULATE", 250_000, gateway.name, _MADE_UP[gateway.name])
        return replace(made, amount=amount or made.amount, reference=reference or made.reference)
    from ticketbottle_payctl.jobs.find_order import find_order  # noqa: PLC0415 - SQLAlchemy, only to look up an order

    row = find_order(session.services.engine, order_code)
    if row.gateway != gateway.name:
        message = f"the order is paid through {row.gateway}, not {gateway.name}"
        raise InputError(message, hint=f"payctl simulate {row.gateway} ...")
    return SandboxPayment(row.id, row.order_code, amount or row.amount, gateway.name, reference or row.reference)


def _request(
    payment: SandboxPayment, scenario: str, changes: list[tuple[str, str]], keys: Mapping[str, str]
) -> Request:
    wanted = Scenario.PAID if scenario == DUPLICATE else Scenario(scenario.replace("-", "_"))
    sent = scenarios(payment.provider)
    if wanted not in sent:
        message = f"{payment.provider} never sends a callback of this kind: {scenario}"
        raise InputError(message, hint=f"one of: {', '.join([each.replace('_', '-') for each in sent] + [DUPLICATE])}")
    request = callback(payment, wanted, keys)
    signing = somebody_elses(keys) if wanted is Scenario.BAD_SIGNATURE else keys
    return alter(request, payment.provider, changes, signing) if changes else request


def _process(session: Session, gateway: Gateway, request: Request, times: int) -> list[Delivery]:
    from ticketbottle_payctl.jobs.process_webhook import process_webhook  # noqa: PLC0415 - as above

    services = session.services
    credentials = services.credentials(gateway)
    reports = [process_webhook(services.engine, request, gateway, credentials) for _ in range(times)]
    return [of_report(gateway, report) for report in reports]


def _send(gateway: Gateway, request: Request, url: str, patience: timedelta, times: int) -> list[Delivery]:
    from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only if something is sent

    query = f"?{request.query}" if request.query else ""
    headers = {"Content-Type": "application/json"} if request.body else {}
    outgoing = HttpRequest(request.method, f"{url}{query}", headers, request.body)
    return [of_reply(gateway, send(outgoing, patience)) for _ in range(times)]


def _target(url: str, gateway: Gateway, *, allow_remote: bool) -> str:
    """Where to send it: the URL as given; with the webhook's usual path where it has none.

    Raises:
        InputError: it is no URL, has a query, or is another machine's and that was not allowed.
    """
    parts = checked_url(url)
    if parts.query or parts.fragment:
        message = "--url has a query; the callback brings its own"
        raise InputError(message)
    if not (allow_remote or is_loopback(parts.hostname or "")):
        message = f"{parts.hostname} is another machine"
        raise InputError(message, hint="add --allow-remote if it may be sent a signed callback")
    return url.rstrip("/") + ("" if parts.path.strip("/") else f"/webhook/{gateway.name}")
