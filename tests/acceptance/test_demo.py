"""The demo as a newcomer meets it: a process of its own, on a machine with nothing prepared."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import jsonschema
import psycopg2
import pytest
from confluent_kafka import KafkaError, Producer

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.commands import schema
from ticketbottle_payctl.sandbox.callbacks import environment

pytestmark = pytest.mark.usefixtures("postgres")

PAYCTL = [sys.executable, "-m", "ticketbottle_payctl"]
KEYS = [value for name, value in environment().items() if "KEY" in name or "SECRET" in name]
PATIENCE = 30


def clean(environment):
    """The machine's environment (the fixtures took payctl's own variables out of it) with changes."""
    return {**os.environ, "PYTHONWARNINGS": "error", **environment}


@pytest.fixture
def demo():
    """Run the demo to its end, on no terminal."""

    def run(*arguments, **environment):
        command = [*PAYCTL, "demo", *arguments]
        return subprocess.run(
            command, env=clean(environment), capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


@pytest.fixture
def kept(tmp_path):
    """Start ``demo --keep`` and wait until it has answered; the process, its document and where its talk goes."""
    processes = []

    def start(**environment):
        out, talk = tmp_path / "out", tmp_path / "talk"
        with out.open("wb") as stdout, talk.open("wb") as stderr:
            command = [*PAYCTL, "demo", "--keep", "-o", "json"]
            processes.append(subprocess.Popen(command, env=clean(environment), stdout=stdout, stderr=stderr))
        wait_until(lambda: "running until Ctrl-C" in talk.read_text("utf-8"), processes[0])
        return processes[0], json.loads(out.read_text("utf-8")), talk

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_until(happened, process=None):
    """Wait until something happened, as long as the process that should do it lives."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.01)


def valid(document):
    """The document, after its schema has accepted it."""
    jsonschema.validate(document, schema.load("payctl.demo/1"))
    return document


def steps(document, kind):
    """The items of one kind."""
    return [item for item in document["items"] if item["step"] == kind]


def is_there(pid):
    """Whether a process of this number exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def accepts(url):
    """Whether a database lets us in."""
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url).close()
        return True
    return False


def offered(text):
    """The payctl commands that an output tells to type, without their options."""
    found = re.findall(r"payctl ([a-z][a-z -]*?)(?= -|\t|  |$)", text, re.MULTILINE)
    return {tuple(words.split()) for words in found}


def test_a_newcomer_sees_the_whole_path(demo):
    """Exit 0, nothing on stderr, and each step with its reason, its answer and its place in Kafka."""
    result = demo()
    assert (result.returncode, result.stderr) == (0, "")
    for words in [
        "stands in for Kafka",
        "paid 7,200,000 VND",
        "recorded from ZaloPay's sandbox",
        "PENDING → COMPLETED",
        'answered 200 {"return_code":1,"return_message":"success"}',
        "already COMPLETED",
        "not genuine",
        "wrong amount",
        "payment.completed  partition",
        '"order_code": "TB-LTDTNL-20251213-8D39986M"',
        "✔ everything is as expected",
    ]:
        assert words in result.stdout
    assert not [key for key in KEYS if key in result.stdout]
    assert "\x1b" not in result.stdout


def test_the_document_has_every_step(demo):
    """One JSON document that its schema accepts: seven callbacks decided, four messages in their topics."""
    result = demo("-o", "json")
    document = valid(json.loads(result.stdout))
    assert (result.returncode, document["exit_code"], document["result"]["differences"]) == (0, 0, [])
    assert [(one["provider"], one["outcome"], one["reason"]) for one in steps(document, "callback")] == [
        ("zalopay", "settled", None),
        ("payos", "settled", None),
        ("vnpay", "settled", None),
        ("momo", "settled", None),
        ("zalopay", "already_settled", None),
        ("vnpay", "refused", "signature"),
        ("payos", "refused", "wrong_amount"),
    ]
    messages = steps(document, "message")
    topics = ["payment.completed", "payment.completed", "payment.failed", "payment.cancelled"]
    assert [one["topic"] for one in messages] == topics
    assert all(json.loads(one["value"])["payment_id"] == one["key"] for one in messages)
    assert all(one["headers"]["eventId"] == one["event_id"] for one in messages)


def test_nothing_is_left_behind(kept):
    """After SIGTERM: no server, no data directory, and the code that a shell expects."""
    process, document, talk = kept()
    url = valid(document)["result"]["settings"]["DATABASE_URL"]
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        data = Path(cursor.fetchone()[0])
    connection.close()
    postmaster = int((data / "postmaster.pid").read_text("utf-8").splitlines()[0])
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    assert (data.parent.exists(), is_there(postmaster), accepts(url)) == (False, False, False)
    assert "stopping: the servers end" in talk.read_text("utf-8")


def test_the_kept_world_can_be_used(kept):
    """With the printed settings another payctl publishes what was left pending, and the demo shows it arriving."""
    process, document, talk = kept()
    settings = document["result"]["settings"]
    assert document["result"]["backlog"] == {"dead": 1, "pending": 1}
    published = subprocess.run(
        [*PAYCTL, "publish-outbox", "-o", "json"],
        env=clean(settings),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert json.loads(published.stdout)["counts"]["published"] == 1
    wait_until(lambda: "payment.completed" in talk.read_text("utf-8"), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


def test_the_settings_are_ready_to_paste(demo, tmp_path):
    """The export lines are what a shell takes, all of them, and every command that is offered exists."""
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        process = subprocess.Popen([*PAYCTL, "demo", "--keep", "-q"], env=clean({}), stdout=stdout)
        wait_until(lambda: "For you to repair" in out.read_text("utf-8"), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    text = out.read_text("utf-8")
    words = [shlex.split(line) for line in text.splitlines() if line.startswith("  export ")]
    assert {name.partition("=")[0] for _, name in words} == {"DATABASE_URL", "KAFKA_BROKERS", *environment()}
    assert "public test keys" in text
    both = offered(text) | offered(demo().stdout)
    assert {("verify-signature",), ("publish-outbox",)} < both
    assert [words for words in both if registry.find(words) is None] == []


def test_a_given_broker_is_used(demo, mock_kafka, read_all):
    """KAFKA_BROKERS gets the messages, after what lies there already, and nothing stands in for Kafka."""
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap, "log_level": 0})
    for number in range(20):
        producer.produce("payment.completed", b"somebody else's", str(number))
    producer.flush(PATIENCE)
    result = demo("-o", "json", KAFKA_BROKERS=mock_kafka.bootstrap)
    document = valid(json.loads(result.stdout))
    assert (result.returncode, document["result"]["own_broker"], document["counts"]["arrived"]) == (0, False, 4)
    assert "stands in" not in result.stdout
    assert len(read_all(mock_kafka.bootstrap)) == 24


def test_what_does_not_arrive_is_named(demo, mock_kafka):
    """A message that the broker refuses is listed as missing, and the exit code is 6."""
    # Once for the bundle; then each message is sent alone, and only one that is refused alone is to blame.
    mock_kafka.fail_next(*[KafkaError.MSG_SIZE_TOO_LARGE] * 8)
    result = demo("-o", "json", KAFKA_BROKERS=mock_kafka.bootstrap)
    document = valid(json.loads(result.stdout))
    assert (result.returncode, document["exit_code"]) == (6, 6)
    assert document["counts"]["arrived"] < 4
    assert "0 messages of it arrived, not one" in "".join(document["result"]["differences"])


def test_a_cluster_elsewhere_is_not_touched_unasked(demo):
    """The demo's messages go beyond this machine only with --yes."""
    result = demo("-o", "json", KAFKA_BROKERS="127.0.0.1:9092,kafka.invalid:9092")
    error = json.loads(result.stdout)["error"]
    assert (result.returncode, error["code"]) == (7, "GUARD")
    assert "--yes" in error["hint"]


def test_missing_programs_are_named(demo, tmp_path):
    """Without PostgreSQL's programs the error says what to install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ticketbottle_payctl.sandbox.postgres_binaries as binaries\nbinaries._wheel = binaries._system = list\n",
        "utf-8",
    )
    result = demo(PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    assert (result.returncode, result.stdout) == (3, "")
    assert "pip install 'payctl[demo]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("colour", ["always", "never"])
def test_on_a_terminal_it_fits(colour):
    """Eighty columns hold every line; colour only where it is wanted."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    process = subprocess.Popen(
        [*PAYCTL, "demo", "--color", colour], env=clean({}), stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    text = read_terminal(ours)
    _, talk = process.communicate(timeout=PATIENCE)
    assert (process.returncode, talk) == (0, b"")
    assert ("\x1b[" in text) is (colour == "always")
    assert [line for line in re.sub(r"\x1b\[\d*m", "", text).splitlines() if len(line) > 80] == []


def read_terminal(file):
    """Everything that is written to a terminal until nobody holds its other end."""
    chunks = []
    with suppress(OSError):  # Linux says so where the other end is closed
        while chunk := os.read(file, 65_536):
            chunks.append(chunk)
    os.close(file)
    return b"".join(chunks).decode()
