"""Test that commands do not print secrets, in any format and at any log level."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.providers.samples import samples

URL = "postgresql://canary-user:canary-password%21@127.0.0.1:1/payments"
KAFKA = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "KAFKA_SASL_MECHANISM": "scram-sha-256",
    "KAFKA_USERNAME": "canary-kafka-user",
    "KAFKA_PASSWORD": "canary-kafka-password",
}
MAC = json.loads(samples()["zalopay"].request.body)["mac"]
ACCOUNT = "0071001234567"


@pytest.fixture
def body(tmp_path):
    """Write a callback with an account number and a wrong MAC to a file. Return the file's path and the MAC."""
    content = json.loads(samples()["payos"].request.body)
    content["data"]["accountNumber"] = content["data"]["counterAccountNumber"] = ACCOUNT
    file = tmp_path / "callback.json"
    file.write_text(json.dumps(content), "utf-8")
    return str(file), content["signature"]


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "show"],
        ["config", "validate"],
        ["version"],
        ["db", "status"],
        ["doctor", "--only", "database", "--only", "keys"],
        ["process-webhook", "BODY", "--provider", "payos"],
        ["process-webhook", "--query", "vnp_Amount=1&vnp_SecureHash=" + MAC],
        ["verify-signature", "BODY", "--explain"],
        ["verify-signature", "BODY", "--provider", "zalopay", "--explain"],
        ["verify-signature", "--query", "vnp_Amount=1&vnp_SecureHash=" + MAC, "--explain"],
        ["verify-signature", "--help"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_no_command_prints_a_secret(arguments, form, body, invoke, keys):
    """`payctl` never prints keys, passwords, user names, account numbers or MACs, even with -vv."""
    file, signature = body
    typed = [file if word == "BODY" else word for word in arguments]
    result = invoke(*typed, "-o", form, "-vv", DATABASE_URL=URL, **KAFKA, **keys)
    seen = result.stdout + result.stderr
    for secret in ("canary", ACCOUNT, signature, MAC):
        assert secret not in seen


def test_a_real_process_prints_no_secret(process, body, keys):
    """Tracebacks and warnings of a payctl process contain no secrets."""
    file, signature = body
    result = process("process-webhook", file, "-vv", DATABASE_URL=URL, **KAFKA, **keys)
    seen = result.stdout + result.stderr
    assert result.returncode in {4, 5}
    for secret in ("canary", ACCOUNT, signature):
        assert secret not in seen


@pytest.mark.parametrize("markup", ["\x1b[31m", "[bold red]x[/]", "\u202e"])
def test_typed_text_is_escaped_in_errors(markup, invoke):
    """On stderr, payctl escapes control characters in file names, commands and options."""
    for arguments in ([markup], ["verify-signature", markup], ["version", f"--{markup}"], ["schema", markup]):
        stderr = invoke(*arguments).stderr
        assert "\x1b" not in stderr
        assert "\u202e" not in stderr
        assert "error[" in stderr
