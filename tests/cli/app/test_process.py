"""Test behaviour that only a real process shows, such as signals, closed pipes, exit codes and tracebacks."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROCESS

SILENT = "postgresql://payctl:canary-password@127.0.0.1:1/payments"


@pytest.fixture
def command():
    """Return a function that returns payctl's command line, which always starts a new interpreter."""
    return lambda _: PROCESS


def reads_its_stdin(process):
    """Write a byte to payctl's stdin, and wait until payctl has read it."""
    process.stdin.write(b"{")
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while unread(process) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not unread(process)


def unread(process):
    """Return the number of bytes on stdin that payctl has not read yet."""
    count = fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0\0\0\0")
    return int.from_bytes(count, sys.byteorder)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGINT, 130, "INTERRUPTED"), (signal.SIGTERM, 143, "TERMINATED")]
)
def test_a_signal_ends_payctl_with_one_document(sent, code, word, started):
    """After Ctrl-C or SIGTERM, payctl prints one error document and exits with 130 or 143."""
    process = started("-o", "json", "verify-signature", "-")
    reads_its_stdin(process)
    process.send_signal(sent)
    process.wait(20)  # communicate would close stdin, and payctl could end before it handles the signal
    assert process.returncode == code
    assert json.loads(process.stdout.read())["error"]["code"] == word
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["version"], {}, 0),
        (["no-such-command"], {}, 2),
        (["process-webhook", "--query", "vnp_SecureHash=1", "-n"], {}, 3),
        (["process-webhook", "--query", "vnp_SecureHash=1"], {"DATABASE_URL": "mysql://x"}, 3),
        (["db", "status"], {"DATABASE_URL": SILENT}, 4),
        (["verify-signature", "--example", "momo", "--tamper", "amount"], {}, 5),
        (["schema", "no-such-schema"], {}, 8),
    ],
)
def test_the_shell_sees_the_exit_code(arguments, environment, code, process):
    """After an error, payctl exits with the error's code and does not print a traceback."""
    result = process(*arguments, **environment)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert "canary" not in result.stdout + result.stderr


def test_the_error_for_an_unreachable_database_has_a_hint(process):
    """The error for an unreachable database names the server, hides the password, and is marked as retryable."""
    result = process("db", "status", "-o", "json", DATABASE_URL=SILENT)
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["retryable"]) == ("DATABASE_UNAVAILABLE", True)
    assert "127.0.0.1" in error["message"]
    assert "try: check that the server is up" in result.stderr


@pytest.mark.parametrize("verbosity", ["-q", "-v", "-vv"])
def test_a_bug_exits_with_1_and_shows_its_traceback_only_with_vv(verbosity, process, tmp_path):
    """After a bug, payctl exits with 1 and the INTERNAL error.

    Only -vv adds a traceback, which does not contain secrets.
    """
    (tmp_path / "sitecustomize.py").write_text(
        "import ticketbottle_payctl.cli.commands.version as module\n"
        "def broken(name):\n    raise ZeroDivisionError('canary-secret-value of the bug')\n"
        "module._installed = broken\n",
        "utf-8",
    )
    paths = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    result = process("version", "-o", "json", verbosity, PYTHONPATH=paths, MOMO_SECRET_KEY="canary-secret-value")
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "INTERNAL"
    assert "error[INTERNAL]: unexpected ZeroDivisionError" in result.stderr
    assert ("Traceback" in result.stderr) is (verbosity == "-vv")
    assert "canary-secret-value" not in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["schema", "version"], ["--help"], ["config", "show", "-o", "json"]])
def test_a_closed_stdout_is_not_an_error(arguments, started):
    """If the reader closes payctl's stdout, payctl keeps its exit code and prints nothing to stderr."""
    process = started(*arguments)
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == b""


def test_a_full_disk_is_an_error():
    """If payctl cannot write its result, it exits with an error without a traceback."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "ticketbottle_payctl", "version"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert result.returncode != 0
    assert "error[" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_ascii_terminal_gets_ascii(process):
    """On a stream that supports only ASCII, payctl prints its marks in ASCII and escapes other characters in JSON."""
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    plain = process("verify-signature", "--example", "zalopay", **ascii_only)
    assert plain.stdout.startswith("+ valid  ZaloPay")
    document = process("verify-signature", "--example", "payos", "--explain", "-o", "json", **ascii_only)
    assert "Thành công" in json.loads(document.stdout)["result"]["canonical"]
    assert document.stdout.isascii()
