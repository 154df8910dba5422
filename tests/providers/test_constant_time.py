"""Test that only one file compares signatures, and that it does so in constant time."""

import ast
from pathlib import Path

from ticketbottle_payctl import providers
from ticketbottle_payctl.providers import mac
from ticketbottle_payctl.secret import Secret

FILES = sorted(Path(providers.__file__).parent.rglob("*.py"))


def imports(tree):
    """Return the top-level packages that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def test_only_one_file_computes_or_compares_macs():
    """Only mac.py imports hmac and hashlib, so reviewers check just one file for constant-time comparison."""
    using = {path.name for path in FILES if {"hmac", "hashlib"} & set(imports(ast.parse(path.read_text("utf-8"))))}
    assert len(FILES) > 10
    assert using == {"mac.py"}


def test_macs_are_compared_with_compare_digest_only():
    """The file mac.py contains no ==, !=, in or startswith, because it compares secret values."""
    tree = ast.parse(Path(mac.__file__).read_text("utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Match)]
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert "compare_digest" in called
    assert not called & {"startswith", "endswith", "find", "index", "count", "__eq__"}


def test_a_received_signature_is_compared_as_bytes(merchant):
    """A signature with non-ASCII characters or a lone surrogate does not match, but does not raise an error either."""
    for value in ("é" * 64, "\ud800", "", None, 5, True, ["a"], {}):
        assert isinstance(mac.presented(value), bytes)
        assert not mac.matches("sha256", [b"key"], mac.presented(value), b"text")
    assert mac.matches("sha256", [b"other", merchant.mac("momo", "x").encode(), b"key"], b"", b"x") is False


def test_an_empty_key_counts_as_missing():
    """An empty key counts as missing, because anyone can sign with an empty key."""
    assert mac.keys({"key2": (Secret(""), Secret("k"))}, "key2") == (b"k",)
