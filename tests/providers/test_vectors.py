"""Test that each gateway's test vector gets its recorded verdict, and is refused by every other gateway."""

from collections import Counter
from dataclasses import replace
from json import loads

from ticketbottle_payctl.domain.callback import Callback
from ticketbottle_payctl.providers import GATEWAYS, resolve
from ticketbottle_payctl.secret import Secret

REJECTED = {
    "valid": False,
    "outcome": "REJECTED",
    "order_ref": None,
    "provider_transaction_id": None,
    "amount": None,
}


def said(verdict):
    """Return a verdict in the format of the vectors."""
    if not isinstance(verdict, Callback):
        return REJECTED
    return {
        "valid": True,
        "outcome": verdict.outcome.value,
        "order_ref": verdict.order_ref,
        "provider_transaction_id": verdict.gateway_transaction_id,
        "amount": verdict.amount,
    }


def test_a_vector_gives_its_expected_verdict(vector):
    """Each published, captured or constructed test vector gets the verdict in its record."""
    assert said(vector.verify()) == vector.expect


def test_path_and_shape_of_a_vector_lead_to_the_same_gateway(vector):
    """A vector's path and format lead to the same gateway. Only a vector without a signature has no known format."""
    assert resolve(vector.request).name == vector.gateway
    by_shape = resolve(replace(vector.request, path="/hook"))
    missing = "-missing-" in vector.name
    assert (by_shape.name if by_shape else None) == (None if missing else vector.gateway)


def test_the_previous_keys_verify_during_a_rotation(vector):
    """Each vector gets the same verdict if its key is the previous key during a rotation."""
    credentials = {name: (Secret("the new value"), *values) for name, values in vector.credentials.items()}
    gateway = resolve(vector.request)
    assert said(gateway.verify(vector.request, credentials)) == vector.expect


def test_no_vector_verifies_at_another_gateway(vector):
    """A callback that is sent to a different gateway's path is refused, even if both gateways have the same keys."""
    for name, gateway in GATEWAYS.items():
        if name != vector.gateway:
            keys = tuple(value for values in vector.credentials.values() for value in values)
            credentials = {field.name: keys for field in gateway.fields}
            assert said(gateway.verify(vector.request, credentials)) == REJECTED


def test_every_gateway_has_valid_and_invalid_vectors(pytestconfig):
    """Each gateway has at least seven valid and seven invalid vectors, so a missing file makes this test fail."""
    files = sorted((pytestconfig.rootpath / "tests/data/gateway-vectors").glob("*.json"))
    found = Counter(
        (one["gateway"], one["expect"]["valid"]) for path in files for one in loads(path.read_text("utf-8"))
    )
    assert set(found) == {(name, valid) for name in GATEWAYS for valid in (True, False)}
    assert min(found.values()) >= 7
