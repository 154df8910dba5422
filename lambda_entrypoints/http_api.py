"""Read an HTTP API event, and refuse requests that are not for a gateway."""

from __future__ import annotations

import json
import os
import re
from http import HTTPStatus
from typing import NamedTuple

from lambda_entrypoints.forgeries import USER_AGENT
from ticketbottle_payctl import providers
from ticketbottle_payctl.aws.api_gateway import to_request
from ticketbottle_payctl.aws.xray import traceparent_of
from ticketbottle_payctl.domain.callback import Reply, Request
from ticketbottle_payctl.errors import BodyTooLargeError, InputError
from ticketbottle_payctl.providers.gateway import Gateway

_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


class Call(NamedTuple):
    """A request, and the gateway that its path or format identifies. The signature is not verified yet."""

    request: Request
    gateway: Gateway
    is_probe: bool = False
    """Whether the sender claims to be payctl's own probe. The claim is not verified, so it affects only metrics."""


def read(event: object) -> Call | Reply:
    """Return the request and its gateway, or a refusal if the request is not a callback. Never raise an error."""
    try:
        request = to_request(event)
    except BodyTooLargeError:
        return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except InputError:
        return refusal(HTTPStatus.BAD_REQUEST)
    gateway = providers.resolve(request)
    return Call(request, gateway, _is_probe(event)) if gateway is not None else refusal(HTTPStatus.NOT_FOUND)


def _is_probe(event: object) -> bool:
    fields = event if isinstance(event, dict) else {}
    headers = fields.get("headers")
    return isinstance(headers, dict) and headers.get("user-agent") == USER_AGENT


def refusal(status: HTTPStatus) -> Reply:
    """Return a refusal. The text depends only on the status and does not reveal the reason."""
    body = json.dumps({"message": status.phrase})
    return Reply(status.value, body, {"content-type": "application/json"})


def correlation_id(event: object) -> str | None:
    """Return ``x-correlation-id`` if all its characters are allowed. Otherwise return API Gateway's request id."""
    fields = event if isinstance(event, dict) else {}
    headers, context = fields.get("headers"), fields.get("requestContext")
    sent = headers.get("x-correlation-id") if isinstance(headers, dict) else None
    if isinstance(sent, str) and _CORRELATION_ID.fullmatch(sent):
        return sent
    own = context.get("requestId") if isinstance(context, dict) else None
    return own if isinstance(own, str) and _REQUEST_ID.fullmatch(own) else None


def traceparent() -> str | None:
    """Return the ``traceparent`` of this invocation. Lambda sets the trace variable again for each invocation."""
    return traceparent_of(os.environ.get("_X_AMZN_TRACE_ID"))
