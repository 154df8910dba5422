"""Test that no part of a key, password, DSN or account number appears in any output.

The tests create a database, Kafka and gateways with such secrets. They run many commands and functions as processes
with these secrets. Then they search printed output, logs, rows, statements, messages, files and the process list. A
receipt contains the bytes of its callback, so it contains account numbers, but it does not contain keys.
"""

from __future__ import annotations

import base64
import gzip
import os
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import pytest
from sqlalchemy import text

from tests import stand_ins
from tests.conftest import TOPICS, engine_of, started_or_skipped
from tests.security.commands import (
    CANARIES,
    DATABASE,
    FAILS,
    KEYS,
    ORDER,
    OTHER_KEYS,
    PASSWORD,
    ROLE,
    WORKS,
    prepare,
    run_all,
)
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.sandbox import kafka_messages
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900), pytest.mark.xdist_group("canaries")]


class Seen:
    """Everything that is visible after the commands and functions have run."""

    def __init__(self) -> None:
        self.output: dict[str, str] = {}
        self.codes: dict[str, int] = {}
        self.rows: dict[str, str] = {}
        self.statements = ""
        self.messages = b""
        self.files: dict[str, bytes] = {}
        self.processes: set[bytes] = set()


@contextmanager
def process_list(found: set[bytes]):
    """Collect the command line of every process on the machine during the ``with`` block."""
    stop = Event()

    def watch():
        while not stop.wait(0.03):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    found.add(place.read_bytes())
                except OSError:
                    continue

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def database(postgres, template_database):
    """Yield the URL of a database. The database's role has the secret password, and the server logs every statement."""
    admin = engine_of(postgres.create_database(DATABASE, template=template_database))
    with admin.begin() as connection:
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"))
        connection.execute(text(f"ALTER DATABASE {DATABASE} SET log_statement = 'all'"))
    admin.dispose()
    yield f"postgresql://{ROLE}:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres.port}/{DATABASE}"
    postgres.drop_database(DATABASE)
    admin = engine_of(postgres.url())
    with admin.begin() as connection:
        connection.execute(text(f"DROP ROLE {ROLE}"))
    admin.dispose()


@pytest.fixture(scope="module")
def seen(postgres, database, tmp_path_factory, payctl_command):
    """Run all commands and functions once. Return everything that they made visible."""
    home, found = tmp_path_factory.mktemp("canaries"), Seen()
    logged = postgres.log.stat().st_size
    with ExitStack() as everything:
        kafka = everything.enter_context(started_or_skipped(MockKafka))
        for topic in TOPICS:
            kafka.create_topic(topic)
        before = dict(stand_ins.KEYS)
        everything.callback(stand_ins.KEYS.update, before)
        stand_ins.KEYS.update(KEYS)
        gateways = everything.enter_context(serving(Gateways(states={f"{ORDER}Q": "paid"})))
        names = prepare(database, home)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "LOG_LEVEL": "debug",
            "DATABASE_URL": database,
            "KAFKA_BROKERS": kafka.bootstrap,
            **gateways.environment,
            **KEYS,
            **OTHER_KEYS,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_REGION": "ap-southeast-1",
        }
        everything.enter_context(process_list(found.processes))
        run_all(found, payctl_command, environment, names, home, f"127.0.0.1:{postgres.port}")
        found.messages = b"\n".join(
            b"%s %s %s" % (message.key, message.value, repr(message.headers).encode())
            for message in kafka_messages.read_all(kafka.bootstrap, TOPICS)
        )
    found.rows = rows_of(database)
    with postgres.log.open("rb") as log:
        log.seek(logged)
        found.statements = log.read().decode("utf-8", "replace")
    given = {"payos.json", "refused.json", "unknown.json", "vnpay.txt", "keys.txt", "half.toml", "odd.toml"}
    for file in home.rglob("*"):
        if file.is_file() and file.name not in given:
            content = file.read_bytes()
            found.files[file.name] = gzip.decompress(content) if file.suffix == ".gz" else content
    return found


def rows_of(url):
    """Return the rows of every table as text. Bytes are shown as hexadecimal digits."""
    engine = engine_of(url)
    names = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'payctl')"
    with engine.connect() as connection:
        tables = connection.execute(text(names)).scalars().all()
        found = {
            table: "\n".join(connection.execute(text(f"SELECT t::text FROM {table} t")).scalars())  # noqa: S608
            for table in tables
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("step", [*WORKS, *FAILS, "functions", "functions that fail"])
def test_no_output_has_a_part_of_a_secret(step, seen):
    """No output and no log contains six consecutive characters of a key, a password or an account number."""
    assert CANARIES.seen_in(seen.output[step]) == set()


def test_the_commands_did_their_work(seen):
    """The commands and functions did their work with the secrets. Otherwise, the other tests would prove nothing."""
    odd = {name: code for name, code in seen.codes.items() if name in WORKS and code not in {0, 5, 6}}
    assert odd == {}, {name: seen.output[name][-400:] for name in odd}
    failed = {name for name in FAILS if seen.codes[name] == 0}
    assert failed <= {"a configuration with odd names", "another scheme", "a key with a line end", "a key in quotes"}
    assert seen.codes["process-webhook"] == seen.codes["publish-outbox again"] == seen.codes["functions"] == 0
    assert 1 not in seen.codes.values()


def test_no_row_has_a_part_of_a_secret(seen):
    """No database row contains even part of a secret, except for outbox errors that the old service wrote."""
    found = {table: CANARIES.seen_in(rows) for table, rows in seen.rows.items()}
    assert "payctl.run_items" in found
    allowed = defaultdict(set, {"public.outbox": {"password in a stored error"}})
    allowed["payctl.webhook_receipts"] = {name for name in CANARIES if name.startswith("account")}
    assert {table: names - allowed[table] for table, names in found.items() if names - allowed[table]} == {}


def test_a_receipt_has_the_bytes_of_its_callback(seen):
    """The search for secrets finds the account numbers in a receipt, so it also finds text inside binary columns."""
    receipts = seen.rows["payctl.webhook_receipts"]
    assert CANARIES.seen_in(receipts) == {name for name in CANARIES if name.startswith("account")}


def test_no_statement_has_a_key_or_a_password(seen):
    """The database's log of all statements does not contain keys or passwords.

    Account numbers appear in this log only because of receipts.
    """
    assert "INSERT INTO payctl.webhook_receipts" in seen.statements
    wrong = {name for name in CANARIES if name.startswith(("account", "password in a stored"))}
    assert CANARIES.seen_in(seen.statements) - wrong == set()


def test_no_message_in_kafka_has_a_part_of_a_secret(seen):
    """No key, value or header of a Kafka message contains even part of a secret."""
    assert seen.messages.count(b"order_code") >= 4
    assert CANARIES.seen_in(seen.messages) == set()


def test_no_written_file_has_a_part_of_a_secret(seen):
    """No archive, plan, bundle or report contains even part of a secret, and payctl does not leave other files."""
    assert set(seen.files) == {"old.ndjson.gz", "replay.plan", "bundle.json", "report.html"}
    assert [(name, found) for name, content in seen.files.items() if (found := CANARIES.seen_in(content))] == []


def test_no_command_line_of_a_process_has_a_part_of_a_secret(seen):
    """No process argument contains even part of a secret. Every user on the machine can read the arguments."""
    shown = b"\n".join(seen.processes)
    assert b"publish-outbox" in shown
    assert ROLE.encode() in shown
    assert CANARIES.seen_in(shown) == set()


@pytest.mark.parametrize("name", [*CANARIES])
@pytest.mark.parametrize("form", ["as it is", "upper case", "hexadecimal", "base64", "in bytes"])
def test_the_search_finds_a_part_of_every_canary(name, form):
    """The search for secrets finds even part of a secret, in every encoding and inside other text."""
    value = max(CANARIES[name].split("@/"), key=len)
    part = value[2:10]
    shown = {
        "as it is": f"x{part}x",
        "upper case": f"x{part}x".upper(),
        "hexadecimal": f"\\x00{part.encode().hex()}00",
        "base64": base64.b64encode(f"key={value}, next=1".encode()).decode(),
        "in bytes": b"\xff" + part.encode() + b"\xff",
    }[form]
    assert name in CANARIES.seen_in(shown)


def test_the_search_sees_nothing_in_ordinary_text():
    """The search for secrets finds nothing in ids, instants, MACs and ordinary sentences."""
    shown = "123e4567-e89b-12d3-a456-426614174000 2026-11-23T03:00:00.000Z " + "0123456789abcdef" * 8 + __doc__
    assert CANARIES.seen_in(shown * 3) == set()
