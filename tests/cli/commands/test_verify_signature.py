"""Test that `payctl verify-signature` reads each source of callbacks and keys, and explains its verdict."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from tests.providers.conftest import SIGNING_VARIABLES
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.sandbox.callbacks import callback
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment


def judged(document):
    """Return the document's values for the fields that a test vector also has."""
    names = ("valid", "outcome", "order_ref", "provider_transaction_id", "amount")
    return {name: document["result"][name] for name in names}


@pytest.mark.parametrize("how", ["named", "by path"])
def test_verify_signature_gives_each_vector_its_verdict(vector, how, answer):
    """With --provider or with --path, `verify-signature` gives the right verdict on each test vector."""
    told = ["--provider", vector.gateway] if how == "named" else ["--path", vector.path]
    document = answer("verify-signature", "-", *told, stdin=vector.content, **vector.environment)
    assert judged(document) == vector.expect
    assert document["exit_code"] == (0 if vector.expect["valid"] else 5)
    assert document["ok"] is vector.expect["valid"]
    assert document["error"] is None


@pytest.mark.parametrize("name", samples())
def test_an_example_is_valid_and_a_changed_one_is_not(name, answer):
    """`verify-signature` accepts each built-in example with its keys, and refuses the example if a field is changed."""
    assert answer("verify-signature", "--example", name)["exit_code"] == 0
    changed = answer("verify-signature", "--example", name, "--tamper", "amount")
    assert changed["exit_code"] == 5
    assert changed["result"]["hints"]


def test_the_first_line_of_a_valid_callback_sums_it_up(process):
    """For a valid callback, the first line of `verify-signature` shows the gateway, outcome, amount and order."""
    result = process("verify-signature", "--example", "zalopay")
    assert result.stdout.splitlines()[0] == (
        "✔ valid  ZaloPay  COMPLETED  7,200,000 VND  order TB-LTDTNL-20251213-8D39986M"
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_refusal_shows_the_reason_the_key_and_a_hint(process):
    """For an invalid callback, `verify-signature` exits with 5 and shows the reason, the key's name and a hint."""
    result = process("verify-signature", "--example", "zalopay", "--tamper", "amount")
    first, key, hint, *_ = result.stdout.splitlines()
    assert first == "✘ not valid  ZaloPay  the mac does not match data with key2"
    assert key == "  key   key2 of the example, 32 characters, fingerprint 5055cb27"
    assert hint.startswith("  hint  no known variant matches")
    assert "--explain" in result.stdout
    assert result.returncode == 5


def test_explain_shows_the_signed_text_masked(answer):
    """`verify-signature --explain` shows the signed text with masked personal data."""
    signed = answer("verify-signature", "--example", "payos", "--explain")["result"]["canonical"]
    assert "orderCode=123" in signed
    assert "accountNumber=***" in signed


def test_the_signed_text_is_shown_only_with_explain(answer):
    """`verify-signature` shows the signed text only with --explain, even after a refusal."""
    assert "canonical" not in answer("verify-signature", "--example", "payos", "--tamper", "amount")["result"]


@pytest.mark.parametrize("prefix", ["", "?", "https://shop.example/webhook/vnpay?", "HTTP://shop.example/?", "\n "])
@pytest.mark.parametrize("provider", ["auto", "vnpay"])
def test_vnpay_is_read_from_a_query_or_a_url(prefix, provider, answer, tmp_path):
    """`verify-signature` reads VNPay's query string with or without a question mark, or from a URL."""
    sample = samples()["vnpay"]
    file = tmp_path / "callback"
    file.write_text(f"{prefix}{sample.request.query}\n", "utf-8")
    environment = {"VNPAY_TMN_CODE": "TBEXAMPL", "VNPAY_HASH_SECRET": sample.credentials["hash_secret"][0].reveal()}
    environment["VNPAY_TMN_CODE"] = sample.credentials["tmn_code"][0].reveal()
    from_file = answer("verify-signature", str(file), "--provider", provider, **environment)
    from_query = answer("verify-signature", "--query", file.read_text("utf-8"), "--provider", provider, **environment)
    assert from_file["result"] == from_query["result"]
    assert from_file["result"]["valid"]


def test_an_api_gateway_event_is_read(answer, tmp_path):
    """`verify-signature --event` reads a callback from an API Gateway event."""
    sample = samples()["zalopay"]
    event = {
        "version": "2.0",
        "rawPath": "/prod/webhook/zalo-pay",
        "rawQueryString": "",
        "requestContext": {"http": {"method": "POST"}},
        "body": sample.request.body.decode(),
        "isBase64Encoded": False,
    }
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event), "utf-8")
    keys = {field.env: sample.credentials[field.name][0].reveal() for field in GATEWAYS["zalopay"].fields}
    assert answer("verify-signature", "--event", str(file), **keys)["result"]["valid"]


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000, '{"version": "1.0"}'])
def test_a_file_that_is_not_an_event_is_wrong_input(content, answer, tmp_path):
    """`verify-signature` exits with 2 for a file that is not an API Gateway event."""
    file = tmp_path / "event.json"
    file.write_text(content, "utf-8")
    document = answer("verify-signature", "--event", str(file))
    assert (document["exit_code"], document["error"]["code"]) == (2, "INPUT")


def sample_file(tmp_path, gateway):
    """Return a file with a sample's content, and the sample's keys as environment variables."""
    sample = samples()[gateway]
    file = tmp_path / "callback"
    file.write_bytes(sample.request.body or sample.request.query.encode())
    keys = {field.env: sample.credentials[field.name][0].reveal() for field in GATEWAYS[gateway].fields}
    return file, keys


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("form", ["env", "short", "bare", "exported"])
def test_verify_signature_reads_keys_from_a_file(gateway, form, answer, tmp_path):
    """A key file can contain the variables, the gateway's own names for the keys, or only the signing key."""
    file, keys = sample_file(tmp_path, gateway)
    signing = SIGNING_VARIABLES[gateway]
    short = {field.env: field.name for field in GATEWAYS[gateway].fields}
    texts = {
        "env": "".join(f"{name}={value}\n" for name, value in keys.items()),
        "short": "# a comment\n\n" + "".join(f"{short[name]} = {value}\n" for name, value in keys.items()),
        "exported": "DATABASE_URL=x\n" + "".join(f"export {name}='{value}'\n" for name, value in keys.items()),
        "bare": keys[signing],
    }
    rest = {name: value for name, value in keys.items() if name != signing} if form == "bare" else {}
    key_file = tmp_path / "keys"
    key_file.write_text(texts[form], "utf-8")
    document = answer("verify-signature", str(file), "--provider", gateway, "--key-file", str(key_file), **rest)
    assert document["result"]["valid"]


NEW, OLD, OTHER = "canary-key-now", "canary-key-before", "canary-key-of-nobody"
KEY_CASES = {
    "the current key signed": (
        {"ZALOPAY_KEY2": NEW},
        [("ZALOPAY_KEY2", "current", 14, True)],
    ),
    "the previous key of a rotation signed": (
        {"ZALOPAY_KEY2": OTHER, "ZALOPAY_KEY2_PREVIOUS": NEW},
        [("ZALOPAY_KEY2", "current", 20, False), ("ZALOPAY_KEY2_PREVIOUS", "previous", 14, True)],
    ),
    "only a previous key is set": (
        {"ZALOPAY_KEY2_PREVIOUS": NEW},
        [("ZALOPAY_KEY2_PREVIOUS", "previous", 14, True)],
    ),
    "no key signed": (
        {"ZALOPAY_KEY2": OTHER, "ZALOPAY_KEY2_PREVIOUS": OLD},
        [("ZALOPAY_KEY2", "current", 20, False), ("ZALOPAY_KEY2_PREVIOUS", "previous", 17, False)],
    ),
    "the key has a line end": (
        {"ZALOPAY_KEY2": f"{NEW}\n"},
        [("ZALOPAY_KEY2", "current", 15, False)],
    ),
}


def callback_signed_with(key):
    """Return a callback for ZaloPay application 2554, signed with the given key."""
    payment = SandboxPayment("an-id", "TB-1", 250_000, "zalopay", "261123_TB-1")
    return callback(payment, environ={"ZALOPAY_APP_ID": "2554", "ZALOPAY_KEY2": key}).body.decode()


@pytest.mark.parametrize(("environment", "expected"), KEY_CASES.values(), ids=KEY_CASES)
def test_each_key_that_was_tried_is_named_and_none_is_shown(environment, expected, invoke):
    """`verify-signature` lists each tried key by variable, length and fingerprint, and marks the key that matched."""
    arguments = ("verify-signature", "-", "--provider", "zalopay")
    given = {"stdin": callback_signed_with(NEW), "ZALOPAY_APP_ID": "2554", **environment}
    document, table = invoke(*arguments, "-o", "json", **given), invoke(*arguments, **given)
    keys = json.loads(document.stdout)["result"]["keys"]
    assert [(key["variable"], key["generation"], key["length"], key["matched"]) for key in keys] == expected
    for key in keys:
        value = environment[key["variable"]]
        assert key["fingerprint"] == sha256(value.encode()).hexdigest()[:8]
        assert (key["fingerprint"] in table.stdout) is (key["matched"] or not any(each["matched"] for each in keys))
    assert "canary" not in document.stdout + table.stdout + table.stderr


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_only_keys_are_named_as_keys(gateway, answer, tmp_path):
    """`verify-signature` lists only keys as tried, and not application ids, terminal codes or partner codes."""
    file, keys = sample_file(tmp_path, gateway)
    expected = [field.env for field in GATEWAYS[gateway].fields if field.signs_callbacks and field.secret]
    document = answer("verify-signature", str(file), "--provider", gateway, **keys)
    assert [key["variable"] for key in document["result"]["keys"]] == expected
    assert all(key["matched"] for key in document["result"]["keys"])


def test_no_key_is_named_if_the_content_cannot_be_read(answer, tmp_path):
    """If the content cannot be read, `verify-signature` does not list tried keys, because it checked no signature."""
    _, keys = sample_file(tmp_path, "momo")
    result = answer("verify-signature", "-", "--provider", "momo", stdin="hello", **keys)["result"]
    assert (result["reason"], result["keys"]) == ("malformed", [])


def test_the_output_says_that_a_key_comes_from_the_key_file(answer, tmp_path):
    """`verify-signature` says that a key comes from --key-file, and does not try the key from the environment."""
    key_file = tmp_path / "keys"
    key_file.write_text(f"key2={OTHER}\n", "utf-8")
    arguments = ("verify-signature", "-", "--provider", "zalopay", "--key-file", str(key_file))
    document = answer(*arguments, stdin=callback_signed_with(NEW), ZALOPAY_APP_ID="2554", ZALOPAY_KEY2=NEW)
    assert [key["variable"] for key in document["result"]["keys"]] == ["ZALOPAY_KEY2 of the key file"]


def test_verify_signature_reads_keys_from_stdin(answer, tmp_path):
    """--key-stdin accepts keys in the same formats as --key-file."""
    file, keys = sample_file(tmp_path, "momo")
    lines = "".join(f"{name}={value}\n" for name, value in keys.items())
    assert answer("verify-signature", str(file), "--key-stdin", stdin=lines)["result"]["valid"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "no callback"),
        (["a", "--query", "b"], "given more than once"),
        (["--example", "momo", "a"], "--example cannot be combined with"),
        (["--example", "momo", "--path", "/x"], "--example cannot be combined with"),
        (["--tamper", "amount"], "--example"),
        (["--example", "momo", "--tamper", "nonsense"], "no such field"),
        (["-", "--key-stdin", "--provider", "momo"], "stdin cannot be both"),
        (["-", "--key-stdin", "--key-file", "x", "--provider", "momo"], "cannot be combined with --key-stdin"),
        (["--query", "?"], "empty"),
        (["--query", "http://[x"], "URL"),
        (["--query", "a" * 70_000], "larger than 65,536 bytes"),
    ],
)
def test_contradicting_options_are_wrong_usage(arguments, word, answer):
    """`verify-signature` exits with 2 for contradictory options, and the error explains the problem."""
    document = answer("verify-signature", *arguments, stdin="{}")
    assert document["exit_code"] == 2
    assert word in document["error"]["message"]


def test_verify_signature_with_an_unknown_example_exits_with_8(answer):
    """If an example is unknown, verify-signature exits with 8, and the hint lists the known examples."""
    document = answer("verify-signature", "--example", "paypal")
    assert document["exit_code"] == 8
    assert "zalopay" in document["error"]["hint"]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_verify_signature_names_missing_keys(gateway, answer, tmp_path):
    """`verify-signature` exits with 3 if the keys are missing, and the error names the variables."""
    file, _ = sample_file(tmp_path, gateway)
    document = answer("verify-signature", str(file), "--provider", gateway)
    assert (document["exit_code"], document["error"]["code"]) == (3, "CONFIG")
    assert SIGNING_VARIABLES[gateway] in document["error"]["message"]


def test_a_key_file_without_a_key_is_wrong_input(answer, tmp_path):
    """If the key file has no key for the gateway, `verify-signature` exits with 2 and shows nothing from the file."""
    file, _ = sample_file(tmp_path, "momo")
    key_file = tmp_path / "keys"
    key_file.write_text("VNPAY_HASH_SECRET=canary-of-another\nX=y\n", "utf-8")
    document = answer("verify-signature", str(file), "--key-file", str(key_file))
    assert document["exit_code"] == 2
    assert "canary" not in json.dumps(document)


def test_a_callback_of_no_known_shape_is_not_valid(answer):
    """`verify-signature` exits with 5 for a callback whose format does not match any gateway."""
    document = answer("verify-signature", "-", stdin="hello")
    assert (document["exit_code"], document["result"]["provider"]) == (5, None)
