"""Create certificates for a broker on 127.0.0.1 with the openssl program. The certificates are valid for two days."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ticketbottle_payctl.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_SERVER: Final = (
    "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n"
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The paths of PEM files. ``server`` contains the key (PKCS#8), the certificate and the CA, as Kafka requires."""

    ca: Path
    server: Path
    stranger_ca: Path
    """An authority that did not sign the server's certificate.

    A client that trusts only this authority must refuse the broker.
    """


def make_certificates(directory: Path) -> Certificates:
    """Create an authority, a server certificate from it, and a second authority that signs nothing.

    Raises:
        ConfigError: The openssl program was not found.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "server.ext").write_text(_SERVER)
    _authority(directory, "ca")
    _authority(directory, "stranger")
    _openssl(directory, "req", *_NEW_KEY, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
    signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    signed = ("-days", "2", "-extfile", "server.ext", "-out", "certificate.pem")
    _openssl(directory, "x509", "-req", "-in", "request.pem", *signer, *signed)
    server = directory / "server.pem"
    server.write_text("".join((directory / name).read_text() for name in ("key.pem", "certificate.pem", "ca.pem")))
    return Certificates(directory / "ca.pem", server, directory / "stranger.pem")


def _authority(directory: Path, name: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN=payctl sandbox {name}")
    # Strict verifiers such as Python 3.13 require this usage in an authority's certificate.
    _openssl(directory, "req", "-x509", *_NEW_KEY, *files, "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def _openssl(directory: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        message = "the openssl program was not found"
        raise ConfigError(message, hint="install openssl: the local broker's certificates are made with it")
    subprocess.run([program, *arguments], cwd=directory, capture_output=True, check=True)
