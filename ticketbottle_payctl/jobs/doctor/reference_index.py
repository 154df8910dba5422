"""Check the index on payments."providerTransactionId", which payctl uses to find the payment of a PayOS callback."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.providers import payos
from ticketbottle_payctl.store.inspect import tables
from ticketbottle_payctl.store.inspect.tables import REFERENCE_INDEX, Index, Privilege
from ticketbottle_payctl.store.payments import lookup

_NAME = "reference-index"
_COLUMN = "providerTransactionId"
_SMALL = 10_000
_UNKNOWN_ORDER = "payctl reads the whole table for a callback with an unknown order code"


def reference_index(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that payctl can find a callback's payment without reading a large table.

    Without the index, the check fails if PayOS is in use and there are more than 100,000 payments. PayOS is the only
    gateway that does not send an order code.
    """
    found = tables.indexes(connection, "payments")
    serving = tables.serving(found, _COLUMN)
    if serving:
        return [ok(_NAME, f"{serving.name} exists and is valid")]
    rows = lookup.count_roughly(connection)
    fact = f'payments (about {count(rows, "row")}) has no index on "{_COLUMN}"'
    if rows <= _SMALL:
        return [ok(_NAME, f"{fact}, and does not need one yet")]
    remedy, sql = "as the tables' owner", _sql(found, subject.schema)
    if not _uses_payos(connection, subject):
        return [warn(_NAME, fact, _UNKNOWN_ORDER, remedy, sql=sql)]
    meaning = "PayOS sends no order code, so payctl might read the whole table to find a PayOS callback's payment"
    return [(fail if rows > lookup.LARGE else warn)(_NAME, fact, meaning, remedy, sql=sql)]


def _uses_payos(connection: Connection, subject: Subject) -> bool:
    if any(subject.credentials(payos.GATEWAY).get("checksum_key", ())):
        return True
    wanted = Privilege("payments", "SELECT")
    return tables.privileges(connection, [wanted]).get(wanted, False) and lookup.has_any_of(connection, payos.NAME)


def _sql(found: list[Index], schema: str) -> str:
    broken = next((one for one in found if one.columns[:1] == (_COLUMN,) and not one.valid), None)
    if broken:
        return f'REINDEX INDEX CONCURRENTLY "{schema}"."{broken.name}"'
    return f'CREATE INDEX CONCURRENTLY "{REFERENCE_INDEX}" ON "{schema}".payments ("{_COLUMN}")'
