"""Test that each SQL mutant changes a statement in one place."""

from __future__ import annotations

import pytest

from tests.mutants.sql import rewritten


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("SELECT a FROM t WHERE a < 5 AND b",
         ["SELECT a FROM t WHERE a <= 5 AND b", "SELECT a FROM t WHERE a >= 5 AND b",
          "SELECT a FROM t WHERE a < 5 OR b", "SELECT a FROM t WHERE a < 6 AND b"]),
        ("UPDATE t SET a = b WHERE c = d", ["UPDATE t SET a = b WHERE c <> d"]),
        ("SELECT a FROM t WHERE NOT b FOR UPDATE SKIP LOCKED",
         ["SELECT a FROM t WHERE b FOR UPDATE SKIP LOCKED", "SELECT a FROM t WHERE NOT b ",
          "SELECT a FROM t WHERE NOT b FOR UPDATE"]),
        ("WHERE a IS NULL", ["WHERE a IS NOT NULL"]),
        ("WHERE a IS NOT NULL", ["WHERE a IS NULL"]),
        ("WHERE a BETWEEN b AND c", []),
        ('SELECT a FROM t ORDER BY "createdAt", id COLLATE "C" LIMIT 1',
         ['SELECT a FROM t ORDER BY "createdAt", id COLLATE "C" ',
          'SELECT a FROM t ORDER BY "createdAt" DESC, id COLLATE "C" LIMIT 1',
          'SELECT a FROM t ORDER BY "createdAt", id LIMIT 1',
          'SELECT a FROM t ORDER BY "createdAt", id COLLATE "C" LIMIT 2']),
        ("SELECT COALESCE(a, b) FROM t", ["SELECT COALESCE(b, a) FROM t", "SELECT a FROM t"]),
        ("WHERE at > now() - interval '5 minutes'",
         ["WHERE at >= now() - interval '5 minutes'", "WHERE at <= now() - interval '5 minutes'",
          "WHERE at > now() + interval '5 minutes'", "WHERE at > now() - interval '6 minutes'"]),
        ("the payment was not found", []),
    ],
)  # fmt: skip
def test_a_statement_is_changed_in_one_place_at_a_time(statement, changes):
    """The SQL mutants change comparisons, guards, locks, orders, limits and constants. Other SQL stays unchanged."""
    assert rewritten(statement) == changes
