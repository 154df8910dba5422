"""Decide whether a database connection is protected against other machines in the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ticketbottle_payctl.settings.database import TRUSTED_ENVIRONMENTS, DatabaseSettings

REMEDY = (
    "set PGSSLMODE=verify-full, and set PGSSLROOTCERT to a file with the certificate of the server's authority"
    " (only ENVIRONMENT=dev, local or test may omit them)"
)
_CHECKED = frozenset({"verify-ca", "verify-full"})


def unprotected(settings: DatabaseSettings, environ: Mapping[str, str]) -> str | None:
    """Return why the connection is not protected, or None if it is protected or needs no protection.

    A connection within this machine needs no protection, and neither does a connection in a development environment.
    """
    if environ.get("ENVIRONMENT", "dev") in TRUSTED_ENVIRONMENTS or settings.place.is_this_machine:
        return None
    mode = settings.parameters.get("sslmode", "prefer")
    # With a file of certificates, libpq checks the server in the mode `require` too.
    if mode in _CHECKED or (mode == "require" and _has_certificates(settings, environ)):
        return None
    if (settings.parameters.get("gssencmode") or environ.get("PGGSSENCMODE")) == "require":
        return None
    if mode == "require":
        return f"sslmode is require, so payctl does not check the certificate of {settings.place}"
    encryption = "is not encrypted with TLS" if mode == "disable" else "may be unencrypted"
    return f"sslmode is {mode}, so the connection to {settings.place} {encryption}"


def _has_certificates(settings: DatabaseSettings, environ: Mapping[str, str]) -> bool:
    """Return whether the settings name a file of certificates, or libpq's default file of certificates exists."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path raises if the user has no home
    # Path.exists raises an error for a directory that the user cannot open.
    return bool(settings.parameters.get("sslrootcert")) or os.access(Path(home, ".postgresql", "root.crt"), os.F_OK)
