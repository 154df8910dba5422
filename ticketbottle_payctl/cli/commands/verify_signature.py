"""Implement ``payctl verify-signature``, which checks a callback without a database, Kafka or a network."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, NotRequired, TypedDict

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import callback_options
from ticketbottle_payctl.cli.input.callback_source import AUTO, Source, read_request
from ticketbottle_payctl.cli.input.example_callback import choose
from ticketbottle_payctl.cli.input.key_files import read_keys
from ticketbottle_payctl.cli.input.missing_keys import CredentialsFor, missing_keys
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bad, dim, good, line, warn
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import gateway_name, money
from ticketbottle_payctl.jobs.verify_signature import VerifyReport, verify_signature
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.providers.tried_keys import TriedKey

KeyFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file with NAME=value lines, or with only the key.")
]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the keys from stdin.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show the signed text, with personal data masked.")]
Example = Annotated[
    str | None, typer.Option(metavar="NAME", help="Check a built-in callback with its public test keys.")
]
Tamper = Annotated[str | None, typer.Option(metavar="FIELD", help="Change this field of the example after signing.")]


def verify_signature_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    file: callback_options.File = None,
    *,
    provider: callback_options.Provider = AUTO,
    query: callback_options.Query = None,
    event: callback_options.EventFile = None,
    path: callback_options.RequestPath = None,
    key_file: KeyFile = None,
    key_stdin: KeyStdin = False,
    explain: Explain = False,
    example: Example = None,
    tamper: Tamper = None,
) -> None:
    """Check that a callback is genuine, or say why it is not.

    The command reads the callback exactly as it arrived and checks it as the webhook would, with the keys from the
    environment, the profile or --key-file. The command identifies each key by its variable, length and fingerprint.
    Exit 0 if the callback is genuine, 5 if not.
    """
    session = Session.of(ctx)
    source = Source(file, query, event, path)
    about = None
    if example is not None or tamper is not None:
        request, credentials_for, about = choose(example, tamper, source)
    else:
        request = read_request(source, provider)
        credentials_for = session.services.credentials
    gateway = providers.resolve(request) if provider == AUTO else providers.by_name(provider)
    if key_file is not None or key_stdin:
        credentials_for = _with_keys(_key_source(key_file, source, stdin=key_stdin), gateway, credentials_for)
    report = verify_signature(request, gateway, credentials_for, explain=explain)
    if not report.valid and not explain:  # search for the reason, which may take time
        report = verify_signature(request, gateway, credentials_for, explain=True)
    if gateway is not None and report.reason == "not_configured":
        raise missing_keys(gateway, credentials_for(gateway))
    session.finish(_result(report, about, explain=explain))


def _key_source(key_file: str | None, source: Source, *, stdin: bool) -> str:
    if stdin and key_file is not None:
        message = "--key-file cannot be combined with --key-stdin"
        raise InputError(message, hint="give one of them")
    name = "-" if stdin or key_file is None else key_file
    if name == "-" and "-" in {source.file, source.event}:
        message = "stdin cannot be both the callback and the keys"
        raise InputError(message, hint="read one of them from a file")
    return name


def _with_keys(name: str, gateway: Gateway | None, otherwise: CredentialsFor) -> CredentialsFor:
    """Return credentials in which the file's values for this gateway override the environment's values."""
    if gateway is None:
        return otherwise
    from_file = read_keys(name, gateway)

    def credentials_for(wanted: Gateway) -> Credentials:
        found = otherwise(wanted)
        return {**found, **from_file} if wanted is gateway else found

    return credentials_for


class OfTheCommand(TypedDict):
    """The fields that the command adds to the job's report."""

    example: str | None
    """The built-in example that was checked, and which of its fields was changed."""
    keys: NotRequired[tuple[TriedKey, ...]]
    """The keys that the signature was checked against, without their values."""
    canonical: NotRequired[str | None]
    """With --explain: the signed string, in which personal data is masked."""


def _result(report: VerifyReport, about: str | None, *, explain: bool) -> Result:
    facts = asdict(report)
    if not explain:
        del facts["canonical"]
    return Result(
        "payctl.verify-signature/1",
        exit_codes.of_answer(yes=report.valid),
        result={**facts, "example": about},
        human=[
            *(_valid(report) if report.valid else _invalid(report, explain=explain)),
            _details(report, about, explain=explain),
        ],
    )


def _valid(report: VerifyReport) -> list[Block]:
    outcome = f"{report.outcome} ({report.reason})" if report.reason else report.outcome
    amount = None if report.amount is None else money(report.amount, report.currency)
    order = f"order {report.order_ref}" if report.order_ref else None
    first = line(good("✔ valid"), gateway_name(report.provider or ""), outcome, amount, order)
    ignored = (
        [line(dim("  payctl acknowledges it and does not change the payment"))] if report.outcome == "IGNORED" else []
    )
    signed_with = [("signed with", key.description) for key in report.keys if key.matched]
    return [first, *ignored, Fields((("gateway's number", report.provider_transaction_id), *signed_with))]


def _invalid(report: VerifyReport, *, explain: bool) -> list[Block]:
    reason = report.detail or report.reason or "the signature is not valid"
    blocks: list[Block] = [line(bad("✘ not valid"), gateway_name(report.provider or ""), reason)]
    blocks += [line(dim("  key "), key.description) for key in report.keys]
    blocks += [line(warn("  hint"), hint) for hint in report.hints]
    if report.provider is None:
        blocks.append(line(dim("  try "), f"--provider {'|'.join(providers.GATEWAYS)}"))
    elif not explain:
        blocks.append(line(dim("  try "), "--explain shows the text that was signed"))
    return blocks


def _details(report: VerifyReport, about: str | None, *, explain: bool) -> Block:
    return Fields((("example", about), ("signed text", report.canonical if explain else None)))
