"""Show the whole path in a local environment, from signed callbacks to Kafka messages, and check every step.

``world`` starts the servers, ``story`` says what the gateways send, ``play`` runs production's jobs, ``check`` compares
the results, and ``backlog`` leaves events to repair. Only servers and senders are the demo's own; the jobs are those of
production.
"""

from __future__ import annotations

from ticketbottle_payctl.sandbox.demo.backlog import leave_backlog
from ticketbottle_payctl.sandbox.demo.play import follow, play
from ticketbottle_payctl.sandbox.demo.report import Arrival, CallbackStep, DemoReport, LeftEvents, MessageStep
from ticketbottle_payctl.sandbox.demo.world import Started, World, local_world

__all__ = [
    "Arrival",
    "CallbackStep",
    "DemoReport",
    "LeftEvents",
    "MessageStep",
    "Started",
    "World",
    "follow",
    "leave_backlog",
    "local_world",
    "play",
]
