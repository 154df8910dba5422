"""Read the plans of the statements that the code under test executes."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import event


def nodes_of(node):
    """Yield a plan node and every node below it."""
    yield node
    for part in node.get("Plans", []):
        yield from nodes_of(part)


_READ = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")


def rows_read(nodes, table):
    """Return how many rows of a table a plan has read, including the rows that its conditions left out."""
    scans = [node for node in nodes if node.get("Relation Name") == table]
    assert scans, f"the statement does not name {table}"
    return sum(sum(node.get(name, 0) for name in _READ) * node["Actual Loops"] for node in scans)


@contextmanager
def plans_of(engine, words):
    """Yield a list that gets the plan of each later statement with these words. A plan is a list of its nodes.

    Each of these statements is executed a second time with EXPLAIN ANALYZE, which counts the rows and the loops.
    """
    plans = []

    def explain(_connection, cursor, statement, parameters, _context, _many):
        if words in statement:
            limits, semicolon, select = statement.rpartition(";\n")
            cursor.execute(f"{limits}{semicolon} EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {select}", parameters)
            plans.append(list(nodes_of(cursor.fetchone()[0][0]["Plan"])))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)
