"""Test that payctl's HTTP client refuses forbidden addresses and copes with misbehaving servers."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread

import pytest

from tests.servers.certificates import make_certificates
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.errors import InputError, UnavailableError
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.http_client import send
from ticketbottle_payctl.providers.queries.exchange import HttpRequest

TIMEOUT = timedelta(seconds=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(answer, wrap=lambda connection: connection):
    """Run a server for one connection. The server sends ``answer`` and closes.

    Yield its port and the bytes that it read.
    """
    with conversation(lambda connection: connection.sendall(answer), wrap) as found:
        yield found


@contextmanager
def conversation(talk, wrap=lambda connection: connection):
    """Run a server for one connection. The server reads a request and calls ``talk``.

    Yield its port and the bytes that it read.
    """
    read = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve():
            try:
                accepted, _ = listening.accept()
                with wrap(accepted) as connection:
                    request = connection.recv(65_536)
                    while request.startswith(b"POST") and not request.endswith(
                        b"body"
                    ):  # the request arrives in several pieces
                        request += connection.recv(65_536)
                    read.append(request)
                    talk(connection)
            except OSError:
                return

        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], read
        thread.join()


def get(port, path="/", timeout=TIMEOUT):
    """Send a GET request to a port on 127.0.0.1."""
    return send(HttpRequest("GET", f"http://127.0.0.1:{port}{path}"), timeout)


def test_a_request_arrives_and_its_response_is_returned():
    """The server gets the given headers and body, and payctl's User-Agent. The caller gets the response."""
    with server(OK) as (port, read):
        response = send(HttpRequest("POST", f"http://127.0.0.1:{port}/a?b=%2Fc", {"X-Y": "z"}, b"body"), TIMEOUT)
    assert (response.status, response.body) == (200, b"ok")
    assert read[0].startswith(b"POST /a?b=%2Fc HTTP/1.1\r\n")
    for part in (b"User-Agent: payctl", b"Accept-Encoding: identity\r\n", b"X-Y: z\r\n", b"body"):
        assert part in read[0]


def test_a_redirect_is_not_followed():
    """The HTTP client returns a redirect like any other response."""
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert get(port).status == 302


def test_the_environment_does_not_change_where_a_request_goes(monkeypatch, tmp_path):
    """The HTTP client ignores proxy variables and passwords in .netrc."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with server(OK) as (port, read):
        assert get(port).status == 200
    assert b"authorization" not in read[0].lower()


@pytest.mark.parametrize("length", [b"", b"Content-Length: 2000000\r\n"], ids=["until it closes", "with a length"])
def test_a_response_that_is_too_long_is_cut(length):
    """If a response is too long, the HTTP client stops reading one byte after the limit."""
    with server(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * 2_000_000) as (port, _):
        assert get(port).body == b"x" * (MAX_BODY_BYTES + 1)


def test_a_compressed_response_is_not_unpacked():
    """The HTTP client returns a compressed body unchanged, so a small response cannot expand to a large one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    with server(answer) as (port, _):
        assert get(port).body == b"abc"


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"],
    ids=["nothing", "in the headers", "in the body", "in a body with a length"],
)
def test_one_deadline_covers_a_response_that_comes_byte_by_byte(start):
    """The HTTP client's deadline covers the whole exchange, even if the response arrives byte by byte."""
    stop = Event()

    def trickle(connection):
        connection.sendall(start)
        while start and not stop.wait(0.1):
            connection.sendall(b"x")
        stop.wait(10)

    with conversation(trickle) as (port, _):
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no complete response within 0\.5 s"):
            get(port, timeout=timedelta(seconds=0.5))
        took = time.monotonic() - begun
        stop.set()
    assert took < 5


def test_the_deadline_covers_the_tls_handshake():
    """The HTTP client's deadline also covers the TLS handshake.

    A server that accepts the connection but does not answer cannot block payctl.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        begun = time.monotonic()
        request = HttpRequest("GET", f"https://127.0.0.1:{listening.getsockname()[1]}/")
        with pytest.raises(UnavailableError, match="no complete response"):
            send(request, timedelta(seconds=0.5))
    assert time.monotonic() - begun < 5


def test_the_error_for_a_refused_connection_has_the_reason():
    """The HTTP client's error for a refused connection contains the operating system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(UnavailableError, match=r"no response from 127\.0\.0\.1: .*[Rr]efused"):
        get(port)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_must_be_trusted(trusted, tmp_path, monkeypatch):
    """If the server's certificate is not trusted, the HTTP client raises an error before it sends the request."""
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with server(OK, lambda it: context.wrap_socket(it, server_side=True)) as (port, read):
        request = HttpRequest("GET", f"https://127.0.0.1:{port}/", {"x-api-key": "secret"})
        if trusted:
            assert send(request, TIMEOUT).body == b"ok"
            return
        with pytest.raises(UnavailableError, match="certificate is not trusted"):
            send(request, TIMEOUT)
    assert read == []


def test_the_certificate_authorities_are_read_once_and_only_for_tls(tmp_path, monkeypatch):
    """The HTTP client reads the authorities once for many requests. It does not read them for plain HTTP."""
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    made, make = [], ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: made.append(make()) or made[-1])
    reads = []
    for scheme in ("http", "https", "https"):
        wrap = {"wrap": lambda it: context.wrap_socket(it, server_side=True)} if scheme == "https" else {}
        with server(OK, **wrap) as (port, _):
            assert send(HttpRequest("GET", f"{scheme}://127.0.0.1:{port}/", {}), TIMEOUT).body == b"ok"
        reads.append(len(made))
    assert reads == [0, 1, 1]


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnonsense"],
)
def test_an_incomplete_response_is_an_error(answer):
    """An incomplete HTTP response raises UnavailableError. The error message does not quote the response."""
    with server(answer) as (port, _), pytest.raises(UnavailableError, match="complete HTTP response") as caught:
        get(port)
    assert "nonsense" not in caught.value.message


@pytest.mark.parametrize("value", ["hidden\r\nX: y", "hiddén"])
def test_a_header_that_http_does_not_allow_is_not_quoted(value):
    """If a header value has a forbidden character, the HTTP client raises an error that does not show the value."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        request = HttpRequest("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", {"x-api-key": value})
        with pytest.raises(UnavailableError, match="character that HTTP does not allow") as caught:
            send(request, TIMEOUT)
    assert "hidd" not in caught.value.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://", "ftp://127.0.0.1/", "http://example.com/", "http://10.0.0.1/", "http://127.0.0.1:99999/",
     "https://user:secret@example.com/", "https://exa mple.com/", "https://example.com/\r\nX: y", "http://[::1",
     "http://127.0.0.1.example.com/", "https://vé.example/"],
)  # fmt: skip
def test_a_forbidden_url_is_refused(url):
    """The HTTP client refuses a forbidden URL before it connects.

    The error does not quote the URL, because the URL can contain a password.
    """
    with pytest.raises(InputError) as caught:
        checked_url(url)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("url", ["https://example.com", "http://127.0.0.1:1/x", "http://[::1]/", "http://LOCALHOST:80"])
def test_https_urls_and_local_http_urls_are_allowed(url):
    """The HTTP client allows https for any host, but http only for this machine."""
    assert checked_url(url).hostname
