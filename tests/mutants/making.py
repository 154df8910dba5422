"""Make the mutants of a file with cosmic-ray's operators and with payctl's own operators."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

from tests.mutants.operators import OWN, ChangeSql
from tests.mutants.rooms import Room

_THEIRS = (
    "AddNot", "ExceptionReplacer", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop",
    "ReplaceUnaryOperator_Delete_Not",
    *(f"ReplaceBinaryOperator_{pair}" for pair in (
        "Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul", "Mod_Mul",
    )),
    *(f"ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "GtE_Lt", "Gt_LtE", "LtE_Gt",
        "Is_IsNot", "IsNot_Is",
    )),
)  # fmt: skip
"""The names of the cosmic-ray operators in use.

The remaining operators would only add mutants that any test notices, such as ``a << b``.
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small change. ``occurrence`` selects one of the places in the file where the operator applies.

    ``line`` is the line of the change, and ``first`` is the first line of its function. ``shared`` is true if the code
    runs at import, or only in the first test that calls it.
    """

    room: str
    file: str
    operator: str
    occurrence: int
    where: str
    line: int
    first: int
    shared: bool

    @property
    def id(self) -> str:
        """The mutant's name, which stays the same when other functions in the file change."""
        return f"{self.file}:{self.where}"


@dataclass(frozen=True, slots=True)
class Change:
    """The lines before and after the change, without indentation, and the whole new file."""

    was: str
    became: str
    source: str


@cache
def operators(*, sql: bool) -> dict[str, Operator]:
    """Return the mutation operators for a room, by name."""
    if sql:
        return {"ChangeSql": ChangeSql()}
    provider = OperatorProvider()
    return {name: provider[name]() for name in _THEIRS} | {one.__name__: one() for one in OWN}


def mutants(room: Room, root: Path) -> list[Mutant]:
    """Return all mutants of a room, file by file."""
    return [mutant for file in room.files(root) for mutant in _of_file(room, file, (root / file).read_text("utf-8"))]


def _of_file(room: Room, file: str, source: str) -> Iterator[Mutant]:
    nodes = list(ast_nodes(get_ast(source)))
    seen: Counter[str] = Counter()
    for name, operator in operators(sql=room.sql).items():
        positions = [(node, start) for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (node, start) in enumerate(positions):
            inside = f"{ASTQuery(node).get_definition_name() or 'module'}:{name}"
            seen[inside] += 1
            if not (_never_run(node) or (name.startswith("ReplaceBinary") and node.parent.type not in _BINARY)):
                function = node.search_ancestor("funcdef")
                first = function.start_pos[0] if function else start[0]
                shared = function is None or function.parent.type == "decorated"
                shared = shared or node.search_ancestor("parameters") is not None
                yield Mutant(room.name, file, name, occurrence, f"{inside}:{seen[inside]}", start[0], first, shared)


_BINARY = {"arith_expr", "term"}
"""The syntax nodes in which ``*`` multiplies. In other nodes, ``*`` belongs to a signature or a call."""


def _never_run(node) -> bool:
    """Return whether the code is in an annotation or a decorator, for example in ``@dataclass(slots=True)``."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type in {"decorator", "tfpdef"} or (parent.type == "annassign" and parent.children[1] is child):
            return True
        if parent.type == "funcdef" and parent.annotation is child:
            return True
        child, parent = parent, parent.parent
    return False


def sampled(found: list[Mutant], number: int | None, seed: int) -> list[Mutant]:
    """Return ``number`` mutants that the seed selects, or all mutants.

    A larger number keeps these mutants and adds more.
    """

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed}:{mutant.id}".encode()).digest()

    return sorted(found, key=rank)[:number]


def change(mutant: Mutant, source: str, *, sql: bool) -> Change:
    """Return the change that a mutant makes in its file's source."""
    new = mutate_code(source, operators(sql=sql)[mutant.operator], mutant.occurrence)
    if new is None:
        message = f"{mutant.id} is not in its file"
        raise LookupError(message)
    old_lines, new_lines = source.splitlines(), new.splitlines()
    blocks = [
        block
        for block in SequenceMatcher(None, old_lines, new_lines, autojunk=False).get_opcodes()
        if block[0] != "equal"
    ]
    first, last = blocks[0], blocks[-1]
    return Change(_joined(old_lines[first[1] : last[2]]), _joined(new_lines[first[3] : last[4]]), new)


def _joined(lines: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(lines)).strip()
