"""Define the alarms, each with its metric and threshold. There is one file for each subject.

The alarms and the dashboard use the list in ``ticketbottle_payctl.metrics``. Therefore they can only use metrics that a
function emits.
"""

from __future__ import annotations

from deploy.alarms import deliveries, outbox, payments, probe, reconcile, webhook
from deploy.alarms.model import Alarm

ALARMS: tuple[Alarm, ...] = tuple(
    alarm for subject in (webhook, outbox, payments, reconcile, probe, deliveries) for alarm in subject.ALARMS
)
