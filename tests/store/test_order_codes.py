"""Test the search for order codes and ids from a part of them, or with a typing error."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.payments.order_codes import beginning_with
from ticketbottle_payctl.store.payments.similar_codes import similar_codes

pytestmark = pytest.mark.postgres
MANY = """INSERT INTO payments SELECT made.* FROM (SELECT to_jsonb(p) AS row FROM payments AS p LIMIT 1) AS one,
    generate_series(1, 600) AS n, jsonb_populate_record(NULL::payments, row || jsonb_build_object(
        'id', 'p' || n, 'orderCode', 'TB-Z' || n, 'providerTransactionId', 'r' || n, 'idempotencyKey', 'k' || n)
    ) AS made"""


@pytest.fixture
def reader(engine):
    """Insert four orders and yield a connection that reads them."""
    for code in ("TB-B", "TB-BA", "TB-A", "TB-BB"):
        Orders(engine).pay(order_code=code)
    with engine.connect() as connection:
        yield connection


def test_the_first_order_codes_with_a_prefix_are_found(reader, execute):
    """The orders whose codes begin with the prefix are found in order, up to a limit, however many codes come later."""
    execute(MANY)
    assert [each.code for each in beginning_with(reader, "TB-B", 9)] == ["TB-B", "TB-BA", "TB-BB"]
    assert [each.code for each in beginning_with(reader, "TB-B", 2)] == ["TB-B", "TB-BA"]
    assert beginning_with(reader, "TB-C", 9) == []


def test_only_codes_with_one_typing_error_are_similar(reader):
    """The codes that differ by one typing error are found in order, and no others."""
    assert similar_codes(reader, "tb-ab") == ["TB-A", "TB-B", "TB-BA"]
    assert similar_codes(reader, "TB-XYZ") == []


@pytest.mark.parametrize("uuids", [False, True])
def test_an_id_that_is_given_twice_is_not_ambiguous(engine, uuids):
    """The same id may be given twice, even with two different prefixes. Only two different ids are ambiguous."""
    whole = "5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d"
    Orders(engine).event(id=whole).callback(id=whole)
    table = "payctl.webhook_receipts" if uuids else "outbox"
    with engine.connect() as connection:
        found = short_ids.whole(connection, table, [whole[:8], whole[:13], whole[:8]], uuids=uuids)
    assert found == (whole,) * 3
