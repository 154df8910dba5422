"""Test the terminal on which other tests run commands."""

from __future__ import annotations

import os

from tests.cli.terminal import on_terminal


def test_the_output_of_a_process_that_has_ended_is_read():
    """A terminal keeps what a process wrote, even if the test reads it after the process has ended."""
    with on_terminal(["/bin/sh", "-c", "echo the last line"], dict(os.environ), 80, 24) as it:
        it.process.wait(10)
        assert (it.finish(), it.text()) == (0, "the last line")
