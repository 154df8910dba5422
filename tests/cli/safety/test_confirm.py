"""Test every step of the confirmation, with the repair of half-marked rows as an example."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import termios
import time

import pytest

from tests.cli.safety.conftest import REPAIR, ROWS

pytestmark = pytest.mark.postgres

KEYS = {None: b"\x04", "\x03": b"\x03"}
"""The keys that take effect without Enter. They end the input or send Ctrl-C."""

HESITATION = 0.2
"""The time in seconds between a question and its answer, so that payctl is already waiting for the answer."""

ENDED = "<ended>"
SHELL = ["sh", "-c", f"trap : INT; \"$@\"; code=$?; printf '{ENDED}' >&2; read -r _; exit $code", "sh"]
"""The start of a command line that leaves the terminal open until everything from it is read.

When the process that controls a terminal ends, Linux discards unread output.
"""

PLAN = f'{ROWS} events  with "publishedAt" but'


@pytest.fixture
def on_terminal(payctl_command):
    """Return a function that runs payctl on a terminal and answers its questions. payctl's stdout is a pipe.

    With ``controls``, the terminal controls a shell that runs payctl, so Ctrl-C sends a signal to both.
    """

    def run(*arguments, answers=(), controls=False, **environment):
        ours, theirs = pty.openpty()
        command = [*(SHELL if controls else ()), *payctl_command, *arguments]
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, **environment}, text=True,
            start_new_session=controls,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controls else None,  # noqa: PLW1509 - the tests start no threads
        )  # fmt: skip
        os.close(theirs)
        talk = _converse(ours, list(answers))
        stdout, _ = process.communicate(timeout=30)
        os.close(ours)
        return process.returncode, stdout, talk

    return run


def _converse(terminal, answers):
    """Answer each question on the terminal, and return all output. If an answer is None, close the input."""
    said, asked, deadline = "", 0, time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux raises this error when the other end is closed
            break
        if not part:
            break
        said += part.decode()
        questions = said.count("[y/N] ") + said.count("to continue: ")
        while asked < questions and answers:
            asked += 1
            answer = answers.pop(0)
            time.sleep(HESITATION)
            os.write(terminal, KEYS[answer] if answer in KEYS else f"{answer}\n".encode())
        if said.endswith(ENDED):
            os.write(terminal, b"\n")
    return said.partition(ENDED)[0]


@pytest.mark.parametrize("answer", ["y", "YES"])
def test_a_yes_on_a_terminal_confirms_the_change(answer, half_marked, on_terminal, left):
    """After the answer y or yes, payctl makes the change. The plan is on stderr, and the result is on stdout."""
    code, stdout, talk = on_terminal(*REPAIR, answers=[answer], **half_marked)
    assert (code, left()) == (0, 0), talk
    assert stdout.startswith(f"✔  repaired {ROWS}")
    assert 'with "publishedAt" but' in talk
    assert f"Repair {ROWS} events? [y/N]" in talk


@pytest.mark.parametrize("answer", ["", "n", "prod", "yess", None])
def test_any_answer_but_yes_cancels_the_change(answer, half_marked, on_terminal, left):
    """If the answer is anything but yes, payctl changes nothing and exits with 7. An empty answer means no."""
    code, stdout, talk = on_terminal(*REPAIR, answers=[answer], **half_marked)
    assert (code, stdout, left()) == (7, "", ROWS)
    assert "error[GUARD]" in talk


def test_ctrl_c_at_a_question_says_that_nothing_was_changed(half_marked, on_terminal, left):
    """After Ctrl-C at the prompt, payctl prints an error on a new line and says that nothing was changed."""
    code, stdout, talk = on_terminal(*REPAIR, answers=["\x03"], controls=True, NO_COLOR="1", **half_marked)
    assert (code, stdout, left()) == (130, "", ROWS)
    assert "error[INTERRUPTED]: interrupted; nothing was changed" in talk.splitlines()
    assert "continues" not in talk


def test_the_end_of_the_input_at_a_question_ends_the_line(half_marked, on_terminal):
    """If the input ends at the prompt, payctl prints the error on a new line."""
    _, _, talk = on_terminal(*REPAIR, answers=[None], NO_COLOR="1", **half_marked)
    assert next(line for line in talk.splitlines() if "error[GUARD]" in line).startswith("error[GUARD]")


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--reason", "why"], ["y", "prod"]),
        (["--reason", "why", "--yes"], ["prod"]),
        (["--reason", "why", "--yes", "--confirm", "prod"], []),
        (["--reason", "why", "--confirm", "prod"], ["y"]),
    ],
)
def test_a_protected_profile_needs_reason_yes_and_name(options, answers, half_marked, on_terminal, left):
    """For a protected profile, payctl asks for whichever is missing: the confirmation or the profile's name."""
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
def test_a_protected_profile_refuses_an_incomplete_confirmation(options, answers, half_marked, on_terminal, left):
    """For a protected profile, a change without a reason or confirmation, or with a wrong profile name, is refused."""
    code, _, talk = on_terminal(*REPAIR, "-p", "prod", *options, answers=answers, **half_marked)
    assert (code, left()) == (7, ROWS), talk


@pytest.mark.parametrize("more", [["--no-input"], ["-o", "json"], ["-o", "ndjson"], ["-o", "csv"]])
def test_no_question_is_asked_with_no_input_or_a_machine_format(more, half_marked, on_terminal, left):
    """With --no-input or a machine-readable format, payctl prints the plan and exits with 7 without asking."""
    code, _, talk = on_terminal(*REPAIR, *more, **half_marked)
    assert (code, left()) == (7, ROWS)
    assert 'with "publishedAt" but' in talk
    assert "[y/N]" not in talk


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_change_without_a_terminal_prints_its_plan_and_exits_with_7(form, half_marked, invoke, left):
    """Without a terminal or --yes, payctl prints the plan to stderr, names the missing option and exits with 7."""
    result = invoke(*REPAIR, "-o", form, **half_marked)
    assert (result.exit_code, left()) == (7, ROWS)
    assert PLAN in result.stderr
    assert "add --yes" in result.stderr
    assert "GUARD" in (result.stdout if form == "json" else result.stderr)


def test_yes_needs_no_terminal(half_marked, answer, left):
    """With --yes, payctl makes the change without a terminal."""
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
def test_the_hint_for_a_protected_profile_has_every_missing_option(options, words, half_marked, answer, left):
    """If options are missing for a protected profile, the hint lists all of them."""
    document = answer(*REPAIR, "-p", "prod", *options, **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert words in document["error"]["hint"]


def test_a_protected_profile_accepts_reason_yes_and_confirm(half_marked, answer, left):
    """For a protected profile, --reason, --yes and --confirm allow a change without a terminal."""
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
def test_a_change_over_the_limit_is_refused(options, code, half_marked, answer, left):
    """--yes does not override the limit of --max-affected or of the profile. The hint says which limit to set."""
    document = answer(*REPAIR, "--yes", *options, **half_marked)
    assert (document["exit_code"], left()) == (code, ROWS if code else 0)
    if code:
        assert f"--max-affected {ROWS}" in document["error"]["hint"]


@pytest.mark.parametrize("arguments", [[*REPAIR, "-n"], ["doctor", "--only", "columns"], ["db", "upgrade", "-n"]])
def test_a_read_only_profile_allows_reading_and_dry_runs(arguments, half_marked, answer):
    """A profile with the read_only guard allows dry runs and commands that only read."""
    assert answer(*arguments, "-p", "archive", **half_marked)["exit_code"] == 0


@pytest.mark.parametrize("arguments", [["publish-outbox"], ["db", "upgrade"]], ids=" ".join)
def test_a_routine_command_on_a_protected_profile_needs_reason_and_name(arguments, half_marked, answer):
    """For a protected profile, a routine command requires --reason and --confirm, but does not ask for confirmation."""
    environment = {**half_marked, "KAFKA_BROKERS": "127.0.0.1:1"}
    refused = answer(*arguments, "-p", "prod", **environment)
    assert refused["exit_code"] == 7
    assert "--reason TEXT --confirm prod" in refused["error"]["hint"]
    allowed = answer("db", "upgrade", "-p", "prod", "--reason", "why", "--confirm", "prod", **environment)
    assert allowed["exit_code"] == 0


def test_a_change_of_no_rows_needs_no_confirmation(database_url, answer):
    """If a command would not change any rows, payctl does not ask for confirmation or record a run."""
    document = answer(*REPAIR, DATABASE_URL=database_url)
    assert (document["exit_code"], document["run_id"], document["counts"]["matched"]) == (0, None, 0)
