"""Define the facts about one run of ``reconcile payments``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.safety.advised import PublishAdvice
from ticketbottle_payctl.domain.payment import PaymentStatus, is_overdue
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.formats import PROVIDERS
from ticketbottle_payctl.jobs.reconcile.payments_report import FOR_A_PERSON, ONLY_IN_PORTAL, is_closed
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.providers.queries.status_query import NoVerdict
from ticketbottle_payctl.store.payments.overdue import NONE_FORGOTTEN, Forgotten

_ENDS = ("completed", "failed", "cancelled")
TOO_OLD = "too_old"
"""The answer whose reason is too long for a column. A line below the table contains the reason."""
_NOT_ASKED = ("off", TOO_OLD, "unreachable", "not_asked")


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
    closed: NotRequired[bool]
    """Whether an operator has closed the payment with this answer, so that it needs no attention."""
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

    ``too_old`` counts the payments that are too old to query. ``closed`` contains the ids of the closed payments.
    """

    findings: Sequence[StatusFinding]
    at: datetime
    """The time of the run. A payment that is not overdue needs no person yet."""
    more: bool = False
    too_old: Forgotten = NONE_FORGOTTEN
    closed: frozenset[str] = frozenset()
    done: Mapping[str, Settled] = field(default_factory=dict)
    dry_run: bool = False
    run_id: str | None = None
    stopped: ExitCode | None = None
    publish: PublishAdvice | None = None
    """The command that publishes the settled payments' events, or its dry run."""
    apply: str | None = None
    """The command that settles the payments that the dry run found, or None if there are none."""
    look: str | None = None
    """The command that shows a payment that payctl did not settle and that a person must look at, or None."""
    locks: str | None = None
    """The command that shows which session has locked the outbox, or None if no lock stopped a settlement."""
    close: str | None = None
    """The command that closes a payment after a person has looked in the gateway's portal, or None."""

    def is_closed(self, finding: StatusFinding) -> bool:
        """Return whether an operator has closed the finding's payment, so that it needs no attention."""
        return is_closed(finding, self.closed)

    @property
    def in_portal(self) -> str | None:
        """The order code of the first payment that a person must look for in the gateway's portal, or None."""
        return next((each.payment.order_code for each in self.only_in_portal), self.too_old.order_code)

    @property
    def only_in_portal(self) -> list[StatusFinding]:
        """The answers about overdue payments that an operator must look for in the portal, except closed payments."""
        return [each for each in self.findings if needs_portal(each, self.at) and not self.is_closed(each)]


def needs_portal(finding: StatusFinding, at: datetime) -> bool:
    """Return whether the payment is overdue at this time, and only the gateway's portal shows whether it is paid."""
    if finding.says not in ONLY_IN_PORTAL or finding.payment.status != PaymentStatus.PENDING:
        return False
    return is_overdue(finding.payment.created_at, at)


def needs_a_look(finding: StatusFinding) -> bool:
    """Return whether a person must look at the payment.

    This is true if payctl refuses to settle the payment, or if the gateway's answer needs a decision. It is false if
    only the gateway's portal shows whether the payment is paid.
    """
    return isinstance(finding.verdict, Refusal) or finding.says in FOR_A_PERSON - ONLY_IN_PORTAL
