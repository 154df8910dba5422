"""Test that the command registry agrees with each command's code, help and JSON Schema."""

from __future__ import annotations

import inspect

import pytest

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.global_options import NAMES
from ticketbottle_payctl.cli.commands import schema

COMMANDS = pytest.mark.parametrize("entry", registry.COMMANDS, ids=lambda entry: entry.name)


@COMMANDS
def test_the_registry_s_help_is_the_command_s_docstring(entry):
    """Each command's help line in the registry is the first line of the command's docstring."""
    assert inspect.getdoc(entry.load()).splitlines()[0] == entry.help


@COMMANDS
def test_every_command_has_a_schema(entry):
    """Every command's output with -o json has a JSON Schema."""
    assert schema.load(registry.schema_name(entry.name))["properties"]["schema"] == {
        "const": registry.schema_name(entry.name)
    }


@COMMANDS
def test_every_command_has_help_with_h_and_help(entry, invoke):
    """For every command, -h and --help print the same text to stdout and exit with 0."""
    short, long = invoke(*entry.words, "-h"), invoke(*entry.words, "--help")
    assert short.stdout == long.stdout
    assert (short.exit_code, short.stderr) == (0, "")
    assert entry.help in short.stdout


@COMMANDS
def test_no_command_has_an_option_with_a_shared_option_s_name(entry):
    """No command defines an option that has the name of a shared option, such as -o."""
    assert not set(inspect.signature(entry.load()).parameters) & set(NAMES)


@COMMANDS
def test_the_annotations_of_a_loaded_command_are_values(entry):
    """A loaded command has no strings as annotations, because Typer would evaluate each string several times."""
    annotations = entry.load().__annotations__.values()
    assert [each for each in annotations if isinstance(each, str)] == []


@COMMANDS
def test_a_command_s_module_has_the_command_s_name(entry):
    """The code for a command is in the module that is named after the command's first word."""
    assert entry.target.split(":")[0].split(".")[0] == entry.words[0].replace("-", "_")


def test_every_group_has_commands():
    """Every group in the command registry has at least one command."""
    assert all(registry.children(words) for words in registry.GROUPS)
