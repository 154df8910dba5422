"""Find the constants of a file that are made from a changed line, because such code runs only once, at the import."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def made_from(source: str, line: int) -> list[str]:
    """Return the names that the statement at ``line`` defines, and the constants that are made from these names.

    A statement is a function, a class or a constant at the top of a file. The statement's own names come first.
    """
    names: list[str] = []
    for statement in ast.parse(source).body:
        here = statement.lineno <= line <= (statement.end_lineno or 0)
        if here or (isinstance(statement, ast.Assign | ast.AnnAssign) and _used(statement) & set(names)):
            names += _defined(statement)
    return names


def _used(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _defined(statement: ast.stmt) -> Iterable[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []
