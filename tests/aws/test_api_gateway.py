"""Test that an API Gateway event becomes the exact request that was sent, and a reply becomes a return value."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticketbottle_payctl.aws.api_gateway import to_request, to_response
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Reply, Request
from ticketbottle_payctl.errors import BodyTooLargeError, InputError

quick = settings(max_examples=200, deadline=None, database=None)


def event(**changes):
    """Return an event in API Gateway's format. A field with the value ``...`` is removed."""
    made = {
        "version": "2.0",
        "routeKey": "POST /webhook/payos",
        "rawPath": "/prod/webhook/payos",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/prod/webhook/payos"}, "stage": "prod"},
        "body": "{}",
        "isBase64Encoded": False,
    } | changes
    return {name: value for name, value in made.items() if value is not ...}


def test_an_event_becomes_the_request_that_was_sent():
    """A request's method, path, query and body stay exactly as they were sent, because a signature can cover them."""
    sent = event(rawQueryString="vnp_OrderInfo=a+b%20c&x=1", queryStringParameters={"x": "1"}, body='{"a":"é"}')
    assert to_request(sent) == Request("POST", "/prod/webhook/payos", "vnp_OrderInfo=a+b%20c&x=1", '{"a":"é"}'.encode())


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00\xfe", "Đà Lạt".encode()])
def test_a_base64_body_becomes_the_bytes_that_were_sent(content):
    """A base64 body is decoded, because the gateway's signature covers the original bytes."""
    sent = event(body=base64.b64encode(content).decode(), isBase64Encoded=True)
    assert to_request(sent).body == content


@pytest.mark.parametrize("absent", [..., None])
@pytest.mark.parametrize("encoded", [True, False, ...])
def test_a_missing_body_becomes_an_empty_one(absent, encoded):
    """An event without a body becomes a request with an empty body."""
    assert to_request(event(body=absent, isBase64Encoded=encoded)).body == b""


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "1.0"},
        {"rawPath": ...},
        {"rawPath": 5},
        {"rawPath": "\ud800"},
        {"rawQueryString": None},
        {"rawQueryString": ["a"]},
        {"rawQueryString": "\ud800"},
        {"requestContext": ...},
        {"requestContext": "x"},
        {"requestContext": {}},
        {"requestContext": {"http": []}},
        {"requestContext": {"http": {}}},
        {"requestContext": {"http": {"method": None}}},
        {"body": {}},
        {"body": 5},
        {"body": "\ud800"},
        {"isBase64Encoded": "true"},
        {"isBase64Encoded": None},
        {"isBase64Encoded": 1},
    ],
)
def test_an_event_with_a_wrong_field_is_an_input_error(wrong):
    """The error for an event with a wrong field names the field and does not quote the event."""
    with pytest.raises(InputError) as refusal:
        to_request(event(**wrong))
    assert not isinstance(refusal.value, BodyTooLargeError)
    assert refusal.value.message.startswith(("the event", "the body", "raw", "requestContext", "isBase64"))


@pytest.mark.parametrize("body", ["e30", "e30=\n", "e3 0=", "e30==", "{}", "é", "=", "e30=e30="])
def test_a_body_that_is_not_strict_base64_is_an_input_error(body):
    """A body with invalid base64 is refused, because a lenient decoder would change the signed bytes."""
    with pytest.raises(InputError, match="base64"):
        to_request(event(body=body, isBase64Encoded=True))


@pytest.mark.parametrize("whole", [None, 5, "x", [], [("rawPath", "/")], b"", object()])
def test_a_value_that_is_not_an_event_is_an_input_error(whole):
    """A handler can get any value. `to_request` raises InputError for None, numbers, strings and lists."""
    with pytest.raises(InputError):
        to_request(whole)


@pytest.mark.parametrize(
    "large",
    [
        {"body": "x" * (MAX_BODY_BYTES + 1)},
        {"body": "é" * (MAX_BODY_BYTES // 2 + 1)},
        {"body": base64.b64encode(b"x" * (MAX_BODY_BYTES + 1)).decode(), "isBase64Encoded": True},
        {"body": "A" * 10_000_000, "isBase64Encoded": True},
        {"rawQueryString": "x" * (MAX_BODY_BYTES + 1)},
    ],
)
def test_a_body_that_is_too_large_has_its_own_error(large):
    """A body that is too large raises BodyTooLargeError with its own code, so that the webhook can respond with 413."""
    with pytest.raises(BodyTooLargeError) as refusal:
        to_request(event(**large))
    assert refusal.value.code == "BODY_TOO_LARGE"


def test_a_body_of_the_largest_size_is_read():
    """A body of exactly the maximum size is accepted, whether it is plain or base64-encoded."""
    content = b"x" * MAX_BODY_BYTES
    assert to_request(event(body=content.decode())).body == content
    assert to_request(event(body=base64.b64encode(content).decode(), isBase64Encoded=True)).body == content


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["2.0", "e30=", "GET"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["version", "rawPath", "rawQueryString", "requestContext", "body", "isBase64Encoded"])


@quick
@given(changes=st.dictionaries(names, anything, max_size=4))
def test_no_event_raises_anything_but_an_input_error(changes):
    """For any value in any event field, `to_request` returns a request or raises InputError."""
    with suppress(InputError):
        assert isinstance(to_request(event(**changes)), Request)


@quick
@given(whole=anything)
def test_no_value_raises_anything_but_an_input_error(whole):
    """For any value that is not an event, `to_request` raises InputError."""
    with pytest.raises(InputError):
        to_request(whole)


def test_a_reply_becomes_the_functions_return_value():
    """The function's return value contains a status, headers and a body.

    This value can be written as JSON, as the Lambda runtime requires.
    """
    response = to_response(Reply(200, '{"return_code":1}', {"content-type": "application/json"}))
    assert response == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"return_code":1}',
        "isBase64Encoded": False,
    }
    assert json.loads(json.dumps(to_response(Reply(204))))["body"] == ""
