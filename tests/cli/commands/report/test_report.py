"""Test the window, suggested commands, Markdown and figures of `payctl report`.

Separate statements in plain SQL give the expected figures.
"""

# ruff: noqa: S608 - the SQL contains only constants from this file

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from markdown_it import MarkdownIt

from tests.cli.commands.report.conftest import ACCOUNT, HOSTILE, window
from ticketbottle_payctl.cli.commands.report.sentence import moment_sentence
from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import GapReason, Moment, MomentKind
from ticketbottle_payctl.sandbox.payment_service import insert_events

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
UNPUBLISHED = 'NOT published AND "publishedAt" IS NULL'
IN_WINDOW = '"{}" >= %(since)s AND "{}" < %(until)s'
LAG = 'EXTRACT(epoch FROM "publishedAt" - "createdAt")'
SENT = IN_WINDOW.format("publishedAt", "publishedAt")
MADE = IN_WINDOW.format("createdAt", "createdAt")
RECEIVED = "received_at AT TIME ZONE 'UTC' >= %(since)s AND received_at AT TIME ZONE 'UTC' < %(until)s"
RECEIPTS = f"SELECT count(*) FROM payctl.webhook_receipts WHERE {RECEIVED} AND method = 'POST'"
SQL = {
    "pending": f'SELECT count(*) FROM outbox WHERE {UNPUBLISHED} AND "retryCount" < 5',
    "dead": f'SELECT count(*) FROM outbox WHERE {UNPUBLISHED} AND "retryCount" >= 5',
    "late_failures": f"""SELECT count(*) FROM outbox AS f WHERE {UNPUBLISHED} AND "retryCount" < 5
        AND "eventType" = 'PAYMENT_FAILED'
        AND EXISTS (SELECT FROM payments AS p WHERE p.id = f."aggregateId" AND p.status = 'COMPLETED')""",
    "unpublished_orders": f"""SELECT count(DISTINCT "aggregateId") FROM outbox
        WHERE {UNPUBLISHED} AND "eventType" = 'PAYMENT_COMPLETED'""",
    "orders_without_event": f"""SELECT count(*) FROM payments AS p WHERE status = 'COMPLETED'
        AND {IN_WINDOW.format("completedAt", "completedAt")} AND id NOT IN (
            SELECT "aggregateId" FROM outbox WHERE "eventType" = 'PAYMENT_COMPLETED')
        AND id NOT IN (SELECT payment_id FROM payctl.webhook_receipts WHERE event_id IS NOT NULL)""",
    "refused_orders": f"""SELECT count(DISTINCT COALESCE(payment_id, order_ref)) FROM payctl.webhook_receipts
        WHERE {RECEIVED} AND result = 'refused' AND outcome IN ('COMPLETED', 'UNCLEAR')
        AND COALESCE(payment_id, '') NOT IN (SELECT id FROM payments WHERE status = 'COMPLETED')""",
    "created": f"SELECT count(*) FROM outbox WHERE {MADE}",
    "sent": f"SELECT count(*) FROM outbox WHERE {SENT}",
    "in_per_s": f"SELECT count(*) / %(seconds)s FROM outbox WHERE {MADE}",
    "out_per_s": f"SELECT count(*) / %(seconds)s FROM outbox WHERE {SENT}",
    "lag_p50_s": f"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY {LAG}) FROM outbox WHERE {SENT}",
    "lag_p95_s": f"SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY {LAG}) FROM outbox WHERE {SENT}",
    "lag_p99_s": f"SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY {LAG}) FROM outbox WHERE {SENT}",
    "lag_longest_s": f"SELECT max({LAG}) FROM outbox WHERE {SENT}",
    "callbacks": RECEIPTS,
    "callbacks_refused": f"{RECEIPTS} AND result = 'refused'",
    "refused_wrong_amount": f"{RECEIPTS} AND reason = 'wrong_amount'",
    "refused_unreadable": f"{RECEIPTS} AND reason = 'unreadable'",
    **{
        f"payments_{status.lower()}": f"SELECT count(*) FROM payments WHERE status = '{status}' AND {MADE}"
        for status in ("PENDING", "COMPLETED", "FAILED", "CANCELLED")
    },
    "payments_overdue": f"SELECT count(*) FROM payments WHERE status = 'PENDING' AND {MADE}",
}
"""Plain SQL for each figure in the report, written independently of payctl's own SQL."""


@pytest.mark.parametrize(("first", "last"), [(0, 540), (100, 170)], ids=["the whole night", "the outage"])
def test_every_figure_equals_a_count_in_plain_sql(first, last, ask, engine, told):
    """Each figure in the report equals the result of a separate SQL statement."""
    since, until = (told.since + timedelta(minutes=minutes) for minutes in (first, last))
    document = ask("report", "--since", rfc3339(since), "--until", rfc3339(until))
    values = {"since": since.replace(tzinfo=None), "until": until.replace(tzinfo=None)}
    values["seconds"] = (until - since).total_seconds()
    found = {item["name"]: item["value"] for item in document["items"]}
    with engine.connect() as connection:
        wanted = {name: connection.exec_driver_sql(sql, values).scalar_one() for name, sql in SQL.items()}
    for name, value in wanted.items():
        assert found.get(name, 0) == pytest.approx(float(value), abs=0.001), name
    inside = {name: wanted[name] for name in ("dead", "orders_without_event", "refused_orders")}
    assert inside == {
        "dead": 5,
        "orders_without_event": 2 if last == 540 else 1,
        "refused_orders": 3 if last == 540 else 1,
    }


def test_the_parts_of_the_window_add_up_to_its_figures(asked):
    """In the report, the event counts for the parts of the window add up to the figures for the whole window."""
    found = {item["name"]: item["value"] for item in asked["items"]}
    points = asked["result"]["points"]
    assert sum(point["created"] for point in points) == found["created"]
    assert sum(point["sent"] for point in points) == found["sent"]
    assert points[-1]["waiting"] == found["pending"]
    assert max(point["lag_longest_s"] or 0 for point in points) == pytest.approx(found["lag_longest_s"], abs=0.001)
    assert len(points) <= 97


def test_the_timeline_has_runs_refused_callbacks_lag_and_pause(asked, told):
    """The report's timeline shows runs, refused callbacks, the longest lag and a pause in chronological order."""
    timeline = asked["result"]["timeline"]
    assert [moment["at"] for moment in timeline] == sorted(moment["at"] for moment in timeline)
    by_kind = {}
    for moment in timeline:
        by_kind.setdefault(moment["kind"], []).append(moment)
    assert [each["id"] for each in by_kind["first_refused"]] == [told.first]
    assert [each["id"] for each in by_kind["last_refused"]] == [told.last]
    assert [each["id"] for each in by_kind["run_started"]] == told.runs[:2]
    assert [each["id"] for each in by_kind["run_ended"]] == [told.runs[2], told.runs[0]]
    assert by_kind["longest_lag"][0]["number"] == pytest.approx(2532, abs=1)
    assert len(by_kind["first_dead"]) == 3
    assert by_kind["oldest_pending"][0]["id"] == told.pending[0]
    assert {run["id"] for run in asked["result"]["runs"]} == set(told.runs[:3])


def test_the_report_shows_an_outage_as_a_pause(ask, told):
    """In the report, a pause starts when the outage's first event is created, and ends when an event is sent."""
    since, until = told.since + timedelta(minutes=100), told.since + timedelta(minutes=170)
    result = ask("report", "--since", rfc3339(since), "--until", rfc3339(until))["result"]
    pause = next(moment for moment in result["timeline"] if moment["kind"] == "pause")
    began = datetime.fromisoformat(pause["at"]) - told.since
    ended = datetime.fromisoformat(pause["until"]) - told.since
    assert began == timedelta(minutes=120)
    assert ended == timedelta(minutes=162, seconds=1.2)


@pytest.mark.parametrize(
    ("window", "began", "ended"),
    [((0, 120), 20.5, 60), ((0, 40), 20.5, 40), ((30, 120), 30, 60), ((25, 50), 25, 50)],
    ids=["whole", "open at its end", "open at its start", "open at both ends"],
)
def test_a_pause_begins_when_an_event_is_sent_or_with_the_window(window, began, ended, ask, story):
    """In the report, a pause starts when an event is sent while an older event is still waiting.

    The report shows only the part of the pause inside the window.
    """
    story.event(5, sent=60)
    story.event(20, 30)
    story.connection.commit()
    since, until = (story.at(minutes) for minutes in window)
    result = ask("report", "--since", rfc3339(since), "--until", rfc3339(until))["result"]
    pause = next(moment for moment in result["timeline"] if moment["kind"] == "pause")
    assert (pause["at"], pause["until"]) == (rfc3339(story.at(began)), rfc3339(story.at(ended)))
    assert pause["number"] == 1


def test_the_peak_of_waiting_events_is_after_their_creation(ask, story):
    """The report's peak of waiting events is never earlier than the creation of the newest of these events."""
    for minute in (3, 7, 11):
        story.event(minute, sent=30)
    story.connection.commit()
    result = ask("report", "--since", rfc3339(story.at(0)), "--until", rfc3339(story.at(600)))["result"]
    most = next(moment for moment in result["timeline"] if moment["kind"] == "most_waiting")
    assert most["number"] == 3
    assert rfc3339(story.at(11)) <= most["at"] <= rfc3339(story.at(30))


@pytest.mark.timeout(180)
def test_the_command_of_each_figure_prints_this_figure(asked, database_url, payctl_path):
    """The command next to each figure in the report prints the same figure when it is pasted into bash."""
    done = {}
    for item in asked["items"]:
        command = item["command"]
        if command not in done:
            done[command] = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],  # noqa: S607
                env={**os.environ, "PATH": payctl_path, "DATABASE_URL": database_url},
                capture_output=True,
                text=True,
                check=False,
            )
        ran = done[command]
        assert ran.returncode in ({0, 5} if " show " in command else {0}), ran.stderr
        if command.endswith("wc -l"):
            assert int(ran.stdout) == item["value"], item
        elif command.endswith("uniq -c"):
            counts = dict(reversed(each.split(None, 1)) for each in ran.stdout.splitlines())
            known = item["name"].removeprefix("refused_")
            assert int(counts.get(known, 1)) == item["value"]
        elif command == "payctl stats" and item["name"] == "pending":
            assert f"pending\t{item['value']}\n" in ran.stdout
        elif command.startswith("payctl report"):
            assert f"* {item['label']}: **" in ran.stdout


def test_a_replay_of_published_events_does_not_increase_the_lag(engine, invoke, ask, database_url, mock_kafka):
    """A replay of published events does not increase the lag in `report` and `stats`.

    The customers did not have to wait for the second publication.
    """
    names = ("lag_p50_s", "lag_p95_s", "lag_p99_s", "lag_longest_s")
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(hours=3))
        connection.exec_driver_sql("""UPDATE outbox SET "publishedAt" = "createdAt" + interval '9 seconds'""")
        insert_events(connection, 4, state="published", age=timedelta(hours=2))
        insert_events(connection, 1, state="dead", last_error="x", age=timedelta(hours=1))
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}

    def lags():
        facts = {item["name"]: item["value"] for item in ask("report", "--since", "5h")["items"]}
        stats = ask("stats", "--since", "5h")["result"]["lag_s"]
        return [facts[name] for name in names], list(stats.values())

    again = ("replay", "--published", "--allow-published", "--since", "150m", "-y", "--reason", "lost in Kafka")
    assert invoke(*again, **world).exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 6
    first = lags()
    assert max(first[0] + first[1]) == 9
    assert invoke("replay", "--failed", "-y", "--reason", "x", **world).exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 0
    late = lags()
    assert (late[0][3] > 3599, late[1][2] > 3599) == (True, True)


def test_a_window_across_vietnam_s_midnight_is_read_and_shown_in_its_zone(story, ask, invoke, database_url):
    """The report reads --since and --until in the time zone of --tz, and shows its times in the same zone."""
    midnight = datetime.now(VIETNAM).replace(hour=0, minute=0, second=0, microsecond=0)
    story.base = (midnight - timedelta(minutes=10)).astimezone(story.base.tzinfo)
    for minutes in (1, 9, 11, 19, 25):
        story.event(minutes, 1)
    story.connection.commit()
    since, until = (f"{midnight + timedelta(minutes=step):%Y-%m-%dT%H:%M}" for step in (-5, 5))
    options = ["report", "--tz", "Asia/Ho_Chi_Minh", "--since", since, "--until", until]
    document = ask(*options)
    assert {item["name"]: item["value"] for item in document["items"]}["created"] == 2
    assert document["result"]["since"] == rfc3339(midnight - timedelta(minutes=5))
    shown = invoke(*options, DATABASE_URL=database_url).stdout
    assert f"* window: {since.replace('T', ' ')}:00 +07:00" in shown
    assert "times below are in the zone `Asia/Ho_Chi_Minh (UTC+07:00)`" in shown
    assert f"| {midnight + timedelta(minutes=-1, seconds=1):%Y-%m-%d %H:%M:%S} | longest lag" in shown


def test_external_text_is_not_interpreted_and_shows_no_secret(told, invoke, database_url):
    """The report does not interpret stored text as Markdown, and does not show account numbers."""
    shown = invoke("report", *window(told), DATABASE_URL=database_url).stdout
    assert ACCOUNT.split("=")[1] not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    html = MarkdownIt("commonmark").enable("table").render(shown)
    assert set(re.findall(r"<(/?\w+)", html)) <= {
        f"{slash}{tag}"
        for slash in ("", "/")
        for tag in ("h1", "h2", "p", "ul", "li", "code", "strong", "br", "table", "thead", "tbody", "tr", "th", "td")
    }
    table = [line for line in shown.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} <= {4, 7}
    assert "[a](javascript:b) ``c`` | d" in shown
    assert HOSTILE[:20] in shown


def test_ids_are_short_in_markdown_and_complete_in_json(told, asked, invoke, database_url):
    """The Markdown report shows the first eight characters of each id. The JSON document contains the whole id."""
    shown = invoke("report", *window(told), DATABASE_URL=database_url).stdout
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", shown)
    assert f"`payctl runs show {told.runs[0][:8]}`" in shown
    assert told.runs[0] in json.dumps(asked)


def test_a_part_that_takes_too_long_is_named_and_not_counted(engine, told):
    """If the query for one part of the report times out, the report says so, and still contains the other parts."""
    with engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE payctl.webhook_receipts IN ACCESS EXCLUSIVE MODE")
        report = collect_report(
            engine,
            told.since,
            told.until,
            max_retries=5,
            retention=timedelta(days=7),
            limit=timedelta(milliseconds=400),
        )
    missing = {gap.section.value for gap in report.gaps if gap.reason is GapReason.TIMED_OUT}
    assert {"callbacks", "refused_orders"} <= missing
    assert not {"unpublished_orders", "late_failures"} & missing  # they do not read the callbacks
    assert report.callbacks is None
    assert report.unpublished.number == 6
    assert not report.is_quiet


def test_a_report_that_does_not_read_all_events_says_so(engine, told):
    """If the report reads only the newest published events, the report says so, but still counts all created events."""
    report = collect_report(engine, told.since, told.until, max_retries=5, retention=timedelta(days=7), most_events=30)
    (gap,) = report.gaps
    assert (gap.section.value, gap.reason) == ("flow", GapReason.TOO_MANY_EVENTS)
    assert told.since < gap.before < told.until
    assert sum(part.sent for part in report.flow.sent.values()) == 30
    assert sum(report.flow.created.values()) == 128


def test_a_window_before_the_retention_period_says_what_is_missing(ask, told):
    """If the window starts before the retention period, the report lists the incomplete parts.

    The report does not say that any order is lost, because a cleanup may have deleted the order's events.
    """
    document = ask("report", "--since", rfc3339(told.since - timedelta(days=30)), OUTBOX_RETENTION_DAYS="1")
    gaps = {(gap["section"], gap["reason"]) for gap in document["result"]["gaps"]}
    assert gaps == {("orders_without_event", "past_retention"), ("flow", "past_retention")}
    assert document["exit_code"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "now"], "at least a second"),
        (["--since", "2199-01-01"], "at least a second"),
        (["--since", "10:00:00Z"], "not a valid time"),
        (["--force"], "--force needs --html"),
    ],
    ids=" ".join,
)
def test_an_impossible_window_or_option_is_a_usage_error(options, said, invoke, database_url):
    """`report` exits with 2 for an impossible window or option, and the error explains the problem."""
    result = invoke("report", *options, DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_commands_name_the_profile_in_use(invoke, told, database_url, tmp_path):
    """If a profile is used, each command in the report includes the options for that profile."""
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.night]\nDATABASE_URL = "{database_url}"\n', "utf-8")
    config.chmod(0o600)
    shown = invoke("-p", "night", "--config", str(config), "report", *window(told)).stdout
    commands = re.findall(r"`(payctl [^`]+)`", shown)
    assert len(commands) > 20
    assert [each for each in commands if "-p night --config" not in each] == []


@pytest.mark.parametrize(("number", "waiting"), [(1, "1 event was waiting"), (2, "2 events were waiting")])
def test_the_sentence_about_a_pause_agrees_in_number(number, waiting):
    """In the report's sentence about a pause, noun and verb agree with the event count."""
    at = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
    moment = Moment(at, MomentKind.PAUSE, until=at, number=number)
    assert moment_sentence(moment, UTC, str).endswith(f"although {waiting}")


def test_the_profile_is_named_even_if_the_database_is_unavailable(invoke):
    """If the database is unavailable, `payctl report` names the profile and the database below the error."""
    shown = invoke("report", DATABASE_URL="postgresql://an@127.0.0.1:1/shop")
    assert shown.exit_code == 4
    assert "profile none" in shown.stderr
