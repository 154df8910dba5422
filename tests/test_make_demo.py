"""Test the exit codes of ``make demo`` and ``make format``, and the interpreter that make uses.

Stand-ins replace the demo and ruff.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ticketbottle_payctl.sandbox.server import wait_until

ROOT = Path(__file__).parents[1]
WAITS_FOR_CTRL_C = """#!/bin/sh
trap 'echo interrupted; while [ ! -e "$END" ]; do sleep 0.05; done; exit 130' INT
echo ready
while :; do sleep 0.05; done
"""


def make_demo(tmp_path, script):
    """Return the command that runs `make demo` with a script instead of the demo, and its environment."""
    demo = tmp_path / "payctl"
    demo.write_text(script)
    demo.chmod(0o755)
    # These tests run inside another make, whose options are not meant for the make that they start.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return ["make", "demo", f"BIN={tmp_path}", "DEMO="], environ


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (130, 0), (4, 2)])
def test_make_demo_accepts_only_the_exit_code_of_ctrl_c(code, ends, tmp_path):
    """If the demo exits with code 0 or 130, `make demo` exits with code 0 and prints nothing.

    For other codes, make fails.
    """
    command, environ = make_demo(tmp_path, f"#!/bin/sh\nexit {code}\n")
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, bool(done.stderr)) == (ends, ends != 0), done.stderr


@pytest.mark.parametrize(
    ("failing", "ends", "runs"),
    [
        ("", 0, ["check", "format", "check"]),
        ("check", 2, ["check", "format", "check"]),
        ("format", 2, ["check", "format"]),
    ],
)
def test_make_format_also_formats_if_ruff_has_findings(failing, ends, runs, tmp_path):
    """`make format` corrects and formats the code, and fails if the code then still has findings."""
    ruff = tmp_path / "ruff"
    ruff.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/runs\n[ "$1" != "{failing}" ]\n')
    ruff.chmod(0o755)
    (_, _, *variables), environ = make_demo(tmp_path, "")
    command = ["make", "format", "DEV=", *variables]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, (tmp_path / "runs").read_text("utf-8").split()) == (ends, runs), done.stderr


def test_make_does_not_create_an_environment_with_an_interpreter_that_it_deletes(tmp_path):
    """If the first Python in PATH belongs to the .venv that make replaces, make uses this .venv's base interpreter."""
    place = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    command, environ = make_demo(tmp_path, "")
    environ["PATH"] = f"{place / 'bin'}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        [command[0], "--dry-run", "ready", "PYTHON=python", f"VENV={place}"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=50,
    )  # fmt: skip
    assert f"-m venv {place}" in done.stdout
    assert f"{place}/bin/python3" not in done.stdout.split("-m venv", 1)[0]
    assert f'"{place}/bin/python" -m venv' not in done.stdout


def test_make_demo_is_quiet_after_ctrl_c(tmp_path):
    """Ctrl-C, which the terminal sends to make, its shell and the demo, ends `make demo` without an error message."""
    command, environ = make_demo(tmp_path, WAITS_FOR_CTRL_C)
    end = tmp_path / "end"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environ["END"] = str(end)
    with subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, **pipes) as make:
        try:
            assert make.stdout.readline() == "ready\n"
            os.killpg(make.pid, signal.SIGINT)
            assert make.stdout.readline() == "interrupted\n"
            # GNU make reports an error if its child ends before make itself has got the signal.
            wait_until(lambda: not pending(make.pid, signal.SIGINT), what="make has got the signal", timeout=20)
            end.touch()
            assert make.communicate(timeout=50) == ("", "")
        finally:
            if make.poll() is None:
                os.killpg(make.pid, signal.SIGKILL)
    assert make.returncode == -signal.SIGINT


def pending(pid, number):
    """Return whether a signal was sent to a process that has not handled it yet."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)) >> (number - 1) & 1)
