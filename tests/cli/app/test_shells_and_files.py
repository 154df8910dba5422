"""Test that a shell offers the names of files only where a file belongs on the command line."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from contextlib import suppress

import pytest

FILE = "TB-NO_ORDER_HAS_THIS_CODE.json"
TYPED = "TB-NO"
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07|\([A-Z])|\r")
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source ./script; bind 'set bell-style none'; PS1='ready>'"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -u -D; source ./script; PS1='ready>'"),
}


@pytest.fixture
def completed(shell, tmp_path, payctl_path, database_url):
    """Return a function that types a line, Tab and X, and returns the last line that the shell then shows.

    For fish, the function returns the completions that fish would show.
    """
    environment = {
        "HOME": str(tmp_path), "PATH": payctl_path, "TERM": "xterm", "LANG": "C.UTF-8", "COLUMNS": "200",
        "DATABASE_URL": database_url,
    }  # fmt: skip
    script = subprocess.run(
        ["/bin/sh", "-c", f"payctl completion {shell}"], env=environment, capture_output=True, text=True, check=True
    )
    (tmp_path / "script").write_text(script.stdout, "utf-8")
    (tmp_path / FILE).write_text("", "utf-8")

    def complete(line):
        if shell == "fish":
            code = f"source ./script; complete --do-complete '{line}'"
            done = subprocess.run(
                ["fish", "--no-config", "-c", code],  # noqa: S607
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=True,
            )  # fmt: skip
            return done.stdout
        return _typed(shell, line, tmp_path, environment)

    return complete


def _typed(shell, line, place, environment):
    command, setting = START[shell]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        os.write(master, f"{setting}\n".encode())
        _read(master, lambda shown: shown.rstrip().endswith("ready>"))
        os.write(master, f"{line}\tX".encode())  # the shell shows the X after it has waited for payctl
        return _read(master, lambda shown: "X" in shown)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read(master, enough, *, quiet=1.0, most=40.0):
    """Read until ``enough`` is true and no more output arrives for ``quiet`` seconds, or until the time limit."""
    shown, until = "", time.monotonic() + most
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], quiet)
        if ready:
            with suppress(OSError):
                shown = ESCAPES.sub("", shown + os.read(master, 65536).decode("utf-8", "replace"))
        elif enough(shown):
            break
    return shown


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("line", "files"),
    [
        (f"payctl show {TYPED}", False),
        (f"payctl show TB-BLOCKED {TYPED}", False),
        (f"payctl list payments --order-code {TYPED}", False),
        (f"payctl stats {TYPED}", False),
        (f"payctl verify-signature {TYPED}", True),
        (f"payctl replay --plan {TYPED}", True),
        (f"payctl publish-outbox --health-file {TYPED}", True),
        (f"payctl cleanup --archive {TYPED}", True),
    ],
)
def test_a_shell_offers_files_only_where_a_file_belongs(completed, shell, line, files):
    """If no order, command or other word matches, the shell offers a file only for a parameter that names a file."""
    shown = completed(line)
    if shell == "fish":
        assert (FILE in shown) is files
    else:
        assert (FILE.removeprefix(TYPED) in shown) is files, shown


@pytest.mark.parametrize("kind", ["bash", "zsh-lines", "fish"])
@pytest.mark.parametrize(
    ("line", "answer"),
    [("payctl show T", "/"), ("payctl replay --confirm p", "/"), ("payctl --config x", ""), ("payctl sh", None)],
)
def test_payctl_answers_with_the_word_that_the_script_gave(process, kind, line, answer):
    """If no word matches and no file belongs at the cursor, payctl prints the word in _PAYCTL_NO_FILES.

    A completion script of an older version does not set this variable, so payctl prints nothing.
    """
    asked = {"_PAYCTL_COMPLETE": f"complete_{kind}", "_TYPER_COMPLETE_ARGS": line}
    old, new = process(**asked), process(**asked, _PAYCTL_NO_FILES="/")
    expected = ("show", "show") if answer is None else ("", answer)
    assert (old.stdout.strip().split("\t")[0], new.stdout.strip().split("\t")[0]) == expected
