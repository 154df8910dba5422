"""Test when payctl queries a gateway about a payment, and which of the gateway's responses it reports."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from tests.stand_ins import KEYS, Gateways
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.reconcile import status_poller
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
def test_a_response_counts_more_than_a_later_query_without_one(monkeypatch, course, says):
    """If a retry gets no response, or no time is left for it, the finding is the gateway's previous response."""
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda least, _most: least)  # the shortest waits
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


class Clock(Event):
    """A clock that starts at zero, and a stop event whose waits only advance this clock."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def monotonic(self):
        """Return the time in seconds."""
        return self.now

    def wait(self, timeout=None):
        """Advance the clock."""
        self.now += max(0.0, timeout)
        return self.is_set()


@pytest.fixture
def poll(monkeypatch):
    """Return a function that queries MoMo about one payment for each given response time.

    The function returns the findings, the start and the time limit of each query, and the time of the last finding. A
    response time of None means that the gateway does not respond. The random waits before a retry are as long as
    possible.
    """
    clock, asked = Clock(), []
    monkeypatch.setattr(status_poller, "time", clock)
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda _least, most: most)

    def run(durations, payments=None, endpoint=None, stop_at=None, last_status=503, **options):
        left = list(durations)

        def exchange(_asked, wait):
            asked.append((clock.now, wait.total_seconds()))
            duration = left.pop(0)
            if clock.now == stop_at:
                clock.set()
            if duration is None:
                message = "no response"
                raise UnavailableError(message)
            clock.now += duration
            return HttpResponse(503 if left else last_status, b"")

        known = {"momo": endpoint or StatusEndpoint(QUERIES["momo"], {}, exchange)}
        some = [
            Unsettled(f"p{number}", f"TB-{number}", 450_000, "momo", f"R-{number}", "PENDING", NOW)
            for number in range(payments or len(durations))
        ]
        found = list(ask_gateways(some, known, AskOptions(**options), now=lambda: NOW, stop=clock))
        return [(each.says, each.detail) for each in found], asked, clock.now

    return run


BUSY, LATE, STOPPED = ("busy", "HTTP 503"), ("not_asked", "the time limit was reached"), ("not_asked", "stopped")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("durations", "options", "starts", "last", "end"),
    [
        ([0, 0, 0], {"rate": 2.0}, [0, 0.5, 1], BUSY, 1),
        ([0.25, 1, 0, 0], {"rate": 2.0}, [0, 0.5, 1.5, 2], BUSY, 2),
        ([0, 0, 0, 0], {"rate": 2.0, "deadline": 1.25 * SECOND}, [0, 0.5, 1], LATE, 1.25),
        ([0, 0, 0], {"rate": 2.0, "deadline": 3 * SECOND, "stop_at": 0.5}, [0, 0.5], STOPPED, 1),
        ([0, 0, 0], {"rate": 2.0, "deadline": SECOND, "stop_at": 0.5}, [0, 0.5], LATE, 1),
        ([0, 0, 0], {"rate": 2.0, "deadline": 1.5 * SECOND, "stop_at": 0.5}, [0, 0.5], STOPPED, 1),
    ],
)
def test_queries_start_at_the_given_rate_until_the_time_limit(poll, durations, options, starts, last, end):
    """The first query starts at once, and the others start at the given rate. No wait goes beyond the time limit."""
    findings, asked, ended = poll(durations, attempts=1, **options)
    assert ([start for start, _ in asked], findings[-1], ended) == (starts, last, end)
    assert findings[:-1] == [BUSY] * (len(durations) - 1)


def test_a_query_has_no_more_time_than_is_left(poll):
    """A query may take as long as its own limit, but no longer than until the time limit of all queries."""
    options = {"attempts": 1, "rate": 2.0, "timeout": SECOND, "deadline": 1.75 * SECOND}
    assert [wait for _, wait in poll([0, 0, 0], **options)[1]] == [1, 1, 0.75]


def test_the_waits_before_a_retry_grow_to_four_seconds(poll):
    """If a gateway does not respond, payctl waits at most one, two and then four seconds before the next attempt."""
    findings, asked, _ = poll([None] * 5, payments=1, attempts=5, rate=1000.0)
    assert ([start for start, _ in asked], findings) == ([0, 1, 3, 7, 11], [("unreachable", "no response")])


def test_a_query_with_a_response_is_not_repeated(poll):
    """If the second attempt gets a response, there is no third attempt."""
    findings, asked, _ = poll([None, 0], payments=1, last_status=400)
    assert (findings, len(asked)) == ([("query_refused", "HTTP 400")], 2)


def test_a_gateway_is_not_queried_again_after_three_payments_without_a_response(poll):
    """After three payments in a row without a response, payctl does not query the gateway about the other payments."""
    given_up = ("unreachable", "not asked, because 3 payments in a row got no response")
    findings, asked, _ = poll([None, None, 0, None, None, None, 0], attempts=1)
    silent = ("unreachable", "no response")
    assert (findings, len(asked)) == ([silent, silent, BUSY, silent, silent, silent, given_up], 6)


def test_a_gateway_that_cannot_be_queried_is_off_with_the_reason(poll):
    """If a gateway cannot be queried, the finding says why, and nothing waits."""
    closed = StatusEndpoint(QUERIES["momo"], {}, None, "not set: MOMO_ACCESS_KEY")
    assert poll([0], endpoint=closed) == ([("off", "not set: MOMO_ACCESS_KEY")], [], 0)
    payment = Unsettled("p1", "TB-1", 450_000, "paypal", "R-1", "PENDING", NOW)
    (found,) = ask_gateways([payment], {}, AskOptions(), now=lambda: NOW, stop=Event())
    assert (found.says, found.detail) == ("off", "no gateway has this name")
