"""The places in which each gateway must appear: tables, test classes, files, pages and lines of the template."""

from __future__ import annotations

TABLES = (
    "ticketbottle_payctl/formats.py PROVIDERS",
    "ticketbottle_payctl/providers/explain/__init__.py _READERS",
    "ticketbottle_payctl/providers/queries/__init__.py QUERIES",
    "ticketbottle_payctl/providers/samples.py _SIGNED",
    "ticketbottle_payctl/sandbox/altering.py _FORMS",
    "ticketbottle_payctl/sandbox/callbacks.py _SENT",
    "ticketbottle_payctl/sandbox/callbacks.py _MAKERS",
    "ticketbottle_payctl/jobs/doctor/signing.py _SIGNERS",
    "ticketbottle_payctl/cli/commands/simulate/command.py _MADE_UP",
    "lambda_entrypoints/forgeries.py FORGERIES",
    "tests/providers/conftest.py KEYS",
    "tests/providers/conftest.py SIGNING",
    "tests/providers/conftest.py SIGNATURES",
    "tests/providers/conftest.py SIGNED_TEXTS",
    "tests/providers/conftest.py AMBIGUOUS",
    "tests/providers/test_recognises.py FREE_TEXTS",
    "tests/providers/test_explain.py OTHER_MERCHANT",
    "tests/providers/test_explain.py UNREADABLE",
    "tests/providers/test_explain.py WITH_PRIVATE_FIELDS",
    "tests/providers/test_explain_changes.py VIETNAMESE",
    "tests/providers/test_properties.py SIGNED",
    "tests/providers/test_queries.py ANSWERS",
    "tests/providers/test_queries.py UNPAID",
    "tests/providers/test_queries.py NUMBERS",
    "tests/providers/test_queries.py OTHER_PAYMENT",
    "tests/providers/test_queries.py WRONG_SIGNATURE",
    "tests/providers/test_reply_code.py NOT_ACKNOWLEDGED",
    "tests/providers/test_samples.py FIELDS",
    "tests/providers/test_verify_signature.py TRIED",
    "tests/sandbox/test_callbacks.py DOCUMENTED",
    "tests/stand_ins.py STATES",
    "tests/stand_ins.py REQUESTS",
    "tests/jobs/doctor/test_kafka_and_keys.py VALUES",
    "tests/jobs/doctor/test_kafka_and_keys.py ORDERS",
    "tests/jobs/doctor/test_kafka_and_keys.py WRONG_KEYS",
    "tests/jobs/process_webhook/test_hostile_callbacks.py REFERENCES",
    "tests/jobs/process_webhook/test_hostile_callbacks.py NUMBER_FIELDS",
    "tests/jobs/process_webhook/test_replies.py WORDS",
    "tests/jobs/process_webhook/test_replies.py NUMBERS",
    "tests/cli/commands/reconcile/test_payments_untrusted.py FORGED",
    "tests/cli/commands/test_simulate.py AMOUNTS",
    "tests/cli/commands/test_simulate.py TRANSFER",
    "tests/cli/commands/test_unclear_receipts.py UNREADABLE",
    "tests/deploy/test_domain.py OUTPUTS",
    "tests/deploy/test_parameters.py URLS",
    "tests/fuzz/merchant.py SIGNING",
    "tests/fuzz/merchant.py SIGNATURES",
    "tests/fuzz/merchant.py SIGNED_FIELDS",
    "tests/fuzz/callbacks.py SIGNERS",
    "tests/soak/customers.py REFERENCES",
    "tests/soak/customers.py REPLIES",
)

TABLES_OF_VARIABLES = (
    "tests/stand_ins.py KEYS",
    "tests/fuzz/oracle.py KEYS",
    "tests/providers/test_registry.py VARIABLES",
)

MAY_BE_NONE = (
    "tests/providers/conftest.py AMBIGUOUS",
    "tests/providers/test_recognises.py FREE_TEXTS",
    "tests/providers/test_explain.py OTHER_MERCHANT",
    "tests/providers/test_explain.py WITH_PRIVATE_FIELDS",
    "tests/providers/test_explain_changes.py VIETNAMESE",
    "tests/providers/test_queries.py OTHER_PAYMENT",
    "tests/providers/test_queries.py WRONG_SIGNATURE",
    "tests/stand_ins.py REQUESTS",
)
"""The tables in which an entry can be None, because the tests then leave the gateway out or expect nothing."""

JSON_TABLE = "tests/providers/test_properties.py SIGNED_JSON"

READINGS = "tests/providers/test_one_reading.py READINGS"

ONLY_SOME = {
    "tests/acceptance/test_demo.py": "the callbacks of the demo",
    "tests/jobs/process_webhook/test_hostile_callbacks.py HOSTILE": "nonsense that a gateway's format allows",
    "tests/jobs/process_webhook/test_replies.py IGNORED": "the gateways that report a state without a result",
    "tests/sandbox/test_gateway_libraries.py JUDGED": "the gateways that publish JavaScript",
}
"""The tables that do not need every gateway, with the gateways that they contain."""

METHODS = ("tests/providers/conftest.py Merchant", "tests/stand_ins.py Gateways")

FILES = (
    "ticketbottle_payctl/providers/samples.json",
    "tests/data/gateway-vectors/{name}.json",
    "tests/events/{name}.json",
    "tests/providers/test_{name}.py",
)

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "docs/index.md",
    "docs/explanation/gateways.md",
    "docs/how-to/README.md",
    "docs/how-to/try-it-locally.md",
    "docs/reference/glossary.md",
    "docs/deploy.md",
    "docs/runbook.md",
)

ROWS = (
    ("docs/explanation/gateways.md", "# What each gateway promises", " | {label} |"),
    ("docs/how-to/README.md", "## How to read the output", "`{label}`"),
    ("docs/how-to/try-it-locally.md", "# Try callbacks on your own machine", " | {name} |"),
    ("docs/deploy.md", "## 7. Register the addresses with the gateways", "| {label} | `"),
    ("docs/deploy.md", "### Network access to the gateways", "| {label} | "),
    ("docs/deploy.md", "### After the first deployment", "`{output}`"),
    ("docs/deploy.md", "### Network access to the gateways", "`{url}`"),
    ("docs/runbook.md", "### WebhookTryAgain", "| {label} | {try_again} | {not_configured} |"),
    ("docs/how-to/reconcile.md", "### Limits and settings", "`{address}`"),
    ("docs/how-to/without-internet.md", "## The queries to the gateways", "`{address}`"),
)
"""Where each gateway must appear in the docs: the page, the heading, and the text, such as the start of a row."""

OTHERS = ("docs/how-to/gateways.md", "pyproject.toml")

PLACES_IN_THE_TEMPLATE = (
    *("Path: /webhook/{name},", " /webhook/{name}: *throttle", ' /webhook/{name}", Target:'),
    "- https://${{Host}}${{Prefix}}/webhook/{name}\n",
)
