"""Test that each function loads only the modules it needs before its first invocation.

Loading these modules takes most of a cold start.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COMMAND_LINE = {"typer", "rich", "click", "pygments"}
SDKS = {"boto3", "botocore", "payos", "httpx", "pydantic", "opentelemetry"}


def loaded_by(code):
    """Run code in a new interpreter. Return the top-level modules that were loaded and the lines that were printed."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *printed, modules = done.stdout.splitlines()
    return set(json.loads(modules)), [*printed, *done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("name", "unwanted"),
    [
        ("webhook", COMMAND_LINE | SDKS | {"confluent_kafka", "tenacity"}),
        ("publish_outbox", COMMAND_LINE | SDKS),
        ("cleanup", COMMAND_LINE | SDKS | {"confluent_kafka", "tenacity"}),
        ("watch_payments", COMMAND_LINE | SDKS | {"confluent_kafka", "tenacity"}),
        ("reconcile_payments", COMMAND_LINE | SDKS | {"confluent_kafka"}),
        ("probe", COMMAND_LINE | SDKS | {"confluent_kafka", "tenacity", "psycopg2"}),
        ("before_traffic", COMMAND_LINE | SDKS | {"confluent_kafka", "tenacity", "psycopg2"}),
    ],
)
def test_a_function_loads_only_what_it_needs(name, unwanted):
    """A function does not load command-line code, or an SDK or client that it does not use.

    The import does not print anything or keep state, because Lambda can import the module long before the first
    invocation.
    """
    code = f"import lambda_entrypoints.{name}, lambda_entrypoints.warm as warm; assert not warm._kept"
    loaded, printed = loaded_by(code)
    assert printed == []
    assert ("sqlalchemy" in loaded) is (name not in {"probe", "before_traffic"})
    assert loaded & unwanted == set()


def test_answering_a_callback_loads_no_more_modules():
    """The webhook does not load more libraries to refuse a callback or to report an unavailable database."""
    code = """
import os
os.environ |= {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d", "PAYOS_CHECKSUM_KEY": "k"}
from lambda_entrypoints.webhook import handler
context = {"http": {"method": "POST"}}
event = {"rawPath": "/webhook/payos", "requestContext": context, "body": "{}"}
assert handler(event, None)["statusCode"]
"""
    loaded, _ = loaded_by(code)
    assert loaded & (COMMAND_LINE | SDKS | {"confluent_kafka"}) == set()
