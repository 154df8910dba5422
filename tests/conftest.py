"""Start the real services that tests share where possible, and count the tests that used each service.

If a service is missing, its tests are skipped on a developer's machine. In CI (``CI=true``), these tests fail, because
CI must not skip a test. CI runs the suite on a bare machine first. A full machine then runs the tests that were
skipped.

PAYCTL_TEST_POSTGRES chooses the PostgreSQL server: ``wheel`` (the default), ``system`` or ``auto``.
"""

from __future__ import annotations

import gc
import os
import re
from collections import Counter
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.apache_kafka import ApacheKafka
from tests.servers.chromium import Chromium
from tests.servers.clones import Clones
from tests.servers.fork_server import ForkServer
from tests.work_units import WorkUnits, put_long_ones_first
from ticketbottle_payctl import telemetry
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
    from xdist.remote import Producer

    from ticketbottle_payctl.broker.range_reader import Received

IN_CI = os.environ.get("CI") == "true"
POSTGRES = os.environ.get("PAYCTL_TEST_POSTGRES", "wheel")
"""The kind of PostgreSQL for the tests.

This module reads the variable at import, because ``own_environment`` hides it later.
"""

GROUPS = {
    "kafka_server": "kafka",
    "container": "container",
    "built": "package",
    "gateway_libraries": "node",
    **dict.fromkeys(("browser", "site", "draft"), "browser"),
    "cloud_server": "cloud",
}
"""The group of each fixture that is slow to set up. All tests in a group run in one worker and share the fixture."""

WITH_SECOND_KAFKA = ("jobs/", "broker/", "lambda_entrypoints/")
"""The folders whose tests share a second Apache Kafka. All tests with Kafka in one worker would end last."""

TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
SERVICES = ("postgres", "mock_kafka", "kafka", "buildah", "gateway_libraries", "chromium")
KAFKA_SECONDS = 180
"""Timeout, in seconds, for a test that uses Apache Kafka. The first such test downloads the jars.

pyproject.toml has the timeout for all other tests.
"""

ON_EACH_SERVER = ("store/", "jobs/", "cdc/", "test_database_roles.py", "sandbox/test_postgres.py")
"""The folders and files of the tests that send SQL statements from the ``store`` package to a server."""

CASES_ON_EACH_SERVER = 2
"""The number of parameter sets per test that also run on a second server.

The remaining sets would send the same SQL to that server.
"""

SHORT_LOGINS = {"listener.name.secure.scram-sha-512.connections.max.reauth.ms": "2000"}
"""The broker's setting that makes a SCRAM-SHA-512 client log in again every two seconds.

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

ran: Counter[str] = Counter()


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

    If the service is missing, it skips the test, or fails it in CI.
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
        monkeypatch.setattr(telemetry, name, copy(vars(telemetry)[name]))


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


@pytest.fixture
def database_url(postgres: Postgres, clones: Clones, template_database: str) -> Iterator[str]:
    """Yield the URL of a new database with the payment service's tables and payctl's schema."""
    name = clones.create(template_database, prefix="payments")
    yield postgres.url(name)
    clones.drop(name)


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
    """Return an engine that payctl's own function creates for ``url``."""
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
    """Yield the only Apache Kafka of this worker. Two workers run all tests that use one."""
    claim("kafka", most=2)
    broker = started_or_skipped(
        lambda: ApacheKafka(secure=True, proxied=True, settings=SHORT_LOGINS, within=in_memory())
    )
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def claim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return a function that fails if ``most`` other workers have set up a service already."""

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that CI uses to split the tests between two machines and to sample them on other interpreters."""
    parser.addoption("--skipped-to", metavar="FILE", type=Path, help="write the ids of the skipped tests to a file")
    about = "run only the tests that a file lists, and two cases of each that proves the SQL on this PostgreSQL server"
    parser.addoption("--skipped-in", metavar="FILE", type=Path, help=about)
    parser.addoption("--cases", type=int, help="run each test with at most this many of its parameter sets")


def _deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that the command-line options exclude."""
    file, most = config.getoption("skipped_in"), config.getoption("cases")
    if file is not None:
        skipped, among_first = {*file.read_text("utf-8").splitlines()}, _first_cases(CASES_ON_EACH_SERVER)
        _keep(
            config,
            items,
            lambda item: _without_group(item.nodeid) in skipped or (_proves_sql(item) and among_first(item)),
        )
    if most is not None:
        _keep(config, items, _first_cases(most))


def _first_cases(most: int) -> Callable[[pytest.Item], bool]:
    """Return a function that says whether a test is one of the first ``most`` cases of its test function."""
    seen: Counter[str] = Counter()

    def first(item: pytest.Item) -> bool:
        name = item.nodeid.partition("[")[0]
        seen[name] += 1
        return seen[name] <= most

    return first


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    kept, left = [], []
    for item in items:
        (kept if wanted(item) else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _without_group(nodeid: str) -> str:
    """Remove the group that xdist appends to a test's id. Without several workers, ids have no group."""
    return re.sub(r"@\w+$", "", nodeid)


def _proves_sql(item: pytest.Item) -> bool:
    place = item.nodeid.removeprefix("tests/")
    return item.get_closest_marker("postgres") is not None and place.startswith(ON_EACH_SERVER)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage while the tests are collected, and pass over what stays to the end: modules, and all tests."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WorkUnits:
    """Let a worker run several quick tests of a file at once."""
    return WorkUnits(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Add markers for each test's services and their group, before ``-m`` selects tests."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "postgres" in used or "own_server" in used:
            item.add_marker("postgres")
        if "kafka_server" in used:
            item.add_marker("kafka")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(KAFKA_SECONDS))
        group = next((name for fixture, name in GROUPS.items() if fixture in used), None)
        if group == "kafka" and item.nodeid.removeprefix("tests/").startswith(WITH_SECOND_KAFKA):
            group = "second_kafka"
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    _deselect(config, items)
    put_long_ones_first(items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the services that each test used, including tests in other workers."""
    if report.when == "call" and not report.skipped:
        ran.update(str(service) for name, service in report.user_properties if name == "service")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests used each service, so that a developer notices tests that did not run."""
    services = ", ".join(f"{service} {number} tests" for service, number in sorted(ran.items()))
    terminalreporter.write_line(f"services: {services or 'none'}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """In CI, fail the run if a test was skipped.

    Print how many tests were skipped and which programs the tests need.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    file = session.config.getoption("skipped_to")
    if file is not None and reporter is not None:
        file.write_text("".join(f"{_without_group(report.nodeid)}\n" for report in skipped), "utf-8")
    yield
    for reason, number in Counter(str(report.longrepr[2]) for report in skipped).most_common()[::-1]:
        what = "skipped, which is a failure in CI" if IN_CI else "skipped"
        reporter.write_line(f"{number} {what}: {reason.removeprefix('Skipped: ')}", red=IN_CI, yellow=not IN_CI)
