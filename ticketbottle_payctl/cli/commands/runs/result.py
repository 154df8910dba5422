"""Build the output about recorded runs, as JSON and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.list.page import ListedCounts, cursor, note_more_rows, with_summary
from ticketbottle_payctl.cli.commands.replay.outcomes import next_commands, progress_words, publisher_words
from ticketbottle_payctl.cli.commands.runs.ended import ended_row
from ticketbottle_payctl.cli.commands.runs.facts import RunFacts, RunItemFacts, ShownRunFacts
from ticketbottle_payctl.cli.output.list_summary import Place, summary
from ticketbottle_payctl.cli.output.narrow_table import Column, ago, narrow, plain, short, when
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Result,
    Styled,
    Table,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.output.run_title import run_title, short_run_title
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.formats import clock_and_age, short_id
from ticketbottle_payctl.jobs.replay import ReplayOutcome
from ticketbottle_payctl.jobs.runs import REPLAY, RunDetails
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.payctl.runs import CLOSED, Actor, Run, RunAct, RunItem, RunStatus


def listed(
    session: Session,
    found: Sequence[Run],
    *,
    more: bool,
    place: Place,
    brief: tuple[tzinfo, datetime] | None = None,
) -> Result:
    """Return a page of runs below a sentence about them, and the next page's cursor.

    On a terminal, ``brief`` contains the time zone and the current time. If ``brief`` is given, ids are short and times
    are shown as ages.
    """
    after = cursor(found[-1].started_at, found[-1].id) if found and more else None
    rows = tuple(
        (run.id, run.started_at, run_title(run), _styled(run.status), _person(run.who), _changed(run), run.reason)
        for run in found
    )
    human: list[Block] = [Table(("run", "started", "command", "status", "who", "changed", "reason"), rows, whole=True)]
    if brief is not None and found:
        human = narrow(_COLUMNS, [_row(run) for run in found], *brief)
        one = Adviser(session, "").reading(["runs", "show"], [short_id(found[0].id)])
        session.note_last(dim(f"full values: --wide; one of them: {one}"))
    if after is not None:
        note_more_rows(session, "--limit", after)
    if found:
        first = summary("run", Counter(str(run.status) for run in found), place=place, more=more)
        human = with_summary(session, first, human)
    else:
        earlier = "no more run matches" if place is Place.NEXT else "no runs have been recorded yet"
        human = [headline(good("✔"), earlier)]
    items = [facts(run) for run in found]
    counts: ListedCounts = {"listed": len(items)}
    return Result("payctl.runs-list/1", counts=counts, items=items, human=human, truncated=more, next=after)


_COLUMNS = (
    Column("run", short("id"), 0),
    Column("started", when("started_at"), 2, brief=ago("started_at")),
    Column("command", plain("command"), 1, brief=plain("short_command")),
    Column("status", plain("status"), 1, styled=True),
    Column("changed", plain("changed"), 4, right=True),
    Column("who", plain("who"), 5),
    Column("reason", plain("reason"), 3, rest=True, least=20),
)


def _row(run: Run) -> dict[str, object]:
    titles = {"command": run_title(run), "short_command": short_run_title(run)}
    return {**facts(run), **titles, "who": run.who.actor or run.who.os_user, "changed": _changed(run)}


_PATIENCE = "canary_patience_s"
"""The name under which the record of a replay stores the value of ``--canary-timeout``."""

_ONLY_COUNTS = {"publish-outbox", "cleanup", "cdc cut-over", "cdc cut-back"}
"""The commands that can change millions of rows. Their records contain only counts, not rows."""


def shown(details: RunDetails, adviser: Adviser, brief: tuple[tzinfo, datetime] | None = None) -> Result:
    """Return one run and its first rows. ``brief`` has the same meaning as in :func:`listed`."""
    run, items = details.run, details.items
    rows = tuple(_item_row(item, brief) for item in items)
    human: list[Block] = [
        line(bold(f"{run.command} {run.id}"), _styled(run.status)),
        Fields(
            (
                ("who", f"{_person(run.who)}, as {run.db_role}"),
                ("reason", run.reason),
                ("profile", run.profile),
                ("started", run.started_at),
                ("finished", run.finished_at),
                ("selected", _pairs(run.selector)),
                ("options", _options(run)),
                *((name.replace("_", " "), f"{number:,}") for name, number in run.counts.items() if number),
                ended_row(run),
                *_since(details),
                *_next(details, adviser),
            )
        ),
    ]
    if run.acts:
        human.append(Table(("then", "at", "by", "reason"), tuple(_acted(act) for act in run.acts)))
    if rows:
        human.append(Table(("row", "outcome", "why", "change", "at"), rows, whole=brief is None))
    if not rows and run.command in _ONLY_COUNTS:
        human.append(line(dim(f"{run.command} records only counts, not each row")))
    if details.more:
        human.append(line("more rows exist: set a larger --limit"))
    return Result(
        "payctl.runs-show/1",
        counts={**run.counts, "remaining": details.remaining},
        result=_shown_facts(details),
        items=[_item(item) for item in items],
        truncated=details.more,
        human=human,
        run_id=run.id,
    )


def _since(details: RunDetails) -> Iterator[tuple[str, str | None]]:
    """Yield whether a publisher is running, if the canary still waits, and what has happened to a replay's events."""
    run, since = details.run, details.since
    if run.command != REPLAY:
        return
    if since is None:
        yield "since then", "unknown: the outbox could not be read"
        return
    outcome = _outcome(run)
    yield "publisher", publisher_words(outcome, since.progress, since.publishing) if outcome else None
    yield "since then", progress_words(since.progress)


def _outcome(run: Run) -> ReplayOutcome | None:
    """Return how a replay ended, or None if it is running, or if an error or a crash ended it."""
    match run.status:
        case RunStatus.DONE:
            return ReplayOutcome.DONE
        case RunStatus.CANCELLED:
            return ReplayOutcome.CANCELLED
        case RunStatus.STOPPED | RunStatus.INTERRUPTED if run.ended_by is not None and run.ended_by in {*ReplayOutcome}:
            return ReplayOutcome(run.ended_by)
        case _:
            return None


def _next(details: RunDetails, adviser: Adviser) -> Iterator[tuple[str, str | None]]:
    """Yield a label and a command, or words, for each step after a run."""
    run, since = details.run, details.since
    outcome = _outcome(run) if run.command == REPLAY else None
    if outcome is not None:
        yield from next_commands(
            outcome,
            run.id,
            adviser,
            remaining=details.remaining,
            progress=since.progress if since else None,
            publishing=since.publishing if since else None,
        )
        return
    early = run.status in {RunStatus.STOPPED, RunStatus.INTERRUPTED}
    yield "next", adviser.changing(["runs", "resume"], [run.id]) if early and details.remaining else _rest(run)


def _rest(run: Run) -> str | None:
    """Return what to do after a run that ended before its work was done, or None."""
    if run.status != RunStatus.INCOMPLETE:
        return None
    if run.command == "publish-outbox" and not any(run.counts.get(name) for name in ("published", "retried", "dead")):
        return "nothing was changed; run the command again"
    return "run the command again; it does the rest"


def _item_row(item: RunItem, brief: tuple[tzinfo, datetime] | None) -> tuple[object, ...]:
    item_id, at = (short_id(item.item_id), clock_and_age(item.at, *brief)) if brief else (item.item_id, item.at)
    return item_id, item.outcome, item.reason, _change(item), at


def facts(run: Run) -> RunFacts:
    """Return a run's fields for the JSON output."""
    return {
        "id": run.id,
        "command": run.command,
        "status": run.status,
        "os_user": run.who.os_user,
        "host": run.who.host,
        "actor": run.who.actor,
        "db_role": run.db_role,
        "reason": run.reason,
        "profile": run.profile,
        "selector": dict(run.selector),
        "options": dict(run.options),
        "counts": dict(run.counts),
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "ended_by": run.ended_by,
        "acts": [
            {
                "deed": act.deed,
                "at": act.at,
                "os_user": act.who.os_user,
                "host": act.who.host,
                "actor": act.who.actor,
                "db_role": act.db_role,
                "reason": act.reason,
            }
            for act in run.acts
        ],
    }


def _shown_facts(details: RunDetails) -> ShownRunFacts:
    since = details.since
    return {
        **facts(details.run),
        "since_then": {
            "published": since.progress.published,
            "pending": since.progress.pending,
            "dead_again": since.progress.dead,
        }
        if since
        else None,
        "publisher_running": since.publishing.running if since else None,
    }


def _item(item: RunItem) -> RunItemFacts:
    return {
        "id": item.item_id,
        "outcome": item.outcome,
        "reason": item.reason,
        "before": _redacted(item.before),
        "after": _redacted(item.after),
        "at": item.at,
    }


def _redacted(state: Mapping[str, object] | None) -> dict[str, object] | None:
    if state is None:
        return None
    return {name: redact(value) if isinstance(value, str) else value for name, value in state.items()}


def _change(item: RunItem) -> str | None:
    """Return the columns that changed, each with its old and new value.

    For a closed event or finding, ``after`` lacks the columns of ``before`` that did not change.
    """
    if item.before is None or item.after is None:
        return None
    known = item.after if item.outcome == CLOSED else item.before
    pairs = ((name, value, item.after.get(name)) for name, value in item.before.items() if name in known)
    return ", ".join(f"{name} {_word(before)} → {_word(after)}" for name, before, after in pairs if before != after)


def _word(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


_CHANGED = ("requeued", "settled", "repaired", "deleted", "published", "closed", "sent", "marked")


def _changed(run: Run) -> int | None:
    """Return how many rows the run changed. Each command has its own name for this count."""
    return next((run.counts[word] for word in _CHANGED if word in run.counts), None)


def _acted(act: RunAct) -> tuple[object, ...]:
    return act.deed, act.at, f"{_person(act.who)}, as {act.db_role}", act.reason


def _person(who: Actor) -> str:
    account = f"{who.os_user}@{who.host}"
    return f"{who.actor} ({account})" if who.actor else account


def _pairs(values: Mapping[str, object]) -> str | None:
    return ", ".join(name if value is True else f"{name}={value}" for name, value in values.items()) or None


def _options(run: Run) -> str | None:
    """Return the run's options. The options of a replay are shown as a person types them."""
    unused = None if run.options.get("canary") else _PATIENCE
    given = {name: value for name, value in run.options.items() if value and name != unused}
    if run.command != "replay":
        return _pairs(given)
    return " ".join(_typed(name, value) for name, value in given.items()) or None


def _typed(name: str, value: object) -> str:
    if name == _PATIENCE:
        return f"--canary-timeout {value:g}s"
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return option
    return f"{option} {value:g}/s" if name == "rate" else f"{option} {value}"


def _styled(status: str) -> Styled | str:
    return good(status) if status == RunStatus.DONE else warn(status)
