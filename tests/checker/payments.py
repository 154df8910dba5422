"""Check that each state change of a payment wrote one event, and that the final state equals the reported state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from tests.checker.audit import Audit

ALLOWED = {
    ("PENDING", "COMPLETED"), ("PENDING", "FAILED"), ("PENDING", "CANCELLED"),
    ("FAILED", "COMPLETED"), ("CANCELLED", "COMPLETED"),
}  # fmt: skip


@dataclass(frozen=True)
class PaymentFaults:
    """The ids of payments with faults, in one collection for each kind of fault."""

    without_event: list[str] = field(default_factory=list)
    """Payments that changed state in a transaction that did not write exactly one event for the new state."""
    without_change: list[str] = field(default_factory=list)
    """Payments for which an event was written even though their state did not change."""
    forbidden: list[str] = field(default_factory=list)
    """Payments with a forbidden state change, for example from the state COMPLETED."""
    altered: list[str] = field(default_factory=list)
    """Payments with a changed amount, currency, gateway or reference."""
    wrong_state: dict[str, str] = field(default_factory=dict)
    """Payments whose final state differs from the reported state, shown as ``FAILED, not COMPLETED``."""


def states_of(engine: Engine) -> dict[str, str]:
    """Return the state of every payment."""
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, status::text FROM payments")}


def judge_payments(audit: Audit, states: Mapping[str, str], reported: Mapping[str, str]) -> PaymentFaults:
    """Compare the notes and the final ``states`` with the ``reported`` state of each payment."""
    written: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event in audit.events:
        if event.deed == "INSERT" and event.key in states:
            written[event.tx, event.key].append(event.type)
    changes = [note for note in audit.payments if note.before != note.after]
    changed = {(note.tx, note.id) for note in changes}
    return PaymentFaults(
        without_event=sorted(note.id for note in changes if written[note.tx, note.id] != [f"PAYMENT_{note.after}"]),
        without_change=sorted(key for tx, key in written if written[tx, key] and (tx, key) not in changed),
        forbidden=sorted(note.id for note in changes if (note.before, note.after) not in ALLOWED),
        altered=sorted(note.id for note in audit.payments if not note.kept),
        wrong_state={
            id_: f"{states.get(id_, 'missing')}, not {wanted}"
            for id_, wanted in sorted(reported.items())
            if states.get(id_) != wanted
        },
    )
