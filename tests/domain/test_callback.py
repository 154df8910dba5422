"""Test that a callback's request does not show its content."""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import Request


def test_a_request_does_not_show_its_body():
    """The repr of a request omits the body, because it contains a customer's data and a signature."""
    shown = repr(Request("POST", "/webhook/momo", body=b"canary"))
    assert ("/webhook/momo" in shown, "canary" in shown) == (True, False)
