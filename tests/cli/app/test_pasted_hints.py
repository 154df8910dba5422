"""Test that the commands in an error's hint contain the profile that the user chose."""

from __future__ import annotations

import ast
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

import ticketbottle_payctl
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.sandbox.payment_service import insert_payment

PACKAGE = Path(ticketbottle_payctl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = "|".join(re.escape(each.name) for each in registry.COMMANDS)
COMMAND = re.compile(rf"payctl (?:{NAMES})(?![a-z-])")
IN_BACKTICKS = re.compile(r"`payctl [^`]+`")
WHOLE = re.compile(r"payctl [a-z -]+")


def words(node):
    """Yield the text of a string in the source, with a placeholder for each inserted value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(each.value if isinstance(each, ast.Constant) else "VALUE" for each in node.values)


def hints(path):
    """Yield the text of each error hint in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.keyword):
            names = [node.arg]
        elif isinstance(node, ast.Assign):
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        else:
            continue
        if {*names} & {"hint", "advice"}:
            yield from words(node.value)


def test_every_hint_marks_its_commands():
    """A command in a hint is either the whole hint or in backticks, so that payctl can add the profile to it."""
    found = {(path.name, hint) for path in FILES for hint in hints(path) if COMMAND.search(hint)}
    assert len(found) > 20
    assert {
        each for each in found if not WHOLE.fullmatch(each[1]) and COMMAND.search(IN_BACKTICKS.sub("", each[1]))
    } == set()


def unmarked(path):
    """Yield each f-string that puts a command from ``command_line`` outside backticks, after the name of the file."""
    tree = ast.parse(path.read_text("utf-8"))
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.JoinedStr) and builds(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part(each, aliases) for each in node.values)
            if "COMMAND" in re.sub("`[^`]*`", "", text):
                yield path.name, text


def builds(node):
    """Return whether the expression contains a call of ``command_line``."""
    return any(isinstance(each, ast.Name) and each.id == "command_line" for each in ast.walk(node))


def part(node, aliases):
    """Return the text of one part of an f-string, or a placeholder if the part is a command or another value."""
    if isinstance(node, ast.Constant):
        return node.value
    value = node.value
    built = builds(value) or (isinstance(value, ast.Name) and value.id in aliases)
    return "COMMAND" if built else "VALUE"


def test_every_built_command_in_a_text_is_marked():
    """Jobs and the store put each command that they build in backticks, so that payctl can add the profile to it."""
    files = [path for folder in ("jobs", "store") for path in sorted((PACKAGE / folder).rglob("*.py"))]
    assert [path.name for path in files if builds(ast.parse(path.read_text("utf-8")))] == [
        "find.py", "model.py", "apply.py"
    ]  # fmt: skip
    assert [each for path in files for each in unmarked(path)] == []


# the command, and its hint with a profile
HINTS = {
    "a whole command": (["runs", "show", "0000"], "payctl runs list -p 'my shop'"),
    "between backticks": (
        ["show", "nothing"],
        (
            "`payctl list payments -p 'my shop'`, `payctl list outbox -p 'my shop'`"
            " and `payctl list receipts -p 'my shop'` show ids and order codes"
        ),
    ),
    "a similar order code": (["show", "TB-ONE-2"], "a similar order code exists: `payctl show TB-ONE-1 -p 'my shop'`"),
    "similar order codes": (
        ["show", "TB-2-3"],
        "similar order codes exist: TB-2-1, TB-2-2; give the right one, such as `payctl show TB-2-1 -p 'my shop'`",
    ),
    "the last characters of two codes": (["show", "same"], "give the whole code: `payctl show TB-B-SAME -p 'my shop'`"),
    "the advice of an error": (
        ["cdc", "cut-back", "-y"],
        "see whether a publisher is running: `payctl doctor --only publishers -p 'my shop'`",
    ),
}


@pytest.mark.postgres
@pytest.mark.parametrize("name", HINTS)
@pytest.mark.parametrize("how", ["option", "environment", "no profile"])
def test_the_commands_in_a_hint_name_the_profile(name, how, database_url, engine, tmp_path, invoke):
    """If the user typed -p, each command in a hint also has -p, so that the command works when it is pasted."""
    with engine.begin() as connection:
        for minutes, code in enumerate(("TB-ONE-1", "TB-2-1", "TB-2-2", "TB-B-SAME", "TB-A-SAME")):
            insert_payment(connection, order_code=code, age=timedelta(minutes=minutes))
    arguments, hint = HINTS[name]
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles."my shop"]\nDATABASE_URL = {json.dumps(database_url)}\n', "utf-8")
    environment = {"PAYCTL_CONFIG": str(config), "KAFKA_BROKERS": "127.0.0.1:1"}
    if how == "option":
        arguments = [*arguments, "-p", "my shop"]
    else:
        hint = hint.replace(" -p 'my shop'", "")
        environment |= {"PAYCTL_PROFILE": "my shop"} if how == "environment" else {"DATABASE_URL": database_url}
    result = invoke(*arguments, "-o", "json", **environment)
    assert json.loads(result.stdout)["error"]["hint"] == hint
    assert f"try: {hint}" in result.stderr


def test_a_hint_of_the_demo_names_no_profile(tmp_path, invoke):
    """Hints suggest `payctl demo` without the profile, because the demo starts its own servers."""
    config = tmp_path / "config.toml"
    config.write_text("[profiles.shop]\n", "utf-8")
    result = invoke("stats", "-p", "shop", PAYCTL_CONFIG=str(config))
    assert "`payctl demo --keep`" in result.stderr
