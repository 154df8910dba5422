from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import samples

BARE_KEYS = {
    "zalopay": "ZALOPAY_KEY2",
    "payos": "PAYOS_CHECKSUM_KEY",
    "vnpay": "VNPAY_HASH_SECRET",
    "momo": "MOMO_SECRET_KEY",
}


def judged(document):
    """Return the vector's fields from the command's document."""
    names = ("valid", "outcome", "order_ref", "provider_transaction_id", "amount")
    return {name: document["result"][name] for name in names}


@pytest.mark.parametrize("how", ["named", "by path"])
def test_each_vector_is_judged_as_expected(vector, how, answer):
    """With --provider or --path the command gives the vector's verdict and exits with 0 or 5."""
    told = ["--provider", vector.gateway] if how == "named" else ["--path", vector.path]
    document = answer("verify-signature", "-", *told, stdin=vector.content, **vector.environment)
    assert judged(document) == vector.expect
    assert document["exit_code"] == (0 if vector.expect["valid"] else 5)
    assert document["ok"] is vector.expect["valid"]
    assert document["error"] is None


@pytest.mark.parametrize("name", samples())
def test_an_example_is_valid_and_a_changed_one_is_not(name, answer):
    """Every built-in example verifies with its own keys and is refused if a field is changed."""
    assert answer("verify-signature", "--example", name)["exit_code"] == 0
    changed = answer("verify-signature", "--example", name, "--tamper", "amount")
    assert changed["exit_code"] == 5
    assert changed["result"]["hints"]


def test_the_line_for_people_says_it_all(process):
    """The first line has gateway, outcome, amount and order."""
    result = process("verify-signature", "--example", "zalopay")
    assert result.stdout.splitlines()[0] == (
        "✔ valid  zalopay  COMPLETED  7,200,000 VND  order TB-LTDTNL-20251213-8D39986M"
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_line_for_people_says_why_not(process):
    """The first lines say what is wrong, give a hint and what to try, and the exit code is 5."""
    result = process("verify-signature", "--example", "zalopay", "--tamper", "amount")
    assert result.stdout.startswith("✘ not valid  zalopay  the mac is not that of data under key2\n  hint  ")
    assert "--explain" in result.stdout
    assert result.returncode == 5


def test_explain_shows_the_signed_text_masked(answer):
    """--explain shows the signed text with personal data masked."""
    signed = answer("verify-signature", "--example", "payos", "--explain")["result"]["canonical"]
    assert "orderCode=123" in signed
    assert "accountNumber=***" in signed


def test_nothing_is_explained_unasked(answer):
    """Without --explain the document has no signed text."""
    assert "canonical" not in answer("verify-signature", "--example", "payos", "--tamper", "amount")["result"]


@pytest.mark.parametrize("prefix", ["", "?", "https://shop.example/webhook/vnpay?", "HTTP://shop.example/?", "\n "])
@pytest.mark.parametrize("provider", ["auto", "vnpay"])
def test_vnpay_is_read_from_a_query_or_a_url(prefix, provider, answer, tmp_path):
    """A file or --query may contain the query with a question mark or the whole URL before it."""
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
    """--event reads the event that a Lambda function got."""
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
def test_an_event_that_is_none_is_wrong_input(content, answer, tmp_path):
    """A file that is not an event of payload format 2.0 exits with 2."""
    file = tmp_path / "event.json"
    file.write_text(content, "utf-8")
    document = answer("verify-signature", "--event", str(file))
    assert (document["exit_code"], document["error"]["code"]) == (2, "INPUT")


def sample_file(tmp_path, gateway):
    """Write a sample's content to a file. Return the file and its keys by variable."""
    sample = samples()[gateway]
    file = tmp_path / "callback"
    file.write_bytes(sample.request.body or sample.request.query.encode())
    keys = {field.env: sample.credentials[field.name][0].reveal() for field in GATEWAYS[gateway].fields}
    return file, keys


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("form", ["env", "short", "bare", "exported"])
def test_keys_come_from_a_file(gateway, form, answer, tmp_path):
    """A key file has the names of variables or fields, or only the signing key."""
    file, keys = sample_file(tmp_path, gateway)
    signing = BARE_KEYS[gateway]
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


def test_keys_come_from_stdin(answer, tmp_path):
    """--key-stdin reads the same content as --key-file."""
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
    """Contradicting options exit with 2, and the error names them."""
    document = answer("verify-signature", *arguments, stdin="{}")
    assert document["exit_code"] == 2
    assert word in document["error"]["message"]


def test_an_unknown_example_does_not_exist(answer):
    """An unknown example exits with 8, and the hint lists the known ones."""
    document = answer("verify-signature", "--example", "paypal")
    assert document["exit_code"] == 8
    assert "zalopay" in document["error"]["hint"]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_missing_keys_are_named(gateway, answer, tmp_path):
    """Without keys the command exits with 3, and the error names the missing variables."""
    file, _ = sample_file(tmp_path, gateway)
    document = answer("verify-signature", str(file), "--provider", gateway)
    assert (document["exit_code"], document["error"]["code"]) == (3, "CONFIG")
    assert BARE_KEYS[gateway] in document["error"]["message"]


def test_a_key_file_without_a_key_is_wrong_input(answer, tmp_path):
    """A key file without a value of the gateway exits with 2."""
    file, _ = sample_file(tmp_path, "momo")
    key_file = tmp_path / "keys"
    key_file.write_text("VNPAY_HASH_SECRET=canary-of-another\nX=y\n", "utf-8")
    document = answer("verify-signature", str(file), "--key-file", str(key_file))
    assert document["exit_code"] == 2
    assert "canary" not in json.dumps(document)


def test_what_nobody_sends_is_not_valid(answer):
    """A callback of no known gateway is refused with exit code 5."""
    document = answer("verify-signature", "-", stdin="hello")
    assert (document["exit_code"], document["result"]["provider"]) == (5, None)
