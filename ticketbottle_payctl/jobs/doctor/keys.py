"""Check the gateways' keys. payctl signs a test callback with each key, and then verifies it with the same key.

This test proves that the key is usable, but not that the gateway uses the same key. Only a genuine callback can prove
that: ``payctl verify-signature`` verifies a received callback.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from ticketbottle_payctl.domain.callback import Callback, Request
from ticketbottle_payctl.formats import count, gateway_name
from ticketbottle_payctl.jobs.doctor.model import Finding, Status, Subject, fail, off, ok, warn
from ticketbottle_payctl.jobs.doctor.signing import signed_callback
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.samples import samples
from ticketbottle_payctl.secret import Secret

_QUOTES = ("'", '"', "`")


def check(subject: Subject) -> list[Finding]:
    """Check each gateway's built-in example, then its configured keys.

    Raises:
        ConfigError: a secret cannot be read.
    """
    return [finding for gateway in GATEWAYS.values() for finding in _gateway(gateway, subject.credentials(gateway))]


def _gateway(gateway: Gateway, credentials: Credentials) -> list[Finding]:
    name = gateway_name(gateway.name)
    if not _examples_hold(gateway):
        meaning = "callbacks from this gateway cannot be verified reliably"
        return [
            fail(
                "keys",
                f"{name}: the built-in example fails verification",
                meaning,
                "reinstall payctl",
            )
        ]
    needed = [field for field in gateway.fields if field.signs_callbacks]
    absent = [field.env for field in needed if not any(credentials.get(field.name, ()))]
    if len(absent) == len(needed):
        return [off("keys", f"{name} is off: no keys are set")]
    if absent:
        meaning = "payctl answers its callbacks with `not configured`"
        return [fail("keys", f"{name}: {', '.join(absent)} not set", meaning, f"export {absent[0]}")]
    findings = [_combination(gateway, needed, values) for values in _combinations(needed, credentials)]
    return _worst_first(_spoiled(gateway, credentials)) or _merged(gateway, findings)


def _examples_hold(gateway: Gateway) -> bool:
    mine = [one for one in samples().values() if one.gateway == gateway.name]
    return bool(mine) and all(isinstance(gateway.verify(one.request, one.credentials), Callback) for one in mine)


def _combinations(needed: list[CredentialField], credentials: Credentials) -> list[tuple[Secret, ...]]:
    """Return the combinations of key values to check. A combination has at most one value that is not current."""
    every = product(*(credentials[field.name] for field in needed))
    current = tuple(credentials[field.name][0] for field in needed)
    return [one for one in every if sum(a is not b for a, b in zip(one, current, strict=True)) <= 1]


def _combination(gateway: Gateway, needed: list[CredentialField], values: tuple[Secret, ...]) -> Finding:
    name = gateway_name(gateway.name)
    alone = {field.name: (value,) for field, value in zip(needed, values, strict=True)}
    request = signed_callback(gateway.name, {field: value[0].reveal() for field, value in alone.items()})
    verdict = gateway.verify(request, alone)
    if not isinstance(verdict, Callback):
        remedy = f"check {', '.join(field.env for field in needed)} against the gateway's merchant page"
        meaning = f"callbacks from {name} will be refused"
        return fail(
            "keys",
            f"{name}: a test callback signed with its own keys is refused: {verdict.detail}",
            meaning,
            remedy,
        )
    if isinstance(gateway.verify(_tampered(request), alone), Callback):
        return fail(
            "keys",
            f"{name}: a tampered callback is accepted",
            "anyone can forge a callback",
            "stop the webhook and report this",
        )
    return ok("keys", gateway.name)


def _tampered(request: Request) -> Request:
    return replace(
        request, body=request.body.replace(b"10000", b"10001"), query=request.query.replace("1000000", "1000100")
    )


def _spoiled(gateway: Gateway, credentials: Credentials) -> list[Finding]:
    """Return a warning for each value that begins or ends with white space or a quotation mark."""
    name = gateway_name(gateway.name)
    findings = []
    for field in gateway.fields:
        for value in credentials.get(field.name, ()):
            text = value.reveal()
            if text != text.strip() or text.startswith(_QUOTES) or text.endswith(_QUOTES):
                meaning = "payctl treats it as part of the value, so signatures will not match"
                fact = f"{name}: {field.env} begins or ends with white space or a quotation mark"
                findings.append(warn("keys", fact, meaning, f"set {field.env} again without it"))
    return findings


def _worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.status is not Status.FAIL)


def _merged(gateway: Gateway, findings: list[Finding]) -> list[Finding]:
    name = gateway_name(gateway.name)
    wrong = [finding for finding in findings if finding.status is not Status.OK]
    if wrong:
        return wrong
    also = f" ({len(findings) - 1} with keys from before a rotation)" if len(findings) > 1 else ""
    signed = count(len(findings), "test callback")
    return [ok("keys", f"{name}: verified {signed}{also} and refused a tampered one")]
