"""Test ``make local``, which runs the Lambda functions on a developer's machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.conftest import IN_CI
from tests.lambda_entrypoints import events
from tests.lambda_entrypoints.conftest import Shop
from tests.servers import local_functions
from tests.servers.lambda_runtime import PYTHON, ROOT
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.sandbox.callbacks import callback, environment

COMMAND = [sys.executable, "-m", "tests.servers.local_functions"]


@pytest.fixture
def shop(engine):
    """Return the payment service's part of the database, with the payments from the event files."""
    shop = Shop(engine)
    shop.known()
    return shop


@pytest.fixture
def settings(database_url, monkeypatch):
    """Set the variables that `payctl demo --keep` prints."""
    if not PYTHON.exists():
        (pytest.fail if IN_CI else pytest.skip)("the environment of AWS's runtime is missing: run `make functions`")
    for name, value in {**environment(), "DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def address(settings):  # noqa: ARG001 - the process inherits them
    """Start the webhook function and yield its address. Stop the process with SIGTERM after the test."""
    with subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        printed = process.stdout.readline().partition("/webhook/")[0]
        assert process.stdout.readline() == "running until Ctrl-C\n"
        yield printed
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def sent(address, request):
    """Send a gateway's request. Return the response's status and body."""
    url = f"{address}{request.path}" + (f"?{request.query}" if request.query else "")
    headers = {"content-type": "application/json"} if request.body else {}
    made = urllib.request.Request(url, request.body or None, headers, method=request.method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(made, timeout=30) as response:  # noqa: S310 - loopback
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_each_gateways_callback_over_http_settles_its_payment(address, shop):
    """Callbacks to `make local`'s HTTP address, as from curl or a gateway's tool, settle their payments."""
    for payment in events.PAYMENTS.values():
        status, _ = sent(address, callback(payment))
        assert status in {200, 204}
        assert shop.status(payment) == "COMPLETED"
    assert sent(address, Request("POST", "/nothing", "", b"{}")) == (404, '{"message": "Not Found"}')


@pytest.mark.usefixtures("settings", "shop")
@pytest.mark.parametrize(
    ("function", "file", "reply"),
    [
        ("webhook", "zalopay.json", '"statusCode": 200'),
        ("webhook", "payos-base64.json", '"statusCode": 200'),
        ("cleanup", "scheduler-cleanup.json", '"deleted": 0'),
        ("watch-payments", "scheduler-watch-payments.json", '"overdue": 0'),
        ("reconcile-payments", "scheduler-reconcile-payments.json", '"settled": 0'),
    ],
)
def test_an_event_file_is_invoked_once(function, file, reply):
    """`make local` with an event file invokes the function once.

    The function's reply is on stdout and its log on stderr.
    """
    done = run("--function", function, "--event", f"tests/events/{file}")
    assert done.returncode == 0, done.stderr
    assert reply in done.stdout
    assert "REPORT RequestId" in done.stderr


@pytest.mark.usefixtures("settings", "shop")
def test_a_function_that_raises_ends_with_exit_code_1():
    """If the function raises an error, `make local` prints the error in Lambda's format and exits with code 1.

    In this test, the broker is unavailable.
    """
    done = run("--function", "publish-outbox", "--event", "tests/events/scheduler-publish-outbox.json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "BrokerUnavailableError"


@pytest.mark.parametrize(
    "url", ["", "postgresql://u:p@db.example.com/payments", "postgresql:///payments", "http://[::"]
)
def test_the_local_functions_refuse_a_database_on_another_machine(settings, url, capsys):
    """The local functions refuse a database on another machine, and say how to start a local one."""
    settings.setenv("DATABASE_URL", url)
    assert local_functions.main(["--event", str(ROOT / "tests/events/zalopay.json")]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "payctl demo --keep" in printed.err


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("file", ["tests/events/missing.json", "README.md"])
def test_a_file_that_is_not_an_event_ends_with_exit_code_2(file, capsys):
    """If the file is not an event, `make local` exits with code 2 before it starts a function."""
    assert local_functions.main(["--event", str(ROOT / file)]) == 2
    assert capsys.readouterr().out == ""


def run(*words):
    """Run the module, wait for it to finish, and return the completed process."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, cwd=ROOT, timeout=90, check=False)
