"""Suggest ids and order codes for the operator's command line. Each query is limited to less than a second."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import error_groups
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments import order_codes
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts
from ticketbottle_payctl.store.payments.order_codes import NamedOrder

_LIMITS = Limits(statement=timedelta(milliseconds=800), lock=timedelta(milliseconds=200), jit=False)
_MOST = 50


def latest_runs(engine: Engine) -> list[Run]:
    """Return the latest runs, newest first.

    Raises:
        PayctlError: the database did not answer in time, or lacks payctl's schema.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        return runs.page(connection, _MOST)


def largest_error_groups(engine: Engine, max_retries: int) -> list[ErrorGroup]:
    """Return the error groups of unpublished events, largest first.

    Raises:
        PayctlError: the database did not answer in time.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        return error_groups.groups(connection, Selector(), max_retries, _MOST)


def orders_beginning_with(engine: Engine, prefix: str) -> list[NamedOrder]:
    """Return orders whose codes begin with ``prefix``, sorted by code.

    Raises:
        PayctlError: the database did not answer in time.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        return order_codes.beginning_with(connection, prefix, _MOST)


def latest_receipts(engine: Engine) -> list[dict[str, object]]:
    """Return the latest stored callbacks, newest first, without their content.

    Raises:
        PayctlError: the database did not answer in time, or lacks payctl's schema.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = list_receipts(connection, _MOST, None, selector=ReceiptSelector(), with_closed=False)
    return [receipt.row for receipt in found]
