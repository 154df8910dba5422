"""Check that each accepted callback and each settled event has a receipt, and that no forged callback has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy import Engine

from tests.checker.audit import Audit
from ticketbottle_payctl.domain.callback import Request

STATUS_QUERY = "RECONCILE"


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored receipt. ``digest`` is the SHA-256 of the callback's body or query."""

    digest: bytes
    method: str
    result: str
    reason: str | None
    event_id: str | None


@dataclass(frozen=True)
class ReceiptFaults:
    """Callbacks and events with faults. The first digits of a callback's digest identify it."""

    accepted_without_receipt: list[str] = field(default_factory=list)
    """Genuine callbacks that got a final reply but have no receipt."""
    other_result: list[str] = field(default_factory=list)
    """Receipts whose result is impossible for their callback."""
    of_a_forgery: list[str] = field(default_factory=list)
    """Forged callbacks that have a receipt."""
    forgery_accepted: list[str] = field(default_factory=list)
    """Forged callbacks that got the reply for a genuine callback."""
    settled_without_proof: list[str] = field(default_factory=list)
    """Events with no receipt, or more than one, for a genuine callback or a status query."""


def digest(request: Request) -> bytes:
    """Return the digest that identifies the callback in a receipt."""
    return sha256(request.body or request.query.encode()).digest()


def receipts_of(engine: Engine) -> list[Kept]:
    """Return every stored receipt."""
    sql = "SELECT body_sha256, method, result, reason, event_id FROM payctl.webhook_receipts"
    with engine.connect() as connection:
        return [Kept(bytes(row[0]), *row[1:]) for row in connection.exec_driver_sql(sql)]


def judge_receipts(
    receipts: Iterable[Kept],
    audit: Audit,
    payments: Collection[str],
    *,
    sent: Mapping[bytes, Collection[str]],
    answered: Collection[bytes],
    forged: Mapping[bytes, bool],
) -> ReceiptFaults:
    """Compare the receipts with the callbacks.

    ``sent`` maps each genuine callback to its possible results. ``answered`` contains the callbacks that got a final
    reply. ``forged`` maps each forged callback to whether it got the reply for a genuine one.
    """
    receipts = list(receipts)
    by_digest: dict[bytes, list[Kept]] = {}
    for receipt in receipts:
        by_digest.setdefault(receipt.digest, []).append(receipt)
    proofs = Counter(
        receipt.event_id
        for receipt in receipts
        if receipt.result == "settled" and (receipt.method == STATUS_QUERY or receipt.digest in sent)
    )
    events = [note.id for note in audit.events if note.deed == "INSERT" and note.key in payments]
    return ReceiptFaults(
        accepted_without_receipt=sorted(_named(one) for one in answered if one not in by_digest),
        other_result=sorted(
            f"{_named(one)} {receipt.reason or receipt.result}"
            for one, results in sent.items()
            for receipt in by_digest.get(one, ())
            if (receipt.reason or receipt.result) not in results
        ),
        of_a_forgery=sorted(_named(one) for one in forged if one in by_digest),
        forgery_accepted=sorted(_named(one) for one, accepted in forged.items() if accepted),
        settled_without_proof=sorted(id_ for id_ in events if proofs[id_] != 1),
    )


def _named(one: bytes) -> str:
    return one.hex()[:16]
