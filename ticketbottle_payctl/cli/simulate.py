"""``payctl simulate``: a signed callback as the gateway would send it, to try the payment service and payctl with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli import options
from ticketbottle_payctl.cli import selector_options as select
from ticketbottle_payctl.cli.gateway_keys import missing_keys
from ticketbottle_payctl.cli.guard import permit, refuse_serious
from ticketbottle_payctl.cli.process_webhook import result_of
from ticketbottle_payctl.cli.quantities import duration
from ticketbottle_payctl.cli.result import Block, Raw, Result, dim
from ticketbottle_payctl.cli.session import Session
from ticketbottle_payctl.cli.simulate_result import SCHEMA, reply_facts, reply_lines, request_facts, request_text
from ticketbottle_payctl.domain.callback import Reply, Request
from ticketbottle_payctl.domain.exchange import Question
from ticketbottle_payctl.errors import ConfigError, InputError, NotFoundError
from ticketbottle_payctl.http_client import checked_url, send
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, somebody_elses
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

DUPLICATE = "duplicate"
SCENARIOS = tuple(sorted({each.value.replace("_", "-") for each in Scenario} | {DUPLICATE}))


class Destination(StrEnum):
    """Where the callback goes, beside a URL."""

    STDOUT = "stdout"
    PROCESS_WEBHOOK = "process-webhook"


def _scenario(text: str) -> str:
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
    typer.Argument(metavar="PROVIDER", callback=select.provider, help=f"One of {', '.join(providers.GATEWAYS)}."),
]
ScenarioName = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", callback=_scenario, help=f"One of {', '.join(SCENARIOS)}."),
]
OrderCode = Annotated[
    str | None, typer.Option(metavar="CODE", help="For the payment of this order, as the database has it.")
]
Amount = Annotated[
    int | None, typer.Option(metavar="VND", min=1, help="The payment's amount, where no order is given [250000].")
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
    timedelta, typer.Option(parser=duration, metavar="15s", help="How long the answer may take [default: 15s].")
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
    timeout: Timeout = timedelta(seconds=15),
    dry_run: options.DryRun = False,
) -> None:
    """Make a gateway's callback for a payment, signed with the configured keys.

    Printed, it goes into a pipe: `payctl simulate momo paid --order-code X | payctl verify-signature -`. A duplicate is
    sent twice. Not every gateway sends every kind. Refused on protected profiles and where ENVIRONMENT is production.
    """
    session = Session.of(ctx)
    gateway = providers.by_name(provider)
    refuse_serious(session, "simulate")
    if url is not None and to is not Destination.STDOUT:
        message = "--url and --to are two destinations"
        raise InputError(message, hint="give one of the two")
    payment = _payment(session, gateway, order_code, amount, reference)
    request = _request(session, payment, gateway, scenario, [_change(each) for each in changes or ()])
    times = 2 if scenario == DUPLICATE else 1
    if url is not None:
        _send(session, gateway, request, _Target(url, timeout, allow_remote=allow_remote, times=times, dry_run=dry_run))
    if to is Destination.PROCESS_WEBHOOK:
        _process(session, gateway, request, times=times, dry_run=dry_run)
    human: list[Block] = [Raw(request_text(request))]
    session.finish(Result(SCHEMA, result=request_facts(gateway, scenario, request), human=human, dry_run=dry_run))
