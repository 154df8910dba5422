"""Define the root command, and run it as the ``payctl`` process."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from ticketbottle_payctl.cli.app.failures import TerminatedError
from ticketbottle_payctl.cli.app.global_options import declare
from ticketbottle_payctl.cli.app.parser import PayctlRoot
from ticketbottle_payctl.cli.app.registry import evaluate_annotations
from ticketbottle_payctl.cli.app.shell_completion import enable_completion
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.streams import ReaderGoneError, leave_streams, protect_streams
from ticketbottle_payctl.errors import OutputError

app = typer.Typer(
    name="payctl",
    cls=PayctlRoot,
    help="From a gateway's callback to the Kafka message that becomes a ticket.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluate_annotations(declare)
app.callback()(declare)
enable_completion()


_GC_THRESHOLD = 200_000
"""The number of new objects that triggers a garbage collection.

With Python's default, garbage collection while modules load takes 7 % of a command's start-up time.
"""


def main() -> None:
    """Run payctl. A closed stream causes no error. SIGTERM unwinds the stack in the same way as Ctrl-C.

    After a crash, no core file is written, because it would contain the keys and the password that payctl has read.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    gc.set_threshold(_GC_THRESHOLD)
    protect_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(prog_name="payctl")
    except ReaderGoneError:  # a shell asked for completions and did not wait for them
        sys.exit(int(ExitCode.DONE))
    except OutputError as error:  # for example because the disk is full
        sys.exit(int(exit_codes.of_error(error)))
    finally:
        leave_streams()


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError
