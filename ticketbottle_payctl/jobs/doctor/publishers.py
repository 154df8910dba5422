"""Check that a publisher is running, and tell one that idles from one that is gone."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import SEEN_WITHIN, Command
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, ok, warn
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.outbox import cdc

_GONE_AFTER = 600.0
"""Seconds. A publisher that a schedule starts every few minutes is not gone in between."""


def check(connection: Connection, subject: Subject) -> list[Finding]:
    """Name the publishers that are running, and check that they divide the payments as configured here."""
    working = publishers.working(connection)
    if not working:
        return [_not_working(connection)]
    findings = []
    for one in working:
        fact = f"shard {one.shard} of {one.shards}: pid {one.pid}, {one.application or 'unnamed'}"
        if one.shards == subject.shards:
            findings.append(ok("publishers", fact))
        else:
            meaning = f"PAYCTL_SHARDS is {subject.shards} here: a publisher started here would wait for that one"
            findings.append(warn("publishers", fact, meaning, f"give every publisher PAYCTL_SHARDS={one.shards}"))
    return findings


def _not_working(connection: Connection) -> Finding:
    slot = cdc.slot(connection)
    if slot is not None:
        return ok("publishers", f"Debezium publishes this outbox; its slot is {'active' if slot.active else 'idle'}")
    seen, known = publishers.seen(connection)
    if not seen:
        unseen = "no publisher has run yet" if known else "no publisher is working now; when one ran last is hidden"
        return ok("publishers", unseen)
    last = seen[0]
    ago = duration(last.seconds)
    if last.ended and last.seconds < _GONE_AFTER:
        return ok("publishers", f"none is running now; {last}")
    if last.seconds < SEEN_WITHIN.total_seconds():
        return ok("publishers", f"one idles: {last.name}, last seen {ago} ago")
    if last.seconds < _GONE_AFTER:
        return ok("publishers", f"none is running now; {last}")
    fact = f"no publisher has been seen for {ago}; the last one was {last.name}"
    meaning = "new events wait until one runs"
    advice = "start the publisher again; until then, publish by hand"
    return warn("publishers", fact, meaning, advice, Command(("publish-outbox",), changes=True))
