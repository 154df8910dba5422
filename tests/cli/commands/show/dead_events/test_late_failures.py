"""Test that every overview names a paid order whose failure event is sent, or will be sent, after the success."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR, WHY
from tests.cli.documents import validate

pytestmark = pytest.mark.postgres
FAILED = {"ended": {"FAILED": 2 * HOUR}}


@pytest.fixture
def late(orders):
    """Insert a paid order whose success was sent and whose earlier failure is pending. Return the failure's id."""
    orders.pay("COMPLETED", age=3 * HOUR, **FAILED).event("FAILED", age=2 * HOUR, retries=1, error="TIMED_OUT: no")
    orders.event(state="published", age=HOUR)
    return orders.events[0]


@pytest.fixture
def causes(ask):
    """Return a function that returns the facts of `stats` and `doctor` about pending failures of paid orders."""

    def read():
        stats = [each["fact"] for each in ask("stats")["result"]["causes"] if each["cause"] == "late_failure"]
        doctor = [each for each in ask("doctor", "--only", "backlog")["items"] if "take the tickets" in each["fact"]]
        assert all(each["status"] == "fail" for each in doctor)
        assert [each["fact"] for each in doctor] == stats
        return stats

    return read


def test_every_screen_names_a_failure_that_a_publisher_will_send_after_the_success(
    late, orders, ask, causes, execute, close
):
    """`stats`, `doctor`, `report` and `show` name the order, and give the SQL that makes the event dead.

    After this SQL, no publisher sends the event, even with a larger OUTBOX_MAX_RETRIES, and a person can close it.
    """
    named = f"{orders.name} ({late[:8]})"
    assert causes() == [f"1 pending failure event would take the tickets of a paid order: {named}"]
    report = ask("report")
    verdict = report["result"]["verdict"]
    assert verdict.startswith(
        "1 pending failure event would take the tickets of a paid order; payctl stats says what to do. "
    )
    assert "No customer" not in verdict
    assert [each["value"] for each in report["items"] if each["name"] == "late_failures"] == [1]
    shown = ask("show", orders.name)
    finding = shown["result"]["verdict"]
    assert (shown["exit_code"], finding["kind"], finding["event_id"]) == (5, "late_failure", late)
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "late_failure"]
    assert (cause["command"], cause["sql"] in finding["todo"]) == (None, True)
    execute(cause["sql"])
    assert causes() == []
    assert ask("list", "outbox", late, OUTBOX_MAX_RETRIES="1000")["items"][0]["state"] == "dead"
    assert close(late)["counts"] == {"closed": 1}
    assert ask("show", orders.name)["exit_code"] == 0


def test_a_publisher_sends_a_dead_failure_after_the_success_if_the_retry_limit_is_raised(
    orders, ask, causes, mock_kafka
):
    """A released success passes its dead failure. A larger OUTBOX_MAX_RETRIES makes the failure pending again.

    The publisher then sends the failure, because it never leaves an event out. Before that, `stats` names the order,
    and afterwards `show`, `report` and `doctor` do.
    """
    kafka, more = {"KAFKA_BROKERS": mock_kafka.bootstrap}, {"OUTBOX_MAX_RETRIES": "9"}
    orders.pay("COMPLETED", age=3 * HOUR, **FAILED).event("FAILED", "dead", age=2 * HOUR, error="TIMED_OUT: no")
    orders.event(age=HOUR)
    assert ask("publish-outbox", "--on-dead", "release", **kafka)["counts"]["published"] == 1
    assert causes() == []
    found = ask("stats", **more)["result"]["causes"]
    assert [each["cause"] for each in found].count("late_failure") == 1
    assert ask("publish-outbox", **kafka, **more)["counts"]["published"] == 1
    assert ask("show", orders.name)["result"]["verdict"]["kind"] == "released_after_success"
    (order,) = ask("report")["result"]["money_orders"]
    assert (order["order_code"], order["why"]) == (orders.name, "released_after_success")
    (finding,) = ask("doctor", "--only", "callbacks")["items"]
    assert (finding["status"], "1 released_after_success" in finding["fact"]) == ("warn", True)
    assert finding["command"] == f"payctl show {orders.name}"


def test_a_dry_run_does_not_advise_to_send_a_failure_after_the_success(late, orders, invoke, database_url):
    """`publish-outbox -n` names the order, and suggests `payctl stats` instead of the command that publishes."""
    risk = f"1 pending failure event would take the tickets of a paid order: {orders.name} ({late[:8]})"
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", DATABASE_URL=database_url).stdout)
    validate(document, "publish-outbox")
    assert document["warnings"] == [risk]
    shown = invoke("publish-outbox", "-n", DATABASE_URL=database_url).stdout.splitlines()
    assert shown[-2:] == ["dry run:  nothing was changed. Before you publish:", "  payctl stats"]


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("blocked", [False, True])
def test_a_run_says_that_it_sent_a_failure_after_the_success(orders, invoke, database_url, mock_kafka, blocked):
    """If `publish-outbox` sends a late failure event, it names the order and exits with 6. A blocked event waits."""
    if blocked:
        orders.event("CANCELLED", "dead", age=3 * HOUR)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    ran = invoke("publish-outbox", "-o", "json", **places)
    warnings = json.loads(ran.stdout)["warnings"]
    risk = "before this run, 1 pending failure event would take the tickets of a paid order"
    ask = "ask the team of the order service whether the order still has its tickets"
    then = f"even if payctl sends a success event later; look at the order: `payctl show {orders.name}`"
    said = f"{risk}, and the run sent failure events; {ask}, {then}"
    assert (ran.exit_code, said in warnings) == (6, not blocked)


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("last", [None, ("host:7:abc", 600), ("host:7:abc ended", 30)])
def test_no_screen_advises_to_publish_while_a_failure_would_be_sent_after_the_success(ask, execute, last):
    """`stats` and `doctor` advise a dry run instead, whatever they know about publishers."""
    if last:
        values = f"1000, '{last[0]}', clock_timestamp() - interval '{last[1]} s'"
        execute(f"INSERT INTO payctl.publishers VALUES ({values})")  # noqa: S608
    advised = [each["command"] for each in ask("stats")["result"]["causes"]]
    advised += [each["command"] for each in ask("doctor", "--only", "publishers", "--only", "backlog")["items"]]
    publishing = {each for each in advised if each and each.startswith("payctl publish-outbox")}
    assert publishing == {"payctl publish-outbox -n"}


RELEASE = "payctl publish-outbox --on-dead release -n"
STOP = "stop all publishers, because the pending failure event of the paid order"


@pytest.fixture
def waiting(late, orders):
    """Return a function that inserts a paid order whose success event waits. Return the other order's name.

    If ``blocked`` is true, the success event waits behind a superseded failure event.
    """

    def insert(*, blocked, retries=0, age=HOUR, paid=3 * HOUR, **more):
        other = f"{orders.name} ({late[:8]})"
        orders.pay("COMPLETED", age=paid, **more)
        if blocked:
            orders.event("FAILED", "dead", age=2 * HOUR, error="TIMED_OUT: no")
        orders.event(age=age, retries=retries)
        return other

    return insert


@pytest.mark.parametrize(("retries", "age"), [(0, HOUR), (2, HOUR), (0, timedelta(seconds=2))])
def test_show_advises_a_dry_run_while_the_failure_of_another_order_is_pending(orders, ask, waiting, retries, age):
    """`show` names the other order, and says to stop all publishers before the dry run."""
    other = waiting(blocked=False, retries=retries, age=age)
    advised = [each for each in ask("show", orders.name)["result"]["next"] if "publish-outbox" in each["command"]]
    assert [each["command"] for each in advised] == ["payctl publish-outbox -n"]
    assert advised[0]["why"].startswith(f"{STOP} {other} would take the order's tickets. ")


def test_show_still_says_never_to_replay_a_superseded_event_while_a_failure_is_pending(orders, ask, waiting):
    """The dry run has `--on-dead release`. The reason says not to replay the dead event, and names the other order."""
    other = waiting(blocked=True)
    (advised,) = ask("show", orders.name)["result"]["next"]
    assert advised["command"] == RELEASE
    skip = (
        f"skip the dead PAYMENT_FAILED {orders.events[-2][:8]}; never replay it: the customer would lose their tickets"
    )
    assert advised["why"].startswith(f"{skip}. First {STOP} {other}")


def test_errors_labels_the_dry_run_of_a_release_and_warns_while_a_failure_is_pending(
    ask, invoke, waiting, database_url
):
    """`errors` does not call a dry run a release. A warning names the order whose failure event is pending."""
    other = waiting(blocked=True)
    document = ask("errors")
    (group,) = [each for each in document["items"] if each["blocking"]]
    (warning,) = document["warnings"]
    assert (group["release"], document["exit_code"]) == (RELEASE, 0)
    assert warning.startswith(f"before you release the events behind a dead event, {STOP} {other}")
    assert warning.endswith(f": `{RELEASE}`")
    lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
    assert f"dry run\t{RELEASE}" in lines
    assert not [each for each in lines if each.startswith(("then\t", "release\t"))]


@pytest.mark.parametrize("blocked", [False, True])
def test_close_advises_a_dry_run_and_to_check_again_while_a_failure_is_pending(orders, ask, waiting, blocked):
    """A dry run sends nothing, so the hint does not ask whether the order has its tickets."""
    other = waiting(blocked=blocked, paid=HOUR, ended={"CANCELLED": 2 * HOUR})
    orders.callback(age=HOUR)
    hint = ask("close", orders.name, "-y", "--reason", WHY)["error"]["hint"]
    command = RELEASE if blocked else "payctl publish-outbox -n"
    assert f"{STOP} {other}" in hint
    assert hint.endswith(f": `{command}`, then check the order again: `payctl show {orders.name}`")


@pytest.mark.parametrize("options", [["-n"], ["-y"]])
def test_replay_of_a_superseded_event_advises_the_dry_run_of_the_release(orders, ask, waiting, options):
    """The warning about a superseded event names the order whose failure event is pending."""
    other = waiting(blocked=True)
    (warning,) = ask("replay", orders.events[-2], *options)["warnings"]
    assert f"only --on-dead release sends the success event. Before the release, {STOP} {other}" in warning
    assert warning.endswith(f": `{RELEASE}`")


def test_replay_of_a_pending_event_advises_a_dry_run(orders, invoke, waiting, database_url):
    """If the named event is pending, `replay` says what to do before anything is published."""
    other = waiting(blocked=False)
    lines = invoke("replay", orders.events[-1], DATABASE_URL=database_url).stdout.splitlines()
    assert lines[0] == "✔  nothing to do: 1 event is already pending"
    assert lines[1].startswith(f"before publishing\t{STOP} {other}")
    assert lines[2] == "dry run\tpayctl publish-outbox -n"
    assert not [each for each in lines if each.startswith("if no publisher runs")]


# how to insert the order: whether a publisher will send a failure after the success
NOT_LATE = {
    "the success waits behind the failure": lambda o: o.pay("COMPLETED").event("FAILED", age=HOUR).event(age=HOUR / 2),
    "the success behind the failure is dead": lambda o: (
        o.pay("COMPLETED").event("FAILED", age=HOUR).event(state="dead", age=HOUR / 2)
    ),
    "the payment failed": lambda o: o.pay("FAILED").event("FAILED"),
    "the order service does not read cancellations": lambda o: (
        o.pay("COMPLETED").event("CANCELLED", age=HOUR).event(state="published")
    ),
    "the failure is dead": lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=HOUR).event(state="published"),
    "the success waits alone": lambda o: o.pay("COMPLETED").event(),
}


@pytest.mark.parametrize("name", NOT_LATE)
def test_no_screen_warns_about_a_failure_that_is_sent_before_the_success(name, orders, causes, ask):
    """A failure event is in order if a success event of its payment waits behind it."""
    NOT_LATE[name](orders)
    assert causes() == []
    assert "take the tickets" not in ask("report")["result"]["verdict"]
    found = ask("show", orders.name)["result"]
    assert "late_failure" not in [each["kind"] for each in (found["verdict"], *found["also"])]


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("age", [HOUR, 3 * HOUR])
def test_stats_says_that_a_dead_event_blocks_the_failure(orders, ask, age):
    """A late failure event waits behind an earlier dead event of its payment, but not behind a later one."""
    orders.event("CANCELLED", "dead", age=age)
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "late_failure"]
    assert ("; a dead event blocks it" in cause["meaning"]) is (age > 2 * HOUR)


def test_two_late_failures_are_counted_and_the_oldest_is_named(late, orders, causes):
    """If several failures would be sent after a success, the overviews count them and name the oldest."""
    first = orders.name
    orders.pay("COMPLETED").event("FAILED", age=HOUR)
    said = "2 pending failure events would take the tickets of paid orders; the oldest is"
    assert causes() == [f"{said} {first} ({late[:8]})"]


SENT = """UPDATE outbox SET "publishedAt" = now() AT TIME ZONE 'UTC' - interval '{}' WHERE "eventType" = '{}'"""


@pytest.fixture
def released(orders, execute):
    """Insert a paid order whose earlier failure was sent after its success."""
    orders.pay("COMPLETED", age=3 * HOUR, ended={"FAILED": 2 * HOUR, "COMPLETED": HOUR})
    orders.event("FAILED", "published", age=2 * HOUR).event(state="published", age=HOUR)
    execute(SENT.format("30 minutes", "PAYMENT_FAILED"))


@pytest.fixture
def listed(ask, orders):
    """Return a function that says which of `show`, `report` and `doctor` have a finding about a sent failure."""

    def read(kind="released_after_success"):
        shown = ask("show", orders.name)["result"]
        marks = {each["kind"]: each["mark"] for each in (shown["verdict"], *shown["also"])}
        return (
            marks.get(kind) == "bad",
            kind in [each["why"] for each in ask("report")["result"]["money_orders"]],
            kind in ask("doctor", "--only", "callbacks")["items"][0]["fact"],
        )

    return read


@pytest.mark.usefixtures("released")
def test_the_overviews_name_an_order_whose_failure_was_sent_after_the_success_until_it_is_closed(
    orders, ask, listed, execute
):
    """`report` and `doctor` name the order as `show` does, until a person closes it. A later failure opens it again."""
    assert listed() == (True, True, True)
    assert ask("close", orders.name, "-y", "--reason", WHY)["counts"] == {"closed": 2}  # also the late money
    assert listed() == (False, False, False)
    execute(SENT.format("-1 second", "PAYMENT_FAILED"))
    assert listed()[0] is True


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    "change",
    [
        SENT.format("90 minutes", "PAYMENT_FAILED"),
        "UPDATE payments SET status = 'FAILED'",
        """UPDATE outbox SET published = false, "publishedAt" = NULL WHERE "eventType" = 'PAYMENT_COMPLETED'""",
    ],
)
def test_the_overviews_name_no_order_whose_failure_was_sent_first(change, listed, execute):
    """An order is not named if its failure was sent before the success, or if no success was sent."""
    execute(change)
    assert listed() == (False, False, False)


@pytest.fixture
def refused(orders, execute):
    """Insert a paid order whose later failure was sent before its success."""
    orders.pay("COMPLETED", age=3 * HOUR, ended={"COMPLETED": 2 * HOUR, "FAILED": HOUR})
    orders.event(state="published", age=2 * HOUR).event("FAILED", "published", age=HOUR)
    execute(SENT.format("30 minutes", "PAYMENT_COMPLETED"))


@pytest.mark.usefixtures("refused")
def test_the_overviews_name_an_order_whose_failure_was_sent_before_the_success_until_it_is_closed(
    orders, ask, listed, execute, invoke, database_url
):
    """The order service refuses the success of a failed order, so `show` does not call the order done."""
    assert listed("failed_before_success") == (True, True, True)
    found = ask("show", orders.name)["result"]["verdict"]
    assert found["text"] == (
        "NO TICKET: PAYMENT_FAILED was published before the success, so the order service may have refused the"
        " success 30 min ago"
    )
    assert found["todo"] == "ask the team of the order service whether the order has its tickets"
    said = " ".join(invoke("report", DATABASE_URL=database_url).stdout.split())
    assert "after its failure, so the order service may have refused it" in said
    assert ask("close", orders.name, "-y", "--reason", WHY)["counts"] == {"closed": 1}
    assert listed("failed_before_success") == (False, False, False)
    execute(SENT.format("-1 second", "PAYMENT_COMPLETED"))
    assert listed("failed_before_success") == (True, False, False)  # the overviews' window ends now


NOT_REFUSED = {
    "the payment failed before it was completed": """UPDATE payments SET "failedAt" = "completedAt" - interval '1 s'""",
    "the payment is not completed": "UPDATE payments SET status = 'FAILED'",
    "the failure was not sent": """UPDATE outbox SET published = false, "publishedAt" = NULL
        WHERE "eventType" = 'PAYMENT_FAILED'""",
    "the success was not sent": """UPDATE outbox SET published = false, "publishedAt" = NULL
        WHERE "eventType" = 'PAYMENT_COMPLETED'""",
    "the failure was a cancellation": """UPDATE outbox SET "eventType" = 'PAYMENT_CANCELLED'
        WHERE "eventType" = 'PAYMENT_FAILED'""",
    "the failure was sent after the success": SENT.format("1 minute", "PAYMENT_FAILED"),
}


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("name", NOT_REFUSED)
def test_no_overview_says_that_a_success_was_refused_without_a_failure_before_it(name, listed, execute):
    """The finding needs a COMPLETED payment, a sent failure, and a success that was sent later.

    If the payment failed before it was completed, the finding is late money.
    """
    execute(NOT_REFUSED[name])
    assert listed("failed_before_success") == (False, False, False)


def test_a_late_failure_that_overtook_a_dead_success_remains_a_finding(orders, ask, listed, mock_kafka):
    """If an operator releases a failure behind a dead success, sending the success later does not end the matter."""
    kafka = {"KAFKA_BROKERS": mock_kafka.bootstrap}
    orders.pay("COMPLETED", age=3 * HOUR, ended={"COMPLETED": 2 * HOUR, "FAILED": HOUR})
    orders.event(state="dead", age=2 * HOUR, error="TIMED_OUT: no").event("FAILED", age=HOUR)
    assert ask("publish-outbox", "--on-dead", "release", **kafka)["counts"]["published"] == 1
    ask("replay", orders.events[0], "-y", "--reason", WHY)
    assert ask("publish-outbox", **kafka)["counts"]["published"] == 1
    assert listed("failed_before_success") == (True, True, True)


def test_events_of_one_claim_are_in_order_whatever_their_times_are(orders, listed, engine):
    """One claim marks both events of a payment, perhaps the success first. The publisher sends them in order."""
    orders.pay("COMPLETED", age=3 * HOUR, ended={"FAILED": 2 * HOUR, "COMPLETED": HOUR})
    orders.event("FAILED", age=2 * HOUR).event(age=HOUR)
    with engine.begin() as connection:
        for kind, seconds in (("COMPLETED", 2), ("FAILED", 1)):
            ago = timedelta(seconds=seconds)
            connection.exec_driver_sql(
                """UPDATE outbox SET published = true, "publishedAt" = now() AT TIME ZONE 'UTC' - %(ago)s
                    WHERE "eventType" = %(type)s""",
                {"ago": ago, "type": f"PAYMENT_{kind}"},
            )
    assert listed() == (False, False, False)
