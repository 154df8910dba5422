"""``payctl``: the root command and its process."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from ticketbottle_payctl.cli.app.failures import TerminatedError
from ticketbottle_payctl.cli.app.global_options import declare
from ticketbottle_payctl.cli.app.parser import PayctlRoot, enable_completion

app = typer.Typer(
    name="payctl",
    cls=PayctlRoot,
    help="From a gateway's callback to the Kafka message that becomes a ticket.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(declare)
enable_completion()


_GC_THRESHOLD = 200_000
"""Imported modules stay in memory. Collecting garbage while they load would take 7 % of a command's start."""


def main() -> None:
    """Run payctl. Streams never fail on a character, and SIGTERM unwinds the stack as Ctrl-C does."""
    gc.set_threshold(_GC_THRESHOLD)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="payctl")


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError
