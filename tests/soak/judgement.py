"""Check the result of a soak, and return a document that lists all failures under ``wrong``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.checker import judge, rows_of
from tests.checker.archive import all_rows, archived_rows, judge_archive
from tests.checker.audit import read
from tests.checker.leaks import leaks, leaks_of_the_server
from tests.checker.payments import judge_payments, states_of
from tests.checker.receipts import judge_receipts, receipts_of
from tests.checker.runs import judge_runs, replays_of
from tests.security.canaries import Canaries
from tests.soak.customers import Ledger
from tests.soak.samples import Sampler
from tests.soak.world import World
from tests.soak.writers import STRANGE
from ticketbottle_payctl.jobs.runs import list_runs
from ticketbottle_payctl.sandbox.kafka_messages import read_all

MOST_EXPLAINED = 5
"""The maximum number of out-of-order payments whose history is shown."""

MOST_SHOWN = 20
"""The maximum number of failures that are listed for each kind of failure."""

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")


@dataclass
class Times:
    """The measured recovery times in seconds, and their limits."""

    drained: float
    replayed: float
    drained_within: float
    replayed_within: float
    made_up: list[tuple[float, float]] = field(default_factory=list)
    """For each outage, the seconds until the backlog was published, and the extra seconds allowed for other faults."""


def judgement(
    world: World, ledger: Ledger, sampler: Sampler | None, canaries: Canaries, times: Times, *, by_the_broker: bool
) -> dict[str, Any]:
    """Compare the final state of the database and Kafka with all sent callbacks. Return the result document."""
    audit, states = read(world.engine), states_of(world.engine)
    remaining, archived = rows_of(world.engine), archived_rows(world.engine, world.home / "archive.ndjson.gz")
    rows = all_rows(remaining, archived)
    messages = read_all(world.broker.direct, TOPICS, timeout=300)
    replays, receipts = replays_of(world.engine), receipts_of(world.engine)
    shown = [
        {"id": run.id, "command": run.command, "status": run.status} for run in list_runs(world.engine, 10**6).runs
    ]
    exits = {run: code for operator in world.operators.values() for run, code in operator.exits.items()}
    asked = {replay.id: set(replay.planned) for replay in replays}
    verdict = judge(rows, messages, by_the_broker=by_the_broker, replays=asked, payments=states)
    found = asdict(verdict)
    duplicates = found.pop("duplicates")
    strange = {note.id for note in audit.events if note.type == STRANGE}
    odd = [*verdict.superseded, *verdict.reordered, *verdict.overtaken][:MOST_EXPLAINED]
    commands = {name: operator.unexpected for name, operator in world.operators.items()}
    wrong = {
        "messages": _faults(found),
        "payments": _faults(asdict(judge_payments(audit, states, ledger.reported))),
        "receipts": _faults(
            asdict(
                judge_receipts(
                    receipts, audit, states, sent=ledger.sent, answered=ledger.answered, forged=ledger.forged
                )
            )
        ),
        "archive": _faults(asdict(judge_archive(audit, remaining, archived))),
        "runs": _faults(asdict(judge_runs(shown, replays, exits))),
        "secrets": leaks(canaries, texts(world, rows, messages))
        | leaks_of_the_server(canaries, world.postgres.log.read_bytes()),
        "not published": [row.id for row in rows if row.state != "published"],
        "charged": [row.id for row in rows if row.id not in strange and (row.retry_count or row.last_error)],
        "too late": _late(times),
        "grown": sampler.grown() if sampler else {},
        "processes that ended by themselves": world.ended,
        "commands": {name: one for name, one in commands.items() if one},
    }
    return {
        "faults": world.faults(),
        "events": len(rows),
        "payments": len(states),
        "settled": sum(state != "PENDING" for state in states.values()),
        "callbacks": ledger.requests,
        "forgeries": len(ledger.forged),
        "receipts": len(receipts),
        "messages": len(messages),
        "duplicates": sum(duplicates.values()),
        "replayed": sum(replay.requeued for replay in replays),
        "archived": len(archived),
        "runs": len(shown),
        "drained_s": round(times.drained, 1),
        "replayed_s": round(times.replayed, 1),
        "made_up_s": [round(seconds, 1) for seconds, _ in times.made_up],
        "sessions": sampler.most_sessions if sampler else None,
        "last_sample": sampler.last() if sampler else None,
        "wrong": {name: _short(one) for name, one in wrong.items() if one},
        "evidence": {key: _history(key, rows, messages) for key in odd},
    }


def texts(world: World, rows: Collection[Any], messages: Collection[Any]) -> dict[str, str | bytes]:
    """Return all text that was logged, printed, stored in an event, or sent to the broker."""
    servers = {f"publisher {n}": server for n, server in enumerate(world.publishers)}
    servers |= {f"webhook {n}": webhook.server for n, webhook in enumerate(world.webhooks)}
    found: dict[str, str | bytes] = {name: server.log.read_bytes() for name, server in servers.items()}
    found |= {name: operator.log.read_bytes() for name, operator in world.operators.items() if operator.log.exists()}
    found["events"] = "\n".join(f"{row.value} {row.last_error or ''}" for row in rows)
    found["messages"] = b"\n".join(message.value + repr(message.headers).encode() for message in messages)
    with world.engine.connect() as connection:
        found["runs"] = "\n".join(connection.exec_driver_sql("SELECT r::text FROM payctl.runs AS r").scalars())
        found["items"] = "\n".join(connection.exec_driver_sql("SELECT i::text FROM payctl.run_items AS i").scalars())
    return found


def _history(key: str, rows: Collection[Any], messages: Collection[Any]) -> list[str]:
    """Explain a finding. Return a line for each event of the payment, and then one for each message, oldest first."""
    events = [
        f"event {row.id} {row.event_type} created {row.created_at} published {row.published_at} {row.last_error or ''}"
        for row in rows
        if row.key == key
    ]
    sent = sorted((message for message in messages if message.key == key.encode()), key=lambda one: one.timestamp)
    return events + [_sending(message) for message in sent]


def _sending(message: Any) -> str:
    at = datetime.fromtimestamp(message.timestamp / 1000, UTC)
    event_id, run = ((message.header.get(name) or b"").decode() for name in ("eventId", "replayRunId"))
    return f"sent {at:%H:%M:%S.%f} {event_id} {message.topic} {message.offset} replay {run}"


def _late(times: Times) -> list[str]:
    late = [f"drained after {times.drained:.0f} s"] if times.drained > times.drained_within else []
    late += [f"replayed after {times.replayed:.0f} s"] if times.replayed > times.replayed_within else []
    return late + [
        f"an outage's backlog published after {seconds:.0f} s, other faults allow {more:.0f} s more"
        for seconds, more in times.made_up
        if seconds > times.drained_within + more
    ]


def _faults(found: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(one) for name, one in found.items() if one}


def _short(found: Any) -> Any:
    """Return the first failures of a long list and their total number."""
    if isinstance(found, list) and len(found) > MOST_SHOWN:
        return [*found[:MOST_SHOWN], f"... {len(found)} in total"]
    return found
