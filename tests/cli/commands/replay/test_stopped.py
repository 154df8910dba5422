"""Test that a stopped replay says so in its first line, and that `runs show` and `runs resume` agree with it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import make_url

from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres
WAITS = ["replay", "--failed", "-y", "--canary", "2", "--canary-timeout", "1ms"]
TIMED_OUT = "the canary was not published in time"
NEXT_RUN = "a scheduled one starts again within a minute"


@pytest.fixture
def world(database_url):
    """Return the settings for the test's database."""
    return {"DATABASE_URL": database_url}


@pytest.fixture
def execute(engine):
    """Return a function that runs a statement in its own transaction."""

    def run(sql):
        with engine.begin() as connection:
            connection.exec_driver_sql(sql)

    return run


@pytest.fixture
def events(engine):
    """Insert five dead events, ten minutes old."""
    with engine.begin() as connection:
        insert_events(connection, 5, state="dead", age=timedelta(minutes=10), last_error="TIMED_OUT: no")


OWNER = "INSERT INTO payctl.publishers VALUES ({}, '{}', clock_timestamp() - interval '20 s')"
NO_BROKERS = "Kafka at b:9092 is not available"
CUT_OFF = r"the last publisher could not reach its brokers \S+ s ago"
ENDED = rf"the last publisher ended \S+ s ago; {NEXT_RUN}"


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("sign", "running", "words", "told", "command"),
    [
        (None, False, "no publisher is running; none has ever been seen",
         r"no publisher is running \(none has ever been seen\): payctl publish-outbox", "payctl publish-outbox"),
        (OWNER.format(1000, "host:12:x"), True, "a publisher is running", "", "payctl doctor"),
        (OWNER.format(1000, "host:12:x ended"), False, ENDED,
         rf"{ENDED}\nthe canary waits under 1 s for the next run; if none is scheduled: payctl publish-outbox",
         "payctl publish-outbox"),
        (OWNER.format(1000, "host:12:x ended").replace("20 s", "5 min"), False,
         r"no publisher is running; the last one ended 5 min .*ago",
         r"no publisher is running \(the last one ended 5 min .*ago\): payctl publish-outbox", "payctl publish-outbox"),
        (OWNER.format(1, f"host:12:x cannot reach its brokers: {NO_BROKERS}"), True, CUT_OFF,
         rf"{CUT_OFF}: {NO_BROKERS}\nthe canary waits under 1 s for the brokers; to find the cause: payctl doctor",
         "payctl doctor"),
        (OWNER.format(1, f"host:12:x ended without its brokers: {NO_BROKERS}"), False, CUT_OFF,
         rf"{CUT_OFF}: {NO_BROKERS}", "payctl doctor"),
    ],
    ids=["never", "running", "ended", "ended long ago", "waits for its brokers", "ended without brokers"],
)  # fmt: skip
def test_a_canary_says_what_it_waits_for(invoke, ask, execute, world, sign, running, words, told, command):
    """A replay that waits for its canary says whether a publisher is running, and what happens next.

    When the time is over, the first line, the mark and the exit code say so. The next command depends on the publisher.
    """
    if sign:
        execute(sign)
    result = invoke(*WAITS[:-1], "300ms", **world)
    first, *rest = result.stdout.splitlines()
    assert (result.exit_code, first) == (10, f"!  stopped: {TIMED_OUT}")
    assert any(re.fullmatch(rf"publisher\t{words}", line) for line in rest), rest
    assert (f"next\t{command}" in rest, "requeued\t2 events, in" in result.stdout) == (True, True)
    assert any(line.startswith("then\tpayctl runs resume ") for line in rest)
    assert re.search(told, result.stderr), result.stderr
    assert ("payctl" in result.stderr) is bool(told), "a running publisher needs no command"
    execute('UPDATE outbox SET "retryCount" = 5')
    again = ask(*WAITS)
    assert (again["exit_code"], again["result"]["publisher_running"]) == (10, running)


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("sign", "command"),
    [
        (None, "payctl publish-outbox -p shop"),
        (OWNER.format(1000, "host:12:x ended"), "payctl publish-outbox -p shop"),
        (OWNER.format(1, f"host:12:x cannot reach its brokers: {NO_BROKERS}"), "payctl doctor -p shop"),
    ],
    ids=["never", "ended", "waits for its brokers"],
)
def test_the_commands_of_a_waiting_canary_keep_the_profile(
    invoke, execute, database_url, tmp_path, monkeypatch, sign, command
):
    """The commands that a waiting canary suggests, and those of a resumed run, use the profile of the replay."""
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.shop]\nDATABASE_URL = "{database_url}"\n', "utf-8")
    monkeypatch.setenv("PAYCTL_CONFIG", str(config))
    if sign:
        execute(sign)
    started = invoke(*WAITS[:-1], "300ms", "-p", "shop")
    run = re.search(r"runs resume (\S+)", started.stdout)
    resumed = invoke("runs", "resume", run[1], "-y", "-p", "shop")
    for result in (started, resumed):
        assert result.exit_code == 10
        assert f": {command}\n" in result.stderr, result.stderr
        assert f"next\t{command}\n" in result.stdout


@pytest.mark.usefixtures("events")
def test_a_finished_replay_starts_with_its_count(invoke, world):
    """The output of a replay that is done starts with a tick and the number of events. The exit code is 0."""
    result = invoke("replay", "--failed", "-y", **world)
    assert (result.exit_code, result.stdout.startswith("✔  5 events requeued  in")) == (0, True)


def story(shown, run):
    """Return the lines about the run's events, the publisher and the next commands, without times."""
    labels = ("publisher\t", "since then\t", "next\t", "then\t", "if no publisher runs\t")
    lines = [line.replace(run, "RUN") for line in shown.stdout.splitlines() if line.startswith(labels)]
    return [re.sub(r"\S+ s ago", "N s ago", line) for line in lines]


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("sign", "command"),
    [
        (None, "payctl publish-outbox"),
        (OWNER.format(1000, "host:12:x"), "payctl doctor"),
        (OWNER.format(1000, "host:12:x ended"), "payctl publish-outbox"),
        (OWNER.format(1, f"host:12:x cannot reach its brokers: {NO_BROKERS}"), "payctl doctor"),
    ],
    ids=["never", "running", "ended", "waits for its brokers"],
)
def test_runs_show_advises_what_the_stopped_canary_advised(invoke, execute, world, sign, command):
    """`runs show` repeats the canary's lines about its events, the publisher and the next commands."""
    if sign:
        execute(sign)
    stopped = invoke(*WAITS, **world)
    run = re.search(r"runs resume (\S+)", stopped.stdout)[1]
    told = story(stopped, run)
    assert told[1:] == [
        "since then\t0 published, 2 pending, 0 dead again", f"next\t{command}", "then\tpayctl runs resume RUN",
    ]  # fmt: skip
    assert story(invoke("runs", "show", run, **world), run) == told


PUBLISHED = 'published = true, "publishedAt" = now()'


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("change", "since", "commands"),
    [
        (PUBLISHED, (2, 0, 0), ["next\tpayctl runs resume RUN"]),
        ('"retryCount" = 5', (0, 0, 2), ["next\tpayctl errors --failed", "then\tpayctl runs resume RUN"]),
    ],
    ids=["published", "dead again"],
)
def test_runs_show_says_what_has_happened_since(invoke, ask, execute, world, change, since, commands):
    """After the canary's events were published or died, `runs show` says so, and its advice fits their new state."""
    run = ask(*WAITS)["run_id"]
    execute(f'UPDATE outbox SET {change} WHERE "retryCount" = 0')  # noqa: S608
    published, pending, dead = since
    words = f"since then\t{published} published, {pending} pending, {dead} dead again"
    assert story(invoke("runs", "show", run, **world), run) == [words, *commands]
    result = ask("runs", "show", run)["result"]
    assert result["since_then"] == {"published": published, "pending": pending, "dead_again": dead}
    assert result["publisher_running"] is False


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("change", ['"retryCount" = 0', PUBLISHED, '"retryCount" = 5'], ids=["pending", "sent", "dead"])
def test_runs_show_repeats_the_lines_of_a_finished_replay(invoke, execute, world, change):
    """`runs show` and `runs resume` say the same about the events of a replay that is done."""
    run = re.search(r"run\t(\S+)", invoke("replay", "--failed", "-y", **world).stdout)[1]
    execute(f'UPDATE outbox SET {change} WHERE "retryCount" = 0')  # noqa: S608
    told = story(invoke("runs", "show", run, **world), run)
    resumed = [line.replace("of 5: ", "") for line in story(invoke("runs", "resume", run, "-y", **world), run)]
    assert told == resumed
    assert told[0].startswith("since then\t")


@pytest.mark.usefixtures("events")
def test_runs_show_works_while_the_outbox_is_locked(invoke, ask, engine, world):
    """If the outbox cannot be read in time, `runs show` says that the state of the run's events is unknown."""
    run = ask(*WAITS)["run_id"]
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        shown = invoke("runs", "show", run, **world)
    assert (shown.exit_code, story(shown, run)) == (
        0,
        ["since then\tunknown: the outbox could not be read", "next\tpayctl doctor", "then\tpayctl runs resume RUN"],
    )


@pytest.mark.usefixtures("events")
def test_runs_show_works_without_access_to_the_outbox(invoke, ask, answer, engine, world):
    """If the role cannot read the outbox, `runs show` says that the state of the run's events is unknown."""
    run = ask(*WAITS)["run_id"]
    name = f"auditor_{run[:8]}"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE ROLE {name} LOGIN PASSWORD 'rows'; GRANT USAGE ON SCHEMA payctl TO {name};"
            f" GRANT SELECT ON payctl.runs, payctl.run_items, payctl.run_chunks TO {name}"
        )
    try:
        url = make_url(world["DATABASE_URL"]).set(username=name, password="rows").render_as_string(hide_password=False)
        shown = invoke("runs", "show", run, DATABASE_URL=url)
        assert shown.exit_code == 0, shown.stderr
        assert (shown.exit_code, "since then\tunknown: the outbox could not be read" in shown.stdout) == (0, True)
        assert answer("runs", "show", run, DATABASE_URL=url)["result"]["since_then"] is None
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("status", "ended_by", "remaining", "expected"),
    [
        ("stopped", "canary_timeout", 3, {f"stopped because\t{TIMED_OUT}", "next\tpayctl publish-outbox",
                                          "then\tRESUME"}),
        ("stopped", "canary_failed", 3, {"stopped because\ta canary event is dead again",
                                         "next\tpayctl errors --failed", "then\tRESUME"}),
        ("stopped", "canary_failed", 0, {"stopped because\ta canary event is dead again",
                                         "next\tpayctl errors --failed"}),
        ("stopped", "canary_empty", 3, {"next\tmake a new plan with the same selectors",
         "stopped because\tno canary event could be requeued, so the canary tested nothing"}),
        ("stopped", "too_many_errors", 3, {"stopped because\ttoo many failures", "next\tpayctl errors --failed",
                                           "then\tRESUME"}),
        ("interrupted", "signal", 3, {"stopped because\tthe replay received a signal", "next\tRESUME"}),
        ("interrupted", "DATABASE_UNAVAILABLE", 3, {"ended by\tDATABASE_UNAVAILABLE", "next\tRESUME"}),
        ("stopped", None, 3, {"next\tRESUME"}),
        ("done", None, 0, set()),
        ("cancelled", "canary_timeout", 3, {f"stopped because\t{TIMED_OUT}", "next\tpayctl publish-outbox"}),
    ],
)  # fmt: skip
def test_a_stopped_run_says_why_and_what_comes_next(invoke, ask, execute, world, status, ended_by, remaining, expected):
    """`runs show` says why a run stopped, and names the next command for each reason."""
    run = ask(*WAITS)["run_id"]
    reason = f"""jsonb_build_object('ended_by', '{ended_by}')""" if ended_by else "'{}'"
    execute(f"UPDATE payctl.runs SET status = '{status}', options = (options - 'ended_by') || {reason}::jsonb")  # noqa: S608
    if not remaining:
        execute("DELETE FROM payctl.run_chunks")
    assert ask("runs", "show", run)["counts"]["remaining"] == remaining
    lines = invoke("runs", "show", run, **world).stdout.splitlines()
    labels = ("stopped because\t", "ended by\t", "next\t", "then\t")
    found = {line.replace(f"payctl runs resume {run}", "RESUME") for line in lines if line.startswith(labels)}
    assert found == expected


@pytest.mark.usefixtures("events")
def test_a_replay_records_why_it_stopped(ask, invoke, execute, world):
    """The record of a replay says that the canary was not published in time, until a resume finishes the replay."""
    run = ask(*WAITS)["run_id"]
    assert ask("runs", "show", run)["result"]["ended_by"] == "canary_timeout"
    assert f"stopped because\t{TIMED_OUT}" in invoke("runs", "show", run, **world).stdout
    execute('UPDATE outbox SET published = true, "publishedAt" = now() WHERE "retryCount" = 0')
    assert ask("runs", "resume", run, "-y")["exit_code"] == 0
    result = ask("runs", "show", run)["result"]
    assert (result["status"], result["ended_by"]) == ("done", None)
    assert "stopped because" not in invoke("runs", "show", run, **world).stdout


@pytest.mark.usefixtures("events")
def test_a_resumed_run_distinguishes_this_resume_from_the_whole_run(ask, invoke, execute, world):
    """`runs resume` says how many events this resume requeued, and how many the run requeued in all."""
    run = ask(*WAITS)["run_id"]
    waiting = invoke("runs", "resume", run, "-y", **world)
    assert (waiting.exit_code, waiting.stdout.splitlines()[0]) == (10, f"!  stopped: {TIMED_OUT}")
    assert "requeued\t0 events by this resume, 2 in all, in" in waiting.stdout
    execute('UPDATE outbox SET published = true, "publishedAt" = now() WHERE "retryCount" = 0')
    resumed = invoke("runs", "resume", run, "-y", **world)
    assert (resumed.exit_code, resumed.stdout.startswith("✔  3 events requeued by this resume, 5 in all")) == (0, True)
    assert "since then\tof 5: 2 published, 3 pending, 0 dead again" in resumed.stdout
    again = ask("runs", "resume", run, "-y")
    assert (again["counts"]["requeued"], again["result"]["requeued_now"]) == (5, 0)


@pytest.mark.usefixtures("events")
def test_the_json_of_a_resumed_run_has_both_counts(ask, execute):
    """The counts of `runs resume` are about the whole run, and `requeued_now` is about this resume."""
    run = ask(*WAITS)["run_id"]
    execute('UPDATE outbox SET published = true, "publishedAt" = now() WHERE "retryCount" = 0')
    document = ask("runs", "resume", run, "-y")
    assert (document["counts"]["requeued"], document["result"]["requeued_now"]) == (5, 3)


@pytest.mark.usefixtures("events")
def test_runs_show_prints_the_options_as_a_person_types_them(ask, invoke, world):
    """`runs show` prints the options of a replay as a person types them, and leaves out options that were not given."""
    options = ["--rate", "500/s", "--max-errors", "3"]
    run = ask(*WAITS[:-1], "300ms", *options)["run_id"]
    shown = invoke("runs", "show", run, **world).stdout
    (said,) = re.findall(r"^options\t(.*)$", shown, re.MULTILINE)
    given = {"--canary 2", "--canary-timeout 0.3s", "--rate 500/s", "--max-errors 3"}
    assert {each.strip() for each in re.findall(r"--[a-z-]+(?: [^-]\S*)?", said)} >= given
    assert "_" not in said


@pytest.mark.usefixtures("events")
def test_a_cancelled_run_counts_unchanged_events_only_if_there_are_any(ask, invoke, execute, world):
    """`runs cancel` counts the events that were not changed. If the run has reached every event, no count is shown."""

    def cancelled():
        return invoke("runs", "cancel", ask(*WAITS[:-1], "1ms")["run_id"], "-y", **world).stdout.splitlines()[0]

    assert cancelled() == "✔  cancelled; 3 events not changed"
    execute('UPDATE outbox SET "retryCount" = 5')
    execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    execute(
        "CREATE TRIGGER nothing BEFORE INSERT ON payctl.run_chunks FOR EACH ROW WHEN (NEW.number > 0)"
        " EXECUTE FUNCTION nothing()"
    )
    assert cancelled() == "✔  cancelled"
