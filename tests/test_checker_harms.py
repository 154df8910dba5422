"""Test that the checker finds each kind of harm. Each test injects one kind of harm."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from datetime import datetime

import pytest

from tests.checker import TOPIC_OF, Row, Verdict, judge, rows_of
from tests.checker import audit as audits
from tests.checker.archive import ArchiveFaults, all_rows, archived_rows, judge_archive
from tests.checker.audit import Audit, EventNote, PaymentNote
from tests.checker.growth import Sample, growth, sample
from tests.checker.leaks import leaks, leaks_of_the_server
from tests.checker.payments import PaymentFaults, judge_payments
from tests.checker.receipts import Kept, ReceiptFaults, judge_receipts
from tests.checker.runs import Replayed, RunFaults, judge_runs, replays_of
from tests.security.canaries import Canaries
from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone


def found(faults):
    """Return the names of the faults that were found."""
    return {field.name for field in fields(faults) if getattr(faults, field.name)}


# --- messages of a run with replays


def row(id_, second, event_type="PAYMENT_COMPLETED", run=None):
    """Return a published row of payment k."""
    at = NOON.replace(second=second)
    return Row(id_, "k", "payment", event_type, "{}", at, True, at, 0, None, [None, None, run])  # noqa: FBT003


def message(of, at, run=None):
    """Return a row's Kafka message. If a run is given, the message is a copy that this replay run sent."""
    headers = {name: value for name, value in of.headers.items() if name != "replayRunId"}
    headers |= {"replayRunId": run.encode()} if run else {}
    return Received(TOPIC_OF[of.event_type], 0, at, b"k", b"{}", tuple(headers.items()), timestamp=at)


FAILED, PAID = row("f", 1, "PAYMENT_FAILED", "r1"), row("p", 2)
SENT = [message(FAILED, 10), message(PAID, 20)]


@pytest.mark.parametrize(
    ("copy", "harms"),
    [
        (message(FAILED, 15, "r1"), {"duplicates"}),
        (message(PAID, 30, "r2"), {"duplicates", "altered"}),
        (message(FAILED, 15, "r2"), {"duplicates", "altered"}),
        (message(FAILED, 30, "r1"), {"duplicates", "superseded"}),
        (message(FAILED, 30), {"duplicates", "superseded", "overtaken"}),
    ],
    ids=["asked for", "of another run", "of an unknown run", "asked for but superseded", "late"],
)
def test_a_copy_that_no_replay_asked_for_is_seen(copy, harms):
    """The checker accepts a copy from a planned replay, but not a failed event after the completed event."""
    verdict = judge([FAILED, PAID], [*SENT, copy], replays={"r1": {"f"}}, payments={"k"})
    assert found(verdict) == harms


def test_order_and_superseded_events_of_other_payments_are_not_judged_by_state():
    """The checker accepts a replayed event after a later event if the checker does not know the payment's status."""
    assert found(judge([FAILED, PAID], [*SENT, message(FAILED, 30, "r1")], replays={"r1": {"f"}})) == {"duplicates"}
    assert judge([FAILED, PAID], SENT, replays={"r1": {"f"}}, payments={"k"}) == Verdict()


# --- payments

CHANGE = PaymentNote("1", "a", "PENDING", "COMPLETED", kept=True)
EVENT = EventNote("1", "INSERT", "e1", "a", "PAYMENT_COMPLETED", published=False)


@pytest.mark.parametrize(
    ("harm", "audit", "states"),
    [
        (set(), Audit([EVENT], [CHANGE]), {"a": "COMPLETED"}),
        ({"without_event"}, Audit([], [CHANGE]), {"a": "COMPLETED"}),
        ({"without_event"}, Audit([EVENT, replace(EVENT, id="e2")], [CHANGE]), {"a": "COMPLETED"}),
        ({"without_event"}, Audit([replace(EVENT, type="PAYMENT_FAILED")], [CHANGE]), {"a": "COMPLETED"}),
        ({"without_event", "without_change"}, Audit([replace(EVENT, tx="2")], [CHANGE]), {"a": "COMPLETED"}),
        ({"without_change"}, Audit([EVENT, replace(EVENT, tx="2", id="e2")], [CHANGE]), {"a": "COMPLETED"}),
        ({"altered"}, Audit([EVENT], [replace(CHANGE, kept=False)]), {"a": "COMPLETED"}),
        ({"wrong_state"}, Audit([EVENT], [CHANGE]), {"a": "FAILED"}),
        ({"wrong_state"}, Audit([], []), {"a": "PENDING"}),
        ({"wrong_state"}, Audit([], []), {}),
        (
            {"forbidden"},
            Audit(
                [EVENT, EventNote("2", "INSERT", "e2", "a", "PAYMENT_FAILED", published=False)],
                [CHANGE, PaymentNote("2", "a", "COMPLETED", "FAILED", kept=True)],
            ),
            {"a": "COMPLETED"},
        ),
    ],
    ids=[
        "sound", "no event", "two events", "other type", "other transaction", "event without a change",
        "other amount", "other state", "never settled", "no row", "completed left",
    ],
)  # fmt: skip
def test_the_checker_sees_each_harm_to_a_payment(harm, audit, states):
    """The checker finds a missing or repeated event, a forbidden change, another amount, and a wrong state (I1, I6)."""
    assert found(judge_payments(audit, states, {"a": "COMPLETED"})) == harm


# --- receipts

GOOD, BAD = b"\1" * 32, b"\2" * 32
RECEIPT = Kept(GOOD, "POST", "settled", None, "e1")


@pytest.mark.parametrize(
    ("harm", "receipts", "more"),
    [
        (set(), [RECEIPT], {}),
        (set(), [RECEIPT, replace(RECEIPT, result="already_settled", event_id=None)], {}),
        (set(), [replace(RECEIPT, digest=b"answer", method="RECONCILE")], {"answered": set()}),
        ({"accepted_without_receipt", "settled_without_proof"}, [], {}),
        ({"settled_without_proof"}, [RECEIPT, RECEIPT], {}),
        ({"settled_without_proof"}, [RECEIPT, replace(RECEIPT, digest=b"?")], {"sent": {}}),
        ({"other_result"}, [RECEIPT, replace(RECEIPT, result="refused", reason="wrong_amount")], {}),
        ({"of_a_forgery"}, [RECEIPT, Kept(BAD, "POST", "refused", "unreadable", None)], {}),
        ({"of_a_forgery"}, [RECEIPT, Kept(BAD, "POST", "settled", None, "e9")], {}),
        ({"forgery_accepted"}, [RECEIPT], {"forged": {BAD: True}}),
    ],
    ids=[
        "sound", "a duplicate", "by a query", "no receipt", "two settled it", "no genuine callback", "other result",
        "kept forgery", "settling forgery", "accepted forgery",
    ],
)  # fmt: skip
def test_the_checker_sees_each_harm_to_a_receipt(harm, receipts, more):
    """The checker finds an accepted callback without a receipt, a state without proof, and traces of a forgery (I7)."""
    given = {"sent": {GOOD: {"settled", "already_settled"}}, "answered": {GOOD}, "forged": {BAD: False}} | more
    assert found(judge_receipts(receipts, Audit([EVENT], [CHANGE]), {"a"}, **given)) == harm


# --- archive

GONE = EventNote("3", "DELETE", "f", "k", "PAYMENT_FAILED", published=True)
BORN = [EventNote("1", "INSERT", id_, "k", "PAYMENT_FAILED", published=False) for id_ in ("f", "p")]


@pytest.mark.parametrize(
    ("harm", "deleted", "remaining", "archived"),
    [
        (set(), [GONE], [PAID], [FAILED]),
        (set(), [], [FAILED, PAID], [FAILED]),
        ({"vanished"}, [], [PAID], []),
        ({"vanished", "deleted_unarchived"}, [GONE], [PAID], []),
        ({"deleted_unpublished"}, [replace(GONE, published=False)], [PAID], [FAILED]),
        ({"unknown"}, [GONE], [PAID], [FAILED, row("x", 9)]),
    ],
    ids=["sound", "archived, then rolled back", "vanished", "not archived", "not published", "made up"],
)
def test_the_checker_sees_each_harm_of_a_cleanup(harm, deleted, remaining, archived):
    """The checker finds rows that vanished, were deleted too early, or exist only in the archive.

    A row must not be deleted before its event is published and archived.
    """
    assert found(judge_archive(Audit([*BORN, *deleted], []), remaining, archived)) == harm


# --- runs

RUN = Replayed("r1", "done", ["a", "b"], ["b", "a"], 1, 1)


@pytest.mark.parametrize(
    ("harm", "status", "replay", "code"),
    [
        (set(), "done", RUN, 0),
        (set(), "incomplete", RUN, 10),
        ({"still_running"}, "running", RUN, 4),
        ({"other_status"}, "incomplete", RUN, 0),
        ({"not_resumed"}, "interrupted", replace(RUN, status="interrupted"), 4),
        ({"undecided"}, "done", replace(RUN, decided=["a"]), 0),
        ({"undecided"}, "done", replace(RUN, decided=["a", "b", "b"]), 0),
        ({"miscounted"}, "done", replace(RUN, counted=2), 0),
    ],
)
def test_the_checker_sees_each_harm_to_a_run(harm, status, replay, code):
    """The checker finds a wrong status, wrong counts, and a replay that is unfinished or lost a planned event (I12)."""
    assert found(judge_runs([{"id": "r1", "status": status}], [replay], {"r1": code})) == harm


# --- secrets and growth


def test_the_checker_sees_a_part_of_a_secret():
    """The checker reports six consecutive characters of a key in a log, with the names of the key and the log (I10)."""
    canaries = Canaries()
    key = canaries.letters("KEY")
    assert leaks(canaries, {"publisher": f"connecting with {key[3:9]}", "webhook": "settled"}) == {"publisher": ["KEY"]}
    assert leaks(canaries, {"publisher": b"settled " + key.encode()[:5]}) == {}


def test_the_server_s_log_may_have_account_numbers_and_no_key():
    """The checker allows account numbers in PostgreSQL's log, but not keys.

    PostgreSQL logs a failed statement together with the callback's bytes.
    """
    canaries = Canaries()
    account, key = canaries.number("account"), canaries.letters("KEY")
    assert leaks_of_the_server(canaries, f"STATEMENT: {account}".encode()) == {}
    assert leaks_of_the_server(canaries, f"STATEMENT: {key.encode().hex()}".encode()) == {"the server's log": ["KEY"]}


FLAT = [Sample(60.0 + n % 3, 20, 6, 9) for n in range(40)]


@pytest.mark.parametrize("leak", ["memory", "descriptors", "sockets", "threads"])
def test_the_checker_sees_each_kind_of_growth(leak):
    """The checker reports a value that grows with each sample.

    A value is allowed to vary, and to grow at first (I11).
    """
    growing = [one._replace(**{leak: getattr(one, leak) + n}) for n, one in enumerate(FLAT)]
    started = [one._replace(**{leak: 1}) if n < 8 else one for n, one in enumerate(FLAT)]
    assert (set(growth(growing)), growth(FLAT), growth(started)) == ({leak}, {}, {})
    assert growth(growing[:11]) == {}


def test_a_sample_counts_what_a_process_holds():
    """A process sample contains the process's memory, descriptors, sockets and threads.

    There is no sample for a process that has ended.
    """
    code = "import socket, sys; held = [socket.socket() for _ in range(7)]; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        taken = sample(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        while sample(process.pid) is not None:  # until the process is a zombie
            time.sleep(0.01)
    assert (taken.sockets, taken.descriptors, taken.threads) == (7, 10, 1)
    assert 1 < taken.memory < 200
    assert sample(process.pid) is None


# --- against a database


def test_the_audit_notes_what_payctl_does_not_record(engine, tmp_path):
    """The audit triggers record changes made by hand. The rows restored from an archive equal the deleted rows."""
    audits.install(engine)
    with engine.begin() as connection:
        payment = insert_payment(connection)
        insert_events(connection, 3, state="published")
    before = rows_of(engine)
    with engine.begin() as connection:
        lines = connection.exec_driver_sql("SELECT row_to_json(o)::text FROM outbox AS o").scalars().all()
        connection.exec_driver_sql("UPDATE payments SET status = 'FAILED'")
        connection.exec_driver_sql("""UPDATE payments SET "amountCents" = 1""")
        connection.exec_driver_sql("DELETE FROM outbox WHERE id = %(id)s", {"id": before[0].id})
    path = tmp_path / "archive.ndjson.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    noted, remaining, archived = audits.read(engine), rows_of(engine), archived_rows(engine, path)
    assert all_rows(remaining, archived) == before
    assert judge_archive(noted, remaining, archived) == ArchiveFaults()
    assert found(judge_archive(noted, remaining, [])) == {"vanished", "deleted_unarchived"}
    assert judge_payments(noted, {payment.id: "FAILED"}, {}) == PaymentFaults(
        without_event=[payment.id], altered=[payment.id]
    )


def test_a_replay_is_read_with_its_plan_and_its_items(engine):
    """The checker reads a replay's planned events, and the events with a recorded outcome, from the database."""
    with engine.begin() as connection:
        run = "11111111-1111-4111-8111-111111111111"
        connection.exec_driver_sql(
            """INSERT INTO payctl.runs (id, command, status, os_user, host, counts)
            VALUES (%s, 'replay', 'done', '', '', %s)""",
            (run, json.dumps({"requeued": 1})),
        )
        chunk = "INSERT INTO payctl.run_chunks VALUES (%s, 0, '{a,b}', '{}', '{}')"
        connection.exec_driver_sql(chunk, (run,))
        item = (
            "INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome) VALUES (%s, 0, 1, 'a', 'requeued')"
        )
        connection.exec_driver_sql(item, (run,))
    assert replays_of(engine) == [Replayed(run, "done", ["a", "b"], ["a"], 1, 1)]
    assert judge_runs([], replays_of(engine), {}) == RunFaults(undecided=[run])


def test_a_sound_set_of_receipts_has_no_fault():
    """Without callbacks and events, the checker does not report a fault."""
    assert judge_receipts([], Audit([], []), set(), sent={}, answered=set(), forged={}) == ReceiptFaults()
