"""Write a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile

from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.errors import InputError

_ELSEWHERE = "name a file in a directory that you can write to"


def check_free(path: Path, *, force: bool) -> None:
    """Raise an error if :func:`write_private` would refuse the path. Call this before a long job.

    Raises:
        InputError: something exists at ``path`` that must not be replaced, or the directory does not exist.
    """
    try:
        if not path.parent.is_dir():
            message = f"{escape(path)} cannot be written: there is no directory {escape(path.parent)}"
            raise InputError(message, hint=_ELSEWHERE)
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not stat.S_ISREG(mode):
        message = f"{escape(path)} is not a regular file, so it is not replaced"
        raise InputError(message, hint="name a new file; payctl does not write to a link, a directory or a device")
    if not force:
        message = f"{escape(path)} already exists"
        raise InputError(message, hint="name a new file, or replace this one with --force")


def write_private(path: Path, text: str, *, force: bool) -> None:
    """Write a file with mode 0600, completely or not at all. With ``force``, replace a regular file.

    Never follow a link. The text is written to a temporary file, which is then renamed to ``path``.

    Raises:
        InputError: something exists at ``path`` that must not be replaced, or the file cannot be written.
    """
    check_free(path, force=force)
    try:
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".payctl-", delete=False) as file:
            made = Path(file.name)
            try:
                file.write(text)
                file.flush()
                if force:
                    made.replace(path)
                else:
                    os.link(made, path)
            finally:
                made.unlink(missing_ok=True)
    except FileExistsError:
        check_free(path, force=False)
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    message = f"{escape(path)} cannot be written: {error.strerror or type(error).__name__}"
    return InputError(message, hint=_ELSEWHERE)
