"""Find the constants of a file that are made from a changed line, because such code runs only once, at the import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache


def made_from(source: str, line: int) -> list[str]:
    """Return the names that the statement at ``line`` defines, and the constants that are made from these names.

    A statement is a function, a class or a constant at the top of a file. The statement's own names come first.
    """
    body = ast.parse(source).body
    here = [each for each in body if each.lineno <= line <= (each.end_lineno or 0)]
    names = [name for each in here for name in _defined(each)]
    return [*names, *made_with(source, names)]


def made_with(source: str, names: Iterable[str]) -> list[str]:
    """Return the constants of a file that are made from these names. The file may import the names."""
    known, made = set(names), list[str]()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _used(statement) & known:
            new = [name for name in _defined(statement) if name not in known]
            known |= set(new)
            made += new
    return made


def importers(sources: Mapping[str, str], file: str) -> list[str]:
    """Return the files that import the module in ``file`` or names from it. ``sources`` maps each file to its text."""
    module = file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
    return [other for other, source in sources.items() if module in _imports(source)]


@cache
def _imports(source: str) -> frozenset[str]:
    """Return the modules that a file imports from, and the dotted name of everything that it imports from them."""
    found = [each for each in ast.parse(source).body if isinstance(each, ast.ImportFrom) and each.module]
    return frozenset(
        {f"{each.module}.{name.name}" for each in found for name in each.names} | {e.module for e in found}
    )


def _used(statement: ast.stmt) -> set[str]:
    used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return used | {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}


def _defined(statement: ast.stmt) -> Iterable[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []
