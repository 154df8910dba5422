"""Show the gateways' responses, the plan and the outcome of ``reconcile payments`` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from ticketbottle_payctl.cli.commands.reconcile.payments_facts import TOO_OLD, Reconciled, needs_portal
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Part,
    Table,
    accent,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.cause_advice import next_lines
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.formats import count, gateway_name, money
from ticketbottle_payctl.jobs.reconcile.payments_report import (
    FOR_A_PERSON,
    NO_ANSWER,
    PaymentsCounts,
    is_closed,
)
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.store.inspect.sessions import WRITING_SESSIONS

_CLOSED = "closed by an operator"
_OPEN = "list the sessions that may have locked a row, in psql"


def plan_blocks(
    findings: Sequence[StatusFinding], *, is_plan: bool, closed: frozenset[str], at: datetime
) -> list[Block]:
    """Return a table with the response and the planned action for each payment.

    If ``is_plan`` is false, the command has ended, and the table says what it did instead. ``closed`` contains the ids
    of the closed payments. ``at`` is the time of the run.
    """
    rows = tuple(
        (
            finding.payment.order_code,
            gateway_name(finding.payment.gateway),
            money(finding.payment.amount),
            finding.payment.created_at,
            finding.payment.status,
            _says(finding),
            dim(_CLOSED)
            if is_closed(finding, closed)
            else _action(finding, is_plan=is_plan, in_portal=needs_portal(finding, at)),
        )
        for finding in findings
    )
    columns = ("order", "gateway", "amount", "created", "status", "gateway says", "would do" if is_plan else "outcome")
    return [Table(columns, rows, spare=("created", "status", "gateway"))]


def blocks_of(it: Reconciled, counts: PaymentsCounts, code: ExitCode) -> list[Block]:
    """Return the whole result as text."""
    too_old, closed = counts["too_old"], f"{counts['closed']:,} {_CLOSED}" if counts["closed"] else None
    if not it.findings:
        first = headline(good("✔"), "no payment is overdue", closed, dim("nothing to do"))
        if too_old:
            first = headline(warn("!"), bold(_too_old(it)), "too old to ask the gateway about", closed)
        return [first, *_next(it)]
    names = (
        "settled" if it.done else "to_settle",
        "skipped",
        "pending",
        "not_found",
        "refused",
        "for_a_person",
        "no_answer",
        "not_asked",
    )
    named = dict[str, Any](counts)
    words: list[Part] = [bold(count(counts["matched"], "payment"))]
    words += [f"{number:,} {name.replace('_', ' ')}" for name in names if (number := named[name])]
    words += [closed] if closed else []
    open_still = it.dry_run and counts["to_settle"]
    blocks: list[Block] = [headline(good("✔") if code is ExitCode.DONE and not open_still else warn("!"), *words)]
    blocks += [_outcomes(it)] if it.done else plan_blocks(it.findings, is_plan=it.dry_run, closed=it.closed, at=it.at)
    blocks += [line("too old:", why) for why in _why_too_old(it)] + _older(it)
    if it.publish and counts["settled"]:
        blocks.append(Fields((*it.publish.rows("if no publisher runs"),)))
    blocks += _next(it)
    if it.dry_run:
        to_apply = ". To apply it:" if it.apply else ""
        blocks.append(line(warn("dry run:"), f"the gateways were asked; nothing was changed{to_apply}"))
        blocks += [line(f"  {it.apply}")] if it.apply else []
    return blocks


def _why_too_old(it: Reconciled) -> list[str]:
    """Return each reason why payctl did not ask about an open payment."""
    return [*dict.fromkeys(each.detail for each in it.findings if each.says == TOO_OLD and not it.is_closed(each))]


def _older(it: Reconciled) -> list[Block]:
    if not it.too_old.open:
        return []
    return [line(f"{_too_old(it, 'older payment')} still PENDING, too old to ask the gateway about")]


def _too_old(it: Reconciled, noun: str = "payment") -> str:
    """Return the number of payments that are too old for a query, with "at least" if not all of them were counted."""
    return f"{'at least ' if it.too_old.more else ''}{count(it.too_old.open, noun)}"


def _next(it: Reconciled) -> Iterator[Block]:
    """Yield the next step: a decision about a payment, or a look in the gateway's portal."""
    if it.locks:
        yield line(bold("next:"), "find the session that has locked the payment or the outbox, then try again")
        yield from next_lines("  ", bold("payment:"), _OPEN, None, WRITING_SESSIONS)
        yield from next_lines("  ", bold("outbox:"), "see which session has locked the table", it.locks)
    if it.look:
        yield Fields((("next", it.look),))
    elif it.close:
        yield line(bold("next:"), f"look for order {it.in_portal} in the gateway's portal, then record what you found")
        yield line(accent(f"  {it.close}"))


def _outcomes(it: Reconciled) -> Table:
    rows = []
    for finding in it.findings:
        settled = it.done.get(finding.payment.id)
        became = _became(settled) if settled else dim(_CLOSED if it.is_closed(finding) else "unchanged")
        rows.append((finding.payment.order_code, gateway_name(finding.payment.gateway), _says(finding), became))
    return Table(("order", "gateway", "gateway says", "outcome"), tuple(rows))


def _became(settled: Settled) -> Part:
    if settled.outcome == "settled":
        return good(f"{settled.status_before} → {settled.status_after}")
    return warn(f"skipped: {(settled.reason or '').replace('_', ' ')}")


def _says(finding: StatusFinding) -> Part:
    says = finding.says.replace("_", " ")  # a line can break between separate words
    text = f"{says} ({finding.detail})" if finding.detail and finding.says != TOO_OLD else says
    amount = finding.callback.amount if finding.callback else None
    if amount is not None and amount != finding.payment.amount:
        text = f"{says} ({money(amount)})"
    return bad(text) if finding.says in NO_ANSWER else text


def _action(finding: StatusFinding, *, is_plan: bool, in_portal: bool) -> Part:
    if finding.settles:
        return good(f"settle: {finding.says.upper()}")
    if isinstance(finding.verdict, Refusal):
        return bad(f"{'refuse' if is_plan else 'refused'}: {finding.verdict.reason.value.replace('_', ' ')}")
    by_hand = finding.says in FOR_A_PERSON or in_portal
    return warn("needs manual review") if by_hand else dim("nothing" if is_plan else "unchanged")
