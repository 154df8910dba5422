"""Send a forged callback to each gateway's route every five minutes. The webhook must answer and refuse each of them.

The function runs outside the VPC and calls the webhook over the internet, as the gateways do. The function does not
read secrets or use a database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult

from lambda_entrypoints import runtime
from lambda_entrypoints.forgeries import FAILED, FORGERIES, OFF, REFUSED, headers, judged
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Request
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Function, emit

TIMEOUT_S = 12.0
"""The time limit for one request in seconds. The API has the same limit."""


def handler(event: object, context: object) -> dict[str, object]:  # noqa: ARG001 - a schedule's event has no data
    """Send each forged callback once, and check the replies. A gateway without keys is off, which is not a failure.

    Raises:
        ConfigError: PAYCTL_PROBE_URL is not set.
        InputError: PAYCTL_PROBE_URL is not an https URL.
    """
    with runtime.invocation(Function.PROBE, context) as warm:
        url = warm.environ.get("PAYCTL_PROBE_URL")
        if not url:
            message = "PAYCTL_PROBE_URL is not set"
            raise ConfigError(message, hint="set it to the address of the API, without a path")
        verdicts = dict(_verdicts(checked_url(url)))
        counts = {verdict: list(verdicts.values()).count(verdict) for verdict in (REFUSED, OFF, FAILED)}
        emit(Function.PROBE, {"ProbeRefused": counts[REFUSED], "ProbeFailed": counts[FAILED]}, env=warm.env)
        return {**verdicts}


def _verdicts(place: SplitResult) -> Iterator[tuple[str, str]]:
    for name, forgery in FORGERIES.items():
        began, status, problem = time.monotonic(), None, None
        try:
            status, body = _sent(place, forgery, headers(name))
            verdict = judged(name, status, body)
        except (OSError, HTTPException) as error:
            verdict, problem = FAILED, type(error).__name__
        log_event(
            "probe",
            level="error" if verdict == FAILED else "info",
            provider=name,
            outcome=verdict,
            status=status,
            reason=problem,
            duration_ms=round((time.monotonic() - began) * 1000, 3),
        )
        yield name, verdict


def _sent(place: SplitResult, forgery: Request, sent: dict[str, str]) -> tuple[int, str]:
    """Send a forged callback, and return the status and body of the reply.

    The function needs only the standard library.
    """
    kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=TIMEOUT_S)
    path = place.path.rstrip("/") + forgery.path + (f"?{forgery.query}" if forgery.query else "")
    try:
        connection.request(forgery.method, path, forgery.body or None, sent)
        response = connection.getresponse()
        return response.status, response.read(MAX_BODY_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()
