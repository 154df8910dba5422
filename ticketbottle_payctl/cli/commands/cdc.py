"""Implement ``payctl cdc``, which hands the outbox to Debezium and takes it back. See docs/explanation/scale.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import (
    Block,
    Failure,
    Fields,
    Raw,
    Result,
    Styled,
    bold,
    good,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve, permit, refuse_read_only
from ticketbottle_payctl.cli.safety.recorded import new_run, unrecorded_warnings
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.cdc import config
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, MARKING_GROUP, ROLE

if TYPE_CHECKING:
    from ticketbottle_payctl.broker.follower import Follower
    from ticketbottle_payctl.jobs.cdc.mark import MarkReport

Role = Annotated[str, typer.Option(metavar="NAME", help="The database role of the connector.")]
Password = Annotated[str, typer.Option(metavar="PLACEHOLDER", help="The placeholder for the role's password.")]
Server = Annotated[
    str | None, typer.Option(metavar="HOST[:PORT]", help="The database server, if DATABASE_URL is a pooler.")
]
Sql = Annotated[bool, typer.Option("--sql", help="Print only the SQL.")]


class ConfigFacts(TypedDict):
    """Debezium's configuration."""

    connector: Mapping[str, str]
    """The connector's properties, in the format of Kafka Connect's REST interface."""
    sql: str
    """The SQL to run once as the outbox's owner."""
    topics: Sequence[str]
    """The topics that must exist."""


def config_command(
    ctx: typer.Context,
    *,
    role: Role = ROLE,
    password: Password = config.PASSWORD,
    server: Server = None,
    sql: Sql = False,
) -> None:
    """Print Debezium's configuration for this database.

    The command prints the properties file of a connector. The comments in this file list the topics to create, and the
    SQL to run first. With -o json, result.connector is the document for Kafka Connect's REST interface. No password is
    printed.
    """
    session = Session.of(ctx)
    made = config.cdc_config(session.settings.database, role=role, password=password, server=server)
    text = made.sql if sql else _properties(made)
    facts: ConfigFacts = {"connector": made.connector, "sql": made.sql, "topics": list(made.topics)}
    session.finish(Result("payctl.cdc-config/1", result=facts, human=[Raw(text)]))


def cut_over_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    dry_run: change_options.DryRun = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Hand the outbox to Debezium: create its slot and send the earlier events.

    Stop every publisher before you run this command. Start the connector after the command has finished. Writers are
    not blocked. The command shows the number of events to send, and asks for confirmation.
    """
    from ticketbottle_payctl.jobs.cdc.cut_over import cdc_cut_over  # noqa: PLC0415 - cdc config needs no driver

    session = Session.of(ctx)
    session.note_target(brokers=True)
    services, settings = session.services, session.settings
    hand_over = partial(
        cdc_cut_over,
        services.engine,
        services.producer,
        _follower(session),
        max_retries=settings.max_retries,
        shards=settings.shards,
    )
    if not dry_run:
        refuse_read_only(session, "cdc cut-over")
        verb = "hand the outbox over to Debezium and send"
        act = _act(verb, hand_over(dry_run=True).sent, "create the replication slot")
        approve(session, act, Approval(yes, reason, max_affected, confirm))
    report = hand_over(dry_run=dry_run, run=new_run(session, "cdc cut-over", reason))
    said = "ready to be handed over" if dry_run else "handed over: start the connector now"
    headline = line(_mark(report.dead), said)  # if the job failed, payctl prints the error instead
    failure = _failure(report.failure)
    counts = report.counts
    code = failure.exit_code if failure else ExitCode.PARTIAL if report.dead else ExitCode.DONE
    human: list[Block] = [headline, Fields(tuple(counts.items()))]
    session.finish(
        Result(
            "payctl.cdc-cut-over/1",
            code,
            counts=counts,
            human=human,
            warnings=unrecorded_warnings(report.unrecorded, reason),
            dry_run=dry_run,
            error=failure,
            run_id=report.run_id,
        )
    )


def mark_command(
    ctx: typer.Context,
    *,
    dry_run: change_options.DryRun = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Mark the events that Debezium has sent, as found in Kafka.

    Run this command every minute while Debezium publishes. The command asks for no confirmation. Exit 6 if events of an
    unknown type became dead.
    """
    from ticketbottle_payctl.jobs.cdc.mark import cdc_mark  # noqa: PLC0415 - cdc config needs no driver

    session = Session.of(ctx)
    session.note_target(brokers=True)
    if not dry_run:
        permit(session, "cdc mark", Approval(reason=reason, confirm=confirm))
    services = session.services
    report = cdc_mark(services.engine, _follower(session), session.settings.max_retries, dry_run=dry_run)
    _finish_marking(session, "payctl.cdc-mark/1", report)


def cut_back_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    dry_run: change_options.DryRun = False,
    yes: change_options.Yes = False,
    reason: change_options.Reason = None,
    max_affected: change_options.MaxAffected = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Take the outbox back from Debezium: mark its events, drop its slot.

    Delete the connector before you run this command. Start the publishers after the command has finished. The command
    shows the number of events to mark, and asks for confirmation. Exit 6 if events of an unknown type became dead.
    """
    from ticketbottle_payctl.jobs.cdc.cut_back import cdc_cut_back  # noqa: PLC0415 - cdc config needs no driver

    session = Session.of(ctx)
    session.note_target(brokers=True)
    services = session.services
    take_back = partial(cdc_cut_back, services.engine, _follower(session), session.settings.max_retries)
    if not dry_run:
        refuse_read_only(session, "cdc cut-back")
        found = take_back(dry_run=True)
        verb = "take the outbox back from Debezium and mark"
        act = _act(verb, found.marked + found.dead, "drop the replication slot")
        approve(session, act, Approval(yes, reason, max_affected, confirm))
    run = new_run(session, "cdc cut-back", reason)
    _finish_marking(session, "payctl.cdc-cut-back/1", take_back(dry_run=dry_run, run=run), reason)


def _act(verb: str, events: int, also: str) -> Act:
    """Return the change that needs approval.

    The change needs approval even if there are no events, because another program becomes the publisher.
    """
    plan = [line(f"would {verb}", bold(count(events, "event"))), line("and", also)]
    return Act(verb, events, "event", plan, beyond_rows=True)


def _failure(error: PayctlError | None) -> Failure | None:
    if error is None:
        return None
    return Failure(error.code, error.message, exit_codes.of_error(error), error.hint, error.retryable, error.sql)


def _finish_marking(session: Session, schema: str, report: MarkReport, reason: str | None = None) -> None:
    counts = report.counts
    verb = "would be marked" if report.dry_run else "marked"
    headline = line(_mark(report.dead), f"{count(report.marked, 'event')} {verb} as published")
    human: list[Block] = [headline, Fields(tuple(counts.items()))]
    if report.dead:
        dead = count(report.dead, "event")
        human.append(
            line(
                warn("!"),
                f"{dead} of unknown type became dead, because no consumer reads the topic that Debezium sent them to",
            )
        )
    code = ExitCode.PARTIAL if report.dead else ExitCode.DONE
    warnings = unrecorded_warnings(report.unrecorded, reason)
    session.finish(
        Result(
            schema, code, counts=counts, human=human, warnings=warnings, dry_run=report.dry_run, run_id=report.run_id
        )
    )


def _mark(dead: int) -> Styled:
    """Return a tick, or the mark for exit code 6 if events of an unknown type became dead."""
    return warn("!") if dead else good("✔")


def _properties(made: config.CdcConfig) -> str:
    first = ["Topics that must exist: " + ", ".join(made.topics), "", *made.sql.splitlines()]
    comments = "".join(f"# {each}".rstrip() + "\n" for each in first)
    return comments + "\n" + config.as_properties(made.connector)


def _follower(session: Session) -> Follower:
    """Return the reader of events in Kafka. The reader connects when a job first uses it."""
    kafka = session.settings.kafka
    from ticketbottle_payctl.broker.config import connection_config  # noqa: PLC0415 - cdc config needs no Kafka client
    from ticketbottle_payctl.broker.follower import Follower  # noqa: PLC0415

    follower = Follower(connection_config(kafka), MARKING_GROUP, ALL_TOPICS)
    session.services.on_close(follower.close)
    return follower
