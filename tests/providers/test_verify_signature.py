"""Test the report that ``jobs/verify_signature`` returns for a callback, and the keys that it tries."""

import subprocess
import sys

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.verify_signature import VerifyReport, verify_signature
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.explain.model import Hint, Reading, Signer, Variant
from ticketbottle_payctl.providers.tried_keys import tried_keys


@pytest.fixture
def credentials_for(merchant):
    """Return a function that returns the test merchant's keys for a gateway."""
    return lambda gateway: merchant.credentials(gateway.name)


def test_the_verify_report_has_the_expected_verdict_of_a_vector(vector):
    """The `verify-signature` report contains the fields that scripts use.

    If the callback is not valid, these fields are null.
    """
    report = verify_signature(vector.request, None, lambda _: vector.credentials)
    assert {name: getattr(report, name) for name in vector.expect} == vector.expect
    assert report.provider == vector.gateway
    assert report.currency == ("VND" if report.valid else None)
    assert (report.detail is None) == report.valid
    assert (report.hints, report.canonical) == ((), None)


def test_the_verify_report_gives_the_reason_of_an_ignored_callback(merchant, credentials_for):
    """A ping is valid but does not change a payment. Scripts can rely on the report's reason for ignoring a ping."""
    report = verify_signature(merchant.payos(orderCode=123, description="VQRIO123"), None, credentials_for)
    assert (report.valid, report.outcome, report.reason) == (True, "IGNORED", "ping")


def test_a_request_of_no_gateway_is_rejected_without_a_provider(credentials_for):
    """A request with an unknown path and body is rejected with an explanatory sentence and without an exception."""
    report = verify_signature(Request(body=b"hello"), None, credentials_for)
    assert report == VerifyReport(
        provider=None, valid=False, outcome="REJECTED", reason="malformed", detail=report.detail
    )
    assert "path" in (report.detail or "")


def test_verify_signature_uses_the_given_gateway(merchant, credentials_for):
    """A PayOS webhook that is checked as a ZaloPay callback is refused, regardless of its format."""
    report = verify_signature(merchant.payos(), GATEWAYS["zalopay"], credentials_for)
    assert (report.provider, report.valid) == ("zalopay", False)


def test_an_explanation_tries_the_other_gateways_keys(merchant):
    """If the keys of two gateways are swapped, the explanation's hint names both variables."""
    request = merchant.momo()
    mixed = {"secret_key": ("wrong",)}

    def swapped(gateway):
        if gateway.name == "momo":
            return merchant.credentials("momo", **mixed)
        return merchant.credentials(
            gateway.name, **({"key2": ("canary-momo-secret",)} if gateway.name == "zalopay" else {})
        )

    report = verify_signature(request, None, swapped, explain=True)
    assert report.hints == (
        "would match under ZALOPAY_KEY2 instead of MOMO_SECRET_KEY: does the key belong to another gateway or profile?",
    )
    assert report.canonical is not None


def test_a_broken_setting_of_another_gateway_does_not_stop_an_explanation(merchant):
    """The explanation skips the other gateways' keys if they cannot be read."""

    def credentials_for(gateway):
        if gateway.name != "momo":
            message = "broken"
            raise ConfigError(message)
        return merchant.credentials("momo")

    assert verify_signature(merchant.momo("x"), None, credentials_for, explain=True).hints
    with pytest.raises(ConfigError):
        verify_signature(merchant.payos(), None, credentials_for)


def test_verification_loads_no_database_kafka_or_http_client():
    """`verify-signature` imports only the modules that it needs, so that it starts quickly.

    It imports the explanation of a wrong signature only if one is requested.
    """
    code = "import sys, ticketbottle_payctl.jobs.verify_signature as _; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "ticketbottle_payctl.providers.tried_keys" in loaded
    assert "ticketbottle_payctl.providers.explain" not in loaded
    assert not {"sqlalchemy", "confluent_kafka", "psycopg2", "httpx", "payos", "pydantic", "typer", "rich", "boto3"} & {
        name.partition(".")[0] for name in loaded
    }


TRIED = [
    ("zalopay", ["ZALOPAY_KEY2"]),
    ("payos", ["PAYOS_CHECKSUM_KEY"]),
    ("vnpay", ["VNPAY_HASH_SECRET"]),
    ("momo", ["MOMO_ACCESS_KEY", "MOMO_SECRET_KEY"]),
]
"""Each gateway's secret keys that sign callbacks."""


@pytest.mark.parametrize(("gateway", "variables"), TRIED)
def test_only_secret_keys_that_sign_callbacks_are_tried(merchant, gateway, variables):
    """`tried_keys` lists only secret keys that sign callbacks.

    The list contains no ids and no keys for status queries.
    """
    tried = tried_keys(GATEWAYS[gateway], getattr(merchant, gateway)(), merchant.credentials(gateway))
    assert [(key.variable, key.matched, key.generation) for key in tried] == [
        (name, True, "current") for name in variables
    ]


def test_a_reading_does_not_show_signatures_keys_and_texts():
    """The repr of a reading contains no signature, no key and no signed string."""
    hint = Hint("code", "words")
    signer = Signer(hint, b"canary", b"canary")
    reading = Reading(
        "sha256", "key", b"canary", b"canary", "masked", (Variant(hint, b"canary"),), (signer,), (b"canary",)
    )
    assert "canary" not in f"{signer!r} {reading!r} {Variant(hint, b'canary')!r}"
