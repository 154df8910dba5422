"""Run everything locally, from signed callbacks to Kafka messages, and check every step.

``world`` starts the servers, ``story`` contains the gateways' callbacks, ``play`` runs the same jobs as in production,
and ``check`` compares the results. ``cases`` creates orders to repair, and ``kept`` keeps the demo ready for other
commands. The demo has its own servers and simulated gateways.
"""

from __future__ import annotations

from ticketbottle_payctl.sandbox.demo.cases import Case, Fault
from ticketbottle_payctl.sandbox.demo.kept import Kept, keep
from ticketbottle_payctl.sandbox.demo.play import follow, play
from ticketbottle_payctl.sandbox.demo.report import Arrival, CallbackStep, DemoReport, MessageStep
from ticketbottle_payctl.sandbox.demo.world import Started, World, local_world

__all__ = [
    "Arrival",
    "CallbackStep",
    "Case",
    "DemoReport",
    "Fault",
    "Kept",
    "MessageStep",
    "Started",
    "World",
    "follow",
    "keep",
    "local_world",
    "play",
]
