"""Test that the sandbox signs and fills in each gateway's simulated callbacks as the gateway does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from ticketbottle_payctl.domain.callback import Callback, IgnoredBecause, Outcome, Rejected, RejectReason
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.providers import GATEWAYS, credentials, resolve
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.secret import Secret

KEYS = environment()
VECTORS = Path(__file__).parents[1] / "data" / "gateway-vectors"
OUTCOMES = {
    Scenario.PAID: (Outcome.COMPLETED, None),
    Scenario.WRONG_AMOUNT: (Outcome.COMPLETED, None),
    Scenario.FAILED: (Outcome.FAILED, None),
    Scenario.CANCELLED: (Outcome.CANCELLED, None),
    Scenario.EXPIRED: (Outcome.CANCELLED, None),
    Scenario.PENDING: (Outcome.IGNORED, IgnoredBecause.PENDING),
    Scenario.HELD: (Outcome.IGNORED, IgnoredBecause.HELD),
    Scenario.AGREEMENT: (Outcome.IGNORED, IgnoredBecause.AGREEMENT),
    Scenario.PING: (Outcome.IGNORED, IgnoredBecause.PING),
}
SENT = [(name, scenario) for name in GATEWAYS for scenario in scenarios(name)]
CONTENTS = {"zalopay": lambda fields: json.loads(fields["data"]), "payos": lambda fields: fields["data"]}
"""A function that returns the documented fields, for each gateway that sends them inside another field."""

DOCUMENTED = {
    ("zalopay", Scenario.PAID): "app_id app_trans_id app_time app_user amount embed_data item zp_trans_id server_time "
    "channel merchant_user_id user_fee_amount discount_amount",
    ("zalopay", Scenario.AGREEMENT): "app_id app_trans_id binding_id pay_token server_time merchant_user_id status "
    "msg_type zp_user_id masked_user_phone",
    ("payos", Scenario.PAID): "orderCode amount description accountNumber reference transactionDateTime currency "
    "paymentLinkId code desc counterAccountBankId counterAccountBankName counterAccountName counterAccountNumber "
    "virtualAccountName virtualAccountNumber",
    ("vnpay", Scenario.PAID): "vnp_TmnCode vnp_Amount vnp_BankCode vnp_BankTranNo vnp_CardType vnp_PayDate "
    "vnp_OrderInfo vnp_TransactionNo vnp_ResponseCode vnp_TransactionStatus vnp_TxnRef vnp_SecureHash",
    ("momo", Scenario.PAID): "partnerCode orderId requestId amount orderInfo orderType transId resultCode message "
    "payType responseTime extraData signature paymentOption userFee promotionInfo",
}
"""The fields that each gateway's documentation lists for a callback."""


def payment_at(provider, **changes):
    """Return a payment at a gateway."""
    made = SandboxPayment("an-id", "TB_1-20261123-AB12CD34", 250_000, provider.upper(), "261123_TB_1-20261123-AB12CD34")
    return replace(made, **changes)


def verified(request, keys=KEYS):
    """Return the verdict of the gateway to which the request belongs."""
    gateway = resolve(request)
    return gateway.verify(request, credentials(gateway, lambda name: (Secret(keys[name]),)))


@pytest.mark.parametrize(("provider", "scenario"), SENT)
def test_a_sandbox_callback_has_the_outcome_of_its_scenario(provider, scenario):
    """Each simulated callback except bad-signature is genuine, and contains the payment's reference and amount."""
    payment = payment_at(provider)
    verdict = verified(callback(payment, scenario))
    if scenario is Scenario.BAD_SIGNATURE:
        assert isinstance(verdict, Rejected)
        assert verdict.reason is RejectReason.SIGNATURE
        return
    assert isinstance(verdict, Callback)
    assert (verdict.outcome, verdict.ignored_because) == OUTCOMES[scenario]
    if scenario is not Scenario.PING:
        assert verdict.reference == payment.reference
        paid = None if scenario is Scenario.AGREEMENT else 250_000 + 1000 * (scenario is Scenario.WRONG_AMOUNT)
        assert verdict.amount == paid


@pytest.mark.parametrize(("provider", "scenario"), DOCUMENTED)
def test_a_callback_has_every_documented_field(provider, scenario):
    """A simulated callback contains every documented field, because libraries can require optional fields."""
    request = callback(payment_at(provider), scenario)
    fields = json.loads(request.body) if request.body else dict(parse_qsl(request.query))
    found = CONTENTS[provider](fields) if provider in CONTENTS else fields
    assert not set(DOCUMENTED[provider, scenario].split()) - set(found)


@pytest.mark.parametrize(("provider", "scenario"), SENT)
def test_a_sandbox_callback_is_the_same_every_time(provider, scenario):
    """A second simulated callback for the same payment contains the same bytes.

    A callback for a different payment contains different bytes.
    """
    payment = payment_at(provider)
    assert callback(payment, scenario) == callback(replace(payment), scenario)
    if scenario is not Scenario.PING:
        assert callback(payment, scenario) != callback(replace(payment, reference="261123_X"), scenario)


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_scenario_that_the_gateway_never_reports_is_an_error(provider):
    """Simulating a scenario that the gateway never reports is an error.

    For example, ZaloPay never reports a failure.
    """
    assert set(scenarios(provider)) >= {Scenario.PAID, Scenario.WRONG_AMOUNT, Scenario.BAD_SIGNATURE}
    for scenario in set(Scenario) - set(scenarios(provider)):
        with pytest.raises(InputError, match=f"{provider} never sends"):
            callback(payment_at(provider), scenario)


def test_a_payment_of_an_unknown_gateway_has_no_callbacks():
    """Simulating a callback for a payment at an unknown gateway raises NotFoundError."""
    with pytest.raises(NotFoundError):
        callback(payment_at("STRIPE"))


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_merchants_own_keys_can_be_used(provider):
    """A simulated callback that is signed with other keys is accepted as genuine only with those keys."""
    own = {name: value if name.endswith(("_ID", "_CODE")) else f"own-{value}" for name, value in KEYS.items()}
    request = callback(payment_at(provider), environ=own)
    assert isinstance(verified(request, own), Callback)
    assert isinstance(verified(request), Rejected)


def test_the_sandbox_s_settings_verify_the_built_in_samples():
    """The sandbox's settings also verify the built-in genuine callbacks."""
    for name in GATEWAYS:
        assert isinstance(verified(samples()[name].request), Callback)


def signed_again(vector):
    """Return the signature that the sandbox computes for a vector, and the vector's own signature."""
    keys, request = vector["keys"], vector["request"]
    match vector["gateway"]:
        case "zalopay":
            envelope = json.loads(request["body"])
            made = signing.zalopay(envelope["data"], keys["key2"])
            return json.loads(made.body)["mac"], envelope["mac"]
        case "payos":
            envelope = json.loads(request["body"])
            return json.loads(signing.payos(envelope["data"], keys["checksum_key"]).body)["signature"], envelope[
                "signature"
            ]
        case _:
            body = json.loads(request["body"])
            made = signing.momo(body, keys["access_key"], keys["secret_key"])
            return json.loads(made.body)["signature"], body["signature"]


@pytest.mark.parametrize(
    "name",
    [
        "zalopay-docs-sample",
        "zalopay-captured-sandbox-callback",
        "payos-docs-sample-ping",
        "momo-captured-success",
        "momo-captured-denied",
        "momo-h-captured-napas-vietnamese",
    ],
)
def test_the_sandbox_signs_as_the_gateways_do(name):
    """The sandbox computes the same signature as each gateway."""
    records = [record for path in sorted(VECTORS.glob("*.json")) for record in json.loads(path.read_text("utf-8"))]
    (vector,) = [record for record in records if record["name"] == name]
    ours, theirs = signed_again(vector)
    assert ours == theirs
