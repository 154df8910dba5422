"""Test the demo's gateway server. The server answers payctl's status queries as the gateways do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from uuid import uuid4

import pytest

from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.http_client import send
from ticketbottle_payctl.payos_sdk import PayosAccount, payment_link
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.status_query import NoVerdict, StatusRequest
from ticketbottle_payctl.sandbox.callbacks import environment
from ticketbottle_payctl.sandbox.gateway_server import GatewayOrder, GatewayRecords, gateway_server
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.wiring import Services

PATIENCE = timedelta(seconds=10)
PAID, OPEN, TOO_MUCH = "paid-1", "open-1", "too-much-1"
AMOUNTS = {PAID: 250_000, OPEN: 0, TOO_MUCH: 251_000}


@pytest.fixture(scope="module")
def addresses():
    """Serve three orders that every gateway knows. Yield the settings that contain the server's address."""
    orders = {
        reference: GatewayOrder(SandboxPayment("p", "TB-1", 250_000, "MOMO", reference), paid)
        for reference, paid in AMOUNTS.items()
    }
    with gateway_server(GatewayRecords(orders, environment())) as settings:
        yield settings


def ask(name, reference, addresses):
    """Query a gateway about a payment as payctl does. Return how payctl interprets the response."""
    query, now = QUERIES[name], datetime.now(UTC)
    credentials = Services(environment()).credentials(providers.by_name(name))
    asked = StatusRequest(reference, "TB-1", 250_000, now - PATIENCE, now, str(uuid4()))
    base = addresses[query.url_variable]
    if query.ask is None:
        response = payment_link(PayosAccount(base, credentials), reference, PATIENCE)
    else:
        response = send(query.ask(asked, credentials, base), PATIENCE)
    return query.read(response, asked, credentials)


@pytest.mark.parametrize("reference", [PAID, TOO_MUCH])
@pytest.mark.parametrize("name", QUERIES)
def test_the_stand_in_reports_a_paid_order_with_its_amount(name, reference, addresses):
    """For each gateway, payctl reads the server's response for a paid order as completed, with the paid amount."""
    answer = ask(name, reference, addresses)
    assert isinstance(answer, Callback)
    assert (answer.outcome, int(answer.amount)) == (Outcome.COMPLETED, AMOUNTS[reference])


@pytest.mark.parametrize("name", QUERIES)
def test_the_stand_in_knows_no_other_order(name, addresses):
    """The gateway server reports an unpaid order as pending and an unknown reference as not found."""
    assert ask(name, OPEN, addresses).because is NoVerdict.PENDING
    assert ask(name, "nobody's", addresses).because is NoVerdict.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("POST", "/elsewhere", b"{}", 404),
        ("POST", "/v2/query", b"\xff", 400),
        ("POST", "/v2/query", b"", 400),
        ("POST", "/v2/gateway/api/query", b"[]", 400),
        ("POST", "/merchant_webapi/api/transaction", b"no json", 400),
        ("POST", "/v2/query", b"x" * 70_000, 400),
    ],
)
def test_the_stand_in_refuses_a_request_that_is_not_a_query(method, path, body, status, addresses):
    """The gateway server answers a request that is not a status query with an HTTP error, and keeps running."""
    connection = HTTPConnection(addresses["PAYCTL_MOMO_URL"].removeprefix("http://"), timeout=10)
    connection.request(method, path, body)
    assert connection.getresponse().status == status
    assert isinstance(ask("momo", PAID, addresses), Callback)
