"""The whole path on local servers: signed callbacks in, Kafka messages out, and each step checked.

``world`` starts the servers, ``story`` lists what the gateways send, ``play`` runs production's jobs on it, ``check``
compares, ``backlog`` leaves something to repair. Only the servers and the senders belong to the demo. The code that
decides and publishes is production's.
"""

from __future__ import annotations

from ticketbottle_payctl.sandbox.demo.backlog import leave_backlog
from ticketbottle_payctl.sandbox.demo.play import follow, play
from ticketbottle_payctl.sandbox.demo.report import Arrival, Backlog, CallbackStep, DemoReport, MessageStep
from ticketbottle_payctl.sandbox.demo.world import Started, World, local_world

__all__ = [
    "Arrival",
    "Backlog",
    "CallbackStep",
    "DemoReport",
    "MessageStep",
    "Started",
    "World",
    "follow",
    "leave_backlog",
    "local_world",
    "play",
]
