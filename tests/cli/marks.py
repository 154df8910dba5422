"""Check the mark in a command's first line against the table that `payctl help exit-codes` prints."""

from __future__ import annotations

import re

from ticketbottle_payctl.cli.output.marks import MARKS


def check_mark(arguments, stdout, exit_code):
    """Fail if the first line begins with a mark that does not have this exit code in the table.

    The fixture `invoke` calls this function for each run of payctl.
    """
    found = re.match(r"(?:# )?([✔!✘]) ", stdout)
    if found is None:
        return
    mark, words = found[1], set(map(str, arguments))
    if mark == "✔":
        assert exit_code == 0, f"the mark ✔ came with exit code {exit_code}: {stdout}"
        return
    rows = [row for row in MARKS if row.mark == mark and exit_code in row.codes]
    commands = [command for row in rows for command in row.commands if words.issuperset(command.split())]
    assert commands, f"MARKS has no row for the mark {mark} with exit code {exit_code} of {arguments}: {stdout}"
