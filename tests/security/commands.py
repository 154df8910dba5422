"""Define the commands and functions that run with canaries as secrets, and run them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from tests import stand_ins
from tests.conftest import engine_of
from tests.lambda_entrypoints import events
from tests.security.canaries import IDENTIFIERS, Canaries
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

ROLE, DATABASE = "canary_shop", "canaries"
ORDER = "TB-TEST-20261123-CANARY"
CANARIES = Canaries()
KEYS = {
    field.env: stand_ins.KEYS[field.env] if field.env in IDENTIFIERS else CANARIES.letters(field.env)
    for gateway in GATEWAYS.values()
    for field in gateway.fields
}
OTHER_KEYS = {
    name: CANARIES.letters(name)
    for name in (
        *(f"{name}_PREVIOUS" for name in KEYS if name not in IDENTIFIERS),
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    )
}
ACCOUNTS = {
    "accountNumber": CANARIES.number("account of the shop"),
    "counterAccountNumber": CANARIES.number("account of the customer", 16),
    "virtualAccountNumber": CANARIES.letters("account that is virtual"),
    "counterAccountName": CANARIES.letters("account holder"),
}
PASSWORD = CANARIES.add(
    "password of the database", "@/".join(CANARIES.letters(f"piece {number} of the password", 9) for number in "123")
)
KAFKA_LOGIN = {
    "KAFKA_SASL_MECHANISM": "plain",
    "KAFKA_USERNAME": CANARIES.letters("KAFKA_USERNAME"),
    "KAFKA_PASSWORD": CANARIES.letters("KAFKA_PASSWORD"),
}
OF_OTHERS = CANARIES.letters("password in a stored error")
WORKS = {
    "config show": ["config", "show"],
    "config validate": ["config", "validate"],
    "version": ["version"],
    "gateways list": ["gateways", "list"],
    "db status": ["db", "status"],
    "process-webhook": ["process-webhook", "payos.json", "--provider", "payos"],
    "process-webhook again": ["process-webhook", "payos.json", "--provider", "payos", "-o", "json"],
    "process-webhook refused": ["process-webhook", "refused.json", "--provider", "payos"],
    "process-webhook without a payment": ["process-webhook", "unknown.json", "--provider", "payos"],
    "process-webhook vnpay": ["process-webhook", "vnpay.txt", "--provider", "vnpay"],
    "verify-signature": ["verify-signature", "payos.json", "--explain"],
    "verify-signature refused": ["verify-signature", "refused.json", "--explain", "-o", "json"],
    "verify-signature refused table": ["verify-signature", "refused.json", "--explain"],
    "verify-signature with a file": ["verify-signature", "refused.json", "--key-file", "keys.txt", "--explain"],
    "simulate": ["simulate", "zalopay", "paid"],
    "simulate to process-webhook": ["simulate", "momo", "paid", "--order-code", ORDER, "--to", "process-webhook"],
    "gateways register-webhook": ["gateways", "register-webhook", "payos", "https://shop.example/payos", "-y"],
    "reconcile payments": ["reconcile", "payments", "-y"],
    "stats by error": ["stats", "--by", "error"],
    "stats by error for Prometheus": ["stats", "--by", "error", "--prometheus"],
    "stats by error json": ["stats", "--by", "error", "-o", "json"],
    "errors": ["errors"],
    "errors json": ["errors", "-o", "json"],
    "list outbox": ["list", "outbox", "--all"],
    "list outbox json": ["list", "outbox", "--all", "-o", "json"],
    "list payments": ["list", "payments", "--all", "-o", "csv"],
    "list receipts": ["list", "receipts", "--all", "-o", "ndjson"],
    "report": ["report"],
    "report json": ["report", "-o", "json"],
    "report page": ["report", "--html", "report.html"],
    "show": ["show", ORDER],
    "show a dead event": ["show", "DEAD"],
    "publish-outbox": ["publish-outbox"],
    "replay a plan": ["replay", "--failed", "--plan-out", "replay.plan"],
    "replay": ["replay", "--failed", "-y", "--reason", "a test"],
    "publish-outbox again": ["publish-outbox", "-o", "json"],
    "runs list": ["runs", "list", "-o", "json"],
    "runs show": ["runs", "show", "RUN"],
    "runs show json": ["runs", "show", "RUN", "-o", "json"],
    "show with messages": ["show", ORDER, "-o", "json"],
    "cleanup": ["cleanup", "--archive", "old.ndjson.gz"],
    "list an archive": ["list", "outbox", "--from-archive", "old.ndjson.gz"],
    "cdc config": ["cdc", "config"],
    "doctor": ["doctor", "--bundle", "bundle.json"],
}
"""The commands that succeed, in the order in which they run."""
P = CANARIES.letters("password of a wrong URL")
K = CANARIES.letters("key that is quoted")
FAILS = {
    "a port that is closed": (["stats"], {"DATABASE_URL": f"postgresql://u:{P}@127.0.0.1:1/shop"}),
    "a wrong password": (["stats"], {"DATABASE_URL": f"postgresql://{ROLE}:{P}@PLACE/{DATABASE}"}),
    "an unknown role": (["doctor", "--only", "database"], {"DATABASE_URL": f"postgresql://u:{P}@PLACE/shop"}),
    "a port that is not a number": (["db", "status"], {"DATABASE_URL": f"postgresql://u:{P}@h:port/d"}),
    "a slash in the password": (["config", "validate"], {"DATABASE_URL": f"postgresql://u:{P}/{P}@h/d"}),
    "a hash in the password": (["stats"], {"DATABASE_URL": f"postgresql://u:{P}#{P}@h/d"}),
    "a question mark in the password": (["stats"], {"DATABASE_URL": f"postgresql://u:{P}?{P}@h/d"}),
    "no host": (["config", "validate"], {"DATABASE_URL": f"postgresql://u:{P}"}),
    "another scheme": (["config", "show"], {"DATABASE_URL": f"mysql://u:{P}@h/d"}),
    "half a bracket": (["stats"], {"DATABASE_URL": f"postgresql://u:{P}@[::1/d"}),
    "a password as parameter": (["stats"], {"DATABASE_URL": f"postgresql://127.0.0.1:1/d?password={P}"}),
    "a password of a certificate": (["stats"], {"DATABASE_URL": f"postgresql://u@127.0.0.1:1/d?sslpassword={P}"}),
    "words instead of a URL": (["config", "validate"], {"DATABASE_URL": f"host=h user=u password={P}"}),
    "only a password": (["stats"], {"DATABASE_URL": P}),
    "Kafka without a login": (["publish-outbox", "--deadline", "1s"], KAFKA_LOGIN),
    "Kafka in doctor": (["doctor", "--only", "kafka"], KAFKA_LOGIN),
    "unavailable Kafka": (["reconcile", "outbox"], {**KAFKA_LOGIN, "KAFKA_BROKERS": "127.0.0.1:1"}),
    "brokers with a password": (["config", "validate"], {"KAFKA_BROKERS": f"kafka://u:{P}@h:9092"}),
    "a key in quotes": (["doctor", "--only", "keys"], {"MOMO_SECRET_KEY": f"'{K}'"}),
    "a key with a line end": (["simulate", "momo", "paid"], {"MOMO_SECRET_KEY": f"{K}\r\n"}),
    "half a configuration": (["config", "show", "--config", "half.toml"], {}),
    "a configuration with odd names": (["config", "validate", "--config", "odd.toml", "-p", "prod"], {}),
    "keys of another gateway": (["verify-signature", "payos.json", "--key-file", "half.toml"], {}),
    "a key as a callback": (["verify-signature", "keys.txt"], {}),
    "a key as a plan": (["replay", "--plan", "keys.txt"], {}),
    "a key as ids": (["replay", "--from-file", "keys.txt"], {}),
    "a key as an event of AWS": (["verify-signature", "--event", "keys.txt"], {}),
}
"""The commands that must fail, each with changes to the environment."""
FUNCTIONS = """
import importlib, json, sys
class Context:
    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    def get_remaining_time_in_millis(self): return 60_000
for name, event in json.load(sys.stdin):
    try:
        print(importlib.import_module(f"lambda_entrypoints.{name}").handler(event, Context()))
    except Exception as error:
        print(type(error).__name__, error)
"""


def prepare(database, home):
    """Insert payments and events, and write files with callbacks, keys and wrong configurations.

    Return the values for ``run_all``.
    """
    engine = engine_of(database)
    with engine.begin() as connection:
        paid = insert_payment(connection, provider="PAYOS", reference="124c33293c43417ab7879e14c8d9eb19")
        vnpay = insert_payment(connection, provider="VNPAY", reference="261123000001")
        for order in (ORDER, f"{ORDER}Q"):
            insert_payment(connection, provider="MOMO", order_code=order, reference=order, age=timedelta(hours=1))
        error = f"cannot connect: postgresql://u:{OF_OTHERS}@h/d accountNumber={OF_OTHERS} password={OF_OTHERS}"
        insert_events(connection, 2, state="dead", last_error=error)
        insert_events(connection, 2, state="published", age=timedelta(days=60))
        insert_payments_of_events(connection)
        dead = connection.execute(text('SELECT id FROM outbox WHERE "retryCount" > 0 LIMIT 1')).scalar_one()
    engine.dispose()
    data = json.loads(callback(paid, environ=KEYS).body)["data"] | ACCOUNTS
    unknown = data | {"paymentLinkId": "0" * 32, "orderCode": 987654321}
    good = signing.payos(data, KEYS["PAYOS_CHECKSUM_KEY"])
    (home / "payos.json").write_bytes(good.body)
    (home / "unknown.json").write_bytes(signing.payos(unknown, KEYS["PAYOS_CHECKSUM_KEY"]).body)
    (home / "refused.json").write_bytes(signing.payos(data, "another key").body)
    (home / "vnpay.txt").write_text(callback(vnpay, environ=KEYS).query, "utf-8")
    (home / "keys.txt").write_text(f"PAYOS_CHECKSUM_KEY={K}\n", "utf-8")
    (home / "half.toml").write_text(f'[profiles.prod]\nMOMO_SECRET_KEY = "{K}\n', "utf-8")
    (home / "odd.toml").write_text(f'[profiles.prod]\nmomo_secret_key = "{K}"\nMOMO_SECRETKEY = "{K}"\n', "utf-8")
    return {"DEAD": dead, "PAID": paid, "PAYOS": good}


def run_all(found, payctl_command, environment, names, home, place):
    """Run every command and every function, one after another, as a process."""
    steps = {name: (arguments, {}) for name, arguments in WORKS.items()} | FAILS
    for name, (arguments, changed) in steps.items():
        if "RUN" in arguments:
            names["RUN"] = newest_run(environment["DATABASE_URL"])
        typed = [str(names.get(word, word)) for word in arguments]
        given = {variable: value.replace("PLACE", place) for variable, value in changed.items()}
        command = [*payctl_command, *typed, "-vv"]
        done = run(command, environment | given, home)
        found.output[name], found.codes[name] = done.stdout + done.stderr, done.returncode
    payment = names["PAID"]
    calls = [
        ["webhook", events.http_event(names["PAYOS"])],
        ["webhook", events.http_event(callback(payment, Scenario.BAD_SIGNATURE, KEYS))],
        ["webhook", events.http_event(Request("POST", "/webhook/payos", "", names["PAYOS"].body[:-20]))],
        ["publish_outbox", {}],
        ["cleanup", {}],
    ]
    for name, changed in (("functions", {}), ("functions that fail", FAILS["a port that is closed"][1] | KAFKA_LOGIN)):
        settings = environment | {"ENVIRONMENT": "test", "PAYCTL_LOOP_SECONDS": "0"} | changed
        done = run([sys.executable, "-c", FUNCTIONS], settings, home, json.dumps(calls))
        found.output[name], found.codes[name] = done.stdout + done.stderr, done.returncode


def run(command, environment, home, stdin=""):
    """Run a process in this test's home directory until it ends, and return the completed process."""
    variables = environment | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, env=variables, cwd=home, input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def newest_run(url):
    """Return the id of the latest recorded replay."""
    engine = engine_of(url)
    with engine.connect() as connection:
        query = "SELECT id FROM payctl.runs WHERE command = 'replay' ORDER BY started_at DESC LIMIT 1"
        found = connection.execute(text(query)).scalar_one()
    engine.dispose()
    return found
