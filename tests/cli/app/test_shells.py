"""Test completion in real bash, zsh and fish shells, as if a user had pressed Tab."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import time
from contextlib import suppress

import pytest

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.input.stored_ids import PATIENCE
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments import order_codes

ERROR = 'KafkaJSConnectionError: [broker] said: it\'s `$HOME` "closed"'
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
REASON = "the broker is back: 10:05"
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07|\([A-Z])")
BACKSPACED = re.compile(r".\x08")
CURSOR_UP, UP = re.compile(r"\x1b\[\d*A"), "\v"
"""The sequence with which zsh moves the cursor from its list up to the prompt, and the character that replaces it."""

TYPED_IN_ZSH = """
autoload -Uz compinit && compinit -u -D
source ./script
setopt no_beep no_list_beep no_list_ambiguous
LISTMAX=1000 PS1='ready>'
"""


@pytest.fixture
def offered(shell, tmp_path, payctl_path):
    """Return a function that types a line and Tab in the shell, and returns the offered words in order."""
    base = {
        "HOME": str(tmp_path),
        "PATH": payctl_path,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        "PYTHONWARNINGS": "error",
    }
    command = ["/bin/sh", "-c", f"payctl completion {shell}"]
    script = subprocess.run(command, env=base, capture_output=True, text=True, check=True)
    (tmp_path / "script").write_text(script.stdout, "utf-8")

    def ask(line, **environment):
        return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](line, tmp_path, {**base, **environment})

    return ask


def _bash(line, place, environment):
    """Call the function that the completion script registers, with the variables that bash sets after Tab."""
    code = """source ./script
        complete -p payctl >/dev/null || exit 1
        COMP_LINE=$1 COMP_POINT=${#1}
        read -ra COMP_WORDS <<<"$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _payctl_completion payctl
        printf '%s\\n' "${COMPREPLY[@]}" """
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", line],  # noqa: S607
        cwd=place, env=environment, capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip("\n").splitlines()


def _fish(line, place, environment):
    """Return fish's completions for a line. A tab separates each completion from its description."""
    code = f"source ./script; complete --do-complete {_quoted(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],  # noqa: S607
        cwd=place, env=environment, capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def _quoted(line):
    return "'" + line.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _zsh(line, place, environment):
    """Type a line in an interactive zsh. Return the list that zsh draws below the line, or the completed word."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"],  # noqa: S607
        cwd=place, env={**environment, "LINES": "200"}, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        os.write(master, TYPED_IN_ZSH.encode())
        _read_until(master, lambda shown: shown.rstrip().endswith("ready>"))
        os.write(master, f"{line}\t".encode())
        shown = _read_until(master, lambda shown: len(shown.rstrip()) > len(line.rstrip()))
        if "\n" not in shown:
            return [shown.strip().split(" ")[-1]]
        drawn = shown.partition(UP)[0].splitlines()[1:]
        return [re.sub(r"  +-- ", "\t", each).strip() for each in drawn if each.strip()]
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read_until(master, enough, *, quiet=1.5, most=40.0):
    """Read from the terminal until ``enough`` is true and no more output arrives, or until the time limit."""
    raw, shown, until = "", "", time.monotonic() + most
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], quiet)
        if ready:
            with suppress(OSError):
                raw += os.read(master, 65536).decode("utf-8", "replace")
                shown = BACKSPACED.sub("", ESCAPES.sub("", CURSOR_UP.sub(UP, raw))).replace("\r", "")
        elif enough(shown):
            break
    return shown


def names(lines):
    """Return the offered words without their descriptions."""
    return [line.split("\t")[0] for line in lines]


def test_a_shell_offers_commands_with_their_descriptions(offered, shell):
    """Tab after `payctl runs` offers the commands of the `runs` group. zsh and fish also describe each command."""
    found = offered("payctl runs ")
    assert names(found) == ["list", "show", "resume", "cancel"]
    if shell != "bash":
        assert dict(line.split("\t") for line in found) == registry.children(("runs",))


def test_a_description_with_colons_is_shown_whole(offered, shell):
    """`zsh` shows the complete description of `demo`, even though the description contains a colon."""
    found = offered("payctl d")
    assert names(found)[:2] == ["demo", "doctor"]
    if shell != "bash":
        assert "demo\tRun everything locally: callbacks in, Kafka messages out." in found


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("payctl list outbox --fields id,sta", "id,state"),
        ("payctl list payments --fields ord", "order_code"),
        ("payctl replay --type PAYMENT_F", "PAYMENT_FAILED"),
        ("payctl -p sta", "staging"),
        ("payctl stats --profile=sta", "staging"),
        ("payctl help exit", "exit-codes"),
        ("payctl list payments --status COMP", "COMPLETED"),
        ("payctl list receipts --result ref", "refused"),
    ],
)
def test_a_shell_completes_values(line, word, offered, tmp_path):
    """The shell completes event types, profiles, help topics, statuses, results, and fields after a comma."""
    config = tmp_path / "config.toml"
    config.write_text("[profiles.staging]\n[profiles.prod]\n", "utf-8")
    (found,) = offered(line, PAYCTL_CONFIG=str(config))
    assert found.removeprefix("--profile=") == word


@pytest.fixture
def stored(engine, database_url, tmp_path):
    """Insert dead events with the same error, and a run.

    Return environment variables that select a configuration file, and the id of the error group.
    """
    with engine.begin() as connection:
        insert_events(connection, 3, state="dead", last_error=ERROR)
        runs.start(connection, NewRun(RUN, "replay", Actor("an", "here"), reason=REASON))
        group = connection.exec_driver_sql("SELECT left(md5(%(error)s), 8)", {"error": ERROR}).scalar_one()
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.night]\nDATABASE_URL = "{database_url}"\n', "utf-8")
    return {"PAYCTL_CONFIG": str(config)}, group


@pytest.mark.postgres
def test_a_shell_offers_ids_of_the_database_of_the_typed_profile(offered, stored, shell):
    """Completion offers run ids and error groups from the database of the profile on the command line."""
    environment, group = stored
    found = offered("payctl -p night replay --error-group ", **environment)
    assert names(found) == [group]
    found = offered("payctl runs show -p night 5", **environment)
    assert names(found) == [RUN]
    if shell == "fish":
        assert found[0].endswith(f", {REASON}")


@pytest.mark.postgres
def test_a_description_of_the_database_is_shown_unchanged(offered, stored, engine, shell):
    """The shell shows quotes, brackets, dollar signs and colons in a stored error without expanding them."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error="another")
    environment, group = stored
    about = "" if shell == "bash" else f"\t3 events: {ERROR}"
    assert f"{group}{about}" in offered("payctl -p night replay --error-group ", **environment)


@pytest.mark.postgres
def test_a_shell_offers_the_codes_of_orders(offered, stored, engine, shell):
    """The shell completes the order code for `show`, `close` and `--order-code`, and describes the payment."""
    with engine.begin() as connection:
        for amount, code in enumerate(("TB-X-1", "TB-SUMMER-1", "TB-SUMMER-2", "ZZ-1")):
            insert_payment(connection, order_code=code, amount=amount)
    environment, _ = stored
    codes = [f"TB-SUMMER-{number}" + ("" if shell == "bash" else f"\tPENDING, {number} VND") for number in (1, 2)]
    for line in ("show -p night TB-S", "close -p night TB-S", "list receipts -p night --order-code TB-S"):
        assert offered(f"payctl {line}", **environment) == codes


@pytest.mark.postgres
def test_the_codes_for_a_shell_are_read_from_the_index(engine):
    """Completing an order code reads a bounded part of the unique index and does not sort a table."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        values = {"prefix": "TB-", "most": 50}
        sql = f"EXPLAIN {order_codes._BEGIN_WITH}"  # noqa: SLF001 - the statement itself
        rows = connection.exec_driver_sql(sql, values)
        plan = "\n".join(rows.scalars())
    assert "Index Cond" in plan.partition("Index Scan using")[2], plan


@pytest.fixture
def silent_server():
    """Yield the port of a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "line", ["payctl runs show ", "payctl replay --error-group ", "payctl list receipts ", "payctl show T"]
)
def test_a_dead_database_does_not_hang_the_shell(line, process, silent_server):
    """If the database server does not answer, completion gives up after about a second and prints nothing."""
    asked = {"_PAYCTL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    process(**asked, DATABASE_URL="x")  # the first run brings the modules into the file cache
    begun = time.monotonic()
    nothing = process(**asked, DATABASE_URL="not a url")
    without = time.monotonic() - begun
    result = process(**asked, DATABASE_URL=f"postgresql://u:p@127.0.0.1:{silent_server}/x")
    took = time.monotonic() - begun - without
    for each in (nothing, result):
        assert (each.returncode, each.stdout.strip(), each.stderr) == (0, "", "")
    assert took < without + PATIENCE + 3


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"DATABASE_URL": "postgresql://u:canary@127.0.0.1:1/x"},
        {"DATABASE_URL": "mysql://u:canary@localhost/x"},
        {"PAYCTL_PROFILE": "missing"},
        {"PAYCTL_CONFIG": "/nonexistent/config.toml", "PAYCTL_PROFILE": "prod"},
        {"OUTBOX_MAX_RETRIES": "many", "DATABASE_URL": "postgresql://u@127.0.0.1:1/x"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["bash", "zsh-lines", "fish"])
def test_completion_is_silent_on_every_error(kind, environment, process):
    """If settings are missing or wrong, completion prints nothing and exits with 0."""
    asked = {"_PAYCTL_COMPLETE": f"complete_{kind}", "_TYPER_COMPLETE_ARGS": "payctl runs show "}
    result = process(**asked, **environment)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")
