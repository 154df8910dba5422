"""Test with random values that verification never raises an exception and never accepts a changed callback."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.conftest import JSON_GATEWAYS, KEYS, SIGNATURES
from ticketbottle_payctl.domain.callback import Callback, Rejected, Request, Unclear
from ticketbottle_payctl.providers import GATEWAYS, payos, resolve, vnpay, zalopay
from ticketbottle_payctl.providers.momo import SIGNED as MOMO_SIGNED
from ticketbottle_payctl.providers.momo import pairs_text
from ticketbottle_payctl.providers.payload import MalformedError, read_object

quick = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
EVERY_JSON_GATEWAY = pytest.mark.parametrize("gateway", JSON_GATEWAYS)
SIGNED = {
    "zalopay": lambda request: zalopay.signed_text(json.loads(request.body)),
    "payos": lambda request: payos.signed_text(json.loads(request.body)["data"]),
    "vnpay": lambda request: vnpay.canonical_text(vnpay.read_query(request.query)),
    "momo": lambda request: str([json.loads(request.body).get(name) for name in MOMO_SIGNED]),
}
"""For each gateway, a function that returns the content that a request's signature covers.

The function shows whether a change affects this content.
"""


def signed_payos(merchant, document):
    """Return a webhook whose data is this JSON document."""
    mac = merchant.mac("payos", payos.signed_text(read_object(document)))
    return Request(body=f'{{"data":{document},"signature":"{mac}"}}'.encode())


def signed_momo(merchant, document):
    """Return a notification whose body is this JSON document."""
    mac = merchant.mac("momo", f"accessKey={KEYS['momo']['access_key']}&{pairs_text(read_object(document))}")
    return Request(body=f'{document[:-1]},"signature":"{mac}"}}'.encode())


SIGNED_JSON = {
    "zalopay": (lambda merchant: merchant.zalopay_data, lambda merchant, document: merchant.zalopay(data=document)),
    "payos": (lambda merchant: merchant.payos_data, signed_payos),
    "momo": (lambda merchant: merchant.momo_body, signed_momo),
}
"""For each gateway that sends JSON, the merchant's signed fields and a function that signs a JSON document."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("gateway", GATEWAYS)
@quick
@given(data=st.data())
def test_changing_a_signed_byte_is_refused(merchant, gateway, data):
    """If one byte of a callback is replaced, the callback is refused or keeps the same signed string."""
    genuine = getattr(merchant, gateway)()
    expected = merchant.verify(gateway, genuine)
    raw = genuine.query.encode() or genuine.body
    position = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = raw[:position] + bytes([byte]) + raw[position + 1 :]
    request = replace(genuine, query=changed.decode("latin-1")) if genuine.query else replace(genuine, body=changed)
    verdict = merchant.verify(gateway, request)
    assert verdict == expected or isinstance(verdict, Rejected | Unclear)
    if verdict == expected:
        assert SIGNED[gateway](request) == SIGNED[gateway](genuine)


@pytest.mark.parametrize("number", [b"1e400", b"-1E999"])
@EVERY_JSON_GATEWAY
def test_a_number_beyond_a_double_is_refused_without_an_exception(merchant, gateway, number):
    """A number too large for a double, which anyone can send, is refused without an exception."""
    genuine = getattr(merchant, gateway)()
    assert isinstance(
        merchant.verify(gateway, replace(genuine, body=genuine.body.replace(b"450000", number))), Rejected
    )
    null = genuine.body.replace(b"450000", number + b',"extra":null')
    listed = genuine.body.replace(b"450000", b"[" + number + b"]")
    verdicts = [merchant.verify(gateway, replace(genuine, body=body)) for body in (null, listed)]
    assert [type(verdict) for verdict in verdicts] == [Rejected, Rejected]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_signature_with_a_changed_digit_or_length_is_refused(merchant, gateway):
    """A callback is refused if its signature has a changed digit or a different length."""
    genuine = getattr(merchant, gateway)()
    if genuine.query:
        head, _, mac = genuine.query.rpartition("=")
        made = lambda text: replace(genuine, query=f"{head}={text}")  # noqa: E731
    elif gateway not in JSON_GATEWAYS:  # a form
        head, _, mac = genuine.body.decode().rpartition("=")
        made = lambda text: replace(genuine, body=f"{head}={text}".encode())  # noqa: E731
    else:
        body = json.loads(genuine.body)
        mac = body[SIGNATURES[gateway]]
        made = lambda text: replace(genuine, body=json.dumps({**body, SIGNATURES[gateway]: text}).encode())  # noqa: E731
    assert isinstance(merchant.verify(gateway, made(mac)), Callback)
    wrong = [mac[:i] + ("0" if mac[i] != "0" else "1") + mac[i + 1 :] for i in range(len(mac))]
    for text in [*wrong, mac[:-1], mac + "0", mac + mac, "", "0" * len(mac), f" {mac}", f"{mac}\n", f"0x{mac}"]:
        assert isinstance(merchant.verify(gateway, made(text)), Rejected)


@pytest.mark.parametrize("gateway", GATEWAYS)
@quick
@given(body=st.binary(max_size=200), query=st.text(st.characters(), max_size=200), path=st.text(max_size=20))
def test_verifying_random_bytes_never_raises(merchant, gateway, body, query, path):
    """A request with random bytes as its body, query or path is refused without an exception."""
    request = Request(path=path, query=query, body=body)
    assert isinstance(merchant.verify(gateway, request), Rejected)
    resolve(request)


@EVERY_JSON_GATEWAY
@quick
@given(data=st.data())
def test_verifying_random_json_never_raises(merchant, gateway, data):
    """Verifying a callback with any value in any body field returns a verdict and never raises an exception."""
    body = json.loads(getattr(merchant, gateway)().body)
    name = data.draw(st.sampled_from(sorted(body)) | st.text(max_size=8))
    inner = isinstance(body.get("data"), dict) and data.draw(st.booleans())
    target = body["data"] if inner else body
    target[data.draw(st.sampled_from(sorted(target))) if inner else name] = data.draw(json_values)
    verdict = merchant.verify(gateway, Request(body=json.dumps(body).encode()))
    assert isinstance(verdict, Callback | Unclear | Rejected)


@EVERY_JSON_GATEWAY
@quick
@given(data=st.data())
def test_reading_signed_random_json_never_raises(merchant, gateway, data):
    """Any value in a signed field leads to a verdict and not to an exception, even if the signature is valid."""
    fields_of, signed = SIGNED_JSON[gateway]
    fields = dict(fields_of(merchant))
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        fields[name] = data.draw(json_values | st.sampled_from([0, 1, 123, "123", "VQRIO123", "00", ""]))
    document = json.dumps(fields)
    try:
        request = signed(merchant, document)
    except MalformedError:
        return  # such content has no signed text
    assert isinstance(merchant.verify(gateway, request), Callback | Unclear | Rejected)


@EVERY_JSON_GATEWAY
@quick
@given(name=st.text(min_size=1, max_size=12), value=json_values.filter(lambda v: "Infinity" not in str(v)))
def test_an_unknown_unsigned_field_changes_nothing(merchant, gateway, name, value):
    """Gateways add fields without notice, so payctl ignores a new field that is not signed."""
    genuine = getattr(merchant, gateway)()
    body = json.loads(genuine.body)
    try:
        added = json.dumps({name: value, **body}, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return
    assert merchant.verify(gateway, Request(body=added)) == merchant.verify(gateway, genuine)


@quick
@given(
    fields=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="&="), min_size=1, max_size=6).filter(
            lambda name: not name[:1].isdigit()
        ),
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(codec="utf-8", exclude_characters="&"), max_size=8),
        max_size=5,
    )
)
def test_a_new_signed_payos_field_is_accepted(merchant, fields):
    """A PayOS webhook with a new field in data is accepted if the field is signed according to PayOS's rules."""
    data = {**fields, **merchant.payos_data}
    words = {None: "", True: "true", False: "false"}
    empty = ("null", "undefined")
    values = {n: words[v] if v is None or isinstance(v, bool) else "" if v in empty else v for n, v in data.items()}
    names = sorted(values, key=lambda name: name.encode("utf-16-be"))
    request = merchant.payos("&".join(f"{name}={values[name]}" for name in names), **fields)
    body = json.loads(request.body)
    body["data"] = data
    assert isinstance(merchant.verify("payos", Request(body=json.dumps(body).encode())), Callback)


@quick
@given(
    params=st.dictionaries(
        st.from_regex(r"vnp_[A-Za-z]{3,8}", fullmatch=True),
        st.text(st.characters(codec="utf-8"), max_size=12),
        max_size=4,
    )
)
def test_a_new_signed_vnpay_parameter_is_accepted(merchant, params):
    """A VNPay callback with a new vnp_ parameter is accepted if the parameter is signed according to VNPay's rules."""
    added = {name: value for name, value in params.items() if name not in merchant.vnpay_params}
    expected = merchant.verify("vnpay", merchant.vnpay())
    assert merchant.verify("vnpay", merchant.vnpay(**added)) == expected


def test_a_rejection_contains_no_key(vector):
    """A rejection names the gateway and does not contain a key."""
    verdict = vector.verify()
    if isinstance(verdict, Rejected):
        assert verdict.provider == vector.gateway
        for value in vector.keys.values():
            assert str(value) not in verdict.detail
