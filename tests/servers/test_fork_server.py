"""Test that a forked payctl behaves like payctl in a new interpreter."""

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

FRESH = [sys.executable, "-m", "ticketbottle_payctl"]
READS = ("verify-signature", "-")


@pytest.fixture
def waiting(payctl_command):
    """Yield a forked payctl that has read a byte from stdin and waits for more."""
    with subprocess.Popen(
        [*payctl_command, *READS, "-o", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b"{")
        process.stdin.flush()
        unread = b"1000"
        while unread != bytes(4):
            assert process.poll() is None
            unread = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
            time.sleep(0.005)
        yield process
        process.kill()


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("stats",), ("stat",), ("config", "show"), ("verify-signature", "--example", "momo"), READS],
    ids=" ".join,
)
def test_a_forked_command_prints_and_exits_as_a_fresh_one(arguments, payctl_command, tmp_path):
    """A forked command has the same stdout, stderr and exit code as a command in a new interpreter."""
    (tmp_path / "payctl.toml").write_text("[profiles.prod]\n", "utf-8")
    environment = {**os.environ, "PAYCTL_CONFIG": "payctl.toml", "COLUMNS": "100", "TZ": "Asia/Tokyo"}
    forked, fresh = (
        subprocess.run(
            [*command, *arguments], cwd=tmp_path, env={**environment, "PYTHONPATH": str(Path.cwd())},
            input="a=1&b=é", capture_output=True, text=True, check=False,
        )
        for command in (payctl_command, FRESH)
    )  # fmt: skip
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("arguments", ["--version", "verify-signature -"])
def test_a_forked_command_behaves_on_an_unusable_stream_as_a_fresh_one(streams, arguments, payctl_command):
    """A forked command treats a closed or full stream just as a command in a new interpreter does."""
    forked, fresh = (
        subprocess.run(
            ["/bin/bash", "-c", f'"$@" {arguments} {streams}', "bash", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )
        for command in (payctl_command, FRESH)
    )  # fmt: skip
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_forked_command(sent, code, waiting):
    """After a signal, a forked command prints its JSON document, and the client exits with the command's exit code."""
    waiting.send_signal(sent)
    waiting.wait(20)  # communicate would close stdin, and the command could see its end before the signal
    assert (waiting.returncode, json.loads(waiting.stdout.read())["exit_code"]) == (code, code)


def test_a_killed_client_takes_its_command_with_it(waiting):
    """If the fork server's client is killed, the forked command ends too, so no command outlives its test."""
    waiting.kill()
    began = time.monotonic()
    assert waiting.stdout.read() == b""
    assert time.monotonic() - began < 20


def test_a_shell_finds_the_forked_payctl_on_its_path(payctl_path):
    """A shell finds the forked `payctl` on its PATH, and this `payctl` can write to a pipe."""
    done = subprocess.run(
        ["/bin/sh", "-c", "payctl --version | tr a-z A-Z"], env={**os.environ, "PATH": payctl_path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("PAYCTL ")
