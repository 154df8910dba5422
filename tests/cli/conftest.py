"""Fixtures that run payctl as a process, in a shell, or inside the test's process, which is fastest."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from typer import testing
from typer.testing import CliRunner

from tests.cli.documents import validate
from tests.cli.marks import check_mark
from tests.cli.terminal import on_terminal
from tests.providers.conftest import KEYS as MERCHANT_KEYS
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.providers import GATEWAYS

VECTORS = Path(__file__).parent.parent / "data" / "gateway-vectors"
KEYS = {field.env: MERCHANT_KEYS[name][field.name] for name, gateway in GATEWAYS.items() for field in gateway.fields}
"""A merchant's keys for every gateway, as environment variables."""

PROCESS = [sys.executable, "-m", "ticketbottle_payctl"]
AT_START = ("PYTHON", "LC_", "LANG")
"""Prefixes of the variables that an interpreter reads when it starts."""


def clean_environment(changes):
    """Return the environment without payctl's own variables, and with the given changes."""
    return {**os.environ, "PYTHONWARNINGS": "error", **changes}


@pytest.fixture
def command(payctl_command):
    """Return a function that takes changed environment variables and returns payctl's command line.

    If a changed variable affects how the interpreter starts, the command line starts a new interpreter.
    """
    return lambda changes: PROCESS if any(name.startswith(AT_START) for name in changes) else payctl_command


@pytest.fixture
def process(command):
    """Return a function that runs payctl as a process and waits for it to finish. Input and output are strings."""

    def run(*arguments, stdin="", cwd=None, **environment):
        return subprocess.run(
            [*command(environment), *arguments],
            input=stdin,
            env=clean_environment(environment),
            cwd=cwd,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def started(command):
    """Yield a function that starts payctl as a process with pipes. The fixture kills all processes after the test."""
    processes = []

    def start(*arguments, **environment):
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*command(environment), *arguments],
            env=clean_environment(environment),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def terminal(payctl_command):
    """Return a function that runs payctl on its own terminal.

    A command that reads keys must run in the terminal's foreground, so the test sets ``fresh`` to start a new
    interpreter.
    """

    def run(*arguments, columns=80, lines=24, fresh=False, **environment):
        words = PROCESS if fresh else payctl_command
        inherited = {"COLUMNS", "LINES", "NO_COLOR"} - set(environment)
        variables = clean_environment({"TERM": "xterm-256color", **environment})
        kept = {name: value for name, value in variables.items() if name not in inherited}
        return on_terminal([*words, *arguments], kept, columns, lines)

    return run


@pytest.fixture(scope="session", autouse=True)
def one_root_command():
    """Build payctl's root command once. Typer's runner otherwise builds it for each run, which takes a millisecond."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", cache(testing._get_command))  # noqa: SLF001 - it has no public name
        yield


@pytest.fixture
def invoke():
    """Yield a function that runs payctl inside the test's process. The fixture restores logging after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def run(*arguments, stdin=None, services=None, **environment):
        ran = CliRunner().invoke(app, arguments, input=stdin, env=environment, obj=services, prog_name="payctl")
        check_mark(arguments, ran.stdout, ran.exit_code)
        return ran

    yield run
    root.handlers[:], root.level = before


@pytest.fixture
def answer(invoke):
    """Return a function that runs payctl with ``-o json`` and returns the document.

    The document must be all of stdout.
    """

    def run(*arguments, **options):
        result = invoke(*arguments, "-o", "json", **options)
        document = json.loads(result.stdout)
        assert document["exit_code"] == result.exit_code, result.stderr
        return document

    return run


@pytest.fixture
def content(engine):
    """Return a function that returns all rows of all tables."""

    def read():
        tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'payctl')"
        rows = "SELECT array_agg(t::text ORDER BY t::text) FROM {} t"
        with engine.connect() as connection:
            found = connection.execute(text(tables)).scalars().all()
            return {table: connection.execute(text(rows.format(table))).scalar() for table in found}

    return read


@pytest.fixture
def ask(answer, database_url):
    """Return a function that runs a command with the test's database and returns the validated document."""

    def run(*arguments, **environment):
        document = answer(*arguments, DATABASE_URL=database_url, **environment)
        found = validate(document)
        item = found["properties"].get("items", {}).get("items", {}).get("properties", {})
        fields = {name for each in document["items"] for name in each}
        assert fields - item.keys() == set(), "run `make docs`"
        if document["error"] is None:
            result = found["then"]["properties"].get("result", {}).get("properties", {})
            assert document.get("result", {}).keys() - result.keys() == set(), "run `make docs`"
        return document

    return run


@pytest.fixture
def keys():
    """Return a merchant's keys for all gateways as environment variables."""
    return dict(KEYS)


def vectors():
    """Return all recorded or documented callbacks, each with its keys as environment variables."""
    return [
        _vector(record) for path in sorted(VECTORS.glob("*.json")) for record in json.loads(path.read_text("utf-8"))
    ]


def _vector(record):
    fields = GATEWAYS[record["gateway"]].fields
    environment = {field.env: str(record["keys"][field.name]) for field in fields if field.name in record["keys"]}
    request = record["request"]
    return SimpleNamespace(
        name=record["name"],
        gateway=record["gateway"],
        environment=environment,
        path=request["path"],
        content=request.get("query") or request.get("body", ""),
        expect={name: value for name, value in record["expect"].items() if name != "note"},
    )


def pytest_generate_tests(metafunc):
    """Run each test that has a ``vector`` argument once for every vector."""
    if "vector" in metafunc.fixturenames:
        chosen = vectors()
        metafunc.parametrize("vector", chosen, ids=[one.name for one in chosen])
