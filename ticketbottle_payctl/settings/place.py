"""Find the servers and the database that a URL points to, for the guard, ``config show`` and ``cdc config``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.database_url import DatabaseUrl, parse

_DEFAULT_PORT = "5432"
_LAST_PORT = 65_535
_THIS_MACHINE = "localhost"


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """A database and its servers, in the order in which libpq tries them.

    A host that begins with ``/`` or ``@`` is a socket.
    """

    servers: tuple[tuple[str, str], ...]
    """The host or address of each server, and its port."""
    database: str

    def __str__(self) -> str:
        """Return ``host:port/database`` without the user, password or parameters."""
        named = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers)
        return f"{named}/{self.database}"

    def may_be(self, other: DatabasePlace) -> bool:
        """Return whether both have the same database name and a server in common.

        Different spellings of a host count as the same host.
        """
        return self.database == other.database and not self._known_servers.isdisjoint(other._known_servers)

    @property
    def is_this_machine(self) -> bool:
        """Whether every server is a socket or a loopback address."""
        return all(host == _THIS_MACHINE for host, _ in self._known_servers)

    @property
    def _known_servers(self) -> set[tuple[str, str]]:
        return {(_canonical(host), port) for host, port in self.servers}


def place_of(url: DatabaseUrl) -> DatabasePlace:
    """Return the servers and the database to which libpq connects for this URL.

    A parameter overrides the corresponding part of the URL, and ``hostaddr`` overrides the host. payctl passes all
    these values to libpq, so libpq ignores PGHOST, PGHOSTADDR, PGPORT and PGDATABASE.

    Raises:
        ConfigError: the URL does not contain a database name, has another URL as a host, or the counts of hosts,
            addresses and ports differ.
    """
    database = url.parameters.get("dbname") or url.database
    if not database:
        message = "DATABASE_URL names no database"
        raise ConfigError(message, hint="the format is postgresql://user:password@host:port/database")
    hosts = (url.parameters.get("host") or url.host or _THIS_MACHINE).split(",")
    if any("://" in host for host in hosts):  # a URL in the wrong place may contain a password
        message = "the host parameter of DATABASE_URL contains a URL"
        raise ConfigError(message, hint="write a host name, an address or the directory of a socket")
    addresses = (url.parameters.get("hostaddr") or "").split(",")
    if addresses == [""]:
        addresses *= len(hosts)
    elif len(hosts) == 1 and not (url.parameters.get("host") or url.host):
        hosts *= len(addresses)
    ports = (url.parameters.get("port") or str(url.port or _DEFAULT_PORT)).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if not len(hosts) == len(addresses) == len(ports):
        message = "the host, hostaddr and port parameters of DATABASE_URL list different numbers of servers"
        raise ConfigError(message, hint="give one port for each host, or one port for all")
    servers = zip(hosts, addresses, ports, strict=True)
    return DatabasePlace(
        tuple((_address(address) or host or _THIS_MACHINE, _port(port)) for host, address, port in servers), database
    )


def leads_to(text: str) -> DatabasePlace | None:
    """Return the servers and the database that ``text`` points to, or None if ``text`` is not a database URL."""
    try:
        return place_of(parse(text))
    except ConfigError:
        return None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        message = "the hostaddr parameter of DATABASE_URL is not an IP address"
        raise ConfigError(message, hint="give a name as host; hostaddr takes addresses only") from None


def _port(text: str) -> str:
    if not text:
        return _DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= _LAST_PORT):
        message = "the port parameter of DATABASE_URL is not a number from 1 to 65535"
        raise ConfigError(message, hint="give one port, or one for each host, separated by commas")
    return str(int(text))


def _canonical(host: str) -> str:
    """Return a host's canonical spelling.

    All names for this machine and all sockets have the same canonical spelling.
    """
    name = host.casefold().rstrip(".")
    if not name or name.startswith(("/", "@")) or name == _THIS_MACHINE or name.endswith(f".{_THIS_MACHINE}"):
        return _THIS_MACHINE
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return _THIS_MACHINE if address.is_loopback or address.is_unspecified else str(address)
