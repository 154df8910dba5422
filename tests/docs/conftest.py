"""A fixture for the pages whose commands need the local environment of the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest


@pytest.fixture
def world(payctl_path):
    """Run `payctl demo --keep`, and yield the environment variables of a reader's shell."""
    environ = {"PATH": payctl_path, "HOME": os.environ.get("HOME", "/")}
    command = ["payctl", "demo", "--keep", "-o", "json"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        try:
            text = ""
            while True:
                text += (line := demo.stdout.readline())
                assert line, "the demo ended"
                try:
                    settings = json.loads(text)["result"]["settings"]
                except ValueError:
                    continue
                break
            yield {**environ, **settings}
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(20)
