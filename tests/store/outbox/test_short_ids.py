"""Test that a short id is replaced by the only id that begins with it."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.store.db import short_ids


@pytest.mark.parametrize("tooshort", ["", "5", "5f0c8b7"])
def test_a_text_of_fewer_than_eight_characters_is_no_short_id(connection, add, tooshort):
    """A string of fewer than eight characters is not completed, even if a short id in the same list is."""
    whole = "5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d"
    add("p1", id=whole)
    assert short_ids.whole(connection, "outbox", [whole[:8], tooshort]) == (whole, tooshort)


RECEIPT = "5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5f0c8b7e", RECEIPT), ("5F0C8B7E-43A1", RECEIPT), ("5f0c8b7", "5f0c8b7"), ("5f0c8b7f", "5f0c8b7f"),
        (RECEIPT[:35], RECEIPT), ("5f0c8b7e" * 4, "5f0c8b7e" * 4), (f"{'5f0c8b7e' * 4}5f0", f"{'5f0c8b7e' * 4}5f0"),
    ],
)  # fmt: skip
def test_a_short_id_of_a_uuid_column_has_at_most_32_digits(connection, given, expected):
    """A short id of a UUID column can have upper-case letters.

    A string with more than 32 digits is neither a UUID nor the beginning of a UUID.
    """
    connection.exec_driver_sql(
        """INSERT INTO payctl.webhook_receipts (id, provider, order_ref, reference, currency, outcome, result, method,
            path, query, body, body_sha256) VALUES (%(id)s, '', '', '', '', '', '', '', '', '', '', '')""",
        {"id": RECEIPT},
    )
    found = short_ids.whole(connection, "payctl.webhook_receipts", [given], uuids=True)
    assert found == (expected,)


def test_a_short_id_is_replaced_by_the_only_id_that_begins_with_it(connection, add):
    """A short id is completed if one id begins with it, and two matching ids are an error.

    An id that is complete, unknown or shorter than eight characters does not change.
    """
    whole = add("5f0c8b7e-zzzz")
    other = add("5f0c8b7f")
    given = ["5f0c8b7e", "5f0c8b7f", "00000000"]
    assert short_ids.whole(connection, "outbox", given) == (whole, other, "00000000")
    assert short_ids.whole(connection, "outbox", ["5f0c8b7"]) == ("5f0c8b7",)
    add("5f0c8b7e-1")
    with pytest.raises(InputError, match="ambiguous"):
        short_ids.whole(connection, "outbox", given)
