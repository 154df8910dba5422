"""Test that payctl uses only the colours of its theme, which are readable on light and dark backgrounds."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ticketbottle_payctl.cli.output.theme import ANSI, RICH, Style, rich_theme
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres

BARS = ["cleanup --older-than 1d -y", "replay --failed --rate 50/s -y"]
SCREENS = ["stats", "stats -w --interval 200ms", "doctor", "list outbox", "errors", "gateways list", "--help", *BARS]
ALLOWED = {"", "0", "1", "2", "31", "32", "33", "36"}
"""The allowed codes are reset, bold, dim, red, green, yellow and cyan.

Other colours are unreadable on some backgrounds.
"""


def test_a_style_looks_the_same_with_and_without_rich():
    """Each style looks the same in payctl's own codes and in Rich."""
    codes = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
    assert {style: codes[RICH[style]] for style in Style} == dict(ANSI)


def test_bars_and_tables_use_only_the_theme():
    """Rich's progress bars and tables use only the theme's colours."""
    used = {
        str(style) for name, style in rich_theme().styles.items() if name.startswith(("bar.", "status.", "table.h"))
    }
    assert used <= {*RICH.values(), "none"}


@pytest.fixture
def world(engine, database_url):
    """Insert events that make the lists use every colour. Return the environment for payctl."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="published", age=timedelta(days=8))
        insert_events(connection, 4, state="dead", last_error="x")
        insert_events(connection, 2, age=timedelta(hours=1))
        insert_payments_of_events(connection)
    return {"DATABASE_URL": database_url}


@pytest.mark.parametrize("command", SCREENS)
def test_a_screen_uses_only_allowed_colours(command, world, terminal):
    """Each command uses only the theme's colours on a terminal."""
    with terminal(*command.split(), columns=120, **world) as it:
        if " -w" in command:
            it.wait_for("/s")
            it.end()
        it.finish()
        codes = {code for found in re.findall(rb"\x1b\[([0-9;]*)m", it.sent) for code in found.decode().split(";")}
        assert codes <= ALLOWED
        assert codes - {"", "0"}


@pytest.mark.parametrize("name", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["stats", "doctor", *BARS])
def test_no_color_and_a_dumb_terminal_get_no_colour(command, name, world, terminal):
    """NO_COLOR and TERM=dumb turn off all colours, even in progress bars."""
    with terminal(*command.split(), **world, **name) as it:
        it.finish()
        codes = {code for found in re.findall(rb"\x1b\[([0-9;]*)m", it.sent) for code in found.decode().split(";")}
        assert codes <= {"", "0", "1", "2"}
