"""Test a new version of the webhook for CodeDeploy: it must refuse forged callbacks.

Every error is reported to CodeDeploy as a failure, because otherwise CodeDeploy would wait up to an hour for a result.
After a failure, callbacks still go to the previous version.
"""

from __future__ import annotations

import json
from typing import Any

from lambda_entrypoints import runtime
from lambda_entrypoints.forgeries import FAILED, FORGERIES, REFUSED, headers, judged
from ticketbottle_payctl.aws.client import make_client
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Function


def handler(event: dict[str, str], context: object) -> dict[str, str]:
    """Send a forged callback for each gateway to the version in PAYCTL_NEW_VERSION. Report the result to CodeDeploy.

    The result is success if at least one gateway is configured, and the version refused the forged callbacks for all
    configured gateways. Only then does CodeDeploy send traffic to the version.

    Raises:
        ConfigError: the result cannot be reported, or the AWS client cannot be created.
        FunctionFailedError: any other error.
    """
    with runtime.invocation(Function.BEFORE_TRAFFIC, context) as warm:
        verdicts: dict[str, str] = {}
        try:
            client = make_client("lambda", read_s=15)
            for name, forgery in FORGERIES.items():
                verdicts[name] = _verdict(client, warm.environ["PAYCTL_NEW_VERSION"], name, forgery)
        finally:
            good = len(verdicts) == len(FORGERIES) and FAILED not in verdicts.values() and REFUSED in verdicts.values()
            status = "Succeeded" if good else "Failed"
            log_event("before_traffic", level="info" if good else "error", outcome=status, verdicts=verdicts)
            make_client("codedeploy").put_lifecycle_event_hook_execution_status(
                deploymentId=event["DeploymentId"],
                lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
                status=status,
            )
        return verdicts


def _verdict(client: Any, version: str, name: str, forgery: Request) -> str:  # noqa: ANN401 - botocore has no types
    answer = client.invoke(FunctionName=version, Payload=json.dumps(_event(name, forgery)).encode())
    reply = json.loads(answer["Payload"].read())
    if "FunctionError" in answer or not isinstance(reply, dict):
        log_event("before_traffic_error", level="error", provider=name, reason=answer.get("FunctionError"))
        return FAILED
    return judged(name, reply.get("statusCode"), reply.get("body"))


def _event(name: str, forgery: Request) -> dict[str, object]:
    """Return the event that the HTTP API would pass to the function for a forged callback."""
    return {
        "version": "2.0",
        "rawPath": forgery.path,
        "rawQueryString": forgery.query,
        "headers": headers(name),
        "requestContext": {"http": {"method": forgery.method}},
        "body": forgery.body.decode() or None,
        "isBase64Encoded": False,
    }
