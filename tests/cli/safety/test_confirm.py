"""Each rung of the ladder, with the repair of half-marked rows as the act."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from ticketbottle_payctl.cli.profile.policy import in_force
from ticketbottle_payctl.cli.profile.profiles import load
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres

ROWS = 12
CONFIG = """
[profiles.dev]
[profiles.prod.guard]
protected = true
[profiles.archive.guard]
read_only = true
[profiles.small.guard]
max_affected = 5
"""
REPAIR = ["doctor", "--fix-published-flags"]
PLAN = f'{ROWS} events  with "publishedAt" set'


@pytest.fixture
def half_marked(engine, database_url, tmp_path):
    """A database with twelve half-marked rows, and profiles of every kind; as environment variables."""
    with engine.begin() as connection:
        insert_events(connection, ROWS, state="sent_unmarked")
    file = tmp_path / "config.toml"
    file.write_text(CONFIG, "utf-8")
    return {"DATABASE_URL": database_url, "PAYCTL_CONFIG": str(file)}


@pytest.fixture
def left(engine):
    """How many rows are still half marked."""

    def count():
        with engine.begin() as connection:
            return connection.execute(
                text('SELECT count(*) FROM outbox WHERE NOT published AND "publishedAt" IS NOT NULL')
            ).scalar_one()

    return count


@pytest.fixture
def on_terminal():
    """Run payctl with a terminal for stdin and stderr, answering its questions in turn; stdout is a pipe."""

    def run(*arguments, answers=(), **environment):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "ticketbottle_payctl", *arguments]
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, **environment}, text=True
        )
        os.close(theirs)
        talk = _converse(ours, list(answers))
        stdout, _ = process.communicate(timeout=30)
        os.close(ours)
        return process.returncode, stdout, talk

    return run


def _converse(terminal, answers):
    """Everything that is said, each question answered with the next answer; an answer of None ends the input."""
    said, asked, deadline = "", 0, time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        said += part.decode()
        questions = said.count("[y/N] ") + said.count("to continue: ")
        while asked < questions and answers:
            asked += 1
            answer = answers.pop(0)
            os.write(terminal, b"\x04" if answer is None else f"{answer}\n".encode())
    return said


@pytest.mark.parametrize("answer", ["y", "YES"])
def test_a_yes_on_a_terminal_goes_on(answer, half_marked, on_terminal, left):
    """The plan with its count, a question on stderr; stdout has nothing but the result."""
    code, stdout, talk = on_terminal(*REPAIR, answers=[answer], **half_marked)
    assert (code, left()) == (0, 0), talk
    assert stdout.startswith(f"✔  repaired {ROWS}")
    assert 'with "publishedAt" set' in talk
    assert f"Repair {ROWS} events? [y/N]" in talk


@pytest.mark.parametrize("answer", ["", "n", "prod", "yess", None])
def test_anything_but_yes_is_no(answer, half_marked, on_terminal, left):
    """Enter alone is No, and so is the end of the input: exit 7, nothing changed, stdout empty."""
    code, stdout, talk = on_terminal(*REPAIR, answers=[answer], **half_marked)
    assert (code, stdout, left()) == (7, "", ROWS)
    assert "error[GUARD]" in talk


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--reason", "why"], ["y", "prod"]),
        (["--reason", "why", "--yes"], ["prod"]),
        (["--reason", "why", "--yes", "--confirm", "prod"], []),
        (["--reason", "why", "--confirm", "prod"], ["y"]),
    ],
)
def test_a_protected_profile_goes_on_with_reason_yes_and_name(options, answers, half_marked, on_terminal, left):
    """What was not given as an option is asked for."""
    code, _, talk = on_terminal(*REPAIR, "-p", "prod", *options, answers=answers, **half_marked)
    assert (code, left()) == (0, 0), talk


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--reason", "why"], ["y", "dev"]),
        (["--reason", "why"], ["y", ""]),
        (["--reason", "why"], ["n"]),
        (["--reason", "why", "--confirm", "dev"], ["y"]),
        ([], []),
    ],
)
def test_a_protected_profile_stops_without_one_of_them(options, answers, half_marked, on_terminal, left):
    """It wants the reason before it asks anything, then the yes, then its own name and no other."""
    code, _, talk = on_terminal(*REPAIR, "-p", "prod", *options, answers=answers, **half_marked)
    assert (code, left()) == (7, ROWS), talk


@pytest.mark.parametrize("more", [["--no-input"], ["-o", "json"], ["-o", "ndjson"], ["-o", "csv"]])
def test_nobody_is_asked_where_that_was_forbidden(more, half_marked, on_terminal, left):
    """A terminal does not matter with --no-input or a form for programs: plan, exit 7."""
    code, _, talk = on_terminal(*REPAIR, *more, **half_marked)
    assert (code, left()) == (7, ROWS)
    assert 'with "publishedAt" set' in talk
    assert "[y/N]" not in talk


@pytest.mark.parametrize("form", ["table", "json"])
def test_without_a_terminal_the_plan_is_printed_and_the_exit_is_7(form, half_marked, invoke, left):
    """The hint has the option that is missing."""
    result = invoke(*REPAIR, "-o", form, **half_marked)
    assert (result.exit_code, left()) == (7, ROWS)
    assert PLAN in result.stderr
    assert "add --yes" in result.stderr
    assert "GUARD" in (result.stdout if form == "json" else result.stderr)


def test_yes_needs_no_terminal(half_marked, answer, left):
    """With --yes it is done, recorded with the reason, and told in the document."""
    document = answer(*REPAIR, "--yes", "--reason", "left by the old service", **half_marked)
    assert (document["counts"], left()) == ({"matched": ROWS, "repaired": ROWS}, 0)
    assert document["run_id"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--yes --reason TEXT --confirm prod"),
        (["--yes"], "--reason TEXT --confirm prod"),
        (["--yes", "--reason", " "], "--reason TEXT --confirm prod"),
        (["--yes", "--reason", "why"], "--confirm prod"),
        (["--reason", "why", "--confirm", "prod"], "--yes"),
        (["--yes", "--reason", "why", "--confirm", "dev"], "type prod"),
    ],
)
def test_a_protected_profile_without_a_terminal_names_what_is_missing(options, words, half_marked, answer, left):
    """All of it at once, ready to paste."""
    document = answer(*REPAIR, "-p", "prod", *options, **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert words in document["error"]["hint"]


def test_a_protected_profile_that_got_everything_goes_on(half_marked, answer, left):
    """Reason, name and yes."""
    given = ["--yes", "--reason", "why", "--confirm", "prod"]
    assert answer(*REPAIR, "-p", "prod", *given, **half_marked)["exit_code"] == 0
    assert left() == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--max-affected", str(ROWS - 1)], 7),
        (["--max-affected", str(ROWS)], 0),
        (["-p", "small"], 7),
        (["-p", "small", "--max-affected", str(ROWS)], 0),
    ],
)
def test_over_the_cap_is_refused_with_the_number_to_raise(options, code, half_marked, answer, left):
    """The option's cap, else the profile's; --yes does not help against it."""
    document = answer(*REPAIR, "--yes", *options, **half_marked)
    assert (document["exit_code"], left()) == (code, ROWS if code else 0)
    if code:
        assert f"--max-affected {ROWS}" in document["error"]["hint"]


@pytest.mark.parametrize("arguments", [[*REPAIR, "-n"], ["doctor", "--only", "columns"], ["db", "upgrade", "-n"]])
def test_a_read_only_profile_may_be_looked_at(arguments, half_marked, answer):
    """Reading and dry runs need no leave."""
    assert answer(*arguments, "-p", "archive", **half_marked)["exit_code"] == 0


@pytest.mark.parametrize("arguments", [["publish-outbox"], ["db", "upgrade"]], ids=" ".join)
def test_a_routine_act_on_a_protected_profile_wants_a_reason_and_the_name(arguments, half_marked, answer):
    """No question, but both of them; without either, the hint has what is missing."""
    environment = {**half_marked, "KAFKA_BROKERS": "127.0.0.1:1"}
    refused = answer(*arguments, "-p", "prod", **environment)
    assert refused["exit_code"] == 7
    assert "--reason TEXT --confirm prod" in refused["error"]["hint"]
    allowed = answer("db", "upgrade", "-p", "prod", "--reason", "why", "--confirm", "prod", **environment)
    assert allowed["exit_code"] == 0


def test_nothing_to_do_needs_no_leave(database_url, answer):
    """No question, no run: there is nothing that could go wrong."""
    document = answer(*REPAIR, DATABASE_URL=database_url)
    assert (document["exit_code"], document["run_id"], document["counts"]["matched"]) == (0, None, 0)


SHARED = """
[profiles.dev]
DATABASE_URL = "postgresql://dev@127.0.0.1:1/dev"
KAFKA_BROKERS = "dev-1:9092, DEV-2"
[profiles.dev.guard]
max_affected = 100
"""
OF_OTHERS = {
    "protected": ("protected = true", ["--yes"], "--reason TEXT --confirm other"),
    "read_only": ("read_only = true", ["--yes"], "profile other, which has the same database, is read-only"),
    "capped": ("max_affected = 5", ["--yes"], "over the limit of 5 rows for one command, set by profile other"),
}


@pytest.fixture
def reached_by_another_name(half_marked, database_url, tmp_path):
    """``world(guard)``: the environment leads to the database of profile ``other``, spelled otherwise there."""

    def world(guard):
        parts = urlsplit(database_url)
        netloc = f"somebody:else@{parts.hostname.upper()}:{parts.port}"
        spelled = parts._replace(netloc=netloc, query="schema=public&connection_limit=1").geturl()
        other = f'[profiles.other]\nDATABASE_URL = "{spelled}"\n[profiles.other.guard]\n{guard}\n'
        (tmp_path / "config.toml").write_text(SHARED + other, "utf-8")
        return half_marked

    return world


@pytest.mark.parametrize("named", [[], ["-p", "dev"]], ids=["unnamed", "named otherwise"])
@pytest.mark.parametrize("guard", OF_OTHERS)
def test_a_guard_follows_the_database(guard, named, reached_by_another_name, answer, left):
    """Under another profile's name, or none, the stricter guard counts, and the message says whose it is."""
    text_of_guard, given, words = OF_OTHERS[guard]
    document = answer(*REPAIR, *given, *named, **reached_by_another_name(text_of_guard))
    assert (document["exit_code"], left()) == (7, ROWS)
    assert words in f"{document['error']['message']} {document['error']['hint']}"


def test_a_guard_that_follows_is_satisfied_by_its_own_name(reached_by_another_name, answer, left):
    """The name to give is that of the profile whose database it is."""
    environment = reached_by_another_name("protected = true")
    given = [*REPAIR, "--yes", "--reason", "why", "-p", "dev"]
    assert answer(*given, "--confirm", "dev", **environment)["exit_code"] == 7
    assert answer(*given, "--confirm", "other", **environment)["exit_code"] == 0
    assert left() == 0


def test_the_default_file_is_looked_into_unasked(reached_by_another_name, answer, left, tmp_path):
    """Without ``-p`` and ``--config`` the guards are those of the file where XDG puts it."""
    environment = reached_by_another_name("read_only = true")
    place = tmp_path / "payctl"
    place.mkdir()
    Path(environment.pop("PAYCTL_CONFIG")).rename(place / "config.toml")
    assert answer(*REPAIR, "--yes", XDG_CONFIG_HOME=str(tmp_path), **environment)["exit_code"] == 7
    assert answer("version", XDG_CONFIG_HOME=str(tmp_path), **environment)["exit_code"] == 0
    assert left() == ROWS


@pytest.mark.parametrize("named", ["reader", "desk"])
def test_of_two_profiles_of_one_database_the_stricter_counts(named, half_marked, answer, left, tmp_path):
    """One of them is read-only: nothing is changed there, whatever -p says."""
    file, database_url = tmp_path / "both.toml", half_marked["DATABASE_URL"]
    both = "".join(f'[profiles.{name}]\nDATABASE_URL = "{database_url}"\n' for name in ("desk", "reader"))
    file.write_text(f"{both}[profiles.reader.guard]\nread_only = true\n", "utf-8")
    own = answer(*REPAIR, "--yes", "--config", str(file), "-p", named)
    leading = answer(*REPAIR, "--yes", "--config", str(file), "-p", named, DATABASE_URL=database_url)
    assert (own["exit_code"], leading["exit_code"], left()) == (7, 7, ROWS)
    assert "profile reader" in own["error"]["message"]


def test_a_cap_that_was_set_counts_beside_a_profile_without_one(half_marked, answer, left, tmp_path):
    """The default of a profile that says nothing is no limit for the other one."""
    file, database_url = tmp_path / "both.toml", half_marked["DATABASE_URL"]
    both = "".join(f'[profiles.{name}]\nDATABASE_URL = "{database_url}"\n' for name in ("desk", "batch"))
    file.write_text(f"{both}[profiles.batch.guard]\nmax_affected = 2500\n", "utf-8")
    shown = answer("config", "show", "--config", str(file), "-p", "desk")["items"]
    assert next(item["value"] for item in shown if item["name"] == "guard.max_affected") == "2500"
    assert answer(*REPAIR, "--yes", "--config", str(file), "-p", "desk")["exit_code"] == 0
    assert left() == 0


SPELLINGS = (
    *("localhost:{port}/{name}", "LOCALHOST.:{port}/{name}", "[::1]:{port}/{name}", "127.0.0.1:{port}/{name}?schema=x"),
    *(
        "whatever/{name}?host=/var/run/postgresql&port={port}",
        "whatever/x?hostaddr=127.0.0.1&port={port}&dbname={name}",
    ),
    *("whatever/{name}?host=first.example,localhost&port=1,{port}", "%2Ftmp:{port}/{name}"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_guard_knows_every_spelling_of_a_server(spelling, half_marked, postgres, answer, left, tmp_path):
    """localhost, 127.0.0.1, ::1, a socket, an address and a list of hosts are compared as the servers they lead to."""
    name = half_marked["DATABASE_URL"].rpartition("/")[2]
    other = f"postgresql://u:p@{spelling.format(port=postgres.port, name=name)}"
    guard = "[profiles.other.guard]\nread_only = true\n"
    (tmp_path / "config.toml").write_text(f'[profiles.other]\nDATABASE_URL = "{other}"\n{guard}', "utf-8")
    document = answer(*REPAIR, "--yes", **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert "profile other, which has the same database, is read-only" in document["error"]["message"]


def test_libpq_s_variables_do_not_lead_past_a_guard(half_marked, answer, left, tmp_path, postgres):
    """DATABASE_URL names an innocent place, PGHOSTADDR a guarded one: the connection goes to the first."""
    innocent = half_marked["DATABASE_URL"].replace(f"127.0.0.1:{postgres.port}", "127.0.0.1:1")
    guarded = (
        f'[profiles.prod]\nDATABASE_URL = "{half_marked["DATABASE_URL"]}"\n[profiles.prod.guard]\nread_only = true\n'
    )
    (tmp_path / "config.toml").write_text(guarded, "utf-8")
    variables = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(postgres.port), "PGHOST": "127.0.0.1"}
    document = answer(*REPAIR, "--yes", **{**half_marked, "DATABASE_URL": innocent}, **variables)
    assert (document["exit_code"], left()) == (4, ROWS)


@pytest.mark.parametrize(("right", "code"), [(True, 7), (False, 0)])
def test_a_server_is_recognised_by_what_it_says_of_itself(right, code, half_marked, engine, answer, left, tmp_path):
    """A tunnel hides where it ends; a profile that states its server's identifier is found all the same."""
    with engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT system_identifier FROM pg_control_system()").scalar_one()
    name = half_marked["DATABASE_URL"].rpartition("/")[2]
    other = f'[profiles.prod]\nDATABASE_URL = "postgresql://u:p@prod-db.example/{name}"\n'
    guard = f"[profiles.prod.guard]\nread_only = true\nsystem_identifier = {number if right else number + 1}\n"
    (tmp_path / "config.toml").write_text(other + guard, "utf-8")
    assert answer(*REPAIR, "--yes", **half_marked)["exit_code"] == code
    assert left() == (ROWS if right else 0)


def test_a_server_that_does_not_say_who_it_is_gets_the_stricter_guard(tmp_path):
    """Where the role may not ask, the name of the database decides."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[profiles.prod]\nDATABASE_URL = "postgresql://u:p@prod-db.example/payments"\n'
        '[profiles.prod.guard]\nprotected = true\nsystem_identifier = "7391"\n',
        "utf-8",
    )
    url = {"DATABASE_URL": "postgresql://u:p@localhost:15432/payments"}
    guard = in_force(load(None, str(file), url), str(file), url)
    assert guard.protected is None
    assert guard.on_server(None, "payments").protected == "prod"
    assert guard.on_server("7391", "payments").protected == "prod"
    assert guard.on_server(None, "another").protected is None
    assert guard.on_server("7392", "payments").protected is None


def test_what_is_in_force_is_shown(reached_by_another_name, answer):
    """``config show`` says of a guard whose it is."""
    document = answer("config", "show", **reached_by_another_name("protected = true"))
    shown = {item["name"]: (item["value"], item["origin"]) for item in document["items"]}
    assert shown["guard.protected"] == ("true", "profile other, whose database this is")
    assert shown["guard.read_only"] == ("false", "default")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "postgresql://u:canary@elsewhere/shop"}, "elsewhere:5432/shop"),
        ({"KAFKA_BROKERS": "elsewhere:9092"}, "elsewhere:9092"),
        ({"DATABASE_URL": "postgresql://another:user@127.0.0.1:1/dev?schema=x", "KAFKA_BROKERS": "dev-2,dev-1"}, None),
        ({}, None),
    ],
)
def test_a_profile_that_the_environment_leads_past_is_said(environment, said, invoke, tmp_path):
    """On stderr, and where it leads; the same place in another spelling is the same place."""
    file = tmp_path / "config.toml"
    file.write_text(SHARED, "utf-8")
    result = invoke("config", "path", "-p", "dev", "--config", str(file), **environment)
    assert result.exit_code == 0
    warned = [line for line in result.stderr.splitlines() if line.startswith("warning:")]
    assert [said in line and "from the environment overrides profile dev:" in line for line in warned] == (
        [True] if said else []
    )
    assert "canary" not in result.stderr


@pytest.mark.parametrize("named", [[], ["-p", "dev"]])
def test_a_name_that_is_given_is_compared_everywhere(named, half_marked, answer, left):
    """Who confirms another profile than the one in force is somewhere else than he thinks."""
    document = answer(*REPAIR, "--yes", *named, "--confirm", "prod", **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert answer("db", "upgrade", *named, "--confirm", "prod", **half_marked)["exit_code"] == 7
    assert answer(*REPAIR, "--yes", "-p", "dev", "--confirm", "dev", **half_marked)["exit_code"] == 0
