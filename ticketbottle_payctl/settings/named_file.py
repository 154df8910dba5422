"""Check the files that settings name, and say why a file cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LONGEST = 200
_PEM = "-----"


def fault(path: str, *, directory: bool = False) -> str | None:
    """Return why this file or directory cannot be used, such as "does not exist", or None."""
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISDIR if directory else stat.S_ISREG)(mode):
            return "is not a directory" if directory else "is not a regular file"
        if directory:
            os.scandir(path).close()
        else:
            Path(path).open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError):  # no permission, or a name that is too long or contains a NUL
        return "cannot be read"
    return None


def shown(path: str) -> str:
    """Return the path for a message.

    If the value is not a path but the text of a key or a certificate, return "a file" instead.
    """
    return "a file" if len(path) > _LONGEST or not path.isprintable() or _PEM in path else path
