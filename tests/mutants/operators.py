"""Operators that cosmic-ray lacks. These operators drop a call, return nothing, negate a filter, or change SQL."""

from __future__ import annotations

from collections.abc import Iterator

import parso
from cosmic_ray.operators.operator import Example, Operator

from tests.mutants.sql import rewritten


class DropCall(Operator):
    """An operator that removes a statement if it consists only of a call."""

    def mutation_positions(self, node) -> Iterator[tuple]:
        """Find statements that consist only of a call."""
        if node.type == "simple_stmt" and _is_call(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Replace the statement with ``pass``."""
        del index
        statement = parso.parse("pass").children[0]
        statement.prefix = node.get_first_leaf().prefix  # parso does not parse an indented statement
        node.children[0] = statement
        return node

    @classmethod
    def examples(cls) -> tuple:
        """Return an example of a dropped call."""
        return (Example("f(x)\n", "pass\n"), Example("if x:\n    f(x)\n", "if x:\n    pass\n"))


class ReturnNone(Operator):
    """An operator that returns None instead of a value."""

    def mutation_positions(self, node) -> Iterator[tuple]:
        """Find return statements with a value other than None."""
        if node.type == "return_stmt" and node.children[1].get_code().strip() != "None":
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Replace the value with None."""
        del index
        node.children[1] = parso.parse(" None").children[0]
        return node

    @classmethod
    def examples(cls) -> tuple:
        """Return an example of a replaced return value."""
        return (Example("return x\n", "return None\n"),)


class TurnFilter(Operator):
    """An operator that negates the condition of a comprehension."""

    def mutation_positions(self, node) -> Iterator[tuple]:
        """Find the conditions of comprehensions."""
        if node.type == "comp_if":
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Put ``not`` before the condition."""
        del index
        node.children[1] = parso.parse(f" not ({node.children[1].get_code().strip()})")
        return node

    @classmethod
    def examples(cls) -> tuple:
        """Return an example of a negated filter."""
        return (Example("[x for x in y if x]", "[x for x in y if not (x)]"),)


class ChangeSql(Operator):
    """An operator that makes one change to the SQL in a string literal."""

    def mutation_positions(self, node) -> Iterator[tuple]:
        """Find string literals with SQL. Yield one position for each change."""
        if _is_literal(node):
            for _ in rewritten(node.value):
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Make the change with this index."""
        node.value = rewritten(node.value)[index]
        return node

    @classmethod
    def examples(cls) -> tuple:
        """Return examples of changed SQL."""
        return (
            Example('"SELECT 1 WHERE a < b"', '"SELECT 1 WHERE a <= b"'),
            Example('"SELECT a FROM t WHERE a AND b FOR UPDATE"', '"SELECT a FROM t WHERE a OR b FOR UPDATE"'),
        )


def _is_call(node) -> bool:
    if node.type != "atom_expr" or node.children[0].type == "keyword":
        return False
    last = node.children[-1]
    return last.type == "trailer" and last.children[0].value == "("


def _is_literal(node) -> bool:
    if node.type == "fstring_string":
        return True
    return node.type == "string" and not _is_docstring(node)


def _is_docstring(node) -> bool:
    return node.parent is not None and node.parent.type in {"simple_stmt", "file_input"}


OWN = (DropCall, ReturnNone, TurnFilter)
