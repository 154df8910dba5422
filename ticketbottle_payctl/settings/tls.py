"""Decide how a database connection uses TLS, based on DATABASE_URL and the PG environment variables.

Prisma's parameters are translated into libpq's parameters. If the URL and the environment differ, the stricter value is
used. If the URL specifies a certificate, the connection always uses TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from ticketbottle_payctl.errors import ConfigError

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHECKED = ("verify-ca", "verify-full")
_ORDERED = {
    "channel_binding": ("PGCHANNELBINDING", ("disable", "prefer", "require")),
    "gssencmode": ("PGGSSENCMODE", ("disable", "prefer", "require")),
    "ssl_min_protocol_version": ("PGSSLMINPROTOCOLVERSION", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
}
_ENVIRONMENT_WINS = {
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
}
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_TRUE = frozenset({"true", "1"})
NAMES = frozenset(
    {"sslmode", "sslaccept", "sslcert", "sslidentity", "sslpassword", "sslkey", "sslrootcert", "ssl", "requiressl"}
    | set(_ORDERED)
    | set(_ENVIRONMENT_WINS)
)
"""The parameters in DATABASE_URL that this module reads."""


class Tls(NamedTuple):
    """The TLS parameters for libpq, and warnings about the URL's parameters."""

    parameters: dict[str, str]
    remarks: tuple[str, ...]


class _Asked(NamedTuple):
    """The URL's TLS parameters. ``root`` is the file with CA certificates.

    ``own`` contains the client certificate's parameters.
    """

    mode: str | None
    root: str | None
    checks: bool
    system: bool
    own: dict[str, str]
    remarks: tuple[str, ...]


def tls(given: Mapping[str, str], environ: Mapping[str, str]) -> Tls:
    """Return the TLS parameters for libpq, based on a URL's parameters and an environment.

    Raises:
        ConfigError: a value is unknown, two values contradict each other, a certificate file cannot be read, or a
            PKCS#12 identity is given.
    """
    asked = _asked(given)
    remarks = list(asked.remarks)
    mode = _stricter(asked.mode, _demanded(environ))
    root = asked.root
    if named := environ.get("PGSSLROOTCERT"):
        if root and root != named:
            remarks.append("PGSSLROOTCERT is set, so the CA file that DATABASE_URL names is not used")
        root = named
    elif not asked.checks and mode not in _CHECKED:
        root = None
        remarks.append("DATABASE_URL turns off verification of the server's certificate")
    elif asked.system and not root:
        root = _system_authorities()
    if root == "system":
        mode = "verify-full"
    elif root and asked.root == root:
        _require_file(root, "sslcert or sslrootcert")
    found = {"sslmode": mode, "sslrootcert": root, **asked.own, **_others(given, environ)}
    return Tls({name: value for name, value in found.items() if value}, tuple(remarks))


def _asked(given: Mapping[str, str]) -> _Asked:
    remarks = []
    mode, accept = given.get("sslmode") or None, given.get("sslaccept") or None
    checks = mode != "no-verify" and accept != "accept_invalid_certs"
    if mode == "no-verify":
        mode = "require"
    if mode is not None and mode not in MODES:
        _refuse("the sslmode parameter of DATABASE_URL", MODES)
    checks = checks or mode in _CHECKED
    if mode is None and (given.get("ssl") in _TRUE or given.get("requiressl") == "1"):
        mode = "require"
    root, own = _certificates(given)
    strict = accept is not None and accept != "accept_invalid_certs"
    if strict and accept != "strict":
        remarks.append(
            "the sslaccept parameter of DATABASE_URL is neither strict nor accept_invalid_certs;"
            " payctl treats it as strict"
        )
    if mode == "disable" and (root or own or strict):
        message = "DATABASE_URL has sslmode=disable, but also a certificate or sslaccept"
        raise ConfigError(message, hint="remove sslmode=disable, or the parameters sslcert, sslrootcert and sslaccept")
    if strict:
        mode = "verify-full"
    elif root:
        mode = _stricter(mode, "verify-ca" if checks else "require")
    elif own:
        mode = _stricter(mode, "require")
    return _Asked(mode, root, checks, strict, own, tuple(remarks))


def _certificates(given: Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
    """Return the file with CA certificates, and the parameters for a client certificate.

    For Prisma, ``sslcert`` is the CA's certificate. For libpq, ``sslcert`` is the client's certificate. If ``sslkey``
    or ``sslrootcert`` is also given, libpq's meaning applies.
    """
    certificate, key, root = (given.get(name) or None for name in ("sslcert", "sslkey", "sslrootcert"))
    if given.get("sslidentity") or (given.get("sslpassword") and not key):
        message = (
            "the sslidentity and sslpassword parameters of DATABASE_URL cannot be used: libpq cannot read PKCS#12 files"
        )
        hint = "convert it with `openssl pkcs12`, and give sslcert, sslkey and sslrootcert as PEM files"
        raise ConfigError(message, hint=hint)
    if not key and not root:
        return certificate, {}
    own = {name: value for name, value in (("sslcert", certificate), ("sslkey", key)) if value}
    for name, value in own.items():
        _require_file(value, name)
    return root, own


def _others(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, (variable, order) in _ORDERED.items():
        asked, demanded = given.get(name) or None, environ.get(variable) or None
        if asked is not None and asked not in order:
            _refuse(f"the {name} parameter of DATABASE_URL", order)
        if demanded is not None and demanded not in order:
            _refuse(variable, order)
        if asked is not None:
            found[name] = max(asked, demanded or asked, key=order.index)
    for name, variable in _ENVIRONMENT_WINS.items():
        if given.get(name):
            found[name] = environ.get(variable) or given[name]
    return found


def _demanded(environ: Mapping[str, str]) -> str | None:
    mode = environ.get("PGSSLMODE") or None
    if mode is not None and mode not in MODES:
        _refuse("PGSSLMODE", MODES)
    return _stricter(mode, "require" if environ.get("PGREQUIRESSL") == "1" else None)


def _stricter(first: str | None, second: str | None) -> str | None:
    return max((mode for mode in (first, second) if mode), key=MODES.index, default=None)


def _system_authorities() -> str:
    """Return the file with the CAs that this machine trusts. The driver's bundled OpenSSL does not find this file."""
    import ssl  # noqa: PLC0415 - it loads slowly, and few URLs need it

    known = (ssl.get_default_verify_paths().cafile, *_AUTHORITIES)
    return next((path for path in known if path and Path(path).is_file()), "system")


def _require_file(path: str, name: str) -> None:
    from ticketbottle_payctl.settings.named_file import fault  # noqa: PLC0415 - only if a variable names a file

    if wrong := fault(path):
        message = f"the file that DATABASE_URL names as {name} {wrong}"
        raise ConfigError(message, hint="give an absolute path, and check the file's owner and mode")


def _refuse(what: str, allowed: tuple[str, ...]) -> NoReturn:
    message = f"{what} is not one of {', '.join(allowed)}"
    raise ConfigError(message)
