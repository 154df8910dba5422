"""Test that the commands in an error's hint contain the profile that the user named."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import ticketbottle_payctl
from ticketbottle_payctl.cli.app import registry

PACKAGE = Path(ticketbottle_payctl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = "|".join(re.escape(each.name) for each in registry.COMMANDS)
COMMAND = re.compile(rf"payctl (?:{NAMES})(?![a-z-])")
IN_BACKTICKS = re.compile(r"`payctl [^`]+`")
WHOLE = re.compile(r"payctl [a-z -]+")


def words(node):
    """Yield the text of a hint's source, with a placeholder for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(each.value if isinstance(each, ast.Constant) else "VALUE" for each in node.values)


def hints(path):
    """Yield the text of each hint that a file gives to an error."""
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
    """A command in a hint is the whole hint or between backticks, so that payctl can add the profile."""
    found = {(path.name, hint) for path in FILES for hint in hints(path) if COMMAND.search(hint)}
    assert len(found) > 20
    assert {
        each for each in found if not WHOLE.fullmatch(each[1]) and COMMAND.search(IN_BACKTICKS.sub("", each[1]))
    } == set()


# the command, and its hint with a profile
HINTS = {
    "a whole command": (["runs", "show", "0000"], "payctl runs list -p 'my shop'"),
    "between backticks": (
        ["show", "nothing"],
        "`payctl list payments -p 'my shop'` and `payctl list outbox -p 'my shop'` show ids and order codes",
    ),
    "the advice of an error": (["cdc", "cut-back", "-y"], "start a publisher: `payctl publish-outbox -p 'my shop'`"),
}


@pytest.mark.postgres
@pytest.mark.parametrize("name", HINTS)
@pytest.mark.parametrize("how", ["option", "environment", "no profile"])
def test_the_commands_in_a_hint_name_the_profile(name, how, database_url, tmp_path, invoke):
    """A command in a hint contains -p if the user typed it, so that it works when it is pasted."""
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
    """`payctl demo` starts its own servers, so a hint names it without the profile."""
    config = tmp_path / "config.toml"
    config.write_text("[profiles.shop]\n", "utf-8")
    result = invoke("stats", "-p", "shop", PAYCTL_CONFIG=str(config))
    assert "`payctl demo --keep`" in result.stderr
