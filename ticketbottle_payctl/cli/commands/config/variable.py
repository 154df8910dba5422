"""Define how payctl describes an environment variable: its type, its default, and the programs that read it."""

from __future__ import annotations

from typing import NamedTuple

from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.settings import Settings

WHOLE, TEXT, FLAG, URL, FILE, ARN, SECRET = "whole number", "text", "true or false", "URL", "file", "ARN", "secret"
NONE = ""
"""The ``default`` of a variable without a default. The variable is required, or a feature is off until it is set."""

CLI = "the command line"
WEBHOOK, PUBLISH, CLEANUP, WATCH, PROBE = "webhook", "publish-outbox", "cleanup", "watch-payments", "probe"
RECONCILE = "reconcile-payments"
IN_THE_VPC = (WEBHOOK, PUBLISH, CLEANUP, WATCH, RECONCILE)
BEFORE = "before-traffic"
FUNCTIONS = (*IN_THE_VPC, PROBE, BEFORE)
ALL = (CLI, *FUNCTIONS)
"""All programs that read variables: the functions, and the command line, which can run in a container."""


class Variable(NamedTuple):
    """An environment variable. ``default`` is a description for people, or :data:`NONE`."""

    name: str
    kind: str
    default: str
    readers: tuple[str, ...]
    example: str
    meaning: str


class Section(NamedTuple):
    """A group of variables that belong together."""

    title: str
    introduction: str
    variables: tuple[Variable, ...]


def with_default(name: str, kind: str, readers: tuple[str, ...], example: str, meaning: str) -> Variable:
    """Return a variable whose default comes from the settings.

    Raises:
        KeyError: :data:`names.DEFAULTED` does not contain the variable.
    """
    if name not in names.DEFAULTED:
        message = f"add {name} to ticketbottle_payctl/cli/commands/config/names.py: DEFAULTED"
        raise KeyError(message)
    return Variable(name, kind, str(names.DEFAULTED[name](Settings.from_env({}))), readers, example, meaning)
