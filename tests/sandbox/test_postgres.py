"""Test that the sandbox's PostgreSQL server keeps its data after a restart, and leaves nothing behind at the end."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import POSTGRES
from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.postgres_binaries import Binaries, find_binaries, readable, server_account
from ticketbottle_payctl.sandbox.server import Account, in_memory, wait_until

ORPHAN = """
import sys, time
from ticketbottle_payctl.sandbox.postgres import Postgres
server = Postgres(binaries=sys.argv[1]).start()
print(server.pid, server.log.parent, flush=True)
time.sleep(600)
"""


def ask(url, query):
    """Return the first column of the query's first row."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    finally:
        connection.close()


@pytest.mark.postgres
@pytest.mark.parametrize("origin", ["system", "wheel"])
def test_a_closed_postgresql_server_leaves_nothing(origin):
    """After `close`, the PostgreSQL server's process and directory no longer exist."""
    try:
        server = Postgres(binaries=origin, within=in_memory()).start()
    except ConfigError as error:
        pytest.skip(f"{error}; {error.hint}")
    pid, home = server.pid, server.log.parent
    assert ask(server.url(), "SHOW listen_addresses") == "127.0.0.1"
    server.close()
    assert not home.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_postgresql_restart_keeps_data_port_and_password(postgres, empty_database_url, mode):
    """After a restart or a crash, PostgreSQL's committed data is available at the same URL."""
    connection = psycopg2.connect(empty_database_url)
    connection.cursor().execute("CREATE TABLE kept AS SELECT 42 AS answer")
    connection.commit()
    postgres.restart(mode)
    connection.close()
    assert ask(empty_database_url, "SELECT answer FROM kept") == 42


def test_a_postgresql_setting_changes_at_a_restart(postgres, empty_database_url):
    """A PostgreSQL setting that is passed to `restart` applies until `restart` is called with a different value."""
    postgres.restart(settings={"default_transaction_read_only": "on"})
    seen = ask(empty_database_url, "SHOW default_transaction_read_only")
    postgres.restart(settings={"default_transaction_read_only": "off"})
    assert (seen, ask(empty_database_url, "SHOW default_transaction_read_only")) == ("on", "off")


def test_a_connection_without_the_password_is_refused(postgres):
    """The PostgreSQL server requires its random password over TCP."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres")


@pytest.mark.usefixtures("postgres")
def test_a_postgresql_server_ends_when_its_parent_is_killed():
    """If the parent process is killed, the PostgreSQL server stops and its directory is removed."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, POSTGRES], stdout=subprocess.PIPE, text=True)
    pid, home = parent.stdout.readline().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not Path(home).exists(), what="the directory is gone", timeout=10)
    wait_until(lambda: not running(pid), what="the server is gone", timeout=10)


def running(pid):
    """Return whether a process is running.

    A zombie does not count, because a zombie stays if no init process reaps it.
    """
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_error_for_a_server_that_does_not_start_has_its_log():
    """If PostgreSQL does not start, the error message ends with the server's log."""
    with pytest.raises(UnavailableError, match="unrecognized configuration parameter"):
        Postgres(settings={"no_such_setting": "1"}, within=in_memory()).start()


def test_postgresql_programs_in_a_private_directory_are_copied(tmp_path, monkeypatch):
    """`readable` copies PostgreSQL programs from a private directory, because root runs the server as another user."""
    monkeypatch.setattr("ticketbottle_payctl.sandbox.postgres_binaries.cache_home", lambda: tmp_path)
    tmp_path.chmod(0o700)
    original = find_binaries("wheel")
    (tmp_path / "package").symlink_to(original.directory.parent.parent)
    hidden = Binaries(tmp_path / "package" / "pginstall" / "bin", original.version, original.origin)
    account = server_account() or Account("ourselves", os.getuid(), os.getgid())
    copied = readable(hidden, account)
    version = subprocess.run(
        [copied.directory / "postgres", "--version"], user=account.uid, capture_output=True, text=True, check=True
    )
    assert original.version in version.stdout
    assert stat.S_IMODE(copied.directory.stat().st_mode) & 0o005 == 0o005
