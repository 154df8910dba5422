"""Test the demo as a new user runs it, in its own process on an unprepared machine."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import KafkaError, Producer

from tests.cli.documents import validate
from tests.conftest import IN_CI
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.sandbox.callbacks import environment
from ticketbottle_payctl.sandbox.demo.kept import write_settings

pytestmark = pytest.mark.usefixtures("postgres")

PAYCTL = [sys.executable, "-m", "ticketbottle_payctl"]
KEYS = [value for name, value in environment().items() if "KEY" in name or "SECRET" in name]
PATIENCE = 30


def clean(environment):
    """Return this process's environment with these changes, and with Python warnings as errors."""
    return {**os.environ, "PYTHONWARNINGS": "error", **environment}


@pytest.fixture
def demo():
    """Return a function that runs the demo without a terminal until it exits."""

    def run(*arguments, **environment):
        command = [*PAYCTL, "demo", *arguments]
        return subprocess.run(
            command, env=clean(environment), capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


@pytest.fixture
def kept(tmp_path):
    """Yield a function that starts ``demo --keep``.

    The function returns the process, its JSON document and its stderr file.
    """
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
    """Wait until a condition holds. Fail if the process ends first."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.01)


def valid(document):
    """Validate the document against its schema and return it."""
    validate(document, "payctl.demo/1")
    return document


def steps(document, kind):
    """Return the document's steps of this kind."""
    return [item for item in document["items"] if item["step"] == kind]


def is_there(pid):
    """Return whether a process with this pid exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def accepts(url):
    """Return whether a connection to the database succeeds."""
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url).close()
        return True
    return False


def offered(text):
    """Return the payctl commands that the output recommends, without options."""
    found = re.findall(r"payctl ([a-z][a-z -]*?)(?= -|\t|  |\.|$| TB-| payos)", text, re.MULTILINE)
    return {tuple(words.split()) for words in found}


def test_the_demo_shows_every_step_from_callback_to_kafka(demo):
    """The demo exits with 0, writes nothing to stderr, and shows each callback with its reply and its Kafka message."""
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
        "✔ all results are as expected",
    ]:
        assert words in result.stdout
    assert not [key for key in KEYS if key in result.stdout]
    assert "\x1b" not in result.stdout


def test_the_demo_s_json_document_has_every_step(demo):
    """The demo's JSON document matches its schema.

    The document contains seven callbacks, and four messages in the right topics.
    """
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


def test_the_demo_removes_its_servers_and_data_after_sigterm(kept):
    """After SIGTERM, the demo exits with 143 and does not leave servers or data directories behind."""
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
    assert "stopping the servers and removing their data" in talk.read_text("utf-8")


def test_the_demo_says_how_many_of_its_customers_the_report_counts(kept):
    """`payctl report` counts every order that needs repair, except the order without a callback.

    Only the gateway knows that the customer paid this order.
    """
    process, document, _ = kept()
    result = valid(document)["result"]
    words = [*PAYCTL, "report", "-o", "json"]
    ran = subprocess.run(words, env=clean(result["settings"]), capture_output=True, timeout=PATIENCE, check=False)
    figures = {each["name"]: each["value"] for each in json.loads(ran.stdout)["items"]}
    counted = sum(figures[name] for name in ("unpublished_orders", "orders_without_event", "refused_orders"))
    assert (counted, figures["payments_overdue"]) == (len(result["cases"]) - 1, 1)
    assert [each["fault"] for each in result["cases"]].count("missing_callback") == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


def test_another_payctl_can_use_the_demo_s_servers(kept):
    """With the demo's settings, publish-outbox sends a replayed event, and the demo reports this event."""
    process, document, talk = kept()
    settings = valid(document)["result"]["settings"]
    assert document["result"]["backlog"] == {"dead": 2, "pending": 1}
    for command, code in [("replay --failed -y", 0), ("publish-outbox", 6)]:
        ran = subprocess.run(
            [*PAYCTL, *command.split(), "-o", "json"],
            env=clean(settings),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (ran.returncode, command) == (code, command)
    assert json.loads(ran.stdout)["counts"] | {"published": 1, "held": 1} == json.loads(ran.stdout)["counts"]
    wait_until(lambda: "payment.completed" in talk.read_text("utf-8"), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_that_the_demo_prints_loads_its_settings(kept, shell):
    """Every kind of shell can load the demo's settings file.

    Only the file's owner can read it, and the demo removes the file at the end.
    """
    if shutil.which(shell) is None:
        reason = f"{shell} is not installed"
        pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
    process, document, _ = kept(PATH="/usr/bin:/bin")
    file = Path(document["result"]["settings_file"])
    assert file.stat().st_mode & 0o777 == 0o600
    shown = f"{sys.executable} -c 'import os, json; print(json.dumps(dict(os.environ)))'"
    ran = subprocess.run([shell, "-c", f"source {file}; {shown}"], capture_output=True, check=True, timeout=PATIENCE)
    wanted = document["result"]["settings"]
    assert {name: json.loads(ran.stdout).get(name) for name in wanted} == wanted
    assert {"DATABASE_URL", "KAFKA_BROKERS", "PAYCTL_PAYOS_URL", *environment()} < set(wanted)
    process.kill()
    process.wait(PATIENCE)
    wait_until(lambda: not file.parent.exists())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_settings_file_puts_payctl_on_path(shell, tmp_path):
    """A shell that has loaded the settings file finds payctl, even in a directory with a space in its name."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    place = tmp_path / "a directory"
    place.mkdir()
    (place / "payctl").write_text("#!/bin/sh\necho found\n", "utf-8")
    (place / "payctl").chmod(0o755)
    file = write_settings(tmp_path / "settings", {"A": "it's"}, place)
    line = f"source {file}; payctl; echo $A; env | grep ^PATH="
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run([shell, "-c", line], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["found", "it's", f"PATH={place}:/usr/bin:/bin"]


def test_each_command_that_the_demo_advises_exists(demo, tmp_path):
    """The demo prints the line that loads its settings, and recommends only commands that exist."""
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        process = subprocess.Popen([*PAYCTL, "demo", "--keep", "-q"], env=clean({}), stdout=stdout)
        wait_until(lambda: "The messages appear here" in out.read_text("utf-8"), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    text = out.read_text("utf-8")
    assert re.search(r"^  source \S+/settings$", text, re.MULTILINE)
    assert "public test keys" in text
    assert not [key for key in KEYS if key in text]
    both = offered(text) | offered(demo().stdout)
    played = text[text.index("TB-AMOUNT  ") :]
    labels = [words.strip() for words in re.findall(r"^  (\S.*?)(?=:$|  |$| payctl)", played, re.MULTILINE)]
    assert labels == ["find", "simulate the customer paying again", "close"]
    assert {("verify-signature",), ("publish-outbox",), ("errors",), ("reconcile", "payments")} < both
    assert [words for words in both if registry.find(words) is None] == []


def test_the_demo_uses_the_brokers_of_kafka_brokers(demo, mock_kafka, read_all):
    """If KAFKA_BROKERS is set, the demo sends its messages to these brokers and does not start a mock cluster."""
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap, "log_level": 0})
    for number in range(20):
        producer.produce("payment.completed", b"somebody else's", str(number))
    producer.flush(PATIENCE)
    result = demo("-o", "json", KAFKA_BROKERS=mock_kafka.bootstrap)
    document = valid(json.loads(result.stdout))
    assert (result.returncode, document["result"]["own_broker"], document["counts"]["arrived"]) == (0, False, 4)
    assert "stands in" not in result.stdout
    assert len(read_all(mock_kafka.bootstrap)) == 24


def test_the_demo_names_a_message_that_does_not_arrive(demo, mock_kafka):
    """If Kafka refuses a message, the demo reports the message as missing and exits with 6."""
    # One failure for the whole batch, then one for each message, because payctl sends them again one by one.
    mock_kafka.fail_next(*[KafkaError.MSG_SIZE_TOO_LARGE] * 8)
    result = demo("-o", "json", KAFKA_BROKERS=mock_kafka.bootstrap)
    document = valid(json.loads(result.stdout))
    assert (result.returncode, document["exit_code"]) == (6, 6)
    assert document["counts"]["arrived"] < 4
    assert "0 messages for it arrived instead of one" in "".join(document["result"]["differences"])


def test_the_demo_needs_yes_for_a_remote_cluster(demo):
    """Without --yes, the demo does not send messages to a cluster on another machine."""
    result = demo("-o", "json", KAFKA_BROKERS="127.0.0.1:9092,kafka.invalid:9092")
    error = json.loads(result.stdout)["error"]
    assert (result.returncode, error["code"]) == (7, "GUARD")
    assert "--yes" in error["hint"]


def test_the_demo_names_missing_postgresql_programs(demo, tmp_path):
    """If PostgreSQL's programs are missing, the demo's error says what to install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ticketbottle_payctl.sandbox.postgres_binaries as binaries\nbinaries._wheel = binaries._system = list\n",
        "utf-8",
    )
    result = demo(PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    assert (result.returncode, result.stdout) == (3, "")
    assert "pip install 'payctl[demo]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "code"), [(["--color", "always"], 0), (["--color", "never"], 0), (["--keep"], 143)], ids=str
)
def test_the_demo_fits_a_terminal_of_80_columns(options, code):
    """The demo's output fits in 80 columns and obeys `--color`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    process = subprocess.Popen([*PAYCTL, "demo", *options], env=clean({}), stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    text = read_terminal(ours, lambda: process.send_signal(signal.SIGTERM))
    _, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert ("\x1b[" in text) is ("never" not in options)
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert code or talk == b""


def read_terminal(file, stop):
    """Return everything that is written to a terminal until the other end closes it.

    If the demo waits for messages, call ``stop``.
    """
    text = b""
    with suppress(OSError):  # Linux raises this error when the other end is closed
        while chunk := os.read(file, 65_536):
            stays = b"The messages appear here" in chunk
            text += chunk
            if stays:
                stop()
    os.close(file)
    return text.decode()
