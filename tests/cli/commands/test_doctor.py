"""Test the exit codes, the options and the bundle of `payctl doctor`, and the finding that it prints first."""

from __future__ import annotations

import json
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ticketbottle_payctl.cli.commands.doctor.result import ShownFinding, result_of
from ticketbottle_payctl.domain.causes import Cause, CauseKind, Command
from ticketbottle_payctl.jobs.doctor import CHECKS, DoctorReport
from ticketbottle_payctl.jobs.doctor.model import fail, warn
from ticketbottle_payctl.jobs.doctor.why_events_wait import finding_of
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until

WAITS_FOR_LOCK = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass"
KEYS_ONLY = ["doctor", "--only", "keys"]


@pytest.mark.postgres
def test_the_doctor_exits_with_0_if_everything_is_healthy(database_url, mock_kafka, keys, answer):
    """If the database, brokers and keys work, `payctl doctor` exits with 0, and its document contains every check."""
    environment = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **keys}
    document = answer("doctor", **environment)
    assert (document["exit_code"], document["result"]["healthy"], document["counts"]["fail"]) == (0, True, 0)
    assert list(dict.fromkeys(item["check"] for item in document["items"])) == list(CHECKS)


def test_the_doctor_names_each_missing_setting(invoke):
    """Without any settings, `payctl doctor` exits with 5 and lists each missing setting as a finding with a fix."""
    result = invoke("doctor")
    assert result.exit_code == 5
    assert "✘  database  DATABASE_URL is not set" in result.stdout
    assert "✘  kafka     KAFKA_BROKERS is not set" in result.stdout
    assert "fix:  export DATABASE_URL" in result.stdout
    assert result.stderr == "profile none · database not set · brokers not set\n"


@pytest.mark.postgres
def test_a_warning_of_the_doctor_exits_with_0(database_url, engine, invoke):
    """If the doctor's only findings are warnings, `payctl doctor` exits with 0 and prints a command that fixes them."""
    with engine.begin() as connection:
        insert_events(connection, 5, state="sent_unmarked")
    result = invoke("doctor", "--only", "old-service", DATABASE_URL=database_url)
    assert result.exit_code == 0
    assert result.stdout.startswith("!  5 events with")
    assert "\n!  old-service  5 events with" in result.stdout
    assert "fix:  payctl doctor --fix-published-flags" in result.stdout


@pytest.mark.postgres
def test_the_doctor_warns_of_an_unprotected_database_connection(database_url, answer):
    """In production, the doctor warns if the connection to another machine is unprotected, and says how to fix it.

    To payctl, `127.1` is the name of another machine, but it leads to the test's server.
    """
    place = database_url.rpartition("@")[2].partition("/")[0]
    elsewhere = database_url.replace(place, f"127.1:{place.rpartition(':')[2]}")

    def look(**settings):
        document = answer("doctor", "--only", "database", **settings)
        assert document["exit_code"] == 0
        return [item for item in document["items"] if item["status"] != "ok"]

    (warning,) = look(DATABASE_URL=elsewhere, ENVIRONMENT="prod")
    assert (warning["check"], warning["status"]) == ("database", "warn")
    assert "sslmode is prefer, so the connection to 127.1:" in warning["fact"]
    assert "PGSSLMODE=verify-full" in warning["remedy"]
    assert look(DATABASE_URL=elsewhere, ENVIRONMENT="dev") == []
    assert look(DATABASE_URL=database_url, ENVIRONMENT="prod") == []


LOOK = Command(("show",), ("TB-1",))
HARMLESS = finding_of(Cause(CauseKind.SUPERSEDED, 1, "harmless", "m"))
WAITING = finding_of(Cause(CauseKind.BACKLOG, 1, "waiting", "m"))
MONEY, OVERDUE = (warn(check, check, "m", "look", LOOK) for check in ("callbacks", "payments"))
NO_BROKERS = replace(fail("kafka", "unreachable", "m"), stops_all=True)
DEAD = finding_of(Cause(CauseKind.DEAD, 2, "dead", "m"))
UNREADABLE = warn("callbacks", "unreadable", "m", "see grants")
TOPIC = warn("kafka", "topic", "m", "f")


@pytest.mark.parametrize(
    ("findings", "first"),
    [
        ([TOPIC, OVERDUE, MONEY, HARMLESS], "callbacks"),
        ([TOPIC, OVERDUE, HARMLESS], "payments"),
        ([TOPIC, MONEY, WAITING], "waiting"),
        ([UNREADABLE, TOPIC, HARMLESS], "unreadable"),
        ([TOPIC, UNREADABLE, HARMLESS], "topic"),
        ([HARMLESS], "harmless"),
        ([MONEY, HARMLESS, fail("grants", "grants", "m")], "grants"),
        ([NO_BROKERS, DEAD], "unreachable"),
        ([fail("kafka", "one topic", "m"), DEAD], "dead"),
    ],
)
def test_the_doctor_leads_with_the_customers_and_never_with_what_is_harmless(findings, first):
    """Among equally severe findings, waiting events come first, then money, then overdue payments.

    Only a finding about unreachable brokers comes before these findings.

    A harmless dead event comes first only if nothing else is wrong.
    """
    shown = [ShownFinding(each, None, None) for each in findings]
    headline = result_of(DoctorReport(tuple(findings)), shown, None).human[0]
    assert headline.parts[1].text == first


def test_the_doctor_counts_a_gateway_without_keys_as_off(invoke, keys):
    """The doctor shows a gateway without keys as off, and does not count it as ok."""
    shown = invoke(*KEYS_ONLY).stdout
    assert shown.startswith("-  nothing was checked: everything is off\n"), shown
    assert ("✔" in shown, shown.count("is off: no keys are set"), shown.splitlines()[-1]) == (
        False,
        len(GATEWAYS),
        f"0 ok  {len(GATEWAYS)} off  0 warn  0 fail",
    )
    momo = {name: value for name, value in keys.items() if name.startswith("MOMO_")}
    shown = invoke(*KEYS_ONLY, **momo).stdout
    assert shown.startswith("✔  all checks passed\n"), shown
    assert shown.splitlines()[-1] == f"1 ok  {len(GATEWAYS) - 1} off  0 warn  0 fail"


@pytest.mark.parametrize("spelled", [["--only", "keys"], ["--only", "keys", "--only", "kafka"]])
def test_doctor_only_runs_the_chosen_checks(spelled, answer):
    """`payctl doctor --only` runs the chosen checks and no others."""
    document = answer("doctor", *spelled)
    assert {item["check"] for item in document["items"]} == set(spelled) - {"--only"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "everything"], "no such check: everything"),
        (["--yes"], "--yes"),
        (["-n"], "--dry-run"),
        (["--reason", "x"], "--reason"),
        (["--fix-published-flags", "--only", "keys"], "--only"),
        (["--fix-published-flags", "--bundle", "x"], "--bundle"),
    ],
)
def test_the_doctor_refuses_an_option_without_effect(arguments, words, answer):
    """If an option would have no effect, `doctor` exits with 2, and the error names the option."""
    document = answer("doctor", *arguments)
    assert document["exit_code"] == 2
    assert words in document["error"]["message"]


def test_a_doctor_bundle_has_the_findings_and_no_secret(tmp_path, keys, answer):
    """The doctor's bundle contains settings, versions and findings, but no secrets.

    Only the bundle's owner can read it.
    """
    file = tmp_path / "bundle.json"
    url = "postgresql://canary-user:canary-password@127.0.0.1:1/payments"
    document = answer("doctor", "--only", "keys", "--only", "database", "--bundle", str(file), DATABASE_URL=url, **keys)
    content = file.read_text("utf-8")
    bundle = json.loads(content)
    assert document["result"]["bundle"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert bundle["findings"] == document["items"]
    assert {"MOMO_SECRET_KEY", "DATABASE_URL"} <= {row["name"] for row in bundle["settings"]}
    assert "canary" not in content


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_doctor_bundle_overwrites_no_file(kind, tmp_path, answer):
    """If the bundle's path is an existing file, link or directory, `doctor` refuses the path and changes nothing."""
    place = tmp_path / "bundle.json"
    if kind == "file":
        place.write_text("mine", "utf-8")
    elif kind == "link":
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
    document = answer(*KEYS_ONLY, "--bundle", str(place))
    assert (document["exit_code"], document["error"]["code"]) == (2, "INPUT")
    assert not Path(tmp_path / "elsewhere").exists()
    assert kind != "file" or place.read_text("utf-8") == "mine"


def test_the_error_for_an_unwritable_bundle_has_the_reason(answer):
    """If `doctor` cannot write its bundle, it exits with 2, and the error gives the operating system's reason."""
    document = answer(*KEYS_ONLY, "--bundle", "/nonexistent/bundle.json")
    assert document["exit_code"] == 2
    assert "No such file or directory" in document["error"]["message"]


@pytest.mark.postgres
def test_the_doctor_s_repair_has_the_mark_of_its_exit_code(database_url, engine, invoke):
    """If another session has locked an event, `doctor --fix-published-flags` says so after the mark for exit code 6."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="sent_unmarked")
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT FROM outbox LIMIT 1 FOR UPDATE")
        result = invoke("doctor", "--fix-published-flags", "--yes", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout.startswith("!  repaired 1  of 2 events  run ")) == (6, True), result.stdout
    assert "1 left:" in result.stdout


@pytest.mark.postgres
def test_a_signal_during_the_last_repair_shows_in_the_mark(database_url, engine, execute, started):
    """If Ctrl-C arrives during the last repair, the first line does not have the mark for exit code 0."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="sent_unmarked")
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE outbox IN EXCLUSIVE MODE")
        process = started("doctor", "--fix-published-flags", "--yes", DATABASE_URL=database_url)
        wait_until(lambda: execute(WAITS_FOR_LOCK) == [1], what="the repair waits for the lock", timeout=30)
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.decode().startswith("!  repaired 2  of 2 events  run ")) == (130, True), out


@pytest.mark.postgres
def test_a_dry_run_of_the_doctor_s_repair_shows_its_plan(database_url, engine, invoke):
    """With -n, `doctor --fix-published-flags` prints its plan and changes nothing."""
    with engine.begin() as connection:
        insert_events(connection, 5, state="sent_unmarked")
    repair = ["doctor", "--fix-published-flags"]
    result = invoke(*repair, "-n", DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout.split()[0]) == (0, "5")
    assert "nothing was changed" in result.stdout
    assert invoke(*repair, "--yes", DATABASE_URL=database_url).stdout.startswith("✔  repaired 5  of 5 events  run ")
    assert invoke(*repair, DATABASE_URL=database_url).stdout.startswith("✔  no half-marked events")
