"""Simulated callbacks, judged by the libraries that merchants use."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.servers.node import GatewayLibraries
from ticketbottle_payctl.cli.commands.simulate.result import text_of
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

payos = pytest.importorskip("payos", reason="PayOS's own library is what this file compares with")

pytestmark = pytest.mark.timeout(180)  # npm may have to fetch the libraries first

KEYS = environment()
TEXTS = (
    "",
    "null",
    "undefined",
    "None",
    "a b+c&d=e%20",
    "!'()*~-._",
    "Vé Đà Lạt 🎫",
    "Ve\u0301 \u200b\u202e",
    'a"b\\c/d',
    " \t\n",
    "0",
    "007",
    "&orderCode=5",
)
"""Values of a text field that the encodings and the languages of the gateways treat differently."""

TEXT_FIELDS = {"zalopay": "data.app_user", "payos": "data.description", "vnpay": "vnp_OrderInfo", "momo": "orderInfo"}
OTHER_VALUES = {
    "zalopay": (
        *("data.amount=1", "data.amount=1.50", "data.amount=1e3", "data.amount=null", "data.amount=true"),
        *("data.amount=NaN", "data.amount=-Infinity", "data.amount=1e999", "data.amount=[1,{}]", "data.amount=abc"),
        *('data.embed_data={"a":"b"}', "data.zp_trans_id=9223372036854775807", "type=2", "type=x"),
    ),
    "payos": (
        *("data.amount=1", "data.amount=-0", "data.orderCode=9007199254740991", "data.counterAccountName=null"),
        *(
            "data.counterAccountName=undefined",
            "data.virtualAccountNumber=",
            "data.code=01",
            "code=99",
            "success=false",
        ),
        *("data.amount=null", "data.amount=abc", "data.orderCode=007", "data.amount=NaN"),
    ),
    "vnpay": (
        *("vnp_Amount=100", "vnp_BankTranNo=", "vnp_CardType=", "vnp_TransactionNo=0", "vnp_ResponseCode=99"),
        *("vnp_TxnRef=a~b*c", "vnp_TmnCode=T", "vnp_PayDate="),
    ),
    "momo": (
        *("amount=1", "amount=0", "amount=-0", "amount=-5", "transId=9007199254740991", "resultCode=99"),
        *("extraData=", "extraData=e30=", "partnerCode=x", "paymentOption=pay_later", "userFee=1.5", "amount=abc"),
        *('promotionInfo=[{"a":null}]', "orderType="),
    ),
}
SCENARIOS = [(name, scenario, "") for name in GATEWAYS for scenario in scenarios(name)]
CASES = [
    *[case for case in SCENARIOS if case[1] is not Scenario.BAD_SIGNATURE],
    *[(name, Scenario.PAID, f"{TEXT_FIELDS[name]}={text}") for name in GATEWAYS for text in TEXTS],
    *[(name, Scenario.PAID, change) for name in GATEWAYS for change in OTHER_VALUES[name]],
]
BAD = [case for case in SCENARIOS if case[1] is Scenario.BAD_SIGNATURE]
REFUSED_BY_PYPI_PAYOS = {
    "data.amount=null": "its models want a number",
    "data.amount=abc": "its models want a number",
    "data.amount=NaN": "its models want a number",
    "data.orderCode=007": "it signs 7 for the text 007",
}
"""What PayOS's Python library refuses although the signature is right."""


def name_of(case):
    """The case as a test's name."""
    gateway, scenario, change = case
    return f"{gateway} {scenario.value} {change}".encode("unicode_escape").decode().rstrip()


def keys_of(gateway):
    """The merchant's values by the names of the credentials."""
    return {field.name: KEYS[field.env] for field in GATEWAYS[gateway].fields if field.env in KEYS}


def simulated(case):
    """What ``payctl simulate`` prints: the body, or VNPay's query."""
    gateway, scenario, change = case
    request = callback(SandboxPayment("an-id", "TB-1", 250_000, gateway, "261123_TB-1"), scenario)
    path, _, value = change.partition("=")
    return text_of(alter(request, gateway, [(path, value)], KEYS) if change else request)


@pytest.fixture(scope="module")
def gateway_libraries(made):
    """The JavaScript libraries, installed."""
    installed = made(GatewayLibraries)
    yield installed
    installed.close()


@pytest.fixture(scope="module")
def verdicts(gateway_libraries):
    """Every case's verdict, from one run of Node.js."""
    cases = [*CASES, *BAD]
    sent = [{"gateway": case[0], "sent": simulated(case), "keys": keys_of(case[0])} for case in cases]
    return dict(zip(cases, gateway_libraries.verdicts(sent), strict=True))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_simulated_callback_is_accepted_by_the_gateways_javascript_library(case, verdicts):
    """PayOS's library, vnpay, crypto-js and MoMo's sample accept each scenario, also with a changed field."""
    assert verdicts[case] == ""


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_a_simulated_bad_signature_is_refused_by_the_gateways_javascript_library(case, verdicts):
    """The libraries do compare the signature: they refuse the scenario bad_signature."""
    assert verdicts[case] in {"mac not equal", "Error: Data not integrity", "Wrong checksum", "signature not equal"}


@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "payos"], ids=name_of)
def test_a_simulated_webhook_is_accepted_by_payos_python_library(case):
    """PyPI's payos accepts each scenario of PayOS, also with a changed field, except for the listed values."""
    client = payos.PayOS(client_id="client", api_key="key", checksum_key=KEYS["PAYOS_CHECKSUM_KEY"])
    try:
        client.webhooks.verify(simulated(case).encode())
    except payos.WebhookError:
        assert case[2] in REFUSED_BY_PYPI_PAYOS
    else:
        assert case[2] not in REFUSED_BY_PYPI_PAYOS
    finally:
        client.close()


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
def test_a_value_that_cannot_be_sent_or_signed_in_one_way_is_refused(gateway, change):
    """Languages print such a number in different ways, or the value is no text in UTF-8: --set refuses it."""
    with pytest.raises(InputError):
        simulated((gateway, Scenario.PAID, change))


def test_a_deeply_nested_value_is_refused_or_sent():
    """No depth leads to another error than InputError, also where Python's own limit begins."""
    for depth in range(900, 1100):
        with suppress(InputError):
            assert simulated(("zalopay", Scenario.PAID, f"data.amount={'[' * depth}{']' * depth}"))
