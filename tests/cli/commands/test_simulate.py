"""Test that simulated callbacks are accepted or refused as their scenario says, and are never sent to production."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from sqlalchemy import text

from tests.cli.output.test_schemas import check
from tests.providers.conftest import SIGNATURES
from ticketbottle_payctl import providers
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import environment, scenarios
from ticketbottle_payctl.sandbox.payment_service import insert_payment

KEYS = environment()
SENT = [(name, each.value.replace("_", "-")) for name in GATEWAYS for each in scenarios(name)]


@pytest.mark.parametrize(("gateway", "scenario"), SENT)
def test_verify_signature_accepts_a_simulated_callback(gateway, scenario, invoke):
    """`verify-signature` accepts every simulated callback, except those in the bad-signature scenario."""
    made = invoke("simulate", gateway, scenario, **KEYS)
    assert made.exit_code == 0, made.stderr
    checked = invoke("verify-signature", "-", "--provider", gateway, stdin=made.stdout, **KEYS)
    assert checked.exit_code == (5 if scenario == "bad-signature" else 0), checked.stdout


AMOUNTS = [
    ("zalopay", "data.amount=777"),
    ("payos", "data.amount=777"),
    ("vnpay", "vnp_Amount=77700"),
    ("momo", "amount=777"),
]
"""For each gateway, a change of the amount to 777 VND."""


@pytest.mark.parametrize(("gateway", "change"), AMOUNTS)
def test_simulate_signs_a_value_that_set_changes(gateway, change, invoke, answer):
    """`simulate` applies --set before signing the callback, so the signature is valid."""
    made = invoke("simulate", gateway, "paid", "--set", change, **KEYS)
    result = answer("verify-signature", "-", "--provider", gateway, stdin=made.stdout, **KEYS)["result"]
    assert (result["valid"], result["amount"]) == (True, 777)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_simulate_sends_a_given_signature_unchanged(gateway, invoke):
    """If --set specifies a signature, `simulate` sends it unchanged, and `verify-signature` refuses the callback."""
    made = invoke("simulate", gateway, "paid", "--set", f"{SIGNATURES[gateway]}=x", **KEYS)
    assert invoke("verify-signature", "-", "--provider", gateway, stdin=made.stdout, **KEYS).exit_code == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["momo", "paid", "--set", "amonut=1"],
        ["zalopay", "paid", "--set", "amount=1"],
        ["zalopay", "paid", "--set", "data=1"],
        ["vnpay", "paid", "--set", "vnp_Amount"],
        ["payos", "paid", "--set", "data.amount=[1]"],
        ["zalopay", "cancelled"],
        ["momo", "nonsense"],
        ["nobody", "paid"],
        ["momo", "paid", "--url", "https://gateway.example/webhook"],
        ["momo", "paid", "--url", "http://gateway.example/webhook", "--allow-remote"],
        ["momo", "paid", "--url", "http://127.0.0.1:1/?a=b"],
        ["momo", "paid", "--url", "http://127.0.0.1:1", "--to", "process-webhook"],
        ["momo", "paid", "--timeout", "3s"],
        ["momo", "paid", "--allow-remote"],
        ["momo", "paid", "--allow-remote", "--to", "process-webhook"],
    ],
    ids=" ".join,
)
def test_simulate_refuses_what_it_cannot_send(arguments, answer):
    """`simulate` exits with 2 for an unknown field, an impossible scenario, or another machine's address."""
    document = answer("simulate", *arguments, **KEYS)
    check(document)
    assert document["exit_code"] == 2


def test_simulate_with_a_missing_key_or_a_wrong_app_id_is_a_config_error(answer):
    """If a key is missing or the app id is wrong, `simulate` exits with 3."""
    assert "MOMO_SECRET_KEY" in answer("simulate", "momo", "paid")["error"]["message"]
    assert answer("simulate", "zalopay", "paid", **{**KEYS, "ZALOPAY_APP_ID": "x"})["exit_code"] == 3


@pytest.mark.parametrize("command", [["simulate", "momo", "paid"], ["listen"]], ids=" ".join)
def test_simulate_and_listen_are_refused_in_production(command, answer, tmp_path):
    """With a protected profile or ENVIRONMENT=production, `simulate` and `listen` exit with 7."""
    file = tmp_path / "config.toml"
    file.write_text("[profiles.prod.guard]\nprotected = true\n", "utf-8")
    for arguments, environ in ((["-p", "prod", "--config", str(file)], {}), ([], {"ENVIRONMENT": "production"})):
        document = answer(*command, *arguments, **KEYS, **environ)
        assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
        assert "signature" not in json.dumps(document)


@pytest.mark.postgres
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_simulate_settles_an_order_of_the_database(gateway, answer, database_url, engine):
    """`simulate --order-code` uses the payment's amount and reference.

    A second callback finds the payment already settled.
    """
    with engine.begin() as connection:
        payment = insert_payment(connection, provider=gateway.upper(), amount=123_000)
    arguments = ["simulate", gateway, "duplicate", "--order-code", payment.order_code, "--to", "process-webhook"]
    document = answer(*arguments, DATABASE_URL=database_url, **KEYS)
    check(document)
    assert [item["outcome"] for item in document["items"]] == ["settled", "already_settled"]
    assert document["items"][0]["status_after"] == "COMPLETED"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 1


TRANSFER = {
    "zalopay": "data.zp_trans_id=2",
    "payos": "data.reference=2",
    "vnpay": "vnp_TransactionNo=2",
    "momo": "transId=2",
}


@pytest.mark.postgres
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_simulate_makes_a_second_transfer_if_its_number_is_changed(gateway, answer, database_url, engine):
    """All calls for an order are about the same transfer, unless --set changes the number of the transfer."""
    with engine.begin() as connection:
        code = insert_payment(connection, provider=gateway.upper(), amount=123_000).order_code
    arguments = ["simulate", gateway, "paid", "--order-code", code, "--to", "process-webhook"]
    for more, expected in ([], []), ([], []), (["--set", TRANSFER[gateway]], ["second_payment"]):
        answer(*arguments, *more, DATABASE_URL=database_url, **KEYS)
        also = answer("show", code, DATABASE_URL=database_url)["result"]["also"]
        assert [each["kind"] for each in also] == expected


@pytest.mark.postgres
def test_simulate_uses_a_given_amount_instead_of_the_order_s(answer, database_url, engine):
    """With --amount, `simulate` signs an amount that differs from the order's, so the callback is refused."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="MOMO", amount=123_000)
    given = ["simulate", "momo", "paid", "--order-code", payment.order_code, "--amount", "5", "--to", "process-webhook"]
    document = answer(*given, DATABASE_URL=database_url, **KEYS)
    assert json.loads(document["result"]["body"])["amount"] == 5
    assert (document["exit_code"], document["items"][0]["outcome"]) == (5, "refused")


@pytest.mark.postgres
def test_simulate_with_an_unknown_order_exits_with_8(answer, database_url):
    """`simulate` exits with 8 if no payment has the order code."""
    document = answer("simulate", "vnpay", "paid", "--order-code", "no-such-order", DATABASE_URL=database_url, **KEYS)
    assert document["exit_code"] == 8


@pytest.mark.postgres
@pytest.mark.parametrize(("scenario", "advised"), [("paid", "paid"), ("pending", "paid"), ("duplicate", "duplicate")])
def test_simulate_of_another_gateway_s_order_advises_the_right_command(scenario, advised, answer, database_url, engine):
    """If the order belongs to a different gateway, `simulate` exits with 2 and suggests a command that works."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="VNPAY")
    environ = {"DATABASE_URL": database_url, **KEYS}
    document = answer("simulate", "momo", scenario, "--order-code", payment.order_code, **environ)
    assert document["exit_code"] == 2
    program, *command = document["error"]["hint"].split()
    assert (program, command[:3]) == ("payctl", ["simulate", "vnpay", advised])
    assert answer(*command, **environ)["exit_code"] == 0


@pytest.mark.postgres
def test_simulate_advises_a_command_that_still_processes_the_callback(answer, database_url, engine):
    """The command that `simulate` suggests keeps --to, so the pasted command still settles the payment."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="VNPAY")
    environ = {"DATABASE_URL": database_url, **KEYS}
    given = ("--order-code", payment.order_code, "--to", "process-webhook")
    _, *command = answer("simulate", "momo", "paid", *given, **environ)["error"]["hint"].split()
    assert answer(*command, **environ)["items"][0]["status_after"] == "COMPLETED"


@pytest.mark.postgres
def test_simulate_without_an_order_says_how_to_name_one(invoke, database_url):
    """If `simulate` makes up an order, the callback is refused with unknown_order. The output suggests --order-code."""
    result = invoke("simulate", "zalopay", "paid", "--to", "process-webhook", DATABASE_URL=database_url, **KEYS)
    assert (result.exit_code, "unknown_order" in result.stdout, "--order-code" in result.stdout) == (5, True, True)


@pytest.mark.postgres
def test_the_mark_of_a_refused_callback_agrees_with_the_exit_code(invoke, database_url, engine):
    """If payctl refuses a simulated callback, the first line is marked ✘, even though the gateway got a valid reply."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="PAYOS", amount=450_000)
    given = ("--order-code", payment.order_code, "--amount", "1", "--to", "process-webhook")
    result = invoke("simulate", "payos", "paid", *given, DATABASE_URL=database_url, **KEYS)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        5,
        "✘ acknowledged  PayOS  paid  refused  wrong_amount",
    )


def test_simulate_exits_with_4_if_no_server_listens_on_the_url(answer):
    """If no server listens at the URL, `simulate` exits with 4."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert answer("simulate", "momo", "paid", "--url", url, **KEYS)["exit_code"] == 4


@pytest.fixture
def service():
    """Yield a function that starts a server with a fixed reply and returns its URL.

    The ``types`` attribute has the content types of the received requests.
    """
    servers, types = [], []

    def start(status, body):
        class Reply(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                types.append(self.headers["Content-Type"])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Reply)
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/hook"

    start.types = types
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("gateway", "status", "body", "why"),
    [
        (
            "momo",
            404,
            "no such page",
            "HTTP 404 Not Found: the service has nothing at this path; check the path of the URL",
        ),
        (
            "zalopay",
            200,
            '{"return_code":-1,"return_message":"mac not equal"}',
            "return_code -1: the service refused the callback, and ZaloPay will not call again",
        ),
    ],
)
def test_simulate_says_why_a_reply_does_not_acknowledge_the_callback(
    gateway, status, body, why, invoke, answer, service
):
    """If a reply does not acknowledge the callback, `simulate` shows the reply's status and code, and the reason."""
    command = ["simulate", gateway, "paid", "--url", service(status, body)]
    shown = invoke(*command, **KEYS)
    assert shown.exit_code == 5
    assert shown.stdout == f"✘ not acknowledged  {gateway_name(gateway)}  paid\nwhy\t{why}\nreply\t{status} {body}\n"
    document = answer(*command, **KEYS)
    (sent,) = document["items"]
    assert (sent["why_not"], sent["reply_status"]) == (why, status)
    assert sent["reply_code"] == ("-1" if gateway == "zalopay" else None)
    check(document)


def test_simulate_gives_no_reason_for_a_reply_that_acknowledges(answer, service):
    """If a gateway would accept the reply to a callback, `simulate` exits with 0 and does not give a reason."""
    document = answer("simulate", "zalopay", "paid", "--url", service(200, '{"return_code":1}'), **KEYS)
    assert (document["exit_code"], document["items"][0]["why_not"]) == (0, None)


@pytest.mark.parametrize("sent", ["application/json", "application/x-www-form-urlencoded"])
def test_simulate_sends_a_callback_with_the_content_type_of_its_gateway(sent, answer, service, monkeypatch):
    """`simulate` sends each callback with the content type that its gateway uses."""
    gateway = replace(GATEWAYS["momo"], content_type=sent)
    monkeypatch.setitem(vars(providers)["_SPELLINGS"], "momo", gateway)
    assert answer("simulate", "momo", "paid", "--url", service(204, ""), **KEYS)["exit_code"] == 0
    assert service.types == [sent]
