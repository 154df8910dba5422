"""Test the webhook function in the test's own process."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_entrypoints.webhook import handler
from lambda_entrypoints.webhook_measures import ACCEPTED, COUNTED_AS_REFUSED, REFUSED
from tests.jobs.process_webhook.test_replies import WORDS
from tests.lambda_entrypoints import events
from ticketbottle_payctl.aws.alerts import MEANINGS
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, RejectReason, Request, UnclearReason
from ticketbottle_payctl.domain.settlement import RefusalReason
from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome
from ticketbottle_payctl.metrics import BY_NAME
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario, environment
from ticketbottle_payctl.sandbox.server import wait_until

NOWHERE = "postgresql://somebody:a-password-of-mine@127.0.0.1:1/payments"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
PATHS = st.sampled_from([*(f"/prod/webhook/{gateway.spellings[-1]}/" for gateway in GATEWAYS.values()), "/", ""])
EVENTS = JSON | st.fixed_dictionaries(
    {
        "rawPath": PATHS | JSON,
        "requestContext": st.fixed_dictionaries(
            {"http": st.fixed_dictionaries({"method": st.sampled_from(["GET", "POST"]) | JSON}) | JSON}
        )
        | JSON,
    },
    optional={
        "version": st.just("2.0") | JSON,
        "rawQueryString": st.text(max_size=60) | JSON,
        "body": st.text(max_size=60) | JSON.map(json.dumps) | JSON,
        "headers": st.dictionaries(st.sampled_from(["x-correlation-id", "host"]), st.text(max_size=80)) | JSON,
        "isBase64Encoded": st.booleans() | JSON,
    },
)


def is_response(answer):
    """Return whether API Gateway accepts the value as a response."""
    return type(answer["statusCode"]) is int and type(answer["body"]) is str and 200 <= answer["statusCode"] <= 599


@pytest.mark.parametrize("scenario", [Scenario.PAID, Scenario.WRONG_AMOUNT, Scenario.BAD_SIGNATURE])
@pytest.mark.parametrize("provider", GATEWAYS)
def test_each_reply_is_counted_by_one_metric(called, shop, database_url, paid, provider, scenario):
    """For each callback, the webhook emits one outcome counter and the latency."""
    payment = shop.payment(provider)
    assert is_response(called(handler, paid(payment, scenario), DATABASE_URL=database_url))
    counter = {
        Scenario.PAID: "WebhookAccepted",
        Scenario.WRONG_AMOUNT: "WebhookRejectedAmount",
        Scenario.BAD_SIGNATURE: "WebhookRejectedSignature",
    }[scenario]
    metrics = called.printed.metrics
    touched = {"DbLatency"} if scenario is not Scenario.BAD_SIGNATURE else set()
    alerted = {"WebhookMoneyAlert", "AlertFailed"} if scenario is Scenario.WRONG_AMOUNT else set()
    refused = {"WebhookRefused"} if scenario is not Scenario.PAID else set()
    assert metrics.keys() == {"ColdStart", "WebhookReceived", counter, "WebhookLatency"} | touched | alerted | refused
    assert metrics[counter] == 1
    assert metrics.get("WebhookRefused", 0) == len(refused)


def test_every_outcome_has_a_metric_and_every_alert_an_explanation():
    """Every outcome and reason of the webhook has a metric, and every alert has an explanation."""
    assert {*ACCEPTED, WebhookOutcome.REFUSED} == set(WebhookOutcome)
    assert set(REFUSED) == {reason.value for kind in (RejectReason, UnclearReason, RefusalReason) for reason in kind}
    assert {*ACCEPTED.values(), *REFUSED.values()} <= BY_NAME.keys()
    assert {*REFUSED.values()} - COUNTED_AS_REFUSED == {"WebhookNotConfigured", "WebhookDuplicate"}
    assert {*REFUSED.values()} >= COUNTED_AS_REFUSED
    assert {alert.value for alert in Alert} <= MEANINGS.keys()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"rawPath": "/webhook/unheard-of", "body": "{}"}, 404),
        ({"rawPath": "/", "body": None}, 404),
        ({"body": "x" * (MAX_BODY_BYTES + 1)}, 413),
        ({"rawQueryString": "x" * (MAX_BODY_BYTES + 1)}, 413),
        ({"body": "not base64!", "isBase64Encoded": True}, 400),
        ({"version": "1.0"}, 400),
    ],
)
def test_a_request_that_is_not_a_callback_gets_a_constant_reply(called, changes, status):
    """If a request is not a callback, the webhook's reply is constant and does not quote the request."""
    answer = called(handler, events.read("zalopay.json") | changes)
    assert (answer["statusCode"], list(json.loads(answer["body"]))) == (status, ["message"])
    assert called.printed.metrics["WebhookMalformed"] == 1
    (line,) = called.printed.logs
    assert (line["message"], line["status"], line["level"]) == ("webhook_not_a_callback", status, "WARN")
    assert line["correlation_id"] == "JKJaXmPLvHcESHA="


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=EVENTS)
def test_every_event_gets_a_well_formed_response(called, event):
    """The webhook returns a well-formed response to any event."""
    assert is_response(called(handler, event, DATABASE_URL=NOWHERE))


@pytest.mark.parametrize("provider", GATEWAYS)
@pytest.mark.parametrize("environ", [{"DATABASE_URL": NOWHERE}, {"DATABASE_URL": ""}, {"OUTBOX_BATCH_SIZE": "many"}])
def test_an_internal_fault_asks_the_gateway_to_call_again(called, provider, environ):
    """If the database or a setting is faulty, the webhook asks the gateway to call again. The log has no password."""
    answer = called(handler, events.read(f"{provider}.json"), **environ)
    assert (answer["statusCode"], answer["body"]) == WORDS[provider]["try_again"]
    assert called.printed.metrics["WebhookTransientError"] == 1
    assert [line["message"] for line in called.printed.logs] == ["webhook_failed"]
    assert "a-password-of-mine" not in called.printed.text


@pytest.mark.parametrize("provider", GATEWAYS)
def test_a_gateway_without_keys_is_reported_as_not_configured(called, provider):
    """The webhook counts a callback for a gateway without keys as not configured. It does not use the database."""
    off = {field.env: "" for field in GATEWAYS[provider].fields}
    assert is_response(called(handler, events.read(f"{provider}.json"), DATABASE_URL=NOWHERE, **off))
    assert called.printed.metrics["WebhookNotConfigured"] == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("order-7.a_B", "order-7.a_B"), ("x" * 65, None), ("a b", None), ("é", None), ("a\n", None), (["a"], None)],
)
def test_a_correlation_id_goes_into_log_receipt_and_event(called, shop, database_url, paid, sent, kept):
    """The log, receipt and event contain the sender's correlation id or, if it is invalid, API Gateway's request id."""
    event = paid(shop.payment())
    event["headers"]["x-correlation-id"] = sent
    expected = kept or event["requestContext"]["requestId"]
    called(handler, event, DATABASE_URL=database_url, _X_AMZN_TRACE_ID=TRACE)
    row = {"correlation_id": expected, "traceparent": "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"}
    for table in ("payctl.webhook_receipts", "payctl.event_context"):
        assert shop.query(f"SELECT correlation_id, traceparent FROM {table}") == [row]  # noqa: S608
    assert [line["correlation_id"] for line in called.printed.logs] == [expected]
    assert {line["function_request_id"] for line in called.printed.logs} == {"c6af9ac6-7b61-11e6-9a41-93e8deadbeef"}


@pytest.mark.parametrize(
    ("provider", "payments", "told"),
    [("payos", 1_000_000, 2), ("payos", 100_000, 0), ("zalopay", 1_000_000, 0)],
)
def test_a_missing_index_is_reported_once_a_day(
    called, shop, database_url, paid, monkeypatch, provider, payments, told
):
    """If a callback's lookup might scan a large table, the webhook logs a warning once a day."""
    shop.execute(f"UPDATE pg_class SET reltuples = {payments} WHERE oid = 'payments'::regclass")  # noqa: S608
    for _ in range(3):
        called(handler, paid(shop.payment(provider)), DATABASE_URL=database_url)
    now = time.time()
    monkeypatch.setattr("lambda_entrypoints.warm.time.time", lambda: now + 86_401)
    for _ in range(3):
        called(handler, paid(shop.payment(provider)), DATABASE_URL=database_url)
    lines = [line for line in called.printed.logs if line["message"] == "webhook_index_missing"]
    assert len(lines) == told
    for line in lines:
        assert (line["level"], line["payments"]) == ("WARN", payments)
        assert "payctl doctor --only reference-index" in line["hint"]
    assert called.printed.metrics["WebhookAccepted"] == 6


def test_no_log_line_contains_the_callback(called, shop, database_url, paid):
    """The webhook's log lines do not contain the body, query, MAC or key."""
    for provider in GATEWAYS:
        for scenario in (Scenario.PAID, Scenario.WRONG_AMOUNT, Scenario.BAD_SIGNATURE):
            called(handler, paid(shop.payment(provider), scenario), DATABASE_URL=database_url, LOG_LEVEL="debug")
    keys = [value for name, value in environment().items() if name.endswith(("KEY", "KEY1", "KEY2", "SECRET"))]
    text = called.printed.text
    unseen = [*keys, "mac", "vnp_SecureHash", "signature=", "4n2LtVGwMfjZhIs7wv82hA"]
    assert [each for each in unseen if each in text] == []


def test_a_changed_environment_takes_effect_at_the_next_invocation(called, shop, database_url, paid):
    """If keys, the database URL or the log level change, the next invocation of the webhook uses the new values."""
    payment = shop.payment("zalopay")
    refused = called(handler, paid(payment), DATABASE_URL=database_url, ZALOPAY_KEY2="another-key-entirely")
    assert '"return_code":-1' in refused["body"]
    away = called(handler, paid(payment), DATABASE_URL=NOWHERE, ZALOPAY_KEY2=environment()["ZALOPAY_KEY2"])
    assert '"return_code":0' in away["body"]
    settled = called(handler, paid(payment), DATABASE_URL=database_url)
    assert '"return_code":1' in settled["body"]
    assert called.printed.metrics["ColdStart"] == 1


def test_a_bug_is_logged_with_its_traceback_and_the_next_callback_works(called, shop, database_url, paid, monkeypatch):
    """The webhook logs an unexpected exception and asks the gateway to call again. The next callback works."""
    payment = shop.payment("momo")
    with monkeypatch.context() as patch:
        patch.setattr("ticketbottle_payctl.store.payments.settle.lock", lambda *_: 1 / 0)
        assert called(handler, paid(payment), DATABASE_URL=database_url)["statusCode"] == 500
    (line,) = called.printed.logs
    assert (line["message"], "ZeroDivisionError" in line["exception"]) == ("webhook_failed", True)
    assert called(handler, paid(payment), DATABASE_URL=database_url)["statusCode"] == 204


def test_the_event_files_are_current():
    """The files in ``tests/events`` are exactly what ``python -m tests.lambda_entrypoints.events`` writes."""
    made = events.files()
    assert {path.name for path in events.FOLDER.glob("*.json")} == made.keys()
    assert {name: events.read(name) for name in made} == made


def test_each_event_has_a_route_of_the_deployed_api():
    """The route of each gateway's event is one of the routes in ``deploy/template.yaml``."""
    template = (events.FOLDER.parents[1] / "deploy/template.yaml").read_text("utf-8")
    for name, gateway in GATEWAYS.items():
        event = events.read(f"{name}.json")
        assert event["routeKey"] == event["requestContext"]["routeKey"] == f"{gateway.method} /webhook/{name}"
        assert f" {event['routeKey']}: *throttle" in template
    assert events.http_event(Request("GET", "/webhook/another"))["routeKey"] == "GET /webhook/another"


def test_the_webhook_measures_two_latencies(called, shop, cloud, database_url, paid):
    """The webhook's database latency includes waiting for a lock.

    Its total latency also includes reading the secret.
    """
    first, second = shop.payment("momo"), shop.payment("momo")
    name = "MOMO_SECRET_KEY"
    environ = {name: "", f"{name}_SECRET_ARN": cloud.secret({name: environment()[name]}), "DATABASE_URL": database_url}
    called(handler, paid(first), **environ)
    cold = called.printed.metrics
    assert cold["WebhookLatency"] > cold["DbLatency"] + 10
    with ThreadPoolExecutor(1) as pool, shop.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT FROM payments WHERE id = %s FOR UPDATE", (second.id,))
        waiting = pool.submit(called, handler, paid(second), **environ)
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_until(lambda: shop.query(sql), what="the callback waits for the payment", timeout=5)
        time.sleep(0.4)
        connection.rollback()
    assert waiting.result()["statusCode"] == 204
    warm = called.printed.metrics  # the sums over both callbacks
    assert warm["DbLatency"] - cold["DbLatency"] > 400
    assert warm["WebhookLatency"] - cold["WebhookLatency"] > warm["DbLatency"] - cold["DbLatency"]


def test_a_callback_without_a_gateway_path_is_recognised_by_its_shape(called, shop, database_url, paid):
    """The webhook recognises a callback without a path by the callback's fields.

    A custom domain can remove the path.
    """
    payment = shop.payment("vnpay")
    event = paid(payment) | {"rawPath": "/"}
    assert '"RspCode":"00"' in called(handler, event, DATABASE_URL=database_url)["body"]
