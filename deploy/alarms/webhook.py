"""Define the alarms about callbacks, the webhook function, its new versions, and the API."""

from __future__ import annotations

from deploy.alarms.model import NAMES, Alarm, Watch, of_gateway, of_lambda, ours
from ticketbottle_payctl.formats import PROVIDERS
from ticketbottle_payctl.metrics import BY_NAME, NAMESPACE, Function
from ticketbottle_payctl.providers import GATEWAYS

_WEBHOOK = Function.WEBHOOK
_NEWEST = {"Fn::GetAtt": ["WebhookFunction.Version", "Version"]}
_OWN = {"Fn::Sub": f"{NAMESPACE}/${{AWS::StackName}}"}


def _share(name: str, meaning: str, part: Watch, whole: Watch) -> Alarm:
    """Return an alarm that fires if ``part`` exceeds 1 % of ``whole`` in three of five minutes.

    It pages the on-call engineer.
    """
    return Alarm(name, meaning, part, 1, bad=3, of=5, share_of=whole, pages=True)


ALARMS: tuple[Alarm, ...] = (
    Alarm("Money", "a genuine callback needs manual review", ours(_WEBHOOK, "WebhookMoneyAlert"), 0, pages=True),
    Alarm(
        "ForgedCallbacks",
        "many callbacks are not genuine: an attack, or a key that was rotated",
        ours(_WEBHOOK, "WebhookRejectedSignature"),
        20,
        period=300,
    ),
    *(
        Alarm(
            f"{NAMES[gateway]}Refused",
            f"the webhook refuses more than a fifth of the callbacks from {PROVIDERS[gateway]},"
            " three or more in 15 minutes",
            of_gateway(gateway, "WebhookRefused"),
            20,
            period=900,
            share_of=of_gateway(gateway, "WebhookReceived"),
            at_least=3,
            pages=True,
        )
        for gateway in GATEWAYS
    ),
    Alarm(
        "Unreadable",
        "the webhook cannot act on the content of a genuine callback",
        ours(_WEBHOOK, "WebhookUnreadable"),
        0,
    ),
    Alarm(
        "NotConfigured",
        "callbacks arrive from a gateway whose keys are not set",
        ours(_WEBHOOK, "WebhookNotConfigured"),
        0,
        period=300,
    ),
    _share(
        "WebhookTryAgain",
        "the webhook answers more than 1 % of the callbacks with 'try again'",
        ours(_WEBHOOK, "WebhookTransientError"),
        ours(_WEBHOOK, "WebhookReceived"),
    ),
    # These two alarms watch only the newest version. The alarms have no data until the newest version gets callbacks.
    Alarm(
        "NewVersionTryAgain",
        "the newest version of the webhook answers callbacks with 'try again'",
        Watch(
            NAMESPACE,
            "WebhookTransientError",
            {"env": {"Ref": "Environment"}, "version": _NEWEST},
            BY_NAME["WebhookTransientError"].statistic.value,
        ),
        0,
    ),
    Alarm(
        "NewVersionErrors",
        "the newest version of the webhook fails or is killed",
        Watch(
            "AWS/Lambda",
            "Errors",
            {
                "FunctionName": {"Ref": "WebhookFunction"},
                "Resource": {"Fn::Sub": "${WebhookFunction}:live"},
                "ExecutedVersion": _NEWEST,
            },
            "Sum",
        ),
        0,
    ),
    _share(
        "WebhookErrors",
        "the webhook itself fails or is killed",
        of_lambda(_WEBHOOK, "Errors"),
        of_lambda(_WEBHOOK, "Invocations"),
    ),
    Alarm(
        "ApiErrors",
        "the API answers with 5xx",
        Watch(_OWN, "ApiErrors", {}, "Sum"),
        0,
        bad=2,
        of=5,
    ),
    Alarm("WebhookThrottled", "Lambda throttles callbacks", of_lambda(_WEBHOOK, "Throttles"), 0, bad=2, of=3),
    Alarm(
        "ApiThrottled",
        "the API throttles callbacks (429), including genuine ones",
        Watch(_OWN, "ApiThrottled", {}, "Sum"),
        0,
        period=300,
        pages=True,
    ),
    Alarm(
        "WebhookSlow",
        "the webhook is near its timeout of 10 s",
        of_lambda(_WEBHOOK, "Duration", "p99"),
        8_000,
        bad=3,
        of=5,
    ),
)
