"""Test that payctl folds lines that are wider than the terminal, and fits full-screen rows to the terminal."""

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
WORDS = "publishers never send dead events, and a dead event blocks the later events of its payment"


def texts(rows):
    """Return each row as a string."""
    return ["".join(part.text if isinstance(part, Styled) else part for part in row) for row in rows]


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80])
@pytest.mark.parametrize(
    "parts", [("   ", WORDS), (good("✔"), "grants     ", WORDS), (bad("✘"), bold(WORDS), dim("and 3 more"))]
)
def test_a_line_is_folded_between_words(parts, width):
    """Each part of a folded line fits the terminal, and words are not broken. Continuation lines are indented."""
    rows = texts(folded(parts, 2, width))
    assert max(map(len, rows)) <= width
    assert " ".join(rows).split() == " ".join(texts([[part] for part in parts])).split()
    assert width == 30 or all(row.startswith(" ") for row in rows[1:])


@pytest.mark.parametrize("words", ["日本語の文字 " * 9, "a\u00a0b c " * 20, "a\u2009 " * 40, "vé → ✔ " * 20])
def test_wide_characters_and_other_spaces_are_kept(words):
    """Folding counts a wide character as two columns, and keeps special spaces such as no-break spaces."""
    rows = texts(folded((bold("orders"), words), 2, 40))
    assert len(rows) > 1
    assert max(map(cell_len, rows)) <= 40
    assert "".join(rows).replace(" ", "") == f"orders{words}".replace(" ", "")


def test_a_text_of_many_spaces_is_folded_at_once():
    """The time to fold a line with 300,000 spaces is proportional to the line's length."""
    assert texts(folded(("a" + " " * 300_000, "b"), 2, 40))[0].startswith("a")


def test_a_command_is_never_folded():
    """Folding does not break commands or words in backquotes, so users can copy them."""
    command = "payctl replay --failed --reason 'a long reason' --confirm production"
    assert texts(folded(["     ", command], 2, 40)) == [f"       {command}"]
    rows = texts(folded([f"{WORDS}: see `payctl errors --failed`, then wait"], 2, 40))
    assert any("`payctl errors --failed`," in row for row in rows)


@pytest.mark.parametrize(
    "figure", ["750,000 VND", "35 s ago", "1 h 50 min", "238 ms", "1.9 s,", "(250,000 VND).", "1 batch", "5 tries"]
)
@pytest.mark.parametrize("width", range(40, 60))
def test_a_figure_stays_with_its_unit(figure, width):
    """Folding never separates a number from the unit after it."""
    rows = texts(folded([f"the gateway reported this some time before, {figure} and nothing after it"], 2, width))
    assert any(figure in row for row in rows)


@pytest.mark.parametrize("width", range(45, 80))
def test_a_name_stays_with_its_value(width):
    """Folding breaks a JSON line between name-value pairs, or within a pair that does not fit on one line."""
    payload = '{"currency": "VND", "amount_cents": 750000, "transaction_id": "261123_27b7245bd477"}'
    rows = texts(folded(["  payload", payload], 2, width))
    assert any('"amount_cents": 750000,' in row for row in rows)
    assert any('"transaction_id": "261123_27b7245bd477"}' in row for row in rows) == (width >= 51)
    assert max(map(len, rows)) <= width


def test_a_line_hangs_from_the_part_it_names():
    """When a line of a history is folded, it continues below its text, not below its timestamp."""
    parts = ["2026-11-29 12:30:19.030 +00:00", "callback       ", "MoMo", "COMPLETED, settled", "750,000 VND"]
    rows = texts(folded([*parts, dim("receipt 0bdc8b3e")], 2, 80, hang=2))
    assert rows[1] == " " * 49 + "750,000 VND  receipt 0bdc8b3e"
    assert max(map(len, rows)) <= 80


def test_a_row_as_wide_as_the_terminal_keeps_its_last_character(monkeypatch):
    """A row as wide as the terminal keeps its last character, because the screen clears the line before writing."""
    monkeypatch.setenv("COLUMNS", "9")
    stream = io.StringIO()
    Screen(stream, TERMINAL).draw([["a long row"]])
    assert stream.getvalue().endswith("\x1b[1;1H\x1b[Ka long r…")


def test_a_pipe_gets_one_line(monkeypatch):
    """If the output is piped, lines are never folded. On a wide terminal, a headline has at most 80 columns."""
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
    """A row of the live screen is never wider than the terminal and contains no control characters."""
    for row in ([text], [text, "  ", bold(text)], [Cell([text, " ", text], 7), text]):
        shown = "".join(texts([fitted(row, width, TERMINAL)]))
        assert cell_len(shown) <= width
        assert "\x1b" not in shown
        assert "\n" not in shown


def test_only_changed_rows_are_written():
    """The live screen writes only the rows that have changed since it was last drawn."""
    stream = io.StringIO()
    screen = Screen(stream, COLOURED)
    screen.draw([["one"], [good("two")], ["three"]])
    first = stream.getvalue()
    screen.draw([["one"], [good("two")], ["three"]])
    assert stream.getvalue() == first
    screen.draw([["one"], [bad("2")], ["three"]])
    assert stream.getvalue()[len(first) :] == "\x1b[2;1H\x1b[K\x1b[31m2\x1b[0m"
    screen.draw([["one"]])
    assert stream.getvalue().endswith("\x1b[2;1H\x1b[K\x1b[3;1H\x1b[K")
