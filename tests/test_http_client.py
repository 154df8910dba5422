"""The way out: what may be asked, and what is done about servers that are not what they should be."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread

import pytest

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.errors import InputError, UnavailableError
from ticketbottle_payctl.http_client import checked_url, send
from ticketbottle_payctl.providers.queries.exchange import HttpRequest
from ticketbottle_payctl.sandbox.certificates import make_certificates

PATIENCE = timedelta(seconds=5)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(answer, wrap=lambda connection: connection):
    """One connection's worth of server, which answers these bytes and closes; gives its port and what it read."""
    read = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve():
            try:
                accepted, _ = listening.accept()
                with wrap(accepted) as connection:
                    question = connection.recv(65_536)
                    while question.startswith(b"POST") and not question.endswith(b"body"):  # it comes in pieces
                        question += connection.recv(65_536)
                    read.append(question)
                    connection.sendall(answer)
            except OSError:
                return

        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], read
        thread.join()


def test_a_question_arrives_and_its_answer_comes_back():
    """With the headers and the body that were given, and a name of our own."""
    with server(ANSWER) as (port, read):
        response = send(HttpRequest("POST", f"http://127.0.0.1:{port}/a?b=c", {"X-Y": "z"}, b"body"), PATIENCE)
    assert (response.status, response.body) == (200, b"ok")
    assert read[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    for part in (b"User-Agent: payctl", b"X-Y: z", b"body"):
        assert part in read[0]


def test_a_redirect_is_not_followed():
    """It is an answer like another."""
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert send(HttpRequest("GET", f"http://127.0.0.1:{port}/"), PATIENCE).status == 302


def test_no_more_is_read_than_is_needed():
    """One byte above the limit tells that it is too much."""
    with server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000) as (port, _):
        assert len(send(HttpRequest("GET", f"http://127.0.0.1:{port}/"), PATIENCE).body) == MAX_BODY_BYTES + 1


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_must_hold(trusted, tmp_path, monkeypatch):
    """One of an authority that nobody trusts ends the conversation before anything is said."""
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with server(ANSWER, lambda it: context.wrap_socket(it, server_side=True)) as (port, read):
        question = HttpRequest("GET", f"https://127.0.0.1:{port}/", {"x-api-key": "secret"})
        if trusted:
            assert send(question, PATIENCE).body == b"ok"
            return
        with pytest.raises(UnavailableError, match="certificate does not hold"):
            send(question, PATIENCE)
    assert read == []


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_not_http_is_no_answer(answer):
    """Nothing of it is quoted."""
    with server(answer) as (port, _), pytest.raises(UnavailableError) as caught:
        send(HttpRequest("GET", f"http://127.0.0.1:{port}/"), PATIENCE)
    assert "nonsense" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://", "ftp://127.0.0.1/", "http://example.com/", "http://10.0.0.1/", "http://127.0.0.1:99999/",
     "https://user:secret@example.com/", "https://exa mple.com/", "https://example.com/\r\nX: y", "http://[::1",
     "http://127.0.0.1.example.com/", "https://vé.example/"],
)  # fmt: skip
def test_an_address_that_may_not_be_asked(url):
    """It is refused before anything is opened, and not quoted: it may hold a password."""
    with pytest.raises(InputError) as caught:
        checked_url(url)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("url", ["https://example.com", "http://127.0.0.1:1/x", "http://[::1]/", "http://LOCALHOST:80"])
def test_an_address_that_may_be_asked(url):
    """TLS anywhere, without it this machine."""
    assert checked_url(url).hostname
