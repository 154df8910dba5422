"""Test that ``payctl reconcile payments`` settles payments after a gateway's final response, with test gateways."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.cli.commands.reconcile.conftest import HOUR, RECONCILE, status_of
from tests.late_failure import insert_late_failure
from tests.stand_ins import KEYS, STATES
from ticketbottle_payctl.cli.commands.reconcile import payments
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.outbox import orders_at_risk
from ticketbottle_payctl.store.payments.overdue import count_forgotten

pytestmark = pytest.mark.postgres

ENDS = {"paid": "COMPLETED", "failed": "FAILED", "expired": "CANCELLED", "abandoned": "CANCELLED"}


@pytest.mark.parametrize(("gateway", "state"), [(name, state) for name in STATES for state in STATES[name]])
def test_only_a_final_answer_of_a_gateway_settles_a_payment(gateway, state, gateways, overdue, reconcile, engine):
    """After a gateway's final response, payctl writes one event and one receipt.

    Any other response leaves the payment unchanged, and the exit code is 0 only if the response says pending.
    """
    payment = overdue(gateway, state=state)
    document = reconcile("--yes")
    (item,) = document["items"]
    if state in ENDS:
        assert (document["exit_code"], item["outcome"]) == (0, "settled"), (item, document["error"], gateways.asked)
        assert status_of(engine, payment) == (ENDS[state], 1, 1)
    else:
        assert item["outcome"] is None, item
        assert status_of(engine, payment) == ("PENDING", 0, 0)
        assert (document["exit_code"] == 0) is (state == "pending"), item


@pytest.mark.parametrize(
    ("gateway", "state"), [(name, state) for name in STATES for state in STATES[name] if state in {"odd", "bare"}]
)
def test_an_undocumented_code_needs_manual_review(gateway, state, overdue, reconcile, engine):
    """If the code in a gateway's response is unknown or missing, payctl settles nothing and warns about the order.

    `reconcile payments` does not mark the payment as FAILED, because that would release the tickets.
    """
    payment = overdue(gateway, state=state)
    document = reconcile("--yes")
    assert (document["items"][0]["says"], document["counts"]["for_a_person"]) == ("unknown_state", 1)
    assert document["exit_code"] == 6
    assert payment.order_code in document["warnings"][0]
    assert status_of(engine, payment) == ("PENDING", 0, 0)


@pytest.mark.parametrize(
    ("changes", "age"),
    [
        ({}, timedelta(minutes=40)),
        ({"is_processing": True}, 5 * HOUR),
        ({"is_processing": None}, 5 * HOUR),
        ({"sub_return_code": -500}, 5 * HOUR),
    ],
)
def test_an_unpaid_zalopay_order_is_pending_while_it_may_be_paid(changes, age, gateways, overdue, reconcile):
    """An unpaid ZaloPay order stays PENDING for an hour, or longer if the customer is still paying."""
    overdue("zalopay", state="abandoned", age=age)
    gateways.tamper = lambda it: it.update(changes)
    document = reconcile("-n")
    assert document["items"][0]["says"] in {"pending", "busy"}
    assert document["counts"]["to_settle"] == 0


def test_a_dry_run_of_reconcile_payments_changes_nothing(gateways, overdue, reconcile, engine):
    """`reconcile payments -n` queries the gateway, shows the plan and changes nothing."""
    payment = overdue(state="paid")
    document = reconcile("-n")
    assert (document["exit_code"], document["dry_run"], document["counts"]["to_settle"]) == (0, True, 1)
    assert gateways.asked == [("momo", payment.reference)]
    assert status_of(engine, payment) == ("PENDING", 0, 0)


def test_a_dry_run_of_reconcile_payments_names_the_command_that_applies_it(
    gateways, overdue, invoke, database_url, engine
):
    """After a dry run, `reconcile payments` suggests a command that works, or no command if nothing can be settled."""
    payment = overdue(state="paid")
    world = {"DATABASE_URL": database_url, **gateways.environment}
    typed = (*RECONCILE, "--provider", "momo", "--rate", "1000/s")
    lines = invoke(*typed, "-n", **world).stdout.splitlines()
    assert lines[-2] == "dry run:  the gateways were asked; nothing was changed. To apply it:"
    assert lines[-1] == "  payctl reconcile payments --provider momo --rate 1000/s"
    assert invoke(*lines[-1].split()[1:], "-y", **world).exit_code == 0
    assert status_of(engine, payment)[0] == "COMPLETED"
    overdue(reference="order-2")
    last = invoke(*typed, "-n", **world).stdout.splitlines()[-1]
    assert last == "dry run:  the gateways were asked; nothing was changed"


def test_a_limit_that_leaves_payments_out_is_a_warning(overdue, reconcile, gateways, invoke, database_url):
    """If more payments are overdue than `--limit` allows, the command warns that the oldest were not queried.

    The exit code is 6.
    """
    overdue(reference="order-1", age=2 * HOUR)
    newest = overdue(reference="order-2", age=HOUR)
    document = reconcile("-n", "--limit", "2")
    assert (document["exit_code"], document["warnings"], len(gateways.asked)) == (0, [], 2)
    document = reconcile("-n", "--limit", "1")
    assert document["warnings"] == [
        "more payments are overdue than --limit allows; the oldest were not queried: raise --limit"
    ]
    assert (document["exit_code"], document["truncated"]) == (6, True)
    assert gateways.asked[2:] == [("momo", newest.reference)]
    result = invoke(*RECONCILE, "-n", "--limit", "1", DATABASE_URL=database_url, **gateways.environment)
    assert (result.exit_code, result.stdout[:12]) == (6, "!  1 payment")
    assert "the oldest were not queried" in result.stderr


def test_no_bar_is_drawn_if_no_payment_is_overdue(gateways, database_url, terminal):
    """If no payment is overdue, `reconcile payments` does not draw a progress bar."""
    with terminal(*RECONCILE, DATABASE_URL=database_url, **gateways.environment) as it:
        assert it.finish() == 0
        assert b"asking" not in it.sent
        assert it.text().startswith("✔  no payment is overdue")


@pytest.mark.parametrize(
    ("state", "options", "first"),
    [
        ("paid", ["-n"], "!  1 payment"),
        ("pending", ["-n"], "✔  1 payment"),
        ("pending", [], "✔  1 payment"),
        ("paid", ["--yes"], "Plan  settle 1 payment"),
    ],
    ids=["dry run", "idle dry run", "nothing to settle", "settles"],
)
def test_the_target_s_line_is_below_the_first_line_of_the_plan_or_the_answer(
    overdue, invoke, database_url, gateways, state, options, first
):
    """`reconcile payments` prints the target line below the first line of its plan or its result."""
    overdue(state=state)
    shown = invoke(*RECONCILE, *options, DATABASE_URL=database_url, **gateways.environment).output
    assert shown.startswith(first), shown
    assert shown.splitlines()[1].startswith("profile none"), shown
    assert shown.count("profile none") == 1


def test_reconcile_payments_settles_nothing_without_a_yes(overdue, reconcile, engine):
    """Without --yes and without a terminal, `reconcile payments` exits with 7 and settles nothing."""
    payment = overdue(state="paid")
    assert reconcile()["exit_code"] == 7
    assert status_of(engine, payment) == ("PENDING", 0, 0)


def test_reconcile_payments_begins_with_what_it_did(gateways, overdue, invoke, database_url):
    """The first line of `reconcile payments` shows the mark and the counts.

    The output ends by suggesting `payctl publish-outbox`.
    """
    overdue("momo", state="paid")
    environment = {"DATABASE_URL": database_url, **gateways.environment}
    planned = invoke(*RECONCILE, "-n", **environment).stdout.splitlines()
    assert planned[0] == "!  1 payment  1 to settle"
    done = invoke(*RECONCILE, "-y", **environment).stdout.splitlines()
    assert (done[0], done[-1]) == ("✔  1 payment  1 settled", "if no publisher runs\tpayctl publish-outbox")


def test_reconcile_payments_advises_a_dry_run_while_a_failure_is_pending(
    gateways, overdue, invoke, database_url, engine
):
    """While a failure event of a paid order is pending, the output says what to do before anything is published."""
    overdue("momo", state="paid")
    with engine.begin() as connection:
        late = insert_late_failure(connection)
    done = invoke(*RECONCILE, "-y", DATABASE_URL=database_url, **gateways.environment).stdout.splitlines()
    first = f"before publishing\tstop all publishers, because the pending failure event of the paid order {late}"
    assert (done[-2].startswith(first), done[-1]) == (True, "dry run\tpayctl publish-outbox -n")


def test_reconcile_payments_does_not_search_for_late_failures_if_it_settled_nothing(
    gateways, overdue, invoke, database_url, engine, monkeypatch
):
    """If another session settled the payment first, no event was written, so payctl does not look for late failures."""
    overdue("momo", state="paid")
    searches = []
    search = orders_at_risk.known_late_failures
    monkeypatch.setattr(orders_at_risk, "known_late_failures", lambda *given: searches.append(1) or search(*given))
    settle = payments.settle_findings

    def settle_too_late(*given, **named):
        with engine.begin() as connection:
            connection.exec_driver_sql('UPDATE payments SET status = \'COMPLETED\', "completedAt" = "createdAt"')
        return settle(*given, **named)

    monkeypatch.setattr(payments, "settle_findings", settle_too_late)
    done = invoke(*RECONCILE, "-y", DATABASE_URL=database_url, **gateways.environment)
    assert done.stdout.splitlines()[0] == "!  1 payment  1 skipped"
    assert ("publish-outbox" in done.stdout, searches) == (False, [])


def test_reconcile_payments_records_its_run(overdue, reconcile, engine):
    """`reconcile payments` records the operator's reason, and each payment's values before and after the run."""
    payment = overdue(state="paid")
    document = reconcile("--yes", "--reason", "lost callback")
    with engine.connect() as connection:
        run = connection.execute(text("SELECT id::text, command, status, reason FROM payctl.runs")).one()
        item = connection.execute(text("SELECT item_id, outcome, before, after FROM payctl.run_items")).one()
    assert run == (document["run_id"], "reconcile payments", "done", "lost callback")
    assert item[:3] == (payment.id, "settled", {"status": "PENDING"})
    assert item[3]["status"] == "COMPLETED"


def test_reconcile_payments_asks_only_about_overdue_payments(gateways, overdue, reconcile):
    """`reconcile payments` asks only the chosen gateways, and only about overdue payments."""
    overdue(reference="young", age=timedelta(minutes=19))
    overdue(reference="ended", status="FAILED")
    overdue("vnpay", reference="vnpay-1")
    overdue(reference="momo-1")
    overdue("zalopay", reference="261120_old", age=timedelta(hours=49))
    assert {item["order_code"] for item in reconcile("-n", "--provider", "momo")["items"]} == {"TB-momo-1"}
    says = {item["order_code"]: item["says"] for item in reconcile("-n")["items"]}
    assert says == {"TB-momo-1": "pending", "TB-vnpay-1": "pending"}
    assert "261120_old" not in {reference for _, reference in gateways.asked}


def test_payments_too_old_for_zalopay_are_only_counted(overdue, reconcile, invoke, database_url, gateways):
    """`reconcile payments` only counts orders that are too old for ZaloPay's status query, and exits with 6."""
    for number in range(3):
        overdue("zalopay", reference=f"old-{number}", age=timedelta(hours=49))
    overdue("momo", reference="momo-old", age=timedelta(hours=49))
    document = reconcile("--yes")
    assert (document["exit_code"], document["warnings"], document["counts"]["too_old"]) == (6, [], 3)
    assert [item["order_code"] for item in document["items"]] == ["TB-momo-old"]
    assert reconcile("-n", "--provider", "momo")["counts"]["too_old"] == 0
    spoken = invoke(*RECONCILE, "-n", DATABASE_URL=database_url, **gateways.environment).stdout
    assert (spoken[0], spoken.count("3 older payments")) == ("!", 1)
    named = reconcile("TB-old-1")
    assert (named["exit_code"], named["items"][0]["says"], named["counts"]["for_a_person"]) == (6, "too_old", 1)
    assert named["items"][0]["detail"] == "the gateway answers queries about a payment for only 48 hours"


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["run", "dry run"])
def test_the_screen_says_once_that_a_payment_is_too_old(overdue, terminal, database_url, gateways, options):
    """For a payment that is too old for a query, the screen says each fact once, and then what to do."""
    overdue("zalopay", reference="old-1", age=timedelta(hours=49))
    with terminal(*RECONCILE, "TB-old-1", *options, DATABASE_URL=database_url, **gateways.environment) as it:
        assert it.finish() == 6
        text = it.text()
    assert [text.count(words) for words in ("too old", "manual", "48 hours", "portal")] == [2, 1, 1, 1]
    assert "\ntoo old:  the gateway answers queries about a payment for only 48 hours\n" in text
    assert ("warning" in text, "too_old" in text) == (False, False)


def test_more_payments_that_zalopay_has_forgotten_than_are_counted(
    overdue, invoke, database_url, gateways, monkeypatch
):
    """If more payments are too old for a query than payctl counts, the screen says `at least`."""
    monkeypatch.setattr(count_forgotten, "__defaults__", (2,))
    for number in range(3):
        overdue("zalopay", reference=f"old-{number}", age=timedelta(hours=49))
    first = invoke(*RECONCILE, "-n", DATABASE_URL=database_url, **gateways.environment).stdout
    overdue("momo", reference="momo-old", age=timedelta(hours=49))
    below = invoke(*RECONCILE, "-n", DATABASE_URL=database_url, **gateways.environment).stdout
    assert first.startswith("!  at least 2 payments  too old to ask the gateway about\n")
    assert "\nat least 2 older payments still PENDING, too old to ask the gateway about\n" in below


def test_reconcile_payments_asks_about_a_named_payment_in_any_state(overdue, reconcile, engine):
    """`reconcile payments` asks about a given payment in any state, and exits with 8 for an unknown payment."""
    payment = overdue(status="CANCELLED", age=timedelta(0), state="paid")
    document = reconcile(payment.order_code, "--yes")
    assert document["items"][0]["status_after"] == "COMPLETED"
    assert "after the payment failed or was cancelled" in document["warnings"][0]
    assert status_of(engine, payment)[0] == "COMPLETED"
    assert reconcile("no-such-order")["exit_code"] == 8


def test_reconcile_does_not_settle_a_payment_that_a_callback_has_settled(gateways, overdue, reconcile, engine):
    """`reconcile payments` does not settle a payment again if a callback settled it during the query."""
    payment = overdue(state="paid")

    def meanwhile(_):
        with engine.begin() as connection:
            connection.execute(text("UPDATE payments SET status = 'COMPLETED' WHERE id = :id"), {"id": payment.id})

    gateways.tamper = meanwhile
    document = reconcile("--yes")
    assert (document["exit_code"], document["items"][0]["reason"]) == (6, "already_settled")
    assert status_of(engine, payment) == ("COMPLETED", 0, 0)


def test_an_unavailable_gateway_is_skipped_after_three_payments(overdue, reconcile):
    """After three payments without a response from a gateway, `reconcile payments` queries only the other gateways."""
    for number in range(6):
        overdue("vnpay", reference=f"vnpay-{number}")
    overdue("momo", reference="momo-1", age=2 * HOUR)
    document = reconcile("-n", PAYCTL_VNPAY_URL="http://127.0.0.1:1")
    says = [item["says"] for item in document["items"]]
    assert says == ["unreachable"] * 6 + ["pending"]
    assert sum("in a row" in item["detail"] for item in document["items"][:6]) == 3
    assert document["exit_code"] == 6


@pytest.mark.parametrize(
    "url", ["http://gateway.example", "ftp://x", "https://user:secret@x", "nonsense", "https://x/?a=b"]
)
def test_a_gateway_url_needs_tls(url, reconcile):
    """`payctl` accepts a gateway URL without TLS only on the local machine. The error does not show the password."""
    document = reconcile("-n", PAYCTL_MOMO_URL=url)
    assert document["exit_code"] == 3
    assert "PAYCTL_MOMO_URL" in document["error"]["message"]
    assert "secret" not in str(document)


def test_reconcile_payments_shows_no_key_and_no_signature(gateways, overdue, invoke, database_url):
    """Even with -vv, `reconcile payments` does not print keys or account numbers."""
    overdue("payos", state="paid")
    result = invoke(*RECONCILE, "--yes", "-vv", DATABASE_URL=database_url, **gateways.environment)
    assert result.exit_code == 0, result.stderr
    secret = {field.env for gateway in GATEWAYS.values() for field in gateway.fields if field.secret}
    assert [name for name, value in KEYS.items() if name in secret and value in result.stdout + result.stderr] == []
    assert "0071" not in result.stdout + result.stderr


def test_a_running_reconcile_cannot_be_cancelled(started, answer, database_url, gateways, overdue, engine):
    """`payctl runs cancel` exits with 7 for a running reconcile, which would not notice the cancellation."""
    payment = overdue(state="paid")

    def run():
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT id::text, status FROM payctl.runs").one_or_none()

    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("SELECT id FROM payments FOR UPDATE")
        process = started(*RECONCILE, "-y", DATABASE_URL=database_url, **gateways.environment)
        wait_until(run, what="the run to be recorded", timeout=20)
        refused = answer("runs", "cancel", run()[0], DATABASE_URL=database_url)
    assert (refused["exit_code"], process.wait(20)) == (7, 0)
    assert (run()[1], status_of(engine, payment)[0]) == ("done", "COMPLETED")


def test_a_locked_payment_is_skipped_and_the_next_step_names_the_doctor(
    overdue, invoke, database_url, gateways, engine
):
    """If a lock on the outbox keeps a payment from being settled, the next step is the check that shows the holder."""
    overdue(state="paid")
    with engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE outbox IN SHARE MODE")
        ran = invoke(*RECONCILE, "--yes", DATABASE_URL=database_url, **gateways.environment)
    assert (ran.exit_code, "skipped: locked" in ran.stdout) == (6, True)
    assert ran.stdout.splitlines()[-1].strip() == "payctl doctor --only backlog"


def test_the_sql_of_the_next_step_lists_the_session_that_locked_a_payment(
    overdue, invoke, database_url, gateways, engine
):
    """If a lock on a payment's row prevents the settlement, the SQL in the next step lists that lock's session."""
    overdue(state="paid")
    with engine.connect() as holder, engine.connect() as operator:
        holder.exec_driver_sql("SELECT id FROM payments FOR UPDATE")
        ran = invoke(*RECONCILE, "--yes", DATABASE_URL=database_url, **gateways.environment)
        (sql,) = [line.strip() for line in ran.stdout.splitlines() if "SELECT" in line]
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert [row[0] for row in operator.exec_driver_sql(sql)] == [pid]
    assert "skipped: locked" in ran.stdout
