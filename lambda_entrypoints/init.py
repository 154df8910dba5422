"""Prepare the webhook function in Lambda's INIT phase, before the first callback.

INIT runs on a full CPU, even if the function gets less CPU later because of its memory setting. With provisioned
concurrency, gateways never wait for INIT.
"""

from __future__ import annotations

import os

from lambda_entrypoints import warm
from ticketbottle_payctl import providers
from ticketbottle_payctl.jobs import connect
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Function

_HOW = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""The variable that Lambda sets to ``on-demand``, ``provisioned-concurrency``, or ``snap-start``."""


def prepare_webhook() -> None:
    """Load the driver and the AWS client.

    In a provisioned environment, also read the secrets and connect to the database. Outside Lambda, do nothing. Never
    raise an error, because a failed INIT would stop a deployment. If the error persists, the invocation for the first
    callback reports it.
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
    except Exception as error:  # noqa: BLE001 - see the docstring
        log_event("webhook_not_prepared", level="warning", error=error)
