"""What the webhook's function does in Lambda's INIT phase, before the first callback.

INIT runs on a whole processor, even if the function's memory gives it less later. With provisioned concurrency nobody
waits for it.
"""

from __future__ import annotations

import os

from lambda_entrypoints import warm
from ticketbottle_payctl import providers
from ticketbottle_payctl.jobs import connect
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.telemetry import log_event

_HOW = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Lambda sets it: ``on-demand``, ``provisioned-concurrency``, or ``snap-start``."""


def prepare_webhook() -> None:
    """Load the driver and AWS's client. In a provisioned environment, read the secrets and connect to the database too.

    Outside Lambda this does nothing. It never raises: a failed INIT would stop a deployment, and the first callback
    reports the same error with its own reply.
    """
    how = os.environ.get(_HOW)
    if not how:
        return
    kept = warm.kept(Function.WEBHOOK)
    try:
        connect.load_driver()
        kept.environ.load_client()
        if how == "provisioned-concurrency":
            services = kept.services("DATABASE_URL")
            for gateway in providers.GATEWAYS.values():
                services.credentials(gateway)
            connect.connect(services.engine)
    except Exception as error:  # noqa: BLE001 - see above
        log_event("webhook_not_prepared", level="warning", error=error)
