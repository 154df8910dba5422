"""Test that payctl reads ages and instants in the right time zone, and refuses ambiguous ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import typer

from ticketbottle_payctl.cli.app.global_options import Shared
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.times import age, instant, note_window, zone_of
from ticketbottle_payctl.formats import local_and_utc
from ticketbottle_payctl.wiring import Services

SAIGON = ZoneInfo("Asia/Ho_Chi_Minh")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)  # in Saigon, this is 03:30 on 23 November


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2026-11-22T20:30:00"),
        ("2h", "2026-11-22T18:30:00"),
        ("90m", "2026-11-22T19:00:00"),
        ("3d", "2026-11-19T20:30:00"),
        ("2h ago", "2026-11-22T18:30:00"),
        ("1h30m ago", "2026-11-22T19:00:00"),
        ("today", "2026-11-22T17:00:00"),
        ("Yesterday", "2026-11-21T17:00:00"),
        ("09:00", "2026-11-23T02:00:00"),
        ("2026-11-22", "2026-11-21T17:00:00"),
        ("2026-11-22T10:00", "2026-11-22T03:00:00"),
        ("2026-11-22 10:00:05", "2026-11-22T03:00:05"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00"),
        ("2026-11-22t10:00:00z", "2026-11-22T10:00:00"),
        ("2026-11-22T10:00:00.5+01:00", "2026-11-22T09:00:00.500000"),
        ("  2h  ", "2026-11-22T18:30:00"),
    ],
)
def test_an_instant_is_read_in_the_given_time_zone(text, meant):
    """`payctl` interprets dates and clock times in the given time zone and converts them to UTC."""
    assert instant(text, SAIGON, NOW) == datetime.fromisoformat(meant).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("03/04/2026", "which number is the day"),
        ("3.4.26", "which number is the day"),
        ("2026/11/22", "which number is the day"),
        ("7", "is ambiguous: seconds"),
        ("20261122", "is ambiguous: seconds"),
        ("", "is not a valid time"),
        ("tomorrow", "is not a valid time"),
        ("2026-13-01", "is not a valid time"),
        ("2026-02-30", "is not a valid time"),
        ("25:00", "is not a valid time"),
        ("9:00", "is not a valid time"),
        ("-2h", "is not a valid time"),
        ("2 h", "is not a valid time"),
        ("2y", "not a duration"),
        ("0001-01-01T00:00", "is not a valid time"),
        ("999999999d", "longer than a hundred years"),
        ("9999-12-31T23:59:59Z", "between 1900 and 2199"),
    ],
)
def test_an_ambiguous_or_invalid_instant_is_refused(text, words):
    """`payctl` refuses an ambiguous or invalid instant, and names the option in the error."""
    with pytest.raises(typer.BadParameter, match=words) as error:
        instant(text, SAIGON, NOW, option="--since")
    assert "--since" in error.value.format_message()


@pytest.mark.parametrize("text", ["2026-03-29T02:30", "2026-10-25T02:30"])
def test_an_hour_that_clocks_skip_or_repeat_is_refused(text):
    """`payctl` refuses a clock time that the time zone skips or repeats, unless the time has a UTC offset."""
    with pytest.raises(typer.BadParameter, match="is ambiguous or skipped"):
        instant(text, BERLIN, NOW)
    assert instant(f"{text}:00+01:00", BERLIN, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "meant"), [("2h", timedelta(hours=2)), ("2h ago", timedelta(hours=2)), ("1d12h", timedelta(days=1.5))]
)
def test_an_age_is_a_duration(text, meant):
    """`payctl` accepts any duration as an age, with or without ``ago``."""
    assert age(text) == meant


@pytest.mark.parametrize("text", ["", "5", "0s", "now", "ago"])
def test_an_invalid_age_is_refused(text):
    """A number without a unit, zero, and an empty string are not valid ages."""
    with pytest.raises(typer.BadParameter):
        age(text)


def test_zero_is_named_as_the_fault_of_a_duration():
    """If a duration is zero, the error says so."""
    with pytest.raises(typer.BadParameter, match="'0s' is zero; use a value such as"):
        duration("0s")


@pytest.fixture
def session(tmp_path):
    """Return a function that takes an optional ``--tz`` and returns a session with a profile in Saigon's time zone."""
    file = tmp_path / "config.toml"
    file.write_text('[profiles.shop]\ntz = "Asia/Ho_Chi_Minh"\n', "utf-8")

    def make(*, tz=None, profile="shop"):
        shared = Shared(tz=tz, profile=profile, config=str(file))
        return Session("stats", shared, Services({}))

    return make


def test_the_time_zone_comes_from_option_profile_or_machine(session, monkeypatch):
    """--tz overrides the time zone of the profile, which overrides the time zone of the machine."""
    assert zone_of(session(tz="Europe/Berlin")) == BERLIN
    assert zone_of(session()) == SAIGON
    monkeypatch.setenv("TZ", "America/New_York")
    assert zone_of(session(profile=None)) == ZoneInfo("America/New_York")


def test_an_instant_is_shown_in_local_time_and_utc():
    """`payctl` shows an instant in local time with its UTC offset, followed by UTC in parentheses."""
    assert local_and_utc(NOW, SAIGON) == "2026-11-23 03:30:00 +07:00 (2026-11-22T20:30:00.000Z)"


def test_the_time_window_is_shown_on_stderr(session, capsys):
    """A command that has a time window prints it to stderr in local time and UTC."""
    run = session()
    note_window(run, NOW - timedelta(hours=2), None, by="created")
    note_window(run, None, None)
    run.tell_target()
    assert capsys.readouterr().err.splitlines() == [
        "window 2026-11-23 01:30:00 +07:00 (2026-11-22T18:30:00.000Z) → now by created"
    ]
