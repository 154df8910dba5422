"""Test over real HTTP that the local webhook server handles chunked bodies, slow clients and its own shutdown."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Answer
from ticketbottle_payctl.sandbox import webhook_server as module
from ticketbottle_payctl.sandbox.webhook_server import webhook_server

HEAD = b"POST /webhook/momo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def received():
    """Return the list of bodies that the handler has received."""
    return []


@pytest.fixture
def port(received):
    """Run a server that accepts every callback. Yield its port."""

    def handle(request, gateway, _headers):
        received.append(request.body)
        return gateway.reply(Answer.DONE)

    with webhook_server(handle, lambda *_: None) as base:
        yield int(base.rpartition(":")[2])


def status(port, sent):
    """Send these bytes and close the writing side. Return the response's status."""
    with closing(socket.create_connection(("127.0.0.1", port), 20)) as client:
        with suppress(OSError):  # the server may refuse the first bytes and close the connection
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").readline()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
        (b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
        (b"A;name=value\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", b"{}"),
        (b"0\r\n\r\n", b""),
        (b"%X\r\n%b\r\n0\r\n\r\n" % (MAX_BODY_BYTES, b"x" * MAX_BODY_BYTES), b"x" * MAX_BODY_BYTES),
    ],
    ids=["one", "two", "extension", "trailer", "empty", "largest"],
)
def test_the_webhook_server_reads_a_chunked_body(port, received, chunks, body):
    """The webhook server's handler gets the bytes of a chunked body without the chunk framing.

    Proxies and curl send chunked bodies.
    """
    assert (status(port, HEAD + chunks), received) == (204, [body])


@pytest.mark.parametrize(
    ("chunks", "refused"),
    [
        (b"%X\r\n%b\r\n0\r\n\r\n" % (MAX_BODY_BYTES + 1, b"x" * (MAX_BODY_BYTES + 1)), 413),
        (b"8000\r\n" + b"x" * 0x8000 + b"\r\n8001\r\n", 413),
        (b"FFFFFFFF\r\n", 413),
        (b"FFFFFFFFF\r\n", 400),
        (b"-1\r\n", 400),
        (b"0x2\r\n{}\r\n0\r\n\r\n", 400),
        (b"z\r\n", 400),
        (b"\r\n", 400),
        (b"2\r\n{}XX0\r\n\r\n", 400),
        (b"5\r\n{}\r\n", 400),
        (b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n", 400),
        (b"1" * 100_000, 400),
    ],
    ids=["too large", "too large in two", "huge", "nine digits", "negative", "prefix", "letter", "empty", "no end",
         "cut short", "trailers", "long line"],
)  # fmt: skip
def test_the_webhook_server_refuses_a_malformed_chunked_body(port, received, chunks, refused):
    """A malformed chunked body gets 400 or 413 and does not reach the handler."""
    assert (status(port, HEAD + chunks), received) == (refused, [])


def test_the_webhook_server_cuts_off_a_slow_client(port, received, monkeypatch):
    """A request to the webhook server has a single deadline.

    A client that sends one byte at a time cannot extend this deadline.
    """
    monkeypatch.setattr(module, "_SLOWEST", 0.5)
    with closing(socket.create_connection(("127.0.0.1", port), 20)) as client:
        client.sendall(b"POST /webhook/momo HTTP/1.1\r\nContent-Length: 500\r\n\r\n")
        ended = threading.Event()

        def trickle():
            while not ended.wait(0.05):
                try:
                    client.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        answer = client.makefile("rb").readline()
        ended.set()
        thread.join()
    assert answer.split()[1] in {b"400", b"408"}
    assert received == []


def test_the_webhook_server_ends_within_its_grace_period(monkeypatch):
    """A client that keeps a connection open without sending a request does not delay the server's shutdown."""
    monkeypatch.setattr(module, "GRACE", 0.3)
    clients = []
    with webhook_server(lambda *_: None, lambda *_: None) as base:
        port = int(base.rpartition(":")[2])
        for sent in (b"", b"POST /webhook/momo HT", b"POST /webhook/momo HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
            client = socket.create_connection(("127.0.0.1", port), 20)
            client.sendall(sent)
            clients.append(client)
        time.sleep(0.1)  # wait until the server has accepted the connections
        began = time.monotonic()
    for client in clients:
        client.close()
    assert time.monotonic() - began < module._SLOWEST  # noqa: SLF001 - the time without a grace period


def test_the_webhook_server_answers_a_request_in_flight_before_it_ends(monkeypatch):
    """Before the webhook server stops, it answers a callback that is in flight."""
    monkeypatch.setattr(module, "GRACE", 10.0)
    inside, answers = threading.Event(), []

    def handle(_request, gateway, _headers):
        inside.set()
        time.sleep(0.3)
        return gateway.reply(Answer.DONE)

    with webhook_server(handle, lambda *_: None) as base:
        port = int(base.rpartition(":")[2])
        request = b"POST /webhook/momo HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
        thread = threading.Thread(target=lambda: answers.append(status(port, request)))
        thread.start()
        assert inside.wait(10)
    thread.join()
    assert answers == [204]
