"""Change comparisons, guards, locks, orders, limits and constants in SQL inside string literals.

Each rule is a pattern with a replacement and changes one place in a statement. A part of an f-string also counts as a
literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_SQL = re.compile(
    r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|AND|NOT|NULL|FROM|ORDER BY|LIMIT|CASE|COALESCE|FOR|JOIN|COLLATE)\b"
    r'|%\(\w+\)s|"\w+[a-z]"'
)
_OPERATORS = re.compile(r"^\s*(<=|>=|<>|=|<|>|\+|-)\s|\s(<=|>=|<>|=|<|>)\s*$")
_CONTEXT = re.compile(
    r"\b(SET|WHERE|AND|OR|ON|WHEN|CASE|SELECT|THEN|ELSE|END|HAVING|NOT|FILTER|BETWEEN)\b|DO UPDATE SET"
)
_ASSIGNS = {"SET", "END", "ELSE"}

Rewrite = Callable[[re.Match], str]


def _to(text: str) -> Rewrite:
    return lambda match: match.expand(text)


def _plus_one(match: re.Match) -> str:
    return f"{match[1]}{int(match[2]) + 1}"


def _is_guard(text: str, at: int) -> bool:
    words = [match[0] for match in _CONTEXT.finditer(text, 0, at)]
    return not words or words[-1] not in _ASSIGNS


def _no_column(text: str, at: int) -> bool:
    return not re.search(r"\b(GROUP|ORDER) BY [\d, ]*$", text[: at + 2])


def _no_between(text: str, at: int) -> bool:
    words = [match[0] for match in _CONTEXT.finditer(text, 0, at)]
    return not words or words[-1] != "BETWEEN"


_RULES: tuple[tuple[str, Rewrite, Callable[[str, int], bool] | None], ...] = (
    (r"(?<= )<(?= )", _to("<="), None),
    (r"(?<= )<(?= )", _to(">="), None),
    (r"(?<= )<=(?= )", _to("<"), None),
    (r"(?<= )<=(?= )", _to(">"), None),
    (r"(?<= )>(?= )", _to(">="), None),
    (r"(?<= )>(?= )", _to("<="), None),
    (r"(?<= )>=(?= )", _to(">"), None),
    (r"(?<= )>=(?= )", _to("<"), None),
    (r"(?<= )=(?= )", _to("<>"), _is_guard),
    (r"(?<= )<>(?= )", _to("="), None),
    (r"\bAND\b", _to("OR"), _no_between),
    (r"\bOR\b(?! REPLACE)", _to("AND"), None),
    (r"\bNOT (?!NULL|MATERIALIZED|TRUE|FALSE|DISTINCT|EXISTS \(SELECT FROM pg|VALID)", _to(""), None),
    (r"\bIS NULL\b", _to("IS NOT NULL"), None),
    (r"\bIS NOT NULL\b", _to("IS NULL"), None),
    (r"\bIS NOT (TRUE|FALSE|DISTINCT FROM)\b", _to(r"IS \1"), None),
    (r"\bIS (TRUE|FALSE|DISTINCT FROM)\b", _to(r"IS NOT \1"), None),
    (r"\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)( OF \w+)?( SKIP LOCKED| NOWAIT)?", _to(""), None),
    (r" SKIP LOCKED\b| NOWAIT\b", _to(""), None),
    (r"\bLIMIT (%\(\w+\)s|\d+)", _to(""), None),
    (r"\bDESC\b", _to("ASC"), None),
    (r'\bORDER BY ((?:\w+\.)?(?:"\w+"|[a-z_]+))(?![\w."(])(?! DESC| ASC)', _to(r"ORDER BY \1 DESC"), None),
    (r'(?<![(\w.])((?:\w+\.)?"createdAt"), (?=(?:\w+\.)?id COLLATE)', _to(r"\1 DESC, "), None),
    (r'(?<=id) COLLATE "C"', _to(""), None),
    (r"\bCOALESCE\(([^(),]+(?:\([^()]*\))?), ([^()]+(?:\([^()]*\))?)\)", _to(r"COALESCE(\2, \1)"), None),
    (r"\b(?i:coalesce)\(([^(),]+(?:\([^()]*\))?), ([^()]+(?:\([^()]*\))?)\)", _to(r"\1"), None),
    (r"\bmin\(", _to("max("), None),
    (r"\bmax\(", _to("min("), None),
    (r"\bleast\(", _to("greatest("), None),
    (r"\bgreatest\(", _to("least("), None),
    (r"\bLEFT JOIN\b", _to("JOIN"), None),
    (r"\bUNION ALL\b", _to("UNION"), None),
    (r"\bDISTINCT (?!FROM)", _to(""), None),
    (r"(?<=[ )]) \+ |(?<=[\w)}\"'])(?: \+ )", _to(" - "), None),
    (r"(?<=[\w)}\"']) - ", _to(" + "), None),
    (r"^ - ", _to(" + "), None),
    (r"\btrue\b", _to("false"), None),
    (r"\bfalse\b", _to("true"), None),
    (r"(interval ')(\d+)(?=[ '])", _plus_one, None),
    (r"((?:[-+*/=<>(,] |LIMIT |OFFSET |THEN |ELSE |\())(\d+)\b(?![.:'])", _plus_one, _no_column),
)
_COMPILED = tuple((re.compile(pattern), rewrite, allowed) for pattern, rewrite, allowed in _RULES)


def rewritten(text: str) -> list[str]:
    """Return each string that results from applying one rule once to a literal.

    Return nothing for a literal without SQL.
    """
    if not (_SQL.search(text) or _OPERATORS.search(text)):
        return []
    spans = [
        (match.span(), match.group(), rewrite(match))
        for pattern, rewrite, allowed in _COMPILED
        for match in pattern.finditer(text)
        if allowed is None or allowed(text, match.start())
    ]
    changed = [text[: span[0]] + new + text[span[1] :] for span, old, new in spans if new != old]
    return list(dict.fromkeys(changed))
