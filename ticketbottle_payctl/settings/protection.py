"""Decide whether a database connection is protected against other machines in the network."""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.settings.database import TRUSTED_ENVIRONMENTS, DatabaseSettings

REMEDY = (
    "set PGSSLMODE=verify-full, and PGSSLROOTCERT to the certificates of the server's authority"
    " (only ENVIRONMENT=dev, local or test may omit them)"
)
_CHECKED = frozenset({"verify-ca", "verify-full"})


def unprotected(settings: DatabaseSettings, environ: Mapping[str, str]) -> str | None:
    """Return how the connection is unprotected, or None if it is protected or needs no protection.

    A connection on this machine needs none, and neither does an environment for development.
    """
    if environ.get("ENVIRONMENT", "dev") in TRUSTED_ENVIRONMENTS or settings.place.is_this_machine:
        return None
    mode = settings.parameters.get("sslmode", "prefer")
    # With a file of certificates, libpq checks the server in the mode `require` too.
    if mode in _CHECKED or (mode == "require" and settings.parameters.get("sslrootcert")):
        return None
    if (settings.parameters.get("gssencmode") or environ.get("PGGSSENCMODE")) == "require":
        return None
    if mode == "require":
        return f"sslmode is require, so payctl does not check the certificate of {settings.place}"
    return f"sslmode is {mode}, so the connection to {settings.place} may be unencrypted"
