"""Test that ``payctl gateways`` lists keys, and registers a webhook with a stand-in for PayOS."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.cli.output.test_schemas import check
from tests.stand_ins import KEYS, Gateways, serving
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES

ALL = len(GATEWAYS)
HOOK = "https://shop.example/webhook/payos"
REGISTER = ("gateways", "register-webhook", "payos")
PAYOS = {name: value for name, value in KEYS.items() if name.startswith("PAYOS_")}


@pytest.fixture
def gateways():
    """Yield test gateways. Each test decides how the webhook answers PayOS's test callback."""
    with serving(Gateways()) as served:
        yield served


@pytest.fixture
def register(answer, gateways):
    """Return a function that runs `gateways register-webhook` with PayOS's keys and returns the validated document."""

    def run(url=HOOK, *arguments, **environment):
        given = {**PAYOS, "PAYCTL_PAYOS_URL": gateways.base, **environment}
        document = answer(*REGISTER, url, *arguments, **given)
        check(document)
        return document

    return run


def test_gateways_list_shows_each_key_s_length_and_fingerprint(answer, invoke):
    """`gateways list` shows each key's length and the first digits of its SHA-256 hash, but no part of the key."""
    rotated = {**KEYS, "PAYOS_CHECKSUM_KEY_PREVIOUS": "the-key-before"}
    document = answer("gateways", "list", **rotated)
    check(document)
    assert document["counts"] == {"on": ALL, "off": 0, "incomplete": 0}
    owners = {field.env: gateway.name for gateway in GATEWAYS.values() for field in gateway.fields}
    shown = {(item["variable"], item["rotation"]): item for item in document["items"]}
    assert len(shown) == len(document["items"]) == len(rotated)
    for variable, value in rotated.items():
        name = variable.removesuffix("_PREVIOUS")
        item = shown[name, "previous" if name != variable else "current"]
        assert (item["is_set"], item["length"]) == (True, len(value))
        assert item["fingerprint"] == sha256(value.encode()).hexdigest()[:8]
        assert item["gateway"] == owners[name]
    text = invoke("gateways", "list", "-vv", **rotated)
    assert text.stdout.startswith(f"✔  can check callbacks from {ALL} of {ALL} gateways\n")
    for value in (value for value in rotated.values() if len(value) > 4):
        assert value not in str(document) + text.stdout + text.stderr


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_gateways_list_says_which_values_callbacks_and_queries_need(gateway, answer, invoke):
    """`gateways list` says for each value whether callbacks, status queries or both need it."""
    document = answer("gateways", "list", **KEYS)
    own = [item for item in document["items"] if item["gateway"] == gateway]
    asked = {field.env for field in GATEWAYS[gateway].fields if field.name in QUERIES[gateway].needs}
    assert {item["variable"] for item in own if item["for_queries"]} == asked
    words = {
        line.split("\t")[1]: line.split("\t")[-1]
        for line in invoke("gateways", "list", **KEYS).stdout.splitlines()
        if line.startswith(gateway_name(gateway))
    }
    assert words == {
        field.env: ", ".join(["callbacks"] * field.signs_callbacks + ["queries"] * (field.env in asked))
        for field in GATEWAYS[gateway].fields
    }


@pytest.mark.parametrize(
    ("environment", "states", "first"),
    [
        ({}, {}, f"·  can check callbacks from 0 of {ALL} gateways"),
        ({"PAYOS_CHECKSUM_KEY": "k"}, {"payos": "on"}, f"✔  can check callbacks from 1 of {ALL} gateways"),
        ({"PAYOS_CHECKSUM_KEY_PREVIOUS": "k"}, {"payos": "on"}, f"✔  can check callbacks from 1 of {ALL} gateways"),
        ({"PAYOS_CLIENT_ID": "c", "PAYOS_API_KEY": "a"}, {}, f"·  can check callbacks from 0 of {ALL} gateways"),
        (
            {"ZALOPAY_APP_ID": "1", "PAYOS_CHECKSUM_KEY": "k"},
            {"zalopay": "incomplete", "payos": "on"},
            f"!  can check callbacks from 1 of {ALL} gateways; keys are missing for ZaloPay",
        ),
        (
            {"ZALOPAY_KEY2": "a", "ZALOPAY_APP_ID": ""},
            {"zalopay": "incomplete"},
            f"!  can check callbacks from 0 of {ALL} gateways",
        ),
    ],
)
def test_gateways_list_says_if_a_gateway_is_on_off_or_incomplete(answer, invoke, environment, states, first):
    """`gateways list` derives a gateway's state from the keys that its callbacks need, and counts gateways by state."""
    document = answer("gateways", "list", **environment)
    found = {item["gateway"]: item["state"] for item in document["items"]}
    assert found == dict.fromkeys(GATEWAYS, "off") | states
    assert document["exit_code"] == 0
    assert invoke("gateways", "list", **environment).stdout.startswith(first)


def test_gateways_list_warns_of_a_key_that_only_the_functions_read(answer):
    """`gateways list` warns about a key that only the Lambda functions read and the command line ignores."""
    document = answer("gateways", "list", PAYOS_CHECKSUM_KEY_SECRET_ARN="arn:aws:secretsmanager:x:1:secret:y")
    assert document["warnings"] == [
        "only the functions read PAYOS_CHECKSUM_KEY_SECRET_ARN; the command line ignores them"
    ]


def test_payos_accepts_an_address_that_answers(register, gateways):
    """During `register-webhook`, PayOS sends a signed test callback to the URL and then registers the URL."""
    calls = []
    gateways.call = lambda url, body: calls.append((url, body)) or 204
    document = register(HOOK, "-y")
    assert (document["exit_code"], document["error"]) == (0, None)
    assert document["result"] == {"gateway": "payos", "url": HOOK, "entered": True, "code": "00", "said": None}
    assert gateways.entered == [HOOK]
    assert [url for url, _ in calls] == [HOOK]


@pytest.mark.postgres
def test_payctl_s_webhook_accepts_the_test_callback_of_payos(register, gateways, started, database_url, answer):
    """With only the checksum key, payctl's webhook accepts PayOS's test callback, so PayOS registers the URL."""
    keys = {"PAYOS_CHECKSUM_KEY": KEYS["PAYOS_CHECKSUM_KEY"]}
    process = started("listen", "--port", "0", DATABASE_URL=database_url, **keys)
    port = next(int(found[1]) for line in process.stderr if (found := re.search(rb"http://127\.0\.0\.1:(\d+)/", line)))

    def call(url, body):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", urlsplit(url).path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status

    gateways.call = call
    assert register(HOOK, "-y")["exit_code"] == 0
    assert register("https://shop.example/webhook/pay-os", "-y")["exit_code"] == 0
    receipts = answer("list", "receipts", DATABASE_URL=database_url)["items"]
    assert [receipt["result"] for receipt in receipts] == ["test_ping", "test_ping"]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500, 503])
def test_payos_refuses_an_address_that_does_not_answer(register, invoke, gateways, status):
    """If PayOS refuses a URL, `register-webhook` exits with 5 and shows PayOS's message."""
    gateways.call = lambda _url, _body: status
    document = register(HOOK, "-y")
    assert (document["exit_code"], document["error"]) == (5, None)
    assert document["result"]["said"] == f"Webhook url invalid: Request failed with status code {status}"
    assert (document["result"]["entered"], document["result"]["code"], gateways.entered) == (False, "20", [])
    text = invoke(*REGISTER, HOOK, "-y", **PAYOS, PAYCTL_PAYOS_URL=gateways.base).stdout
    assert text.startswith("✘  PayOS did not register the URL (code 20): Webhook url invalid")


def raw(status, body=b"", **headers):
    """Return a handler that sends a response with this status, body and headers."""

    def reply(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (raw(401, b'{"code":"401","desc":"Unauthorized"}'), 5, "PAYOS_CLIENT_ID and PAYOS_API_KEY"),
        (raw(401), 5, "PAYOS_CLIENT_ID and PAYOS_API_KEY"),
        (raw(403, b"error code: 1010"), 5, "(code HTTP 403)"),
        (raw(404, b"<html>"), 5, "(code HTTP 404)"),
        (raw(200, b'{"code":"20","desc":"Webhook url invalid"}'), 5, "Webhook url invalid"),
        (raw(200, b'{"code":"20","desc":"\\u001b[2J' + b"x" * 5000 + b'"}'), 5, "code 20"),
        (raw(200, b'{"code":"00","data":{"webhookUrl":"https://other.example/"}}'), 5, "a different URL"),
        (raw(200, b'{"code":"00"}'), 0, "from now on"),
        (raw(200, b'{"code":"00","data":{"webhookUrl":"' + HOOK.encode() + b'","new":{}}}'), 0, "from now on"),
        (raw(200, b'{"code":0}'), 4, "cannot read PayOS's response"),
        (raw(200, b"<html>"), 4, "cannot read PayOS's response"),
        (raw(200), 4, "cannot read PayOS's response"),
        (raw(302, b"", Location="http://127.0.0.1:1/"), 4, "cannot read PayOS's response"),
        (raw(429), 4, "busy"),
        (raw(500, b'{"code":"20","desc":"Internal"}'), 4, "busy"),
        (raw(503), 4, "busy"),
        (lambda handler: handler.connection.close(), 4, "no response from 127.0.0.1"),
    ],
)
def test_every_answer_of_payos_has_its_exit_code(register, invoke, gateways, reply, code, words):
    """`register-webhook` exits with 0 if PayOS accepts the URL, 5 if it refuses, and 4 if the response is unclear."""
    gateways.hostile = reply
    document = register(HOOK, "-y")
    assert document["exit_code"] == code
    assert (document["result"].get("entered") is True) is (code == 0)
    run = invoke(*REGISTER, HOOK, "-y", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    assert words in run.stdout + run.stderr
    assert "\x1b[2J" not in run.stdout + run.stderr
    assert (code == 4) is ("registering the URL again changes nothing" in run.stderr)
    assert max(map(len, (run.stdout + run.stderr).splitlines())) < 400


def test_register_webhook_ends_at_its_timeout(register, gateways):
    """`register-webhook` exits with 4 when --timeout expires, even if PayOS's response arrives byte by byte."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b" ")

    gateways.hostile = drip
    document = register(HOOK, "-y", "--timeout", "1ms")
    assert (document["exit_code"], document["error"]["code"]) == (4, "UNAVAILABLE")


def test_register_webhook_sends_nothing_without_a_yes(register, gateways):
    """`register-webhook` does not send a request with -n, and exits with 7 without --yes."""
    gateways.call = lambda _url, _body: pytest.fail("PayOS was asked")
    document = register(HOOK, "-n")
    assert (document["exit_code"], document["dry_run"], document["result"]["entered"]) == (0, True, False)
    assert register(HOOK)["exit_code"] == 7
    assert (gateways.asked, gateways.entered) == ([], [])


@pytest.mark.parametrize("variable", PAYOS)
def test_register_webhook_names_a_missing_key(register, variable):
    """If a key is missing, `register-webhook` exits with 3 without sending a request, even with -n."""
    for option in ("-n", "-y"):
        document = register(HOOK, option, **{variable: ""})
        assert (document["exit_code"], document["error"]["code"]) == (3, "CONFIG")
        assert variable in document["error"]["message"]


@pytest.mark.parametrize(
    "url",
    ["http://shop.example/webhook/payos", "http://127.0.0.1/webhook/payos", "shop.example/webhook/payos", "", "https://",
     "ftp://shop.example", "https://user:secret@shop.example/", "https://shop.example/a b", "https://shop.example/#secret",
     "https://shop.example/webhook/vnpay", "https://shop.example/webhook/zalo-pay/secret", "https://é.example/"],
)  # fmt: skip
def test_an_address_that_payos_cannot_call_is_refused(register, gateways, url):
    """`register-webhook` exits with 2 for a URL that PayOS cannot call. The error does not show the URL."""
    document = register(url, "-y")
    assert (document["exit_code"], document["error"]["code"]) == (2, "INPUT")
    assert "secret" not in str(document["error"])
    assert gateways.entered == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/webhook/payos/s3cret", "https://shop.example/webhook/payos/***"),
        (
            "https://shop.example/prod/webhook/pay-os/s3cret/?s3cret=1",
            "https://shop.example/prod/webhook/pay-os/***?***",
        ),
        ("https://shop.example:8443/webhook/PayOS/", "https://shop.example:8443/webhook/PayOS"),
        ("HTTPS://shop.example", "https://shop.example"),
    ],
)
def test_register_webhook_masks_the_address_after_the_gateway_s_name(register, invoke, gateways, url, shown):
    """`register-webhook` sends PayOS the whole URL.

    The output masks the part after the gateway's name, which can be a secret.
    """
    document = register(url, "-y")
    assert (document["exit_code"], document["result"]["url"]) == (0, shown)
    assert gateways.entered == [url]
    gateways.hostile = raw(400, json.dumps({"code": "20", "desc": f"{url} is invalid"}).encode())
    run = invoke(*REGISTER, url, "-y", "-vv", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    assert run.exit_code == 5
    assert "s3cret" not in str(document) + run.stdout + run.stderr


@pytest.mark.parametrize(
    ("gateway", "label"),
    [(each, gateway_name(name)) for name in GATEWAYS if name != "payos" for each in GATEWAYS[name].spellings],
)
def test_register_webhook_is_only_for_payos(answer, gateway, label):
    """`register-webhook` exits with 2 for other gateways, and the hint says where to enter their URL."""
    document = answer("gateways", "register-webhook", gateway, HOOK, "-y", **KEYS)
    assert document["exit_code"] == 2
    assert document["error"]["message"] == f"{label} has no API to register a webhook URL"
    assert "the URL" in document["error"]["hint"]
    assert label in document["error"]["hint"]


def test_register_webhook_names_the_gateway_of_a_wrong_address(register):
    """If the URL is for another gateway, the error contains that gateway's display name."""
    message = register("https://shop.example/webhook/zalo-pay", "-y")["error"]["message"]
    assert message == "this URL receives the callbacks of ZaloPay, but PayOS would call it"


@pytest.mark.parametrize("form", ["table", "json"])
def test_an_answer_that_quotes_a_key_or_a_part_of_it_is_blanked(form, invoke, gateways):
    """If PayOS's message quotes a key, or its start or end, `register-webhook` masks the quoted characters."""
    key = PAYOS["PAYOS_API_KEY"]
    gateways.call = lambda _url, _body: 500
    gateways.tamper = lambda it: it.update(desc=f"the key {key} ({key[:7]}..., ...{key[-6:]}) is not known")
    run = invoke(*REGISTER, HOOK, "-y", "-vv", "-o", form, **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    assert run.exit_code == 5
    assert "the key *** (***..., ...***) is not known" in run.stdout
    assert not [part for at in range(len(key) - 5) if (part := key[at : at + 6]) in run.stdout + run.stderr]


def test_register_webhook_shows_no_key_and_no_account_number(register, invoke, gateways):
    """Even with -vv, `register-webhook` does not show keys, or account data from PayOS's response."""
    run = invoke(*REGISTER, HOOK, "-y", "-vv", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    text = run.stdout + run.stderr + str(register(HOOK, "-y"))
    for unwanted in (*PAYOS.values(), "0071000999", "NGUYEN VAN A"):
        assert unwanted not in text
