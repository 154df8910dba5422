"""Test that commands import only the modules that they need, because each import slows the start."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from tests.stand_ins import KEYS, Gateways, serving
from ticketbottle_payctl.sandbox.callbacks import environment
from ticketbottle_payctl.sandbox.payment_service import insert_payment

HEAVY = {"sqlalchemy", "psycopg2", "confluent_kafka", "pydantic", "rich", "tenacity", "boto3", "asyncio", "http.client"}
HEAVY |= {"httpx", "payos"}
LOOK = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
RUN = LOOK + "from ticketbottle_payctl.cli.app.main import main; sys.argv[0] = 'payctl'; main()"


def loaded(*arguments, **environment):
    """Run a command in a new process and return which heavy modules it loaded."""
    result = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode in {0, 5}, result.stderr
    return set(result.stderr.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["verify-signature", "--help"],
        ["help", "exit-codes"],
        ["help", "times"],
        ["verify-signature", "--example", "zalopay"],
        ["verify-signature", "--example", "vnpay", "--tamper", "amount", "-o", "json"],
        ["config", "show"],
        ["gateways", "list"],
        ["gateways", "register-webhook", "--help"],
        ["gateways", "register-webhook", "payos", "https://shop.example/webhook/payos", "-n"],
        ["version"],
        ["--version"],
    ],
)
def test_quick_commands_load_no_heavy_module(arguments):
    """Quick commands do not load SQLAlchemy, the Kafka client or Rich."""
    assert loaded(*arguments, **KEYS) == set()


@pytest.mark.parametrize(
    "arguments", [["simulate", "momo", "paid"], ["reconcile", "payments", "--help"], ["reconcile", "outbox", "--help"]]
)
def test_httpx_is_loaded_only_to_send_a_request(arguments):
    """`payctl` prints a simulated callback or a help page without loading the HTTP client."""
    assert "httpx" not in loaded(*arguments, **environment())


@pytest.mark.postgres
@pytest.mark.parametrize(("provider", "libraries"), [("momo", {"httpx"}), ("payos", {"httpx", "payos", "pydantic"})])
def test_payos_s_library_is_loaded_only_to_ask_payos(provider, libraries, engine, database_url):
    """A query to MoMo does not load PayOS's library, which takes longer to import than a quick command takes to run."""
    with engine.begin() as connection:
        insert_payment(connection, provider=provider.upper(), reference="a-reference", age=timedelta(hours=1))
    with serving(Gateways(states={"a-reference": "paid"})) as gateways:
        given = {"DATABASE_URL": database_url, **gateways.environment}
        assert loaded("reconcile", "payments", "-n", **given) & {"httpx", "payos", "pydantic"} == libraries
    assert gateways.asked == [(provider, "a-reference")]


@pytest.mark.parametrize("command", ["publish-outbox", "stats", "cleanup"])
def test_a_command_without_callbacks_loads_no_gateway(command):
    """A command that does not handle callbacks does not load the code that verifies callbacks."""
    code = RUN.replace("print(*sys.modules", "print(*[m for m in sys.modules if '.providers.' in m]")
    result = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=True)
    assert result.stderr.split() == []


def test_no_command_and_no_function_loads_pydantic():
    """No command and no Lambda function loads pydantic, which only `make docs` needs."""
    code = (
        "import sys; from ticketbottle_payctl.cli.app.registry import COMMANDS; [each.load() for each in COMMANDS]; "
        "import lambda_entrypoints.webhook, lambda_entrypoints.publish_outbox, lambda_entrypoints.cleanup; "
        "print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "ticketbottle_payctl.facts" in modules
    assert "pydantic" not in modules


MOST_MODULES = 72
"""The maximum number of modules outside the standard library that `payctl --help` is allowed to load."""


def test_help_loads_no_more_modules_than_before():
    """`payctl --help` loads at most MOST_MODULES modules outside the standard library."""
    ours = "print(len([m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names])"
    code = RUN.replace("print(*sys.modules", ours)
    result = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert int(result.stderr) <= MOST_MODULES


def test_help_does_not_import_the_commands():
    """`payctl --help` reads only the registry and does not import any command."""
    code = RUN.replace("print(*sys.modules", "print(*[m for m in sys.modules if m.startswith('ticketbottle_payctl')]")
    result = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    modules = result.stderr.split()
    assert "ticketbottle_payctl.cli.app.registry" in modules
    assert not [name for name in modules if name.startswith("ticketbottle_payctl.jobs")]
    assert not [name for name in modules if name.endswith(("process_webhook", "verify_signature", "samples"))]
