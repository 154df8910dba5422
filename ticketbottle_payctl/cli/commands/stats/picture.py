"""Draw the live screen, with the verdict, the database, the causes, rates, lag, waiting events and publishers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from ticketbottle_payctl.cli.commands.stats.rates import Series, Watched
from ticketbottle_payctl.cli.commands.stats.result import forecast, headline_parts, lag_words
from ticketbottle_payctl.cli.output.folding import folded
from ticketbottle_payctl.cli.output.result import Part, Styled, accent, bad, bold, dim, good, headline, warn
from ticketbottle_payctl.cli.output.screen import Cell, Row
from ticketbottle_payctl.cli.output.sparkline import sparkline
from ticketbottle_payctl.domain.causes import SEEN_WITHIN, Cause, DeadGroup, SeenPublisher
from ticketbottle_payctl.formats import age, clock_and_age, count, duration, gateway_name, rate, short_id, time_of_day
from ticketbottle_payctl.jobs.stats import Tally
from ticketbottle_payctl.jobs.stats.live import LiveReport, RefusedLately
from ticketbottle_payctl.redaction import redact

_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_LABEL = 7
_FIGURE = 14
_GAP = 2
_MOST_CAUSES = 2
_INDENT = 5
_LEAST_ROWS = 2


@dataclass(frozen=True, slots=True)
class Lost:
    """The error of a database that does not answer, and when the error first occurred."""

    message: str
    since: datetime


@dataclass(slots=True)
class LiveView:
    """The data that the live screen shows. ``target`` is the line about the profile, the database and the brokers.

    ``command`` returns the command that fixes a cause, or None. ``pause`` is the shortest time between two readings.
    """

    target: Sequence[Part]
    command: Callable[[Cause], str | None]
    pause: timedelta
    zone: tzinfo
    watched: Watched = field(default_factory=Watched)
    report: LiveReport | None = None
    lost: Lost | None = None

    def rows(self, width: int, height: int, now: datetime) -> list[Row]:
        """Return at most ``height`` rows. If they do not fit, shorten the lists and leave out the lower ones."""
        rows: list[Row] = [*self._verdict(width, now), _spaced(self.target), []]
        if self.report is None:
            return rows
        rows += self._why(width)
        rows += self._flow(width)
        lists = [
            (self._pending(), self._dead()),
            (_publishers(self.report), _refused(self.report.refused, self.zone, now)),
        ]
        rows += _columns(lists, width, height - len(rows) - 1)
        rows = rows[: height - 1]
        return [*rows, *([] for _ in range(height - 1 - len(rows))), self._footer(now)]

    def _verdict(self, width: int, now: datetime) -> list[Row]:
        if self.lost is not None:
            silent = duration((now - self.lost.since).total_seconds())
            last = f"; the figures are from {self._clock(self.report.stats.at)}" if self.report else ""
            return [[warn("!"), "  ", warn(f"the database has not answered for {silent}{last}")]]
        if self.report is None:
            return [[dim("reading the outbox ...")]]
        first = headline(*headline_parts(self.report.stats, mark=True))
        return [[*row] for row in folded(first.parts, _GAP, width, first.hang, by_clause=True)]

    def _why(self, width: int) -> Iterator[Row]:
        """Return the most pressing causes, each with its command if the command fits into the terminal's width."""
        if self.lost is not None:
            yield ["   ", bold(self.lost.message)]
            yield []
        elif self.report is not None and self.report.stats.causes:
            causes = self.report.stats.causes
            for cause in causes[:_MOST_CAUSES]:
                yield ["   ", bold(_ID.sub(lambda found: short_id(found[0]), cause.fact))]
                command = self.command(cause) or ""
                if command and len(command) + _INDENT <= width:
                    yield [" " * _INDENT, accent(command)]
            if len(causes) > _MOST_CAUSES:
                yield ["   ", dim(f"and {len(causes) - _MOST_CAUSES} more: payctl stats")]
            yield []

    def _flow(self, width: int) -> Iterator[Row]:
        if self.report is None:
            return
        stats, watched = self.report.stats, self.watched
        oldest = stats.oldest_pending_age_s
        yield _bars("in", _per_second(watched.in_per_s), watched.inward, width)
        yield _bars("out", _per_second(watched.out_per_s), watched.outward, width)
        yield _bars("lag", "none" if oldest is None else duration(oldest), watched.lag, width)
        window = "" if stats.lag.p50 is None else f" (window: {duration(stats.window_s)})"
        yield [dim(_label("sent")), lag_words(stats), dim(window)]
        yield [dim(_label("drain")), forecast(stats)]
        yield []

    def _pending(self) -> list[Row]:
        stats = self.report.stats if self.report else None
        if stats is None:
            return []
        number = f"{stats.pending:,}"
        head: Row = [bold("pending"), " ", warn(number) if stats.late else number]
        rows = [row for row in stats.items if row.pending]
        if not rows:
            return [head, [dim("no event is waiting")]]
        wide = max(len(f"{row.pending:,}") for row in rows)
        return [head, *(_tally(row, wide) for row in rows)]

    def _dead(self) -> list[Row]:
        report = self.report
        if report is None:
            return []
        dead = report.stats.dead
        closed = report.stats.closed
        head: Row = [
            bold("dead"),
            " ",
            bad(f"{dead - closed:,}") if dead > closed else "0",
            *([dim(f", {closed:,} closed by an operator")] if closed else []),
        ]
        if not dead:
            return [head, [dim("no event is out of retries")]]
        wide = max((len(f"{group.events - group.closed:,}") for group in report.dead_groups), default=1)
        return [head, *(_group(group, wide) for group in report.dead_groups)]

    def _footer(self, now: datetime) -> Row:
        began = self.watched.began
        seconds = int((now - began).total_seconds()) if began else 0
        watching = f"watching for {duration(seconds)} · " if seconds > 0 else ""
        return [
            dim(f"{self._clock(now)} · {watching}every {duration(self.pause.total_seconds())} · q or Ctrl-C to quit")
        ]

    def _clock(self, at: datetime) -> str:
        return time_of_day(at, self.zone)


def _per_second(value: float | None) -> str:
    return "measuring" if value is None else rate(value)


def _tally(row: Tally, wide: int) -> Row:
    oldest = [] if row.oldest_age_s is None else [dim(f"  {age(row.oldest_age_s)}")]
    return [f"{row.pending:>{wide},}", "  ", _label_of(row), *oldest]


def _label_of(row: Tally) -> str:
    """Return the row's label: an event type without the prefix that all types share, or a gateway's name."""
    return gateway_name(redact(row.label or "none").removeprefix("PAYMENT_"))


def _group(group: DeadGroup, wide: int) -> Row:
    return [
        f"{group.events - group.closed:>{wide},}",
        "  ",
        dim(short_id(group.group)),
        "  ",
        group.error or "no error is stored",
    ]


def _publishers(report: LiveReport) -> list[Row]:
    rows: list[Row] = [[bold("publishers")]]
    if report.stats.by_debezium:
        rows.append([good("Debezium is publishing this outbox")])
    rows += [_publisher(one) for one in report.publishers]
    if len(rows) == 1:
        unseen = "none has run yet" if report.publishers_known else "none is working; the role cannot see earlier ones"
        rows.append([warn(unseen)])
    return rows


def _publisher(one: SeenPublisher) -> Row:
    if one.working:
        return [good("working"), "  ", one.name]
    if one.without_brokers:
        return [warn(f"no brokers {age(one.seconds)}"), "  ", dim(one.name)]
    seen = f"{'ended' if one.ended else 'seen'} {age(one.seconds)}"
    state = seen if one.seconds < SEEN_WITHIN.total_seconds() else warn(seen)
    return [state, "  ", dim(one.name)]


def _refused(refused: RefusedLately | None, zone: tzinfo, now: datetime) -> list[Row]:
    head = bold("refused callbacks")
    if refused is None:
        return [[head], [dim("the role is not allowed to read the callbacks")]]
    if not refused.looked_at:
        return [[head], [dim("no callback is stored yet")]]
    closed: list[Row] = [[dim(f"{refused.closed:,} closed by an operator")]] if refused.closed else []
    looked_at = count(refused.looked_at, "callback")
    if not refused.refused:
        none = f"none open of the last {looked_at}" if closed else f"none of the last {looked_at}"
        return [[head], [dim(none)], *closed]
    about = f"{len(refused.refused):,} of the last {looked_at}"
    rows: list[Row] = [[head, "  ", dim(about)], *closed]
    return rows + [
        [
            dim(short_id(one.id)), "  ", gateway_name(one.provider), "  ", (one.reason or "refused").replace("_", " "),
            "  ", dim(clock_and_age(one.received_at, zone, now)),
        ]
        for one in refused.refused
    ]  # fmt: skip


def _label(name: str) -> str:
    return f"{name:<{_LABEL}}"


def _bars(name: str, figure: str, series: Series, width: int) -> Row:
    room = max(0, width - _LABEL - _FIGURE)
    return [dim(_label(name)), f"{figure:<{_FIGURE}}", accent(sparkline(series.points(room)))]


def _spaced(parts: Sequence[Part], gap: str = " ") -> Row:
    return [each for part in parts for each in (part, gap)][:-1]


def _columns(pairs: Sequence[tuple[list[Row], list[Row]]], width: int, height: int) -> Iterator[Row]:
    """Return the pairs of lists, one pair below the other. Long pairs can use rows that short pairs do not need."""
    needs = [max(len(left), len(right)) for left, right in pairs]
    half = min((width - _GAP) // 2, max(_width(row) for rows, _ in pairs for row in rows) + 2)
    left = height - len(pairs) + 1
    for number, (pair, need) in enumerate(zip(pairs, needs, strict=True)):
        others = sum(min(each, _LEAST_ROWS + 2) for each in needs[number + 1 :])
        room = max(_LEAST_ROWS, min(need, max(left - others, left // (len(pairs) - number))))
        if room > left:
            return
        one, other = (_shortened(rows, room) for rows in pair)
        yield from _side_by_side(one, other, half)
        yield []
        left -= room


def _width(row: Row) -> int:
    return sum(len(part.text) if isinstance(part, Styled) else len(part) for part in row if not isinstance(part, Cell))


def _shortened(rows: list[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return rows
    return [*rows[: most - 1], [dim(f"and {len(rows) - most + 1:,} more")]]


def _side_by_side(left: list[Row], right: list[Row], half: int) -> Iterator[Row]:
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else []
        other = right[number] if number < len(right) else []
        yield [Cell(one, half), " " * _GAP, *other]
