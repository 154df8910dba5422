"""Build the results of ``payctl gateways``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ticketbottle_payctl.cli.commands.gateways.keys import KeyItem, State
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, Table, bad, good, line, warn
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count, gateway_name
from ticketbottle_payctl.jobs.register_webhook import Registration

_BOTH = "callbacks, queries"


class GatewayCounts(TypedDict):
    """The number of gateways in each state."""

    on: Count
    """The number of gateways whose callbacks payctl can check with these settings."""
    off: Count
    """The number of gateways without any of the keys that check callbacks."""
    incomplete: Count
    """The number of gateways with some, but not all, of the keys that check callbacks."""


class RegistrationFacts(TypedDict):
    """PayOS's decision about the webhook's URL."""

    gateway: str
    """The gateway, which is always payos."""
    url: str
    """The URL. The part after the gateway's name is hidden, because it may be a secret."""
    entered: bool
    """Whether PayOS will call this URL from now on. False in a dry run."""
    code: str | None
    """The code in PayOS's reply, or the HTTP status. Null in a dry run."""
    said: str | None
    """PayOS's message, if PayOS refused the URL."""


def listed(items: Sequence[KeyItem], states: Mapping[str, State], notes: Sequence[str]) -> Result:
    """Return the result of ``gateways list``, with a summary line and a row for each value."""
    found = Counter(states.values())
    counts: GatewayCounts = {"on": found["on"], "off": found["off"], "incomplete": found["incomplete"]}
    incomplete = [name for name, state in states.items() if state == "incomplete"]
    said = f"can check callbacks from {found['on']} of {count(len(states), 'gateway')}"
    first = (
        line(warn("!"), f"{said}; keys are missing for {', '.join(map(gateway_name, incomplete))}")
        if incomplete
        else None
    )
    table = Table(
        ("gateway", "variable", "value", "length", "fingerprint", "needed for"),
        tuple(
            (
                gateway_name(item["gateway"]),
                item["variable"],
                item["rotation"] if item["is_set"] else "not set",
                item["length"] if item["is_set"] else "",
                item["fingerprint"] or "",
                item["needed_for"] if item["needed_for"] == "queries" or not item["for_queries"] else _BOTH,
            )
            for item in items
        ),
    )
    human: list[Block] = [first or line(good("✔") if found["on"] else "·", said), table]
    return Result("payctl.gateways-list/1", items=items, counts=counts, human=human, warnings=notes)


def planned(url: str, plan: Fields) -> Result:
    """Return the result of a dry run, with the request that would be sent."""
    facts: RegistrationFacts = {"gateway": "payos", "url": url, "entered": False, "code": None, "said": None}
    first = line("would register 1 webhook URL; nothing was sent")
    return Result("payctl.gateways-register-webhook/1", result=facts, human=[first, plan], dry_run=True)


def registered(url: str, registration: Registration) -> Result:
    """Return the result of a registration. The exit code is 5 if PayOS refused the URL."""
    facts: RegistrationFacts = {
        "gateway": "payos",
        "url": url,
        "entered": registration.entered,
        "code": registration.code,
        "said": registration.said or None,
    }
    if registration.entered:
        human: list[Block] = [
            line(good("✔"), f"PayOS calls {url} from now on"),
            line("the webhook answered its test callback: see `payctl list receipts --provider payos`"),
        ]
        return Result("payctl.gateways-register-webhook/1", result=facts, human=human)
    words = f": {registration.said}" if registration.said else ""
    human = [
        line(bad("✘"), f"PayOS did not register the URL (code {registration.code}){words}"),
        line("try:", _advice(registration)),
    ]
    return Result("payctl.gateways-register-webhook/1", ExitCode.NO, result=facts, human=human)


def _advice(registration: Registration) -> str:
    if registration.code.removeprefix("HTTP ") in {"401", "403"}:
        return "check PAYOS_CLIENT_ID and PAYOS_API_KEY against PayOS's portal"
    return (
        "PayOS called the URL and got no 2xx reply within 10 s. Check that PayOS can reach the URL from the internet,"
        " and that the webhook has this channel's PAYOS_CHECKSUM_KEY. If the webhook accepts the call,"
        " its log contains webhook_test_ping"
    )
