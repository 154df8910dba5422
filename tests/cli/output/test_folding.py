"""Lines that are wider than the terminal, and rows of a full screen."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from ticketbottle_payctl.cli.output.folding import folded
from ticketbottle_payctl.cli.output.result import Result, Styled, bad, bold, dim, good, headline, line
from ticketbottle_payctl.cli.output.screen import Cell, Screen, fitted
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text

TERMINAL = Surface(terminal=True, colour=False)
COLOURED = Surface(terminal=True, colour=True)
PIPE = Surface(terminal=False, colour=False)
WORDS = "no publisher sends a dead event, and it blocks the later events of its payment"


def texts(rows):
    """Return each row as text."""
    return ["".join(part.text if isinstance(part, Styled) else part for part in row) for row in rows]


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80])
@pytest.mark.parametrize(
    "parts", [("   ", WORDS), (good("✔"), "grants     ", WORDS), (bad("✘"), bold(WORDS), dim("and 3 more"))]
)
def test_a_line_is_folded_between_words(parts, width):
    """No row is wider than the terminal, no word is cut or lost, and what follows is indented."""
    rows = texts(folded(parts, 2, width))
    assert max(map(len, rows)) <= width
    assert " ".join(rows).split() == " ".join(texts([[part] for part in parts])).split()
    assert width == 30 or all(row.startswith(" ") for row in rows[1:])


def test_a_command_is_never_folded():
    """A shell would run the first half of it. Words in backquotes stay together too."""
    command = "payctl replay --failed --reason 'a long reason' --confirm production"
    assert texts(folded(["     ", command], 2, 40)) == [f"       {command}"]
    rows = texts(folded([f"{WORDS}: see `payctl errors --failed`, then wait"], 2, 40))
    assert any("`payctl errors --failed`," in row for row in rows)


def test_a_pipe_gets_one_line(monkeypatch):
    """Only a terminal folds; a headline has at most 80 columns on a wide one."""
    monkeypatch.setenv("COLUMNS", "200")
    long = headline(bad("✘"), f"{WORDS} {WORDS}")
    assert as_text(Result("payctl.test/1", human=[long]), PIPE) == f"✘  {WORDS} {WORDS}\n"
    assert [len(row) <= 80 for row in as_text(Result("payctl.test/1", human=[long]), TERMINAL).splitlines()] == [
        True
    ] * 3
    assert as_text(Result("payctl.test/1", human=[line(WORDS, WORDS)]), TERMINAL).count("\n") == 1


@pytest.mark.parametrize("width", [0, 1, 2, 5, 10, 40])
@pytest.mark.parametrize("text", ["plain", "日本語の文字", "a\x1b[31mred\n", "\u202egnp", "e\u0301" * 30, "✔ ok"])
def test_a_row_of_the_screen_never_exceeds_the_terminal(text, width):
    """Wide characters count twice, hostile ones are escaped, and what is cut ends in an ellipsis."""
    for row in ([text], [text, "  ", bold(text)], [Cell([text, " ", text], 7), text]):
        shown = "".join(texts([fitted(row, width, TERMINAL)]))
        assert cell_len(shown) <= width
        assert "\x1b" not in shown
        assert "\n" not in shown


def test_only_changed_rows_are_written():
    """The second picture of the same rows writes nothing, and a changed row is written alone."""
    stream = io.StringIO()
    screen = Screen(stream, COLOURED)
    screen.draw([["one"], [good("two")], ["three"]])
    first = stream.getvalue()
    screen.draw([["one"], [good("two")], ["three"]])
    assert stream.getvalue() == first
    screen.draw([["one"], [bad("2")], ["three"]])
    assert stream.getvalue()[len(first) :] == "\x1b[2;1H\x1b[31m2\x1b[0m\x1b[K"
    screen.draw([["one"]])
    assert stream.getvalue().endswith("\x1b[2;1H\x1b[K\x1b[3;1H\x1b[K")
