"""Answer a shell's request for completions, in the format of its completion script.

If payctl returns no completions, a script offers the names of files. Newer scripts set ``_PAYCTL_NO_FILES`` to a word.
payctl returns this word if the user is not completing the name of a file.
"""

from __future__ import annotations

import os
import re

from ticketbottle_payctl.cli.app.typer_internals import (
    BashComplete,
    Command,
    CompletionItem,
    FishComplete,
    Parameter,
    add_completion_class,
    completion_init,
    expected_at,
)
from ticketbottle_payctl.cli.output.sanitize import escape

_FILE_TYPES = {"path", "file"}


class _Words(BashComplete):
    """The completions for bash, with one word on each line."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the last word.

        Older completion scripts pass the command line as separate words instead of one string.
        """
        if "_TYPER_COMPLETE_ARGS" in os.environ:
            return FishComplete.get_completion_args(self)  # type: ignore[arg-type]  # reads only the variable
        return super().get_completion_args()

    def complete(self) -> str:
        """Return the completions.

        If anything fails, return an empty string, which leaves the user's command line unchanged.
        """
        try:
            args, incomplete = self.get_completion_args()
            items = self.get_completions([*args], incomplete)
            lines = [self.line(item, incomplete) for item in items if _is_one_word(item.value)]
            if not any(lines) and not _names_a_file(expected_at(self, args, incomplete)):
                return os.environ.get("_PAYCTL_NO_FILES", "")
        except Exception:  # noqa: BLE001 - an error message would look like a completion
            return ""
        return "\n".join(lines)

    def line(self, item: CompletionItem, incomplete: str) -> str:
        """Return the word without the part that bash treats as earlier words. bash begins a new word at = and :."""
        whole = f"{_option_before(incomplete)}{item.value}"
        breaks = [mark for mark in os.environ.get("COMP_WORDBREAKS", "=:") if mark in "=:"]
        return whole[max((incomplete.rfind(mark) + 1 for mark in breaks), default=0) :]


class _DescribedWords(_Words):
    """The completions for zsh and fish. Each line has a word, a tab and a description."""

    def line(self, item: CompletionItem, incomplete: str) -> str:
        """Return the word, a tab and its description."""
        word = f"{_option_before(incomplete)}{item.value}"
        about = escape(" ".join((item.help or "").split()))
        return f"{word}\t{about}" if about else word


def _names_a_file(expected: Command | Parameter) -> bool:
    """Return whether a parameter's value is the name of a file. The help calls such a value FILE or PATH."""
    if not isinstance(expected, Parameter):
        return False
    return expected.type.name in _FILE_TYPES or re.search(r"\bFILE\b", expected.metavar or "") is not None


def _option_before(incomplete: str) -> str:
    """Return the option in an argument such as ``--profile=sta``, so that the value after ``=`` can be completed."""
    name, equals, _ = incomplete.partition("=")
    return f"{name}=" if equals and name.startswith("-") else ""


def _is_one_word(text: str) -> bool:
    return text.isprintable() and " " not in text


def enable_completion() -> None:
    """Make Typer answer a shell's request for completions."""
    completion_init()
    add_completion_class(_Words, "bash")
    add_completion_class(_DescribedWords, "fish")
    add_completion_class(_DescribedWords, "zsh-lines")  # the scripts of older versions ask for "zsh"
