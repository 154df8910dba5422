"""Build the errors for an unusable configuration file.

The hint of each error suggests no payctl command, because every command would fail too.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ticketbottle_payctl.errors import ConfigError

_OTHER = "or name another file with --config or PAYCTL_CONFIG"


def unusable(message: str, fix: str) -> ConfigError:
    """Return the error for a configuration file that must be fixed as ``fix`` says, or be replaced."""
    return ConfigError(message, hint=f"{fix}, {_OTHER}")


def unreadable(path: Path, error: OSError | RuntimeError) -> ConfigError:
    """Return the error for a configuration file that the operating system does not let this user read."""
    why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    match error:
        case FileNotFoundError():
            fix = "create the file"
        case PermissionError():
            fix = _permission(path)
        case _:
            fix = "replace it with a file"
    return unusable(f"the configuration file {path} cannot be read: {why}", fix)


def _permission(path: Path) -> str:
    """Return a phrase that says who must give this user which permission."""
    try:
        own = path.stat().st_uid == os.geteuid()
    except OSError:
        if _is_own(path.parent):
            return f"give your user the right to open its directory: `chmod u+x {shlex.quote(str(path.parent))}`"
        return "ask the directory's owner to give your user execute (x) permission on the directory"
    return (
        f"let your user read it: `chmod u+r {shlex.quote(str(path))}`"
        if own
        else "ask its owner to let your user read it"
    )


def _is_own(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
