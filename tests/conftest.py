"""Start the real services, share them between tests if possible, and count the tests that use each service.

If a service is missing, its tests are skipped on a developer's machine and fail with ``CI=true``. CI first runs the
suite on a bare machine, where tests can be skipped. A full machine with ``CI=true`` then runs the skipped tests.

PAYCTL_TEST_POSTGRES chooses the PostgreSQL server: ``wheel`` (the default), ``system`` or ``auto``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.selection import (  # noqa: F401 - hooks
    pytest_addoption,
    pytest_collection,
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
)
from tests.servers.apache_kafka import ApacheKafka
from tests.servers.chromium import Chromium
from tests.servers.clones import Clones
from tests.servers.fork_server import ForkServer
from tests.servers.kept_databases import KeptDatabases
from tests.summary import (  # noqa: F401 - hooks
    IN_CI,
    pytest_runtest_logreport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from ticketbottle_payctl import redaction
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox import kafka_messages
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import create_tables, insert_events
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import in_memory
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.db.migrations import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser
    from sqlalchemy.engine import Engine

    from ticketbottle_payctl.broker.range_reader import Received

POSTGRES = os.environ.get("PAYCTL_TEST_POSTGRES", "wheel")
"""The kind of PostgreSQL for the tests.

This module reads the variable at import, because ``own_environment`` hides it later.
"""

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
SERVICES = ("postgres", "mock_kafka", "kafka", "buildah", "gateway_libraries", "chromium")

SHORT_LOGINS = {"listener.name.secure.scram-sha-512.connections.max.reauth.ms": "2000"}
"""A broker setting that makes a SCRAM-SHA-512 client log in again every two seconds.

As a result, a changed password soon takes effect.
"""
CLEARED_PREFIXES = (
    *("DATABASE_", "KAFKA_", "OUTBOX_", "PAYCTL_", "AWS_", "OTEL_", "PG"),
    *(field.env for gateway in GATEWAYS.values() for field in gateway.fields),
)
CLEARED_NAMES = ("LOG_LEVEL", "ENVIRONMENT")

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
# An example's duration depends on the load of the machine and not on payctl.


def started_or_skipped(make):
    """Start a service. If it is not installed, skip the test on a developer's machine and fail the test in CI."""
    try:
        return make().start()
    except ConfigError as error:
        reason = f"{error}; {error.hint}"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def made() -> Callable:
    """Return a function that calls ``make`` to start a service.

    If the service is missing, that function skips the test, or fails it in CI.
    """
    return started_or_skipped


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's environment variables for payctl, PostgreSQL, Kafka and AWS."""
    for name in list(os.environ):
        if name.startswith(CLEARED_PREFIXES) or name in CLEARED_NAMES:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets that a test registers, because the next test might log the same words."""
    for name in ("_registered", "_known_values"):
        monkeypatch.setattr(redaction, name, copy(vars(redaction)[name]))


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> None:
    """Record which services each test used."""
    for name in SERVICES:
        if name in request.fixturenames:
            request.node.user_properties.append(("service", str(request.getfixturevalue(name))))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Yield a browser for the tests in one file. Playwright blocks the thread's event loop, which other tests need."""
    started = started_or_skipped(Chromium)
    yield started
    started.stop()


@pytest.fixture
def browser(chromium: Chromium) -> Browser:
    """Return Playwright's browser object."""
    return chromium.browser


def new_postgres() -> Postgres:
    """Start a PostgreSQL server of the chosen kind, with its data in memory."""
    return started_or_skipped(lambda: Postgres(binaries=POSTGRES, within=in_memory()))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield this worker's PostgreSQL server."""
    server = new_postgres()
    yield server
    server.close()


@pytest.fixture
def logical(postgres: Postgres) -> Iterator[Postgres]:
    """Yield the PostgreSQL server with logical decoding, which Debezium needs. Then restore its setting."""
    postgres.restart(settings={"wal_level": "logical"})
    yield postgres
    postgres.restart(settings={"wal_level": "replica"})


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> str:
    """Return the name of the template database, which has the payment service's tables and payctl's schema."""
    name = "template_payments"
    engine = engine_of(postgres.create_database(name))
    with engine.begin() as connection:
        create_tables(connection)
    upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture(scope="session")
def clones(postgres: Postgres) -> Iterator[Clones]:
    """Yield an object that creates and removes the databases of this worker's tests."""
    made = Clones(postgres)
    yield made
    made.close()


@pytest.fixture(scope="session")
def kept_databases(postgres: Postgres, clones: Clones, template_database: str) -> Iterator[KeptDatabases]:
    """Yield an object that gives the tests of this worker empty databases, and reuses them."""
    kept = KeptDatabases(postgres, clones, template_database)
    yield kept
    kept.close()


@pytest.fixture
def database_url(postgres: Postgres, kept_databases: KeptDatabases) -> Iterator[str]:
    """Yield the URL of a database with the payment service's tables, which are empty, and payctl's schema."""
    name = kept_databases.take()
    yield postgres.url(name)
    kept_databases.give_back(name)


@pytest.fixture
def empty_database_url(postgres: Postgres, clones: Clones) -> Iterator[str]:
    """Yield the URL of a new, empty database."""
    name = clones.create(prefix="empty")
    yield postgres.url(name)
    clones.drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Yield an engine that payctl's own function creates for the test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def insert(engine: Engine) -> Callable[..., None]:
    """Return a function that inserts events with small payloads: ``insert(3, state="dead")`` inserts three."""

    def run(number: int, **options) -> None:
        with engine.begin() as connection:
            insert_events(connection, number, **{"payload_bytes": 0, **options})

    return run


@pytest.fixture
def execute(engine: Engine) -> Callable[[str], list]:
    """Return a function that runs an SQL statement, commits and returns the first column."""

    def run(sql: str) -> list:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(sql)
            return list(result.scalars()) if result.returns_rows else []

    return run


def engine_of(url: str) -> Engine:
    """Create an engine for ``url`` with payctl's own function."""
    return make_engine(DatabaseSettings(Secret(url)))


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """Yield a new mock cluster with the three topics. The cluster starts within milliseconds."""
    cluster = started_or_skipped(MockKafka)
    for topic in TOPICS:
        cluster.create_topic(topic)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Yield this worker's fork server, which starts payctl as a process in about 50 ms."""
    with ForkServer(tmp_path_factory.mktemp("fork-server")) as server:
        yield server


@pytest.fixture(scope="session")
def payctl_command(fork_server: ForkServer) -> list[str]:
    """Return the command line that starts payctl as a process, as a list of words."""
    return fork_server.command


@pytest.fixture(scope="session")
def payctl_path(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH for a shell that contains ``payctl``."""
    return f"{fork_server.executable(tmp_path_factory.mktemp('bin'))}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def kafka_server(claim: Callable[..., None]) -> Iterator[ApacheKafka]:
    """Yield this worker's only Apache Kafka broker. At most two workers run the tests that need this broker."""
    claim("kafka", most=2)
    broker = started_or_skipped(
        lambda: ApacheKafka(secure=True, proxied=True, settings=SHORT_LOGINS, within=in_memory())
    )
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def claim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return a function that fails the test if ``most`` other workers have already set up a service."""

    def run(service: str, *, most: int) -> None:
        if not hasattr(request.config, "workerinput"):
            return
        for number in range(most):
            with suppress(FileExistsError):
                (tmp_path_factory.getbasetemp().parent / f"{service}-{number}").mkdir()
                return
        pytest.fail(f"more than {most} workers run the tests with {service}; --dist loadgroup does not work")

    return run


@pytest.fixture
def kafka(kafka_server: ApacheKafka) -> ApacheKafka:
    """Return the running Apache Kafka broker with three empty topics.

    Restart the broker if the previous test stopped it.
    """
    kafka_server.revive()
    kafka_server.recreate_topics(TOPICS)
    return kafka_server


@pytest.fixture
def read_all() -> Callable[..., list[Received]]:
    """Return a function that reads all messages of topics, sorted by topic, partition and offset."""

    def read(bootstrap: str, topics: tuple[str, ...] = TOPICS, **options) -> list[Received]:
        return kafka_messages.read_all(bootstrap, topics, **options)

    return read
