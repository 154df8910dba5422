"""Test how ``make demo`` ends, with a stand-in for the demo itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (130, 0), (4, 2)])
def test_make_demo_is_quiet_only_after_ctrl_c(code, ends, tmp_path):
    """`make demo` exits with 0 and prints nothing if Ctrl-C ended the demo.

    After any other failure, make reports an error.
    """
    demo = tmp_path / "payctl"
    demo.write_text(f"#!/bin/sh\nexit {code}\n")
    demo.chmod(0o755)
    command = ["make", "demo", f"BIN={tmp_path}", "DEMO="]
    # These tests run inside another make, whose options are not meant for this one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, bool(done.stderr)) == (ends, ends != 0), done.stderr
