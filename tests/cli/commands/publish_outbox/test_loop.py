"""Test the live output and the log of ``payctl publish-outbox --loop``."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest

from tests.cli.commands.publish_outbox.conftest import NOBODY, blocked
from tests.cli.conftest import clean_environment
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.store.outbox import claim, shard_lock
from ticketbottle_payctl.store.outbox.claim import Claim

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def watched_loop(places, payctl_command):
    """Return a function that runs a publisher loop with a terminal or a pipe as stderr.

    The function stops the loop as soon as stderr matches all patterns in ``until``. Without a pattern, the function
    stops the loop ``seconds`` after the first output, so that a slow start does not matter.
    """

    def run(*arguments, terminal, seconds=0, until=(), during=lambda _text: None, **changes):
        master, slave = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = clean_environment({**places, "TERM": "xterm", **changes})
        with subprocess.Popen(
            [*payctl_command, "publish-outbox", "--loop", *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
        ) as process:  # fmt: skip
            os.close(slave)
            seen = _read_for(master, 40, until or ["."], during)
            seen += _read_for(master, seconds)
            process.send_signal(signal.SIGINT)
            seen += _read_for(master, 20)
            out = process.stdout.read().decode()
            code = process.wait(20)
        os.close(master)
        assert not until or _has(until, ESCAPES.sub("", seen.decode())), seen
        return code, out, seen.decode()

    return run


def _has(patterns, text):
    return all(re.search(pattern, text) for pattern in patterns)


def _read_for(descriptor, seconds, until=(), during=lambda _text: None):
    seen, ends = b"", time.monotonic() + seconds
    os.set_blocking(descriptor, False)
    while time.monotonic() < ends:
        try:
            more = os.read(descriptor, 65536)
        except BlockingIOError:
            time.sleep(0.02)
            continue
        except OSError:
            break
        if not more:
            break
        seen += more
        text = ESCAPES.sub("", seen.decode(errors="replace"))
        during(text)
        if until and _has(until, text):
            break
    return seen


def test_a_loop_on_a_terminal_shows_one_live_line_and_each_change(watched_loop, add):
    """The live line of a publisher loop fits in 80 columns.

    The live line shows the event counts, the age of the oldest event, and why events are waiting.
    """
    blocked(add)
    change = r"! \d\d:\d\d:\d\d 1 event waits behind the dead event"
    live_line = r"[\r\n]published 1 · [0-9.]+/(s|min) · held 1 · oldest \d[^\r\n]* · 1 event waits behind"
    code, out, err = watched_loop(terminal=True, until=[change, live_line])
    text = ESCAPES.sub("", err)
    assert code == 130
    live = [frame for frame in re.split(r"[\r\n]+", text) if frame.startswith("published ")]
    assert all(len(frame.rstrip()) <= 80 for frame in live)
    assert len(re.findall(change, text)) == 1
    assert "{" not in text
    assert "Traceback" not in text
    assert out.startswith("!  stopped by a signal, 1 paying customer waits for a dead event, held back 1 event")


DATABASE_AWAY = {"DATABASE_URL": f"postgresql://u:p@{NOBODY}/x"}


@pytest.mark.parametrize(
    ("away", "terminal"),
    [(DATABASE_AWAY, True), (DATABASE_AWAY, False), ({"KAFKA_BROKERS": NOBODY}, True)],
    ids=["database-terminal", "database-pipe", "kafka-terminal"],
)
def test_a_loop_reports_an_outage_once(watched_loop, away, terminal):
    """A publisher loop reports an outage once, on the terminal or in the log, without a traceback."""
    code, out, err = watched_loop(terminal=terminal, seconds=16 if "KAFKA_BROKERS" in away else 6, **away)
    text = ESCAPES.sub("", err)
    assert code == 130
    assert "Traceback" not in text
    assert "is not available" in out
    if terminal:
        assert len(re.findall(r"! \d\d:\d\d:\d\d ", text)) == 1
        assert '{"' not in text
    else:
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert [event["message"] for event in events] == ["publish_outbox_waiting"]
        assert events[0]["code"].endswith("_UNAVAILABLE")


def test_a_loop_that_cannot_reach_the_brokers_counts_the_waiting_events(watched_loop, add):
    """The live line of a loop that cannot reach its brokers shows how many events are waiting, and the oldest age."""
    add("k")
    add("other")
    live_line = r"[\r\n]published 0 · [^\r\n]*held 2 · oldest 1 min[^\r\n]* · Kafka at"
    _, _, err = watched_loop(terminal=True, until=[live_line], KAFKA_BROKERS=NOBODY)
    assert "oldest -" not in err


def test_a_loop_shows_how_long_it_has_been_sending_a_batch(watched_loop, add, mock_kafka):
    """If the brokers stop answering while a loop sends an event, the live line shows the event and its age."""
    told = []

    def add_during_the_outage(text):
        if "ready:" in text and not told:
            told.append(mock_kafka.down())
            add("k", age=0)

    live_line = r"[\r\n]published 0 · [^\r\n]*sending 1 event for \d+ s · oldest \d"
    watched_loop(terminal=True, until=[live_line], during=add_during_the_outage)


def test_a_loop_logs_when_events_are_blocked_and_when_publishing_resumes(watched_loop, add, engine):
    """Without -v, a publisher loop logs one line when events start to wait, and one line when publishing resumes."""
    add("k")
    with engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")

        def release_when_told(text):
            if "publish_outbox_waiting" in text:
                other.rollback()

        code, _, err = watched_loop(terminal=False, until=["publish_outbox_resumed.*\n"], during=release_when_told)
    events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [event["message"] for event in events] == ["publish_outbox_waiting", "publish_outbox_resumed"]
    assert events[0]["locked_by"][0]["shard"] == 0
    assert code == 130


@pytest.mark.parametrize(("options", "json_lines"), [([], False), (["-v"], True)])
def test_a_loop_on_a_terminal_logs_json_only_with_v(watched_loop, add, options, json_lines):
    """On a terminal, a publisher loop writes JSON log lines only with -v."""
    blocked(add)
    reported = '{"timestamp"' if json_lines else "1 event waits behind the dead event"
    _, _, err = watched_loop(*options, terminal=True, until=[reported])
    assert ('{"timestamp"' in err) is json_lines


def test_a_loop_on_a_terminal_says_that_it_waits_after_an_interrupted_claim(watched_loop, add, engine):
    """While a loop waits after an interrupted claim, it says for how long and why."""
    add("k1")
    wanted = Claim(after=START, limit=1, max_retries=5)
    with engine.connect() as killed:
        assert claim.claim(killed, wanted).events
    why = "waiting 5 s: a publisher ended while it sent a batch, and its messages may still arrive"
    said = r"! \d\d:\d\d:\d\d " + why.replace(" ", r"\s+")
    _, out, _ = watched_loop(terminal=True, until=[said, "published 1 "])
    assert "published 1 " in out
