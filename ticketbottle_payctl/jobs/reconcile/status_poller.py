"""Query the gateways about payments, at a limited rate and within a deadline. Retry if a gateway is busy.

A query never changes anything at the gateway or in the database. A response that payctl cannot verify or does not
recognise never settles a payment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from uuid import uuid4

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

from ticketbottle_payctl.domain.callback import Callback
from ticketbottle_payctl.domain.payment import Payment, status_of
from ticketbottle_payctl.domain.settlement import Transition, Verdict, settle
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.status_query import Inconclusive, NoVerdict, StatusQuery, StatusRequest
from ticketbottle_payctl.store.payments.overdue import Unsettled

_GIVE_UP_AFTER = 3
"""After this many consecutive payments without a response, payctl stops querying the gateway."""


Exchange = Callable[[StatusRequest, timedelta], HttpResponse]
"""A function that queries a gateway about one payment, within the given time.

The function raises UnavailableError if no complete response arrives.
"""


@dataclass(frozen=True, slots=True)
class StatusEndpoint:
    """A gateway's status query, with the function that runs it.

    If ``exchange`` is None, payctl does not query the gateway, and ``closed`` is the reason.
    """

    query: StatusQuery
    credentials: Credentials = field(repr=False)
    exchange: Exchange | None
    closed: str = ""


@dataclass(frozen=True, slots=True)
class AskOptions:
    """The limits for queries.

    ``rate`` is in requests per second. ``timeout`` is the time limit for one response. ``deadline`` is the time limit
    for all responses. ``attempts`` is the maximum number of requests for one payment.
    """

    rate: float = 5.0
    timeout: timedelta = timedelta(seconds=30)
    deadline: timedelta = timedelta(minutes=10)
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class StatusFinding:
    """A gateway's response about a payment.

    ``says`` is ``completed``, ``failed`` or ``cancelled``, or a value of :class:`NoVerdict`. Without a response,
    ``says`` is ``off``, ``too_old``, ``unreachable`` or ``not_asked``. ``verdict`` says how settling would change the
    payment.
    """

    payment: Unsettled
    says: str
    detail: str = ""
    callback: Callback | None = None
    verdict: Verdict | None = None
    response: HttpResponse | None = None

    @property
    def settles(self) -> bool:
        """Return whether settling would change the payment."""
        return isinstance(self.verdict, Transition)


def ask_gateways(
    payments: Sequence[Unsettled],
    endpoints: Mapping[str, StatusEndpoint],
    options: AskOptions,
    *,
    now: Callable[[], datetime],
    stop: Event,
) -> Iterator[StatusFinding]:
    """Query the gateways, and yield one finding for each payment, in the order of ``payments``."""
    poller = _StatusPoller(options, now, stop, time.monotonic() + options.deadline.total_seconds())
    for payment in payments:
        yield poller.find(payment, endpoints.get(payment.gateway))


@dataclass(slots=True)
class _StatusPoller:
    options: AskOptions
    now: Callable[[], datetime]
    stop: Event
    ends: float
    free: float = 0.0
    silent: Counter[str] = field(default_factory=Counter)

    def find(self, payment: Unsettled, endpoint: StatusEndpoint | None) -> StatusFinding:
        if endpoint is None:
            return StatusFinding(payment, "off", "no gateway has this name")
        if endpoint.exchange is None:
            return StatusFinding(payment, "off", endpoint.closed)
        within = endpoint.query.within
        if within is not None and not endpoint.query.knows(payment.created_at, self.now()):
            hours = within.total_seconds() / 3600
            return StatusFinding(
                payment,
                "too_old",
                f"the gateway answers queries about a payment for only {hours:g} hours",
            )
        if self.silent[payment.gateway] >= _GIVE_UP_AFTER:
            return StatusFinding(
                payment, "unreachable", f"not asked, because {_GIVE_UP_AFTER} payments in a row got no response"
            )
        found = self._ask_again(payment, endpoint, endpoint.exchange)
        self.silent[payment.gateway] = self.silent[payment.gateway] + 1 if found.says == "unreachable" else 0
        return found

    def _ask_again(self, payment: Unsettled, endpoint: StatusEndpoint, exchange: Exchange) -> StatusFinding:
        """Query the gateway, and retry if it does not respond or is busy.

        If no time is left for a retry, return the gateway's previous response.
        """
        findings: list[StatusFinding] = []

        def ask() -> StatusFinding:
            findings.append(self._ask(payment, endpoint, exchange))
            return findings[-1]

        trying = Retrying(
            stop=stop_after_attempt(self.options.attempts),
            wait=wait_random_exponential(multiplier=1, max=4),
            retry=retry_if_result(lambda found: found.says in {"unreachable", NoVerdict.BUSY.value}),
            sleep=self._sleep,
            retry_error_callback=_last,
        )
        trying(ask)
        return max(reversed(findings), key=_says_most)

    def _ask(self, payment: Unsettled, endpoint: StatusEndpoint, exchange: Exchange) -> StatusFinding:
        self._sleep(self.free - time.monotonic())
        left = self.ends - time.monotonic()
        if self.stop.is_set() or left <= 0:
            return StatusFinding(payment, "not_asked", "the time limit was reached" if left <= 0 else "stopped")
        self.free = time.monotonic() + 1 / self.options.rate
        asked = StatusRequest(
            payment.reference, payment.order_code, payment.amount, payment.created_at, self.now(), str(uuid4())
        )
        try:
            response = exchange(asked, min(self.options.timeout, timedelta(seconds=left)))
        except UnavailableError as error:
            return StatusFinding(payment, "unreachable", error.message)
        return self._read(payment, asked, endpoint, response)

    def _read(
        self, payment: Unsettled, asked: StatusRequest, endpoint: StatusEndpoint, response: HttpResponse
    ) -> StatusFinding:
        answer = endpoint.query.read(response, asked, endpoint.credentials)
        if isinstance(answer, Inconclusive):
            return StatusFinding(payment, answer.because.value, answer.detail, response=response)
        verdict = settle(_as_payment(payment), answer, self.now())
        return StatusFinding(payment, answer.outcome.value.lower(), callback=answer, verdict=verdict, response=response)

    def _sleep(self, seconds: float) -> None:
        self.stop.wait(min(seconds, self.ends - time.monotonic()))  # a negative time does not wait


def _says_most(found: StatusFinding) -> int:
    """Return a finding's rank. A finding with a response ranks highest, and a query that was not sent ranks lowest."""
    return 2 if found.response is not None else int(found.says != "not_asked")


def _last(state: RetryCallState) -> StatusFinding:
    """Return the last attempt's finding. Without this function, tenacity would raise its own error."""
    if state.outcome is None:
        message = "an attempt has an outcome"
        raise RuntimeError(message)
    found: StatusFinding = state.outcome.result()
    return found


def _as_payment(row: Unsettled) -> Payment:
    return Payment(row.id, row.order_code, row.amount, "VND", row.gateway, row.reference, status_of(row.status))
