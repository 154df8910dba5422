"""Which gateways are configured, and the webhook's address at PayOS: a stand-in on loopback, PayOS's real library."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.cli.output.test_schemas import check
from tests.stand_ins import KEYS, Gateways, serving

HOOK = "https://shop.example/webhook/payos"
REGISTER = ("gateways", "register-webhook", "payos")
PAYOS = {name: value for name, value in KEYS.items() if name.startswith("PAYOS_")}


@pytest.fixture
def gateways():
    """The gateways on loopback; PayOS's test callback is answered as the test says."""
    with serving(Gateways()) as served:
        yield served


@pytest.fixture
def register(answer, gateways):
    """``register(HOOK, "-y")``: run the command with PayOS's keys; the document keeps to its schema."""

    def run(url=HOOK, *arguments, **environment):
        given = {**PAYOS, "PAYCTL_PAYOS_URL": gateways.base, **environment}
        document = answer(*REGISTER, url, *arguments, **given)
        check(document)
        return document

    return run


def test_every_key_is_shown_by_length_and_fingerprint(answer, invoke):
    """The digits are those of sha256sum; the value itself is nowhere, nor a part of it."""
    rotated = {**KEYS, "PAYOS_CHECKSUM_KEY_PREVIOUS": "the-key-before"}
    document = answer("gateways", "list", **rotated)
    check(document)
    assert document["counts"] == {"on": 4, "off": 0, "incomplete": 0}
    shown = {(item["variable"], item["rotation"]): item for item in document["items"]}
    assert len(shown) == len(document["items"]) == len(rotated)
    for variable, value in rotated.items():
        name = variable.removesuffix("_PREVIOUS")
        item = shown[name, "previous" if name != variable else "current"]
        assert (item["is_set"], item["length"]) == (True, len(value))
        assert item["fingerprint"] == sha256(value.encode()).hexdigest()[:8]
        assert item["gateway"] == name.partition("_")[0].lower()
    text = invoke("gateways", "list", "-vv", **rotated)
    assert text.stdout.startswith("✔  4 of 4 gateways can check callbacks\n")
    for value in (value for value in rotated.values() if len(value) > 4):
        assert value not in str(document) + text.stdout + text.stderr


@pytest.mark.parametrize(
    ("environment", "states", "first"),
    [
        ({}, {}, "·  0 of 4 gateways can check callbacks"),
        ({"PAYOS_CHECKSUM_KEY": "k"}, {"payos": "on"}, "✔  1 of 4 gateways can check callbacks"),
        ({"PAYOS_CHECKSUM_KEY_PREVIOUS": "k"}, {"payos": "on"}, "✔  1 of 4 gateways can check callbacks"),
        ({"PAYOS_CLIENT_ID": "c", "PAYOS_API_KEY": "a"}, {}, "·  0 of 4 gateways can check callbacks"),
        (
            {"ZALOPAY_APP_ID": "1", "PAYOS_CHECKSUM_KEY": "k"},
            {"zalopay": "incomplete", "payos": "on"},
            "!  1 of 4 gateways can check callbacks; keys are missing for zalopay",
        ),
        ({"ZALOPAY_KEY2": "a", "ZALOPAY_APP_ID": ""}, {"zalopay": "incomplete"}, "!  0 of 4 gateways"),
    ],
)
def test_a_gateway_is_on_off_or_incomplete(answer, invoke, environment, states, first):
    """By the keys that its callbacks need; the first line says so."""
    document = answer("gateways", "list", **environment)
    found = {item["gateway"]: item["state"] for item in document["items"]}
    assert found == {"zalopay": "off", "payos": "off", "vnpay": "off", "momo": "off"} | states
    assert document["exit_code"] == 0
    assert invoke("gateways", "list", **environment).stdout.startswith(first)


def test_a_secret_that_only_the_functions_read_is_named(answer):
    """It explains why a gateway that works in production is off here."""
    document = answer("gateways", "list", PAYOS_CHECKSUM_KEY_SECRET_ARN="arn:aws:secretsmanager:x:1:secret:y")
    assert document["warnings"] == [
        "only the functions read PAYOS_CHECKSUM_KEY_SECRET_ARN; the command line does without"
    ]


def test_payos_enters_an_address_that_answers(register, gateways):
    """It is called at once with the signed test callback, and is entered."""
    calls = []
    gateways.call = lambda url, body: calls.append((url, body)) or 204
    document = register(HOOK, "-y")
    assert (document["exit_code"], document["error"]) == (0, None)
    assert document["result"] == {"gateway": "payos", "url": HOOK, "entered": True, "code": "00", "said": None}
    assert gateways.entered == [HOOK]
    assert [url for url, _ in calls] == [HOOK]


@pytest.mark.postgres
def test_the_test_callback_is_accepted_by_payctl(register, gateways, started, database_url, answer):
    """The test callback reaches a webhook of payctl that has only the checksum key, and so the address is entered."""
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
def test_payos_says_no_to_an_address_that_does_not_answer(register, invoke, gateways, status):
    """Exit 5, with PayOS's own words and what to look at; nothing is entered."""
    gateways.call = lambda _url, _body: status
    document = register(HOOK, "-y")
    assert (document["exit_code"], document["error"]) == (5, None)
    assert document["result"]["said"] == f"Webhook url invalid: Request failed with status code {status}"
    assert (document["result"]["entered"], document["result"]["code"], gateways.entered) == (False, "20", [])
    text = invoke(*REGISTER, HOOK, "-y", **PAYOS, PAYCTL_PAYOS_URL=gateways.base).stdout
    assert text.startswith("✘  PayOS did not enter the address (code 20): Webhook url invalid")


def raw(status, body=b"", **headers):
    """An answer of these bytes."""

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
        (raw(200, b'{"code":"00","data":{"webhookUrl":"https://other.example/"}}'), 5, "another address"),
        (raw(200, b'{"code":"00"}'), 0, "from now on"),
        (raw(200, b'{"code":"00","data":{"webhookUrl":"' + HOOK.encode() + b'","new":{}}}'), 0, "from now on"),
        (raw(200, b'{"code":0}'), 4, "not understood"),
        (raw(200, b"<html>"), 4, "not understood"),
        (raw(200), 4, "not understood"),
        (raw(302, b"", Location="http://127.0.0.1:1/"), 4, "not understood"),
        (raw(429), 4, "busy"),
        (raw(500, b'{"code":"20","desc":"Internal"}'), 4, "busy"),
        (raw(503), 4, "busy"),
        (lambda handler: handler.connection.close(), 4, "no response from 127.0.0.1"),
    ],
)
def test_every_answer_of_payos_has_its_exit_code(register, invoke, gateways, reply, code, words):
    """0 entered, 5 it said no, 4 it did not say: then the hint tells that asking again is harmless."""
    gateways.hostile = reply
    document = register(HOOK, "-y")
    assert document["exit_code"] == code
    assert (document["result"].get("entered") is True) is (code == 0)
    run = invoke(*REGISTER, HOOK, "-y", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    assert words in run.stdout + run.stderr
    assert "\x1b[2J" not in run.stdout + run.stderr
    assert (code == 4) is ("entering the address again changes nothing" in run.stderr)
    assert max(map(len, (run.stdout + run.stderr).splitlines())) < 400


def test_the_time_limit_holds(register, gateways):
    """Exit 4 within the time that was given, however slowly the answer comes."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b" ")

    gateways.hostile = drip
    document = register(HOOK, "-y", "--timeout", "1ms")
    assert (document["exit_code"], document["error"]["code"]) == (4, "UNAVAILABLE")


def test_nothing_is_sent_unasked(register, gateways):
    """-n shows what would be sent, with the fingerprints of the keys; without a yes it is exit 7."""
    gateways.call = lambda _url, _body: pytest.fail("PayOS was asked")
    document = register(HOOK, "-n")
    assert (document["exit_code"], document["dry_run"], document["result"]["entered"]) == (0, True, False)
    assert register(HOOK)["exit_code"] == 7
    assert (gateways.asked, gateways.entered) == ([], [])


@pytest.mark.parametrize("variable", PAYOS)
def test_a_missing_key_is_named(register, variable):
    """Exit 3 before anything is sent, also in a dry run."""
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
    """Exit 2 before anything is sent; the address is not quoted, because it can hold a secret."""
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
def test_what_stands_behind_the_gateway_s_name_is_sent_and_not_shown(register, invoke, gateways, url, shown):
    """An installation may ask for a secret there."""
    document = register(url, "-y")
    assert (document["exit_code"], document["result"]["url"]) == (0, shown)
    assert gateways.entered == [url]
    gateways.hostile = raw(400, json.dumps({"code": "20", "desc": f"{url} is invalid"}).encode())
    run = invoke(*REGISTER, url, "-y", "-vv", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    assert run.exit_code == 5
    assert "s3cret" not in str(document) + run.stdout + run.stderr


@pytest.mark.parametrize("gateway", ["zalopay", "zalo-pay", "vnpay", "momo"])
def test_another_gateway_gets_its_address_elsewhere(answer, gateway):
    """Exit 2, and where to enter it."""
    document = answer("gateways", "register-webhook", gateway, HOOK, "-y", **KEYS)
    assert document["exit_code"] == 2
    assert "gets the address" in document["error"]["hint"]


def test_no_key_and_no_account_comes_out(register, invoke, gateways):
    """Neither PayOS's answer about the account nor a key, however loud."""
    run = invoke(*REGISTER, HOOK, "-y", "-vv", **PAYOS, PAYCTL_PAYOS_URL=gateways.base)
    text = run.stdout + run.stderr + str(register(HOOK, "-y"))
    for unwanted in (*PAYOS.values(), "0071000999", "NGUYEN VAN A"):
        assert unwanted not in text
