"""Define the alarms that fire if the webhook does not refuse forged callbacks."""

from __future__ import annotations

from deploy.alarms.model import Alarm, Silence, of_lambda, ours
from ticketbottle_payctl.metrics import Function

_PROBE = Function.PROBE

ALARMS: tuple[Alarm, ...] = (
    Alarm(
        "DoorClosed",
        "none of the probe's forged callbacks got the expected refusal, so genuine callbacks do not get through either",
        ours(_PROBE, "ProbeRefused"),
        below=1,
        period=300,
        bad=2,
        of=3,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm(
        "ProbeFailed",
        "a gateway's route did not refuse the probe's forged callback as expected",
        ours(_PROBE, "ProbeFailed"),
        0,
        period=300,
        bad=2,
        of=3,
    ),
    Alarm(
        "ProbeSlow",
        "the probe is near its timeout of 120 s",
        of_lambda(_PROBE, "Duration", "p99"),
        96_000,
        period=300,
        bad=2,
        of=3,
    ),
)
