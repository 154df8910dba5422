"""Test that payctl reads a callback from a file correctly."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.cli.input.callback_source import Source, read_request


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_line_break_at_the_end_of_a_file_is_not_part_of_a_form(end, tmp_path):
    """`payctl` removes the line break at the end of form data, because the line break would change the last field."""
    file = tmp_path / "callback"
    file.write_bytes(f"amount=1&sig=00{end}".encode())
    assert read_request(Source(file=str(file)), "auto").body == b"amount=1&sig=00"


def test_a_body_in_another_encoding_is_read_unchanged(tmp_path):
    """`payctl` reads a body in UTF-16 unchanged, even if the body ends with a line break."""
    file = tmp_path / "callback"
    file.write_bytes("\ufeffsig=00\n".encode("utf-16-be"))
    assert read_request(Source(file=str(file)), "auto").body == "\ufeffsig=00\n".encode("utf-16-be")


@pytest.mark.parametrize("start", ["", "\ufeff", " \n"])
@pytest.mark.parametrize("body", ['{"data":"%s","mac":"00","type":1}', '[{"data":"%s","mac":"00","type":1}]'])
def test_a_json_body_that_contains_a_link_with_a_signature_is_not_a_query(body, start, tmp_path):
    """`payctl` reads a JSON body as a body, even if a value in it contains a query string of a gateway."""
    content = (start + body % r"{\"u\":\"https://x/?a=1&vnp_SecureHash=ab\"}").encode()
    file = tmp_path / "callback"
    file.write_bytes(content)
    request = read_request(Source(file=str(file)), "auto")
    assert (request.method, request.body, request.query) == ("POST", content, "")
