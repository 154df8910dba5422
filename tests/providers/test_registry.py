"""Test that the registry finds a request's gateway, and each gateway's keys by their variables."""

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.providers import GATEWAYS, by_name, credentials, resolve
from ticketbottle_payctl.secret import Secret

VARIABLES = {
    "ZALOPAY_APP_ID": True,
    "ZALOPAY_KEY1": False,
    "ZALOPAY_KEY2": True,
    "PAYOS_CLIENT_ID": False,
    "PAYOS_API_KEY": False,
    "PAYOS_CHECKSUM_KEY": True,
    "VNPAY_TMN_CODE": True,
    "VNPAY_HASH_SECRET": True,
    "MOMO_PARTNER_CODE": True,
    "MOMO_ACCESS_KEY": True,
    "MOMO_SECRET_KEY": True,
}
"""Whether verification needs a variable, keyed by the variable's name."""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/webhook/zalopay", "zalopay"),
        ("/webhook/zalo-pay", "zalopay"),
        ("/webhook/payos", "payos"),
        ("/webhook/pay-os", "payos"),
        ("/webhook/vnpay", "vnpay"),
        ("/webhook/momo", "momo"),
        ("/prod/webhook/momo", "momo"),
        ("/webhook/MoMo/", "momo"),
        ("/Webhook/ZaloPay//", "zalopay"),
        ("/momo/webhook/zalopay/v2", "zalopay"),
    ],
)
def test_the_path_names_the_gateway(path, name):
    """The last known path segment names the gateway, regardless of spelling, case, stage or trailing slashes."""
    assert resolve(Request(path=path)).name == name


@pytest.mark.parametrize("path", ["", "/", "/webhook", "/webhook/zalopays", "/webhook/zalo%70ay", "/webhook/stripe"])
@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"data":1}', b"not json"])
def test_a_request_of_no_gateway_is_not_resolved(path, body):
    """For a request with an unknown path and body, the registry returns None and does not raise an exception."""
    assert resolve(Request(path=path, body=body)) is None


def test_the_error_for_an_unknown_gateway_lists_the_known_ones():
    """The error for an unknown gateway lists the names of all known gateways."""
    assert by_name("Pay-OS") is GATEWAYS["payos"]
    with pytest.raises(NotFoundError) as missing:
        by_name("stripe")
    assert missing.value.hint == f"one of: {', '.join(GATEWAYS)}"


def test_the_gateways_variables_have_their_deployed_names():
    """The gateways' variables have the names that deployments use. Renaming a variable would turn a gateway off."""
    fields = {field.env: field.signs_callbacks for gateway in GATEWAYS.values() for field in gateway.fields}
    assert fields == VARIABLES


def test_credentials_are_looked_up_by_environment_name():
    """A credential contains its environment variable's values.

    If the variable is not set, the credential has no value.
    """
    known = {"MOMO_SECRET_KEY": (Secret("new"), Secret("old"))}
    found = credentials(GATEWAYS["momo"], lambda env: known.get(env, ()))
    assert found == {"partner_code": (), "access_key": (), "secret_key": (Secret("new"), Secret("old"))}
