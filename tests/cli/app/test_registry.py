from __future__ import annotations

import inspect

import pytest

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.global_options import NAMES
from ticketbottle_payctl.cli.commands import schema

COMMANDS = pytest.mark.parametrize("entry", registry.COMMANDS, ids=lambda entry: entry.name)


@COMMANDS
def test_the_line_of_help_is_the_docstring_s(entry):
    """The catalogue says of a command what its own docstring says."""
    assert inspect.getdoc(entry.load()).splitlines()[0] == entry.help


@COMMANDS
def test_every_command_has_a_schema(entry):
    """What a command prints with -o json is described."""
    assert schema.load(registry.schema_name(entry.name))["properties"]["schema"] == {
        "const": registry.schema_name(entry.name)
    }


@COMMANDS
def test_every_command_helps_on_both_spellings(entry, invoke):
    """-h and --help are the same, exit 0, on stdout."""
    short, long = invoke(*entry.words, "-h"), invoke(*entry.words, "--help")
    assert short.stdout == long.stdout
    assert (short.exit_code, short.stderr) == (0, "")
    assert entry.help in short.stdout


@COMMANDS
def test_no_option_of_a_command_is_spelled_like_a_shared_one(entry):
    """A shared option means the same everywhere."""
    assert not set(inspect.signature(entry.load()).parameters) & set(NAMES)


@COMMANDS
def test_functions_are_named_like_what_is_typed(entry):
    """The word a user types finds the code."""
    assert entry.target.split(":")[0].split(".")[0] == entry.words[0].replace("-", "_")


def test_every_group_has_commands():
    """A word that stands before nothing is a leftover."""
    assert all(registry.children(words) for words in registry.GROUPS)
