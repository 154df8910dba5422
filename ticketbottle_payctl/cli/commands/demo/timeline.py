"""Build the demo's report for people, with callbacks, decisions, reasons, replies and messages."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ticketbottle_payctl.cli.commands.demo.cases import case_words
from ticketbottle_payctl.cli.output.result import Block, Fields, Line, Part, Styled, bad, bold, dim, good, line, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.formats import count, duration, gateway_name
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, WebhookReport
from ticketbottle_payctl.sandbox.demo import Arrival, CallbackStep, DemoReport, Kept, MessageStep, Started

_DETAIL, _VALUE = 21, 13
_NARROWEST, _WIDEST = 40, 110
_BLANK: Final = line()


def story(report: DemoReport) -> Iterator[Block]:
    """Return the demo's timeline and its verdict."""
    yield line(bold("Local servers"))
    yield from (_started(one) for one in report.started)
    yield from (_BLANK, line(bold("Callbacks arrive")))
    for step in report.callbacks:
        yield from _callback(step)
    published = report.published.counts
    headline = f"{count(published.published, 'event')} published in {count(published.batches, 'batch', 'batches')}"
    yield from (_BLANK, line(bold("Events are published")), line(_at(report.published_at), headline))
    for message in report.messages:
        yield from _message(message)
    yield _BLANK
    yield from _verdict(report)


_TRY = (
    ("verify-signature --example zalopay", "genuine"),
    ("verify-signature --example zalopay --tamper amount", "refused"),
    ("demo --keep", "repair four orders"),
)


def way_on(kept: Kept | None) -> Iterator[Block]:
    """Return the lines that show the commands to run next."""
    yield _BLANK
    if kept is None:
        yield line(bold("Try next"))
        yield from try_next(_program(), shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None)
        return
    yield line(bold("In another terminal"), dim("in bash, zsh or fish; the gateway keys are public test keys"))
    yield line(f"  source {shlex.quote(str(kept.file))}")
    yield _BLANK
    paid = f"{count(len(kept.left.cases), 'customer')} paid, but got no ticket"
    yield line(bold("For you to repair"), f"{paid}; payctl report counts {kept.left.known}")
    for case in kept.left.cases:
        words = case_words(case)
        yield line(f" {case.order_code:<11}", words.says)
        yield line(dim("  find  "), words.find)
        if words.play is None:
            yield line(dim("  repair"), words.repair)
            continue
        yield line(dim("  simulate the customer paying again:"))
        yield line(f"    {words.play}")
        yield line(dim("  close "), words.repair)
    yield line(dim("Then run payctl publish-outbox. The messages appear here."))


def _started(one: Started) -> Block:
    return line(_at(one.at), f"{one.name:<25}", dim(one.detail))


def _callback(step: CallbackStep) -> Iterator[Block]:
    report, scene = step.report, step.scene
    refused = report.outcome is WebhookOutcome.REFUSED
    name = f"{'✘' if refused else '✔'} {gateway_name(report.provider):<7}"
    yield line(_at(step.at), bad(name) if refused else good(name), f"{scene.says:<20}", dim(scene.payment.order_code))
    yield from _details([scene.about], _DETAIL)
    yield line(" " * (_DETAIL - 2), *_decision(report))
    yield from _details([f"answered {report.reply.status} {report.reply.body}".rstrip()], _DETAIL, faint=True)
    yield from _differences(step.differences)


def _decision(report: WebhookReport) -> Sequence[Part]:
    match report.outcome, report.reason:
        case WebhookOutcome.SETTLED, _:
            return (
                _status(f"{report.status_before} → {report.status_after}"),
                "genuine, right amount, one event",
            )
        case WebhookOutcome.ALREADY_SETTLED, _:
            return (_status(f"already {report.status_after}"), "nothing changed, no second event")
        case WebhookOutcome.REFUSED, "signature":
            return (bad("not genuine"), "nothing was written")
        case WebhookOutcome.REFUSED, "wrong_amount":
            return (bad("wrong amount"), f"it stays {report.status_after}, and the operator is alerted")
        case _:
            return (warn(report.outcome.value), report.reason or "")


def _status(text: str) -> Styled:
    return good(text) if "COMPLETED" in text else warn(text)


def _message(step: MessageStep) -> Iterator[Block]:
    for arrival in step.arrivals:
        yield from arrival_lines(arrival)
    if not step.arrivals:
        yield line(" " * 8, bad("✘"), step.topic, bad("nothing arrived"))
    yield from _differences(step.differences)


def arrival_lines(arrival: Arrival) -> Iterator[Line]:
    """Return the lines that show a message with its partition, offset and value."""
    message = arrival.message
    place = f"partition {message.partition}, offset {message.offset}"
    yield line(_at(arrival.at), good("→"), f"{message.topic:<17}", place)
    yield from _details([(message.value or b"").decode(errors="backslashreplace")], _VALUE, faint=True)


def _verdict(report: DemoReport) -> Iterator[Block]:
    differences = report.differences
    arrived = sum(len(step.arrivals) for step in report.messages)
    total = (
        f"{count(len(report.callbacks), 'callback')} in, {count(arrived, 'message')} out, {duration(report.seconds)}"
    )
    if not differences:
        yield line(good("✔ all results are as expected:"), total)
        return
    yield line(bad(f"✘ {count(len(differences), 'result is', 'results are')} not as expected:"), total)
    yield from (line("  ", bad(text)) for text in differences)


def _differences(differences: Sequence[str]) -> Iterator[Block]:
    yield from (line(" " * (_VALUE - 2), bad("✘"), bad(text)) for text in differences)


def _details(texts: Sequence[str], indent: int, *, faint: bool = False) -> Iterator[Line]:
    """Return the details of a step, wrapped to the terminal's width. Without a terminal, each detail is one line."""
    for text in texts:
        for part in _folded(text, indent):
            yield line(" " * (indent - 2), dim(part) if faint else part)


def _folded(text: str, indent: int) -> list[str]:
    if not is_terminal(sys.stdout):
        return [text]
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns)) - indent
    pairs = text.replace('": ', '":\0')  # keep a name and its value on one line
    folded = textwrap.wrap(pairs, width, break_long_words=False, break_on_hyphens=False)
    return [part.replace("\0", " ") for part in folded]


def _at(seconds: float) -> Styled:
    return dim(f"{duration(seconds):>8}")


def try_next(program: str, width: int | None) -> Iterator[Block]:
    """Return the commands to try, each with a note. The notes are aligned in a column if the terminal is wide enough.

    ``width`` is the terminal's width, or None without a terminal.
    """
    rows = [(f"{program} {arguments}", dim(note)) for arguments, note in _TRY]
    if width is None or max(len(command) for command, _ in rows) + max(len(note) for _, note in _TRY) + 4 <= width:
        yield Fields(tuple(rows))
        return
    yield from (line(f"  {command}", note) for command, note in rows)


def _program() -> str:
    """Return payctl's name as the user can type it, with its path if payctl is not on PATH."""
    program = sys.argv[0]
    return program if Path(program).name == "payctl" and shutil.which("payctl") is None else "payctl"
