"""Events in AWS's format, from an HTTP API (payload format 2.0) and from EventBridge Scheduler.

If this module is run as a program, it writes the files in ``tests/events``.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl
from uuid import UUID

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS, resolve
from ticketbottle_payctl.sandbox.callbacks import callback
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

FOLDER = Path(__file__).parents[1] / "events"
PAYMENTS = {
    name: SandboxPayment(
        id=str(UUID(int=number)),
        order_code=f"TB-ROCK_HN-20261123-A1B2C3D{number}",
        amount=250_000,
        provider=name.upper(),
        reference=f"261123_A1B2C3D{number}",
    )
    for number, name in enumerate(GATEWAYS, 1)
}
_STAGE_TIME = {"time": "23/Nov/2026:03:00:00 +0000", "timeEpoch": 1795402800000}
_DOMAIN = "a1b2c3d4e5.execute-api.ap-southeast-1.amazonaws.com"


def http_event(request: Request, *, encoded: bool = False, headers: dict[str, str] | None = None) -> dict[str, object]:
    """Return the event that an HTTP API with a ``$default`` stage creates for a request."""
    route = f"{request.method} {request.path}"
    sent = {
        "content-length": str(len(request.body)),
        "host": _DOMAIN,
        "user-agent": "gateway/1.0",
        "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        **(headers or {}),
    }
    event: dict[str, object] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": sent,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": _DOMAIN,
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "gateway/1.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": "$default",
            **_STAGE_TIME,
        },
        "isBase64Encoded": encoded,
    }
    if request.query:
        event["queryStringParameters"] = dict(parse_qsl(request.query))
    if request.body:
        gateway = resolve(request)
        event["headers"] = {"content-type": gateway.content_type if gateway else "application/json", **sent}
        event["body"] = base64.b64encode(request.body).decode() if encoded else request.body.decode()
    return event


def scheduled_event(name: str) -> dict[str, object]:
    """Return the event that EventBridge Scheduler sends for a schedule without input."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2026-11-23T03:00:00Z",
        "region": "ap-southeast-1",
        "resources": [f"arn:aws:scheduler:ap-southeast-1:123456789012:schedule/default/payctl-prod-{name}"],
        "detail": "{}",
    }


def days(count: int) -> timedelta:
    """Return a duration of ``count`` days."""
    return timedelta(days=count)


def files() -> dict[str, dict[str, object]]:
    """Return the events to write to ``tests/events``, with the file names as keys."""
    made = {f"{name}.json": http_event(callback(payment)) for name, payment in PAYMENTS.items()}
    made["payos-base64.json"] = http_event(callback(PAYMENTS["payos"]), encoded=True)
    made["scheduler-publish-outbox.json"] = scheduled_event("publish-outbox")
    made["scheduler-cleanup.json"] = scheduled_event("cleanup")
    made["scheduler-watch-payments.json"] = scheduled_event("watch-payments")
    made["scheduler-reconcile-payments.json"] = scheduled_event("reconcile-payments")
    return made


def read(name: str) -> dict[str, object]:
    """Return the event from a file in ``tests/events``."""
    return json.loads((FOLDER / name).read_text())


if __name__ == "__main__":
    for file, event in files().items():
        (FOLDER / file).write_text(json.dumps(event, indent=2, ensure_ascii=False) + "\n")
