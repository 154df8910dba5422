from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome
from ticketbottle_payctl.sandbox.callbacks import Scenario
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

_HANDSHAKE_REQUESTS = {80_877_103, 80_877_104}  # the client's requests for TLS and for GSSAPI


class Wire:
    """A proxy in front of a server that records each query message. Each simple query of libpq is a round trip.

    ``break_at`` is a part of a query. When this query comes, the connection is cut: before the server sees the query,
    or, with ``after``, once the server has answered, so that only the answer is lost.
    """

    def __init__(self, port: int) -> None:
        self.queries: list[str] = []
        self.break_at: str | None = None
        self.after = False
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self):
        """Cut all connections and wait until the threads end."""
        for one in self._sockets:
            _cut(one)
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                link = _Link(self, client, server)
                for work in (link.upward, link.downward):
                    thread = threading.Thread(target=work, daemon=True)
                    self._threads.append(thread)
                    thread.start()


class _Link:
    """One connection through the proxy."""

    def __init__(self, wire, client, server) -> None:
        self.wire, self.client, self.server = wire, client, server
        self.swallow = False

    def upward(self):
        """Forward messages from the client to the server."""
        with suppress(OSError, EOFError), self.client.makefile("rb") as stream:
            self._greet(stream)
            while True:
                kind, length = _exactly(stream, 1), _exactly(stream, 4)
                content = _exactly(stream, int.from_bytes(length) - 4)
                if kind == b"Q":
                    self._query(content[:-1].decode())
                self.server.sendall(kind + length + content)
        self._end()

    def _greet(self, stream):
        while True:
            length = _exactly(stream, 4)
            content = _exactly(stream, int.from_bytes(length) - 4)
            if int.from_bytes(content[:4]) not in _HANDSHAKE_REQUESTS:
                self.server.sendall(length + content)
                return
            self.client.sendall(b"N")

    def _query(self, text):
        self.wire.queries.append(text)
        if self.wire.break_at is not None and self.wire.break_at in text:
            self.wire.break_at = None
            if not self.wire.after:
                raise EOFError
            self.swallow = True

    def downward(self):
        """Forward bytes from the server to the client."""
        with suppress(OSError):
            while content := self.server.recv(65_536):
                if self.swallow:
                    break
                self.client.sendall(content)
        self._end()

    def _end(self):
        _cut(self.client)
        _cut(self.server)


def _exactly(stream, size):
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _cut(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@pytest.fixture
def wire(postgres):
    """Yield a proxy to the server."""
    with_ends = Wire(postgres.port)
    yield with_ends
    with_ends.close()


@pytest.fixture(params=[True, False], ids=["pooled", "unpooled"])
def wired(wire, postgres, database_url, request):
    """Yield an engine on the test's database through the proxy."""
    url = database_url.replace(f":{postgres.port}/", f":{wire.port}/")
    engine = make_engine(DatabaseSettings(Secret(url), pooled=request.param))
    yield engine
    engine.dispose()


def words(queries):
    """Return the first word of each query, without the limits before the first statement."""
    return [query.split(";\n")[-1].split()[0] for query in queries]


@pytest.mark.parametrize(
    ("calls", "statements"),
    [
        ([Scenario.PAID], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.PAID, Scenario.PAID], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.WRONG_AMOUNT], ["SELECT", "WITH", "COMMIT"]),
        ([Scenario.HELD], ["WITH", "COMMIT"]),
        ([Scenario.BAD_SIGNATURE], []),
    ],
)
def test_a_callback_takes_three_round_trips(shop, wire, wired, calls, statements):
    """A callback takes three round trips with COMMIT on a new or a used connection. A forgery takes none."""
    shop.process(shop.payment("vnpay"), engine=wired)  # the driver sends a few queries to a new server
    payment = shop.payment("vnpay")
    for scenario in calls:
        wire.queries.clear()
        shop.process(payment, scenario, engine=wired)
    sent = [query for query in wire.queries if query != "ROLLBACK"]
    assert words(sent) == statements
    assert len(wire.queries) - len(sent) <= (0 if wired.pool.__class__.__name__ == "QueuePool" else 1)


@pytest.mark.parametrize("rows", [1000, 1_000_000])
def test_a_look_up_without_an_index_takes_no_round_trip_more(shop, wire, wired, rows):
    """PayOS sends no order code: where to look first, and whether an index is missing, is asked in the same message."""
    shop.query("UPDATE pg_class SET reltuples = %s WHERE oid = 'payments'::regclass RETURNING oid", rows)
    shop.process(shop.payment("payos"), engine=wired)
    for _ in range(2):
        payment = shop.payment("payos")
        wire.queries.clear()
        report = shop.process(payment, engine=wired)
        sent = [query for query in wire.queries if query != "ROLLBACK"]
        walked = rows > 10_000 or wired.pool.__class__.__name__ != "QueuePool"
        assert words(sent) == ["WITH" if walked else "SELECT", "WITH", "COMMIT"]
        assert report.outcome is WebhookOutcome.SETTLED
        assert report.unindexed_payments == (rows if rows > 100_000 else 0)


def test_the_timeouts_are_sent_with_the_first_statement(shop, wire, wired):
    """The timeouts apply to the transaction only and need no round trip of their own."""
    shop.process(shop.payment("vnpay"), engine=wired)
    (first,) = [query for query in wire.queries if "set_config" in query]
    assert "FOR NO KEY UPDATE" in first
    assert first.startswith("BEGIN; SELECT set_config('statement_timeout', '4000', true), set_config('lock_timeout',")
    assert "set_config('jit', 'off', true)" in first  # a look-up in a large table costs enough to be compiled
    assert not [query for query in wire.queries if query.startswith("SET ")]


@pytest.mark.parametrize("statement", ["BEGIN", "FOR NO KEY UPDATE", "WITH settled", "COMMIT"])
def test_a_connection_that_breaks_before_the_commit_leaves_no_partial_write(shop, wire, wired, statement, caplog):
    """Nothing is written, and the next call settles the payment without a warning."""
    payment = shop.payment("vnpay")
    shop.process(shop.payment("vnpay"), engine=wired)
    before = shop.tables()
    wire.break_at = statement
    with pytest.raises(DatabaseUnavailableError, match="not available"):
        shop.process(payment, engine=wired)
    assert shop.tables() == before
    assert shop.process(payment, engine=wired).outcome is WebhookOutcome.SETTLED
    assert caplog.text == ""


def test_a_lost_commit_confirmation_does_not_settle_twice(shop, wire, wired):
    """The gateway is asked to call again and finds the payment settled, with one event."""
    payment = shop.payment("vnpay")
    wire.break_at, wire.after = "COMMIT", True
    with pytest.raises(DatabaseUnavailableError):
        shop.process(payment, engine=wired)
    assert shop.process(payment, engine=wired).outcome is WebhookOutcome.ALREADY_SETTLED
    assert (shop.row(payment)["status"], len(shop.events(payment))) == ("COMPLETED", 1)
