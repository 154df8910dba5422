"""Test that a tutorial's commands print what its page shows, in the local environment that the page sets up."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(sh)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
VARIES = re.compile(r"[0-9.]+ (?:ms|s|min)(?: ago)?\b|just now")
"""A regular expression for the durations and ages in a command's output."""


@pytest.mark.timeout(120)  # the test starts the demo and runs nine commands
def test_the_tutorial_on_the_first_callback_prints_what_its_page_shows(world):
    """The tutorial's commands, pasted in order, print the output that the page shows.

    If the page leaves lines out, it shows ``...`` in their place.
    """
    page = (ROOT / "docs" / "tutorials" / "first-callback.md").read_text("utf-8")
    blocks = [(bool(shell), text) for shell, text in FENCE.findall(page) if "activate" not in text]
    # A mark after each command separates its output from the output of the next one.
    script = "".join(f"{text}echo '== done'\n" for shell, text in blocks if shell)
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, env=world, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    outputs = iter(done.stdout.split("== done\n"))
    shown = 0
    for shell, text in blocks:
        if shell:
            output = VARIES.sub("N", re.sub(r"\t", "  ", next(outputs)))
            continue
        shown += 1
        lines = [line for line in text.splitlines() if line != "..."]
        assert ("..." in text.splitlines()) == (len(lines) < len(output.strip().splitlines())), output
        for line in lines:
            assert " ".join(VARIES.sub("N", line).split()) in " ".join(output.split())
    assert shown > 5


def test_the_callback_of_the_page_on_make_local_settles_an_order_of_the_demo(world):
    """The page's command sends a callback for an order of the demo. Here, `payctl listen` replaces `make local`."""
    page = (ROOT / "docs" / "how-to" / "try-it-locally.md").read_text("utf-8")
    (command,) = re.findall(r"^payctl simulate .*http://127\.0\.0\.1:8081$", page, re.MULTILINE)
    listen = ["payctl", "listen", "--port", "0", "-o", "ndjson"]
    with subprocess.Popen(listen, env=world, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = next(found[1] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
            here = ["bash", "-c", command.replace("8081", port)]
            done = subprocess.run(here, env=world, capture_output=True, text=True, check=False, timeout=50)
        finally:
            server.send_signal(signal.SIGINT)
            replies = [json.loads(line) for line in server.communicate(timeout=20)[0].splitlines()]
    assert done.returncode == 0, done.stderr
    assert [each.get("outcome") for each in replies[:2]] == ["settled", "already_settled"]
