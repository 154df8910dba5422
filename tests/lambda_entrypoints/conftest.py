"""Fixtures for a merchant, and for Lambda functions that run in this process or in AWS's runtime."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count

import pytest

from lambda_entrypoints import warm
from tests.aws.conftest import cloud, cloud_server  # noqa: F401 - fixtures
from tests.conftest import IN_CI, engine_of, new_postgres
from tests.lambda_entrypoints import events
from tests.servers.lambda_runtime import Function as RuntimeFunction
from ticketbottle_payctl import logs
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, create_tables, insert_payment
from ticketbottle_payctl.store.db.migrations import upgrade

numbers = count(1)


@dataclass
class Context:
    """The context object that Lambda passes to a handler."""

    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    left: float = 120.0

    def get_remaining_time_in_millis(self) -> int:
        """Return the remaining time in milliseconds."""
        return int(self.left * 1000)


@dataclass
class Shop:
    """The payment service's access to the test's database."""

    engine: object

    def payment(self, provider="zalopay", **values) -> SandboxPayment:
        """Insert a pending payment with a unique reference, and return the payment."""
        number = next(numbers)
        values.setdefault("reference", f"261123_{number:012d}")
        with self.engine.begin() as connection:
            return insert_payment(connection, provider=provider.upper(), **values)

    def known(self) -> None:
        """Insert the payments that the event files refer to."""
        with self.engine.begin() as connection:
            for each in events.PAYMENTS.values():
                insert_payment(
                    connection,
                    id=each.id,
                    order_code=each.order_code,
                    amount=each.amount,
                    provider=each.provider,
                    reference=each.reference,
                )

    def query(self, sql, *parameters):
        """Run a query and return its rows as dictionaries."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]

    def execute(self, sql) -> None:
        """Run statements and commit."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    def pending(self) -> int:
        """Return the count of unpublished events."""
        return self.query("SELECT count(*) AS events FROM outbox WHERE NOT published")[0]["events"]

    def status(self, payment) -> str:
        """Return a payment's status."""
        return self.query("SELECT status::text FROM payments WHERE id = %s", payment.id)[0]["status"]


@pytest.fixture
def shop(engine):
    """Return a shop that uses the test's database."""
    return Shop(engine)


@pytest.fixture
def own_server():
    """Yield a PostgreSQL server that the test can stop and start, and a shop that uses this server."""
    server = new_postgres()
    engine = engine_of(server.url())
    with engine.begin() as connection:
        create_tables(connection)
    upgrade(engine)
    yield server, Shop(engine)
    engine.dispose()
    server.close()


@pytest.fixture
def called(monkeypatch, capfd):
    """Yield a function that calls a handler in this process. The handler does not keep state from earlier tests."""
    printed = Printed(capfd)

    def prepare(environ):
        for name, value in {**environment(), "ENVIRONMENT": "test", **environ}.items():
            monkeypatch.setenv(name, value)

    def call(handler, event, context=None, **environ):
        prepare(environ)
        return handler(event, context or Context())

    def warm_up(function, *secrets, **environ):
        """Read the given secrets, as an earlier invocation would."""
        prepare(environ)
        return [warm.kept(Function(function)).environ.get(name) for name in secrets]

    call.printed, call.warm_up = printed, warm_up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "_kept", {})
        patch.setattr(logs, "setup_logging", logs.setup_logging)
        yield call
        for function in Function:
            warm.kept(function).close()


class Printed:
    """A reader of a function's output that parses the lines as CloudWatch does."""

    def __init__(self, capfd) -> None:
        self._capfd = capfd
        self.out = ""
        self.err = ""

    def _read(self):
        out, err = self._capfd.readouterr()
        self.out, self.err = self.out + out, self.err + err

    @property
    def logs(self):
        """The lines of the log, each as a dictionary."""
        self._read()
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def metrics(self):
        """The sum of each metric over all output lines with a function dimension."""
        self._read()
        found = {}
        for line in map(json.loads, self.out.splitlines()):
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"] if "function" in line else []:
                found[metric["Name"]] = found.get(metric["Name"], 0) + (
                    sum(value) if isinstance(value := line[metric["Name"]], list) else value
                )
        return found

    @property
    def text(self):
        """The complete output of the function."""
        self._read()
        return self.out + self.err


@pytest.fixture
def lambda_():
    """Yield a function that starts a Lambda function in AWS's runtime, with a timeout and variables."""
    started = []

    def start(name, *, timeout=60, **environ) -> RuntimeFunction:
        try:
            function = RuntimeFunction(name, {**environment(), "ENVIRONMENT": "test", **environ}, timeout=timeout)
        except ConfigError as error:
            reason = f"{error}; {error.hint}"
            (pytest.fail if IN_CI else pytest.skip)(reason)
        started.append(function)
        return function

    start.started = started
    yield start
    for function in started:
        function.close()


@pytest.fixture
def paid():
    """Return a function that returns an HTTP API event with the gateway's callback for a payment."""
    return lambda payment, scenario=Scenario.PAID, **options: events.http_event(callback(payment, scenario), **options)
