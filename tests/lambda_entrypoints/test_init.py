"""Test that the webhook function prepares its secrets, modules and database session before its first callback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.lambda_entrypoints import events
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment

PROVISIONED = {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
ON_DEMAND = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
NOT_A_CALLBACK = {"rawPath": "/nothing"}
SESSIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE starts_with(application_name, 'payctl') AND datname = current_database() AND pid <> pg_backend_pid()
"""


def sessions(shop):
    """Return the pids of all database sessions that payctl holds."""
    return [row["pid"] for row in shop.query(SESSIONS)]


@pytest.mark.parametrize(("how", "connected"), [(PROVISIONED, 1), (ON_DEMAND, 0), ({}, 0)])
def test_only_a_provisioned_environment_connects_before_its_first_callback(
    lambda_, shop, database_url, paid, how, connected
):
    """INIT opens the database session for the first callback only with provisioned concurrency."""
    shop.engine.dispose()
    before = set(sessions(shop))
    webhook = lambda_("webhook", timeout=10, DATABASE_URL=database_url, **how)
    webhook.invoke(NOT_A_CALLBACK)
    opened = set(sessions(shop)) - before
    assert len(opened) == connected
    payment = shop.payment("zalopay")
    assert '"return_code":1' in webhook.invoke(paid(payment)).payload["body"]
    if connected:
        assert set(sessions(shop)) - before == opened
    assert webhook.lines(message="webhook_not_prepared") == []


def test_a_provisioned_environment_has_read_its_secrets_before_its_first_callback(lambda_, shop, cloud, database_url):
    """With provisioned concurrency, the webhook settles its first callback even if a secret was deleted after INIT."""
    arn = cloud.secret({"DATABASE_URL": database_url, "ZALOPAY_KEY2": "the-key-of-zalopay"}, name="payctl/init")
    secrets = {"DATABASE_URL_SECRET_ARN": arn, "ZALOPAY_KEY2_SECRET_ARN": arn, "ZALOPAY_KEY2": ""}
    webhook = lambda_("webhook", timeout=10, **cloud.environ, **secrets, **PROVISIONED)
    webhook.invoke(NOT_A_CALLBACK)
    cloud.client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    payment = shop.payment("zalopay")
    event = events.http_event(callback(payment, Scenario.PAID, environment() | {"ZALOPAY_KEY2": "the-key-of-zalopay"}))
    assert '"return_code":1' in webhook.invoke(event).payload["body"]
    assert "the-key-of-zalopay" not in webhook.text()


@pytest.mark.parametrize(
    "broken",
    [
        {"DATABASE_URL": "postgresql://somebody:a-password-of-mine@127.0.0.1:1/payments"},
        {"DATABASE_URL": "not a URL, with a-password-of-mine"},
        {"DATABASE_URL": ""},
        {"DATABASE_URL": "", "DATABASE_URL_SECRET_ARN": "arn:aws:secretsmanager:x", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    ],
    ids=["database unreachable", "URL unreadable", "URL missing", "Secrets Manager unreachable"],
)  # fmt: skip
def test_an_init_that_cannot_prepare_still_succeeds(lambda_, broken):
    """INIT succeeds even if it cannot prepare the webhook. The first callback then gets a "try again" reply."""
    webhook = lambda_("webhook", timeout=10, **PROVISIONED, **broken)
    answer = webhook.invoke(events.read("zalopay.json"))
    assert '"return_code":0' in answer.payload["body"]
    assert "INIT RTDONE(status: success)" in webhook.text()
    assert len(webhook.lines(message="webhook_not_prepared")) == 1
    assert webhook.sums()["ColdStart"] == 1
    assert "a-password-of-mine" not in webhook.text()


def modules_of_the_first_callback(database_url, event, how):
    """Return the modules that the first callback loads after the import, measured in a new interpreter."""
    code = """
import json, os, sys
from lambda_entrypoints.webhook import handler
class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self):
        return 10_000
event, before = json.load(sys.stdin), set(sys.modules)
assert '"return_code":1' in handler(event, Context())["body"]
print("\\n" + json.dumps(sorted(set(sys.modules) - before)))
"""
    environ = {**os.environ, **environment(), "DATABASE_URL": database_url, **how}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(event), capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("how", "loads"), [(PROVISIONED, False), (ON_DEMAND, False), ({}, True)])
def test_the_first_callback_loads_no_module_after_init(shop, database_url, paid, how, loads):
    """After INIT, the first callback does not load any modules.

    Without INIT, the first callback loads SQLAlchemy's PostgreSQL driver, which takes much longer than the callback
    itself.
    """
    loaded = modules_of_the_first_callback(database_url, paid(shop.payment("zalopay")), how)
    assert ("sqlalchemy.dialects.postgresql.psycopg2" in loaded) is loads
    assert loads or loaded == []
