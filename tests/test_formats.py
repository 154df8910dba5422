"""Test the formatting of money, counts, durations, sizes and instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ticketbottle_payctl import formats
from ticketbottle_payctl.formats import (
    age,
    clock_and_age,
    command_line,
    count,
    cut,
    duration,
    local,
    local_and_utc,
    money,
    rfc3339,
    size,
    span_and_age,
)
from ticketbottle_payctl.providers import GATEWAYS

AT = datetime(2026, 11, 22, 3, 4, 5, 678_000, tzinfo=UTC)


@pytest.mark.parametrize(("amount", "text"), [(450_000, "450,000 VND"), (0, "0 VND"), (1, "1 VND")])
def test_money_is_whole_units_with_separators(amount, text):
    """An amount in VND is shown in whole units with separators and is never scaled."""
    assert money(amount) == text


def test_money_names_its_currency():
    """An amount in another currency is shown with that currency."""
    assert money(5, "USD") == "5 USD"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1_234_567, "1,234,567 events")]
)
def test_a_count_agrees_with_its_noun(number, text):
    """A count's noun is singular for 1 and plural for any other number."""
    assert count(number, "event") == text


def test_a_count_can_have_an_irregular_plural():
    """count(3, "batch", "batches") returns "3 batches"."""
    assert (count(1, "batch", "batches"), count(3, "batch", "batches")) == ("1 batch", "3 batches")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.85, "850 ms"),
        (1, "1 s"),
        (12.5, "12.5 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (446_400, "5 d 4 h"),
        (10**9, "11,574 d 1 h"),
    ],
)
def test_a_duration_shows_its_two_largest_units(seconds, text):
    """A duration is shown in its two largest units and never in scientific notation."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (9_500_000, "9.5 MB"), (999_600, "1,000 kB"), (10**15, "1,000 TB")],
)
def test_a_size_is_shown_in_decimal_units(amount, text):
    """A size is shown in B, kB, MB, GB or TB and never in scientific notation."""
    assert size(amount) == text


def test_an_instant_is_utc_with_milliseconds():
    """`rfc3339` shows an instant in UTC with milliseconds and Z."""
    assert rfc3339(AT.astimezone(ZoneInfo("Asia/Ho_Chi_Minh"))) == "2026-11-22T03:04:05.678Z"


def test_an_instant_in_a_zone_shows_utc_too():
    """An instant in a different time zone is shown with its offset and in UTC."""
    assert local_and_utc(AT, ZoneInfo("Asia/Ho_Chi_Minh")) == "2026-11-22 10:04:05 +07:00 (2026-11-22T03:04:05.678Z)"


def test_a_local_instant_has_milliseconds_and_an_offset():
    """A local time is shown with its offset, because the time alone is ambiguous."""
    assert local(AT, ZoneInfo("Asia/Ho_Chi_Minh")) == "2026-11-22 10:04:05.678 +07:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "now"), (0.4, "now"), (1, "1 s ago"), (59.9, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"),
        (3600, "1 h ago"), (86_399, "23 h ago"), (86_400, "1 d ago"), (35_000_000, "405 d ago"),
    ],
)  # fmt: skip
def test_an_age_has_one_unit(seconds, text):
    """An age is a whole number of the largest unit that fits. An age is never negative."""
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-11-22T01:23:00+00:00", "08:23, 3 h ago"),
        ("2026-11-21T16:59:00+00:00", "21 Nov, 11 h ago"),
        ("2026-11-15T04:23:00+00:00", "15 Nov, 7 d ago"),
        ("2025-12-31T16:00:00+00:00", "2025-12-31, 325 d ago"),
    ],
)
def test_an_instant_in_a_list_is_a_clock_or_a_day_with_its_age(at, text):
    """In a list, an instant from today is shown as a local time of day, and an earlier instant as a date."""
    now = datetime(2026, 11, 22, 4, 23, tzinfo=UTC)
    assert clock_and_age(datetime.fromisoformat(at), ZoneInfo("Asia/Ho_Chi_Minh"), now) == text


def test_two_instants_with_their_ages_are_one_if_they_look_the_same():
    """A period is shown as its start and end, each with its age. A period within one minute is shown as one instant."""
    now, zone = datetime(2026, 11, 22, 12, 0, tzinfo=UTC), UTC
    first = datetime(2026, 11, 22, 8, 23, tzinfo=UTC)
    assert span_and_age(first, first + timedelta(hours=2), zone, now) == "08:23, 3 h ago → 10:23, 1 h ago"
    assert span_and_age(first, first + timedelta(seconds=30), zone, now) == "08:23, 3 h ago"


@pytest.mark.parametrize(
    ("text", "width", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, ""), ("ab", 1, "…")]
)
def test_a_text_is_cut_to_a_width(text, width, shown):
    """`cut` shortens a string to the given width and ends it with an ellipsis."""
    assert cut(text, width) == shown


@pytest.mark.parametrize(
    ("operands", "options", "text"),
    [
        (["a"], ["--x", "y"], "payctl show a --x y"),
        (["it's $(odd)"], [], """payctl show 'it'"'"'s $(odd)'"""),
        (["-a", "b"], ["--x"], "payctl show --x -- -a b"),
        ([" "], [], "payctl show ' '"),
        ([], [], "payctl show"),
    ],
)
def test_an_advised_command_quotes_its_operands(operands, options, text):
    """A recommended command quotes each operand for the shell, and payctl never reads an operand as an option."""
    assert command_line(["show"], operands, options) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (0, "0/s"),
        (1e-9, "under 1/h"),
        (1 / 3600, "1/h"),
        (0.001, "3.6/h"),
        (0.5, "30/min"),
        (1, "1/s"),
        (12.345, "12.3/s"),
        (99.96, "100/s"),
        (1234.5, "1,234/s"),
        (1e6, "1,000,000/s"),
    ],
)
def test_a_rate_has_the_unit_in_which_it_is_at_least_one(per_second, text):
    """A rate is shown per second, minute or hour, and never as 0.00027/s or 1e+06/s."""
    assert formats.rate(per_second) == text


@pytest.mark.parametrize("name", GATEWAYS)
def test_each_gateway_has_a_name_for_people(name):
    """Each gateway has a display name, which is used for every spelling of the gateway in the database."""
    shown = formats.PROVIDERS[name]
    assert shown.lower() == name
    assert {formats.gateway_name(each) for each in (name, name.upper(), shown, f"{name[:4]}-{name[4:]}")} == {shown}
    assert formats.gateway_name("Stripe") == "Stripe"


def test_two_instants_are_one_if_they_are_the_same():
    """If a time span begins and ends at the same instant, `span` shows this instant once."""
    first, last = datetime(2026, 11, 22, 3, 0, tzinfo=UTC), datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
    assert formats.span(first, first, UTC) == "2026-11-22 03:00:00.000 +00:00"
    assert formats.span(first, last, UTC) == "2026-11-22 03:00:00.000 +00:00 → 2026-11-22 04:00:00.000 +00:00"
    assert formats.time_of_day(first, UTC) == "03:00:00"


@pytest.mark.parametrize(("width", "text"), [(20, "host.example:5432/db"), (11, "host.…32/db"), (1, "…"), (0, "…")])
def test_an_address_is_cut_in_its_middle(width, text):
    """`cut_middle` keeps the beginning and the end of an address, because these parts differ between addresses."""
    assert formats.cut_middle("host.example:5432/db", width) == text
