"""Test that payctl reports a gateway's response about a payment, even if a later query gets no response."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from tests.stand_ins import KEYS, Gateways
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusEndpoint, ask_gateways
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.store.payments.overdue import Unsettled

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("course", "says"),
    [
        (["busy", "stop"], "busy"),
        (["busy", "silent"], "busy"),
        (["silent", "busy"], "busy"),
        (["silent", "stop"], "unreachable"),
        (["silent", "silent"], "unreachable"),
        (["busy", "paid"], "completed"),
        (["silent", "paid"], "completed"),
        (["stop"], "not_asked"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_a_response_counts_more_than_a_later_query_without_one(course, says):
    """If a retry gets no response, or no time is left for it, the finding is the gateway's previous response."""
    gateways, stop, left = Gateways(), Event(), list(course)
    query = QUERIES["momo"]
    keys = credentials(by_name("momo"), lambda name: (Secret(KEYS[name]),) if name in KEYS else ())

    def exchange(asked, _wait):
        answer = left.pop(0)
        if left[:1] == ["stop"]:
            stop.set()
        if answer == "silent":
            message = "no response"
            raise UnavailableError(message)
        gateways.states["R-1"] = answer
        return HttpResponse(200, json.dumps(gateways.momo(json.loads(query.ask(asked, keys, "").body))).encode())

    if course[0] == "stop":
        stop.set()
    payment = Unsettled("p1", "TB-1", 450_000, "momo", "R-1", "PENDING", NOW - timedelta(hours=1))
    options = AskOptions(rate=1000.0, attempts=2)
    (found,) = ask_gateways(
        [payment], {"momo": StatusEndpoint(query, keys, exchange)}, options, now=lambda: NOW, stop=stop
    )
    assert found.says == says
