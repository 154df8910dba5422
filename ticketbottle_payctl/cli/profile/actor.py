"""Identify the operator for a run's record: the account, the machine, and the person named in PAYCTL_ACTOR."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping

from ticketbottle_payctl.store.payctl.runs import Actor


def who_runs(environ: Mapping[str, str]) -> Actor:
    """Return the account, the machine and, if PAYCTL_ACTOR is set, the person."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # in a container an account may have a number but no name
        account = f"uid {os.getuid()}"
    return Actor(account, socket.gethostname(), environ.get("PAYCTL_ACTOR") or None)
