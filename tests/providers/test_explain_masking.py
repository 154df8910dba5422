"""Test that no explanation shows a person, an account, a key or a MAC."""

from __future__ import annotations

import pytest

from tests.providers.test_explain import WITH_PRIVATE_FIELDS
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.explain import explain
from ticketbottle_payctl.providers.explain.model import Hint, Reading, Signer, Variant
from ticketbottle_payctl.secret import Secret

PRIVATE = ("Nguyễn", "0123456789", "TB7K2M9QXA&", "Thanh toan", "Thanh+toan", "Vé Đà Lạt", "canary")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_masks_people_and_accounts(merchant, gateway):
    """The explanation shows the order, amount and codes.

    The explanation masks names, accounts, descriptions and unknown fields.
    """
    added = WITH_PRIVATE_FIELDS[gateway]
    request = getattr(merchant, gateway)(**added or {})
    shown = explain(GATEWAYS[gateway], request, merchant.credentials(gateway))
    assert "45000" in shown.canonical_masked
    assert ("***" in shown.canonical_masked) is (added is not None)
    assert not [word for word in PRIVATE if word in shown.canonical_masked]


def test_masking_keeps_the_layout_of_zalopay_data(merchant):
    """The explanation shows white space unchanged, because changed white space often breaks the signature."""
    data = '{ "app_id" : 2900,\n  "app_user": "A B", "empty": "", "item":[1, {"a":2}] ,"amount":1 }'
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data=data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == (
        '{ "app_id" : 2900,\n  "app_user": "***", "empty": "", "item":"***" ,"amount":1 }'
    )


@pytest.mark.parametrize("data", ["", "{", "[1]", '{"a" 1', '{"a":1,{"x":1}:2}', "x" * 50, '{"a":' * 3000])
def test_masking_shows_nothing_of_unreadable_content(merchant, data):
    """The explanation shows only the length of content that is not a JSON object."""
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data=data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == f"({len(data)} characters that are not a JSON object)"


def test_no_explanation_prints_a_key_or_a_mac(vector):
    """An explanation contains no key, no MAC computed with a key, and no received MAC."""
    others = {"another key": (Secret("canary-other"),)}
    for credentials in (vector.credentials, {name: (Secret("canary"),) for name in vector.credentials}):
        seen = repr(explain(GATEWAYS[vector.gateway], vector.request, credentials, others=others))
        fields = GATEWAYS[vector.gateway].fields
        identifiers = {field.name for field in fields if field.signs_callbacks and not field.secret}
        secrets = [str(value) for name, value in vector.keys.items() if name not in identifiers]
        secrets = [value for value in secrets if len(value) > 4]
        assert not [value for value in [*secrets, "canary"] if value in seen]
        assert not any(
            len(word) >= 64 and set(word) <= set("0123456789abcdefABCDEF") for word in seen.replace("=", " ").split()
        )


def test_what_a_search_tries_does_not_show_its_texts():
    """The repr of each part of a search omits the keys, the signature and the texts that a gateway may have signed."""
    hint, text = Hint("code", "would match"), b"canary"
    tried = [Variant(hint, text), Signer(hint, text, text)]
    parts = [*tried, Reading("sha256", "KEY", text, text, "***", (tried[0],), (tried[1],), (text,))]
    assert [part for part in map(repr, parts) if "canary" in part] == []
