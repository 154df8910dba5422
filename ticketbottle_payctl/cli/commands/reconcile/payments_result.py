"""Build the result of ``reconcile payments``: the gateways' responses, the plan and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import (
    Block,
    Failure,
    Fields,
    Part,
    Result,
    Table,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.formats import PROVIDERS, count, gateway_name, money
from ticketbottle_payctl.jobs.reconcile.payments_report import FOR_A_PERSON, NO_ANSWER, PaymentsCounts, count_payments
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.providers.queries.status_query import NoVerdict

SCHEMA = "payctl.reconcile-payments/1"
_ENDS = ("completed", "failed", "cancelled")
_TOO_OLD = "too_old"
"""The answer whose reason is too long for a column. A warning contains the reason."""
_NOT_ASKED = ("off", _TOO_OLD, "unreachable", "not_asked")


class PaymentItem(TypedDict):
    """A gateway's response about one payment, and what payctl did."""

    payment_id: str
    """The payment's id in the payment service."""
    order_code: str
    """The order code. payctl does not interpret it."""
    provider: Annotated[str, Keywords(examples=[*PROVIDERS])]
    """The gateway, or an unknown name in the payment's row."""
    amount: int
    """The payment's amount in whole VND."""
    created_at: datetime
    """When the payment was created (UTC)."""
    status: str
    """The payment's status when the gateway was asked."""
    says: Annotated[str, Keywords(enum=[*_ENDS, *NoVerdict, *_NOT_ASKED])]
    """The gateway's response, or the reason why there is none."""
    detail: str | None
    """The gateway's own code, or the reason why the gateway was not asked or its response was rejected."""
    gateway_amount: int | None
    """The amount paid according to the gateway, in whole VND."""
    gateway_transaction_id: str | None
    """The gateway's own id for the transaction."""
    would_settle: bool
    """Whether the plan settles the payment."""
    outcome: Annotated[str, Keywords(enum=["settled", "skipped"])] | None
    reason: str | None
    """The reason why payctl skipped or refused the payment."""
    status_after: str | None
    """The payment's status after the run."""
    event_id: str | None
    """The id of the outbox event that was written."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The facts about one run. ``done`` contains the settled payments.

    ``too_old`` counts the payments that are too old to query.
    """

    findings: Sequence[StatusFinding]
    more: bool = False
    too_old: int = 0
    done: Mapping[str, Settled] = field(default_factory=dict)
    dry_run: bool = False
    run_id: str | None = None
    stopped: ExitCode | None = None
    publish: str | None = None
    """The command that publishes the settled payments' events."""
    apply: str | None = None
    """The command that settles the payments that the dry run found, or None if there are none."""
    look: str | None = None
    """The command that shows a payment that payctl did not settle and that a person must look at, or None."""


def result_of(it: Reconciled) -> Result:
    """Return the result of the command."""
    counts = count_payments(it.findings, it.done, too_old=it.too_old)
    code = _code(it, counts)
    return Result(
        SCHEMA,
        code,
        counts=counts,
        items=[_item(finding, it.done.get(finding.payment.id)) for finding in it.findings],
        human=_human(it, counts, code),
        warnings=_warnings(it),
        truncated=it.more,
        dry_run=it.dry_run,
        run_id=it.run_id,
        error=_failure(it) if code is ExitCode.UNAVAILABLE else None,
    )


def needs_a_look(finding: StatusFinding) -> bool:
    """Return whether a person must look at the payment.

    This is true if payctl refuses to settle the payment, or if the gateway's answer needs a decision.
    """
    return isinstance(finding.verdict, Refusal) or finding.says in FOR_A_PERSON


def plan_blocks(findings: Sequence[StatusFinding], *, is_plan: bool = True) -> list[Block]:
    """Return a table with the response and the planned action for each payment.

    If ``is_plan`` is false, the command has ended, and the table says what it did instead.
    """
    rows = tuple(
        (
            finding.payment.order_code,
            gateway_name(finding.payment.gateway),
            money(finding.payment.amount),
            finding.payment.created_at,
            finding.payment.status,
            _says(finding),
            _action(finding, is_plan=is_plan),
        )
        for finding in findings
    )
    columns = ("order", "gateway", "amount", "created", "status", "gateway says", "would do" if is_plan else "outcome")
    return [Table(columns, rows, spare=("created", "status", "gateway"))]


def _human(it: Reconciled, counts: PaymentsCounts, code: ExitCode) -> list[Block]:
    if not it.findings:
        return [headline(good("✔"), "no payment is overdue", dim("nothing to do")), *_older(it)]
    names = (
        "settled" if it.done else "to_settle",
        "skipped",
        "pending",
        "refused",
        "for_a_person",
        "no_answer",
        "not_asked",
    )
    named = dict[str, Any](counts)
    words: list[Part] = [bold(count(counts["matched"], "payment"))]
    words += [f"{number:,} {name.replace('_', ' ')}" for name in names if (number := named[name])]
    open_still = it.dry_run and counts["to_settle"]
    blocks: list[Block] = [headline(good("✔") if code is ExitCode.DONE and not open_still else warn("!"), *words)]
    blocks += [_outcomes(it)] if it.done else plan_blocks(it.findings, is_plan=it.dry_run)
    blocks += _older(it)
    if it.publish and counts["settled"]:
        blocks.append(Fields((("if no publisher runs", it.publish),)))
    if it.look:
        blocks.append(Fields((("next", it.look),)))
    if it.dry_run:
        to_apply = ". To apply it:" if it.apply else ""
        blocks.append(line(warn("dry run:"), f"the gateways were asked; nothing was changed{to_apply}"))
        blocks += [line(f"  {it.apply}")] if it.apply else []
    return blocks


def _older(it: Reconciled) -> list[Block]:
    if not it.too_old:
        return []
    return [
        line(dim(f"{count(it.too_old, 'older payment')} still PENDING: the gateway no longer has a record of them"))
    ]


def _outcomes(it: Reconciled) -> Table:
    rows = []
    for finding in it.findings:
        settled = it.done.get(finding.payment.id)
        became = _became(settled) if settled else dim("unchanged")
        rows.append((finding.payment.order_code, gateway_name(finding.payment.gateway), _says(finding), became))
    return Table(("order", "gateway", "gateway says", "outcome"), tuple(rows))


def _became(settled: Settled) -> Part:
    if settled.outcome == "settled":
        return good(f"{settled.status_before} → {settled.status_after}")
    return warn(f"skipped: {(settled.reason or '').replace('_', ' ')}")


def _says(finding: StatusFinding) -> Part:
    says = finding.says.replace("_", " ")  # a line can break between separate words
    text = f"{says} ({finding.detail})" if finding.detail and finding.says != _TOO_OLD else says
    amount = finding.callback.amount if finding.callback else None
    if amount is not None and amount != finding.payment.amount:
        text = f"{says} ({money(amount)})"
    return bad(text) if finding.says in NO_ANSWER else text


def _action(finding: StatusFinding, *, is_plan: bool) -> Part:
    if finding.settles:
        return good(f"settle: {finding.says.upper()}")
    if isinstance(finding.verdict, Refusal):
        return bad(f"{'refuse' if is_plan else 'refused'}: {finding.verdict.reason.value.replace('_', ' ')}")
    return warn("needs manual review") if finding.says in FOR_A_PERSON else dim("nothing" if is_plan else "unchanged")


def _item(finding: StatusFinding, settled: Settled | None) -> PaymentItem:
    refusal = finding.verdict.reason.value if isinstance(finding.verdict, Refusal) else None
    return {
        "payment_id": finding.payment.id,
        "order_code": finding.payment.order_code,
        "provider": finding.payment.gateway,
        "amount": finding.payment.amount,
        "created_at": finding.payment.created_at,
        "status": finding.payment.status,
        "says": finding.says,
        "detail": finding.detail or None,
        "gateway_amount": finding.callback.amount if finding.callback else None,
        "gateway_transaction_id": finding.callback.gateway_transaction_id if finding.callback else None,
        "would_settle": finding.settles,
        "outcome": settled.outcome if settled else None,
        "reason": settled.reason if settled else refusal,
        "status_after": settled.status_after if settled else None,
        "event_id": settled.event_id if settled else None,
    }


def _warnings(it: Reconciled) -> list[str]:
    warnings = []
    if it.more:
        warnings.append("more payments are overdue than --limit allows; the oldest were not queried: raise --limit")
    for finding in it.findings:
        order = finding.payment.order_code
        if isinstance(finding.verdict, Refusal):
            warnings.append(f"{order}: {finding.verdict.reason.value}; nothing was changed; it needs manual review")
        elif finding.says in FOR_A_PERSON:
            why = f" ({finding.detail})" if finding.says == _TOO_OLD else ""
            warnings.append(f"{order}: {finding.says}{why}; it needs manual review")
    late = [finding.payment.order_code for finding in it.findings if _is_late(it, finding)]
    warnings += [
        f"{order}: money arrived after the payment failed or was cancelled; it needs manual review" for order in late
    ]
    return warnings


def _is_late(it: Reconciled, finding: StatusFinding) -> bool:
    settled = it.done.get(finding.payment.id)
    return settled is not None and settled.late


def _code(it: Reconciled, counts: PaymentsCounts) -> ExitCode:
    if it.stopped is not None:
        return it.stopped
    if it.findings and all(finding.says in {"unreachable", "busy"} for finding in it.findings):
        return ExitCode.UNAVAILABLE
    if counts["not_asked"]:
        return ExitCode.DEADLINE
    failed = counts["refused"] + counts["for_a_person"] + counts["no_answer"] + counts["skipped"] + it.more
    return ExitCode.PARTIAL if failed else ExitCode.DONE


def _failure(it: Reconciled) -> Failure:
    return Failure(
        "UNAVAILABLE",
        f"no gateway answered: {it.findings[0].detail}",
        ExitCode.UNAVAILABLE,
        hint="try again later, or check the gateway's address (PAYCTL_ZALOPAY_URL and similar settings)",
        retryable=True,
    )
