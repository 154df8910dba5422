"""Test time zones against the C library's results for the same TZ variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.time_zone import machine_zone, time_zone

YEAR = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(0, 366, 5)]
OFFSETS = "import json, sys, time; print(json.dumps([time.localtime(at).tm_gmtoff for at in json.load(sys.stdin)]))"


def of_the_c_library(tz):
    """Return the C library's UTC offset, in seconds, for each test instant in YEAR."""
    moments = json.dumps([at.timestamp() for at in YEAR])
    environment = {**os.environ, "TZ": tz}
    command = [sys.executable, "-c", OFFSETS]
    return json.loads(
        subprocess.run(command, env=environment, input=moments, capture_output=True, check=True, text=True).stdout
    )


@pytest.mark.parametrize(
    "tz",
    [
        *("ICT-7", "<+07>-7", "UTC-7", "UTC0", "GMT+5", "XXX-5:30", "<-0330>3:30", "<UTC+7>-07:00:00"),
        *("EST5EDT,M3.2.0,M11.1.0", "CET-1CEST,M3.5.0,M10.5.0/3", "AEST-10AEDT,M10.1.0,M4.1.0/3"),
        "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
        *("EST5EDT", "XST5XDT", "XST5XDT4", "XST-1XDT-2:30,J60,J300", "XST-1XDT,59,299/1"),
        *("Asia/Ho_Chi_Minh", ":Asia/Ho_Chi_Minh", "Europe/Berlin", "Etc/GMT+7", "UTC", "", ":"),
        *("/usr/share/zoneinfo/Asia/Tokyo", ":/usr/share/zoneinfo/Asia/Tokyo"),
    ],
)  # fmt: skip
def test_tz_gives_the_offsets_of_the_c_library(tz):
    """Zone names and POSIX formats in TZ give the right offset for a whole year, with and without summer time."""
    zone = machine_zone({"TZ": tz})
    assert [at.astimezone(zone).utcoffset().total_seconds() for at in YEAR] == of_the_c_library(tz)


@pytest.mark.parametrize(
    "tz",
    [
        *("Mars/Phobos", "ICT", "IC-7", "ICT-25", "ICT-7,", "EST5EDT,", "EST5EDT,M13.1.0,M11.1.0", "ICT-7;x", "+07"),
        *("../etc/passwd", "/nowhere", "A" * 5000),
    ],
)  # fmt: skip
def test_an_unknown_tz_is_a_config_error(tz):
    """An unknown TZ raises ConfigError with an example. payctl does not fall back to UTC."""
    with pytest.raises(ConfigError, match="TZ is not a time zone") as error:
        machine_zone({"TZ": tz})
    assert "Asia/Ho_Chi_Minh" in error.value.hint


def test_without_tz_the_machine_s_time_zone_is_used(tmp_path):
    """If TZ is not set, the zone's name comes from the target of the /etc/localtime link."""
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Asia/Ho_Chi_Minh")
    assert str(machine_zone({}, localtime=str(link))) == "Asia/Ho_Chi_Minh"


def test_a_time_zone_keeps_the_name_it_was_given():
    """A time zone keeps the name that the user set, and ``payctl config show`` prints it."""
    assert (str(time_zone("<+07>-7")), str(time_zone("Europe/Berlin"))) == ("<+07>-7", "Europe/Berlin")


@pytest.mark.parametrize("text", ["a/" * 500 + "b", "America/" * 4 + "X", "../UTC", "/usr/share/zoneinfo/UTC"])
def test_a_path_is_not_the_name_of_a_zone(text):
    """A time zone's name has at most four parts. For any other string, payctl opens no file and imports no module."""
    with pytest.raises(ValueError, match="not a time zone"):
        time_zone(text)
