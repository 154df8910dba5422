"""Test that the commands of the contributors' guide work as the guide says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(180)  # the test starts the demo and four interpreters
def test_a_gateway_can_be_tried_by_hand(world, tmp_path):
    """The block creates a payment, simulates its callback, and queries the demo's gateway server."""
    (block,) = [block for block in BLOCKS if "insert_payment" in block]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    command = ["bash", "-euo", "pipefail", "-c", block.replace("NAME", "momo")]
    done = subprocess.run(command, env=world, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    callback, _, query = done.stdout.partition("dry run")
    for words in ("would be settled", "not found"):
        assert words in GUIDE
    assert "would be settled  MoMo  order TB-NEW" in callback
    assert re.search(r"^TB-NEW\tMoMo\t.*\tnot found", query, re.MULTILINE)


def test_each_command_of_the_guide_names_its_environment():
    """Each payctl and Python command is in the clone's environment, because neither is in a new shell's PATH."""
    in_blocks = re.findall(r"^\s*(\S*(?:payctl|python3?) .*)$", "\n".join(BLOCKS), re.MULTILINE)
    in_sentences = re.findall(r"`(\S*(?:payctl|python3?) [^`]+)`", GUIDE)
    assert in_blocks
    assert in_sentences
    assert [each for each in in_blocks + in_sentences if not each.startswith(".venv/bin/")] == []
