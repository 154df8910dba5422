"""Test simulated callbacks with the libraries that merchants use."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import product
from urllib.parse import parse_qsl

import pytest

from tests.servers.node import GatewayLibraries
from ticketbottle_payctl.cli.commands.simulate.result import text_of
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

payos = pytest.importorskip("payos", reason="this file compares payctl with PayOS's own library")

pytestmark = pytest.mark.timeout(180)  # npm may need to download the libraries first

KEYS = environment()
JUDGED = ("zalopay", "payos", "vnpay", "momo")
"""The gateways whose own JavaScript library or sample ``tests/servers/node/judge.cjs`` runs."""

SIGNATURES = {"mac", "signature", "vnp_SecureHash"}
TEXTS = (
    *("", " ", "null", "undefined", "None", "NaN", "-Infinity", "1e999", "007", "1_000"),
    *("a b+c&d=e%20", "!'()*~-._", "Vé Đà Lạt 🎫", "Ve\u0301 \u200b\u202e\ufeff", 'a"b\\c/d', " \t\n", "&orderCode=5"),
)
NUMBERS = ("0", "-0", "1", "-5", "1.50", "1e3", "9007199254740991", "9007199254740992", "9223372036854775807")
OTHERS = ("true", '"text"', '"null"', "[]", '[1,{"b":null}]', '{"b":1,"a":"c"}')
VALUES = (*TEXTS, *NUMBERS, *OTHERS)
"""Values that the gateways' encodings or programming languages treat differently."""


def simulated(case):
    """Return the output of ``payctl simulate``, which is the callback's body or VNPay's query."""
    gateway, scenario, path, value = case
    request = callback(SandboxPayment("an-id", "TB-1", 250_000, gateway, "261123_TB-1"), scenario)
    return text_of(alter(request, gateway, [(path, value)], KEYS) if path else request)


def fields_of(gateway):
    """Return the value of each field that `--set` can change, by the field's path."""
    sent = simulated((gateway, Scenario.PAID, "", ""))
    if gateway == "vnpay":
        return {name: value for name, value in parse_qsl(sent) if name not in SIGNATURES}
    body = json.loads(sent)
    data = json.loads(body["data"]) if gateway == "zalopay" else body.get("data", {})
    outer = {name: value for name, value in body.items() if name not in {*SIGNATURES, "data"}}
    return outer | {f"data.{name}": value for name, value in data.items()}


FIELDS = {(gateway, path): value for gateway in JUDGED for path, value in fields_of(gateway).items()}
SCENARIOS = [(gateway, scenario, "", "") for gateway in JUDGED for scenario in scenarios(gateway)]
GOOD = [case for case in SCENARIOS if case[1] is not Scenario.BAD_SIGNATURE]
BAD = [case for case in SCENARIOS if case[1] is Scenario.BAD_SIGNATURE]
CHANGED = [(gateway, Scenario.PAID, path, value) for (gateway, path), value in product(FIELDS, VALUES)]


def name_of(case):
    """Return a test name for the case."""
    return f"{case[0]} {case[1]}"


def keys_of(gateway):
    """Return the merchant's values by credential field name."""
    return {field.name: KEYS[field.env] for field in GATEWAYS[gateway].fields if field.env in KEYS}


@pytest.fixture(scope="module")
def gateway_libraries(made):
    """Install the JavaScript libraries and yield them. Remove the libraries after the tests."""
    installed = made(GatewayLibraries)
    yield installed
    installed.close()


@pytest.fixture(scope="module")
def verdicts(gateway_libraries):
    """Return the verdict on each case from one run of Node.js. A case that `--set` refuses has no verdict."""
    sent = {}
    for case in (*GOOD, *BAD, *CHANGED):
        with suppress(InputError):
            sent[case] = {"gateway": case[0], "sent": simulated(case), "keys": keys_of(case[0])}
    return dict(zip(sent, gateway_libraries.verdicts(list(sent.values())), strict=True))


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_a_simulated_callback_is_accepted_by_the_gateways_javascript_library(case, verdicts):
    """The JavaScript code of each gateway accepts every simulated scenario except bad_signature."""
    assert verdicts[case] == ""


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_a_simulated_bad_signature_is_refused_by_the_gateways_javascript_library(case, verdicts):
    """The JavaScript libraries refuse the bad_signature scenario, which proves that they compare the signature."""
    assert verdicts[case] in {"mac not equal", "Error: Data not integrity", "Wrong checksum", "signature not equal"}


@pytest.mark.parametrize("field", FIELDS, ids=" ".join)
def test_a_simulated_callback_with_any_value_of_a_field_is_accepted_or_refused_by_set(field, verdicts):
    """The gateway's JavaScript accepts each callback that `--set` makes.

    `--set` accepts any string for a string field.
    """
    gateway, path = field
    found = {value: verdicts.get((gateway, Scenario.PAID, path, value)) for value in VALUES}
    if path == "vnp_Amount":  # the library expects digits and reads them as a JavaScript number
        found = {value: verdict for value, verdict in found.items() if value in {"1", "9007199254740991"}}
    assert not {value: verdict for value, verdict in found.items() if verdict}
    if isinstance(FIELDS[field], str):
        assert None not in found.values()


@pytest.fixture(scope="module")
def pypi_payos():
    """Yield PayOS's Python library, configured as a merchant would configure it."""
    client = payos.PayOS(client_id="client", api_key="key", checksum_key=KEYS["PAYOS_CHECKSUM_KEY"])
    yield client
    client.close()


@pytest.mark.parametrize("case", [case for case in GOOD if case[0] == "payos"], ids=name_of)
def test_a_simulated_webhook_is_accepted_by_payos_python_library(case, pypi_payos):
    """PayOS's Python library accepts each simulated PayOS scenario except bad_signature."""
    assert pypi_payos.webhooks.verify(simulated(case).encode())


@pytest.mark.parametrize("path", [path for gateway, path in FIELDS if gateway == "payos"])
def test_a_changed_webhook_is_accepted_by_payos_python_library(path, pypi_payos):
    """PayOS's Python library accepts any value of the documented type that `--set` accepts."""
    accepted = 0
    for value in VALUES:
        with suppress(InputError):
            sent = simulated(("payos", Scenario.PAID, path, value))
            after = json.loads(sent)
            after = after["data"].get(path.removeprefix("data.")) if path.startswith("data.") else after[path]
            if type(after) is type(FIELDS["payos", path]):
                assert pypi_payos.webhooks.verify(sent.encode())
                accepted += 1
    assert accepted


def test_payos_python_library_refuses_the_simulated_bad_signature(pypi_payos):
    """PayOS's Python library refuses the bad_signature scenario, so the library does compare the signature."""
    with pytest.raises(payos.WebhookError):
        pypi_payos.webhooks.verify(simulated(("payos", Scenario.BAD_SIGNATURE, "", "")).encode())


@pytest.mark.parametrize(
    ("gateway", "change"),
    [
        ("payos", "data.amount=1.5"),
        ("payos", "data.amount=1e3"),
        ("payos", "data.amount=true"),
        ("payos", "data.amount=[1]"),
        ("payos", "data.orderCode=9007199254740992"),
        ("payos", "data.amount=-9007199254740992"),
        ("momo", "amount=1.5"),
        ("momo", "amount=null"),
        ("momo", "amount=false"),
        ("momo", "resultCode={}"),
        ("momo", "transId=9007199254740992"),
        ("zalopay", r'data.amount="\ud800"'),
        ("payos", r'data.amount="\ud800"'),
        ("momo", r'promotionInfo=["\udc00"]'),
    ],
    ids=lambda value: value[:40],
)
def test_a_value_without_one_clear_spelling_is_refused(gateway, change):
    """`--set` refuses a string that UTF-8 cannot encode, and a number that looks different in Python and JavaScript."""
    path, _, value = change.partition("=")
    with pytest.raises(InputError):
        simulated((gateway, Scenario.PAID, path, value))


def test_a_deeply_nested_value_is_refused_or_sent():
    """`--set` either sends a nested value or raises InputError at any depth, even near Python's own limit."""
    for depth in range(900, 1100):
        with suppress(InputError):
            assert simulated(("zalopay", Scenario.PAID, "data.amount", "[" * depth + "]" * depth))
