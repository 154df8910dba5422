"""Record changes in the database under test. Triggers note each payment update and each event insert or delete.

A trigger writes its note in the same transaction as the change, so the database commits or rolls back both. The notes
do not depend on payctl's own records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

INSTALL = """
CREATE SCHEMA audit;
CREATE TABLE audit.events (
    n bigint GENERATED ALWAYS AS IDENTITY, tx text NOT NULL DEFAULT pg_current_xact_id()::text, deed text NOT NULL,
    id text NOT NULL, key text NOT NULL, type text NOT NULL, published boolean NOT NULL);
CREATE TABLE audit.payments (
    n bigint GENERATED ALWAYS AS IDENTITY, tx text NOT NULL DEFAULT pg_current_xact_id()::text, id text NOT NULL,
    before text NOT NULL, after text NOT NULL, kept boolean NOT NULL);
CREATE FUNCTION audit.note_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r record := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
BEGIN
    INSERT INTO audit.events (deed, id, key, type, published)
    VALUES (TG_OP, r.id, r."aggregateId", r."eventType", r.published OR r."publishedAt" IS NOT NULL);
    RETURN NULL;
END $$;
CREATE FUNCTION audit.note_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.payments (id, before, after, kept)
    VALUES (OLD.id, OLD.status, NEW.status,
        (OLD.id, OLD."amountCents", OLD.currency, OLD.provider, OLD."providerTransactionId", OLD."orderCode")
        IS NOT DISTINCT FROM
        (NEW.id, NEW."amountCents", NEW.currency, NEW.provider, NEW."providerTransactionId", NEW."orderCode"));
    RETURN NULL;
END $$;
CREATE TRIGGER audit_events AFTER INSERT OR DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION audit.note_event();
CREATE TRIGGER audit_payments AFTER UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION audit.note_payment();
"""


@dataclass(frozen=True, slots=True)
class EventNote:
    """A note that an event was inserted or deleted. ``published`` is the event's state at that instant."""

    tx: str
    deed: str
    id: str
    key: str
    type: str
    published: bool


@dataclass(frozen=True, slots=True)
class PaymentNote:
    """A note that a payment was updated.

    ``kept`` is false if the payment's amount, currency, gateway or references changed.
    """

    tx: str
    id: str
    before: str
    after: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """All notes, in the order in which the triggers wrote them."""

    events: list[EventNote]
    payments: list[PaymentNote]


def install(engine: Engine) -> None:
    """Create the audit tables and the triggers."""
    with engine.begin() as connection:
        connection.exec_driver_sql(INSTALL.replace("%", "%%"))


def read(engine: Engine) -> Audit:
    """Return all notes."""
    with engine.connect() as connection:

        def all_of(sql: str, kind: Any) -> list[Any]:
            return [kind(*row) for row in connection.exec_driver_sql(sql)]

        return Audit(
            all_of("SELECT tx, deed, id, key, type, published FROM audit.events ORDER BY n", EventNote),
            all_of("SELECT tx, id, before, after, kept FROM audit.payments ORDER BY n", PaymentNote),
        )
