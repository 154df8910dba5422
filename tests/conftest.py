"""Real services for the tests, shared as far as possible, and a count of what ran against them.

A service that is missing is a skip at home and a failure in CI (``CI=true``), where any skip at all is a failure.
PAYCTL_TEST_POSTGRES says which PostgreSQL is used: ``wheel`` (the default), ``system`` or ``auto``.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.servers.apache_kafka import ApacheKafka
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox import kafka_messages
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import in_memory
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.db.migrations import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Engine

    from ticketbottle_payctl.broker.range_reader import Received

IN_CI = os.environ.get("CI") == "true"
POSTGRES = os.environ.get("PAYCTL_TEST_POSTGRES", "wheel")
"""Read once: no test sees the variable itself, see ``own_environment``."""

GROUPS = {"kafka_server": "kafka", "container": "container", "built": "package", "gateway_libraries": "node"}
"""A fixture that takes long to set up, and the group of tests that share it in one worker."""

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
SERVICES = ("postgres", "mock_kafka", "kafka", "buildah", "gateway_libraries")
KAFKA_SECONDS = 180
"""Time-out of a test with Apache Kafka: the first one fetches its jars with Maven. The others' is in pyproject.toml."""

SHORT_LOGINS = {"listener.name.secure.scram-sha-512.connections.max.reauth.ms": "2000"}
"""Who came by SCRAM-SHA-512 must show the password again every two seconds, so that a test can change it meanwhile."""
CLEARED_PREFIXES = (
    *("DATABASE_", "KAFKA_", "OUTBOX_", "PAYCTL_", "ZALOPAY_", "PAYOS_", "VNPAY_", "MOMO_"),
    *("AWS_", "OTEL_", "PG"),
)
CLEARED_NAMES = ("LOG_LEVEL", "ENVIRONMENT")

ran: Counter[str] = Counter()
numbers = count(1)


def started_or_skipped(make):
    """Start a service; where it is not installed, skip at home and fail in CI."""
    try:
        return make().start()
    except ConfigError as error:
        reason = f"{error}; {error.hint}"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def made() -> Callable:
    """``made(make)``: a test file's own service, started; a skip at home and a failure in CI where it is missing."""
    return started_or_skipped


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what the developer's shell says about payctl, PostgreSQL, Kafka or AWS."""
    for name in list(os.environ):
        if name.startswith(CLEARED_PREFIXES) or name in CLEARED_NAMES:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> None:
    """Note on each test which services it ran against."""
    for name in SERVICES:
        if name in request.fixturenames:
            request.node.user_properties.append(("service", str(request.getfixturevalue(name))))


def new_postgres() -> Postgres:
    """Start a PostgreSQL server of the kind asked for, its data in memory."""
    return started_or_skipped(lambda: Postgres(binaries=POSTGRES, within=in_memory()))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this worker's own."""
    server = new_postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> str:
    """The name of a database with the payment service's tables and payctl's schema, to be cloned."""
    name = "template_payments"
    engine = engine_of(postgres.create_database(name))
    with engine.begin() as connection:
        create_tables(connection)
    upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    """A database of the test's own, as the payment service left it and ``payctl db upgrade`` after it."""
    name = f"payments_{next(numbers)}"
    yield postgres.create_database(name, template=template_database)
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    name = f"empty_{next(numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the test's own database, made the way payctl makes it."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def engine_of(url: str) -> Engine:
    """An engine on ``url``, made the way payctl makes it."""
    return make_engine(DatabaseSettings(Secret(url)))


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """A mock cluster of the test's own with the three topics; it is there in milliseconds."""
    cluster = started_or_skipped(MockKafka)
    for topic in TOPICS:
        cluster.create_topic(topic)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def kafka_server(only_worker) -> Iterator[ApacheKafka]:
    """The one Apache Kafka of this run: tests that use it all go to one worker."""
    only_worker("kafka")
    broker = started_or_skipped(
        lambda: ApacheKafka(secure=True, proxied=True, settings=SHORT_LOGINS, within=in_memory())
    )
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def only_worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """``only_worker(group)`` fails if another worker of this run has already set up what the group shares."""

    def claim(group: str) -> None:
        if not hasattr(request.config, "workerinput"):
            return
        try:
            (tmp_path_factory.getbasetemp().parent / f"group-{group}").mkdir()
        except FileExistsError:
            pytest.fail(f"the tests of the group {group} run on two workers; --dist loadgroup does not work")

    return claim


@pytest.fixture
def kafka(kafka_server: ApacheKafka) -> ApacheKafka:
    """The running Apache Kafka, its three topics empty whatever the test before did to it."""
    kafka_server.revive()
    kafka_server.recreate_topics(TOPICS)
    return kafka_server


@pytest.fixture
def read_all() -> Callable[..., list[Received]]:
    """``read_all(bootstrap, topics=the three)``: every message there is, in the order of topic, partition, offset."""

    def read(bootstrap: str, topics: tuple[str, ...] = TOPICS, **options) -> list[Received]:
        return kafka_messages.read_all(bootstrap, topics, **options)

    return read


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the services it uses, before ``-m`` selects, and with the group it shares them in."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "postgres" in used:
            item.add_marker("postgres")
        if "kafka_server" in used:
            item.add_marker("kafka")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(KAFKA_SECONDS))
        group = next((name for fixture, name in GROUPS.items() if fixture in used), None)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count, also what other workers ran."""
    if report.when == "call" and not report.skipped:
        ran.update(str(service) for name, service in report.user_properties if name == "service")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran against what, so that nothing stays green by not running."""
    services = ", ".join(f"{service} {number} tests" for service, number in sorted(ran.items()))
    terminalreporter.write_line(f"services: {services or 'none'}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail on any skip in CI. The very last lines say how many tests were skipped, and what they need."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    for reason, number in Counter(str(report.longrepr[2]) for report in skipped).most_common()[::-1]:
        what = "skipped, which is a failure in CI" if IN_CI else "skipped"
        reporter.write_line(f"{number} {what}: {reason.removeprefix('Skipped: ')}", red=IN_CI, yellow=not IN_CI)
