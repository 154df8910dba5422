"""Write findings, settings and versions to a file that only its owner can read. Secrets are left out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ticketbottle_payctl import __version__
from ticketbottle_payctl.cli.commands.config.settings import setting_of, shown
from ticketbottle_payctl.cli.commands.doctor.result import ShownFinding, item
from ticketbottle_payctl.cli.output.sanitize import escape_json
from ticketbottle_payctl.cli.profile.guard_in_force import GuardInForce
from ticketbottle_payctl.cli.profile.profiles import Profile
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.jobs.doctor.model import FindingCounts
from ticketbottle_payctl.redaction import redact

_OWNER_ONLY = 0o600


def refuse_existing(path: str) -> None:
    """Raise an error if a file, a directory or a link exists at ``path``.

    Raises:
        InputError: ``path`` exists.
    """
    if os.path.lexists(path):
        message = f"{path} already exists"
        raise InputError(message, hint="name a new file: payctl never overwrites an existing one")


def write(  # noqa: PLR0913, PLR0917 - the content of the file
    path: str,
    profile: Profile,
    guard: GuardInForce,
    counts: FindingCounts,
    findings: Sequence[ShownFinding],
    at: datetime,
) -> None:
    """Write the bundle as JSON with mode 0600. Secrets are redacted in the same way as in the logs.

    Raises:
        InputError: the file exists or cannot be written.
    """
    document = {
        "made_at": rfc3339(at),
        "payctl": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}-{platform.machine()}",
        "profile": profile.name,
        "settings": [setting_of(row) for row in shown(profile, guard)],
        "counts": counts,
        "findings": [item(each) for each in findings],
    }
    text = redact(escape_json(json.dumps(document, ensure_ascii=False, indent=2))) + "\n"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNER_ONLY)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        message = f"{Path(path)} cannot be written: {error.strerror or type(error).__name__}"
        raise InputError(message, hint="name a file in a directory that you can write to") from error
