"""Check the index on outbox (published, "createdAt"), which every claim needs."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok
from ticketbottle_payctl.store.inspect import tables
from ticketbottle_payctl.store.inspect.tables import OUTBOX_INDEX

_NAME = "index"
_COLUMNS = ("published", "createdAt")


def outbox_index(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the outbox has the index on (published, "createdAt"), which is needed to claim events."""
    found = tables.indexes(connection, "outbox")
    serving = tables.serving(found, *_COLUMNS)
    if serving:
        return [ok(_NAME, f"{serving.name} exists and is valid")]
    broken = next((one for one in found if one.columns[:2] == _COLUMNS and not one.valid), None)
    if broken:
        fact, sql = f"{broken.name} is not valid", f'REINDEX INDEX CONCURRENTLY "{subject.schema}"."{broken.name}"'
    else:
        fact = 'outbox has no index on (published, "createdAt")'
        sql = f'CREATE INDEX CONCURRENTLY "{OUTBOX_INDEX}" ON "{subject.schema}".outbox (published, "createdAt")'
    return [fail(_NAME, fact, "every claim reads the whole outbox", "as the tables' owner", sql=sql)]
