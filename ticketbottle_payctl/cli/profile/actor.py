"""Who is typing, for the record: the account, the machine, and the person where PAYCTL_ACTOR names one."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping

from ticketbottle_payctl.store.payctl.runs import Actor


def who_runs(environ: Mapping[str, str]) -> Actor:
    """The account, the machine and, where the environment or the profile says, the person."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account that the machine knows by its number only, as in a container
        account = f"uid {os.getuid()}"
    return Actor(account, socket.gethostname(), environ.get("PAYCTL_ACTOR") or None)
