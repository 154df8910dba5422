"""Draw a report's plots as Vega-Lite specifications.

Vega-Lite shows every instant in UTC. Therefore payctl shifts each instant by the offset of the report's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from ticketbottle_payctl.cli.commands.report.plot_spec import (
    SERIES,
    Plot,
    Spec,
    colour_of,
    dash_of,
    labelled_rows,
    vertical_axis,
)
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.formats import cut, duration, rfc3339, wall_clock
from ticketbottle_payctl.jobs.report.model import Report
from ticketbottle_payctl.redaction import redact

_RUN_COLOURS = {"done": SERIES[1], "running": SERIES[0], "stopped": SERIES[3], "interrupted": SERIES[4]}
_MOST_REASONS = 5
_SHORTEST_LAG_S = 0.01
_CLOCK = "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) == 0 ? '%d %b' : '%H:%M')"
_DURATION = (
    "datum.value < 1 ? datum.value * 1000 + ' ms' : datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ?"
    " format(datum.value / 60, '.3~r') + ' min' : format(datum.value / 3600, '.3~r') + ' h'"
)
_DURATION_TICKS = [0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 360_000, 3_600_000]


def plots(report: Report, zone: tzinfo, zone_name: str) -> dict[str, Plot]:
    """Return the plots by name. Plots without data are left out."""
    drawn = _Drawn(report, zone, escape(zone_name))
    found = {
        "waiting": drawn.waiting(),
        "rates": drawn.rates(),
        "lag": drawn.lag(),
        "refused": drawn.refused(),
        "dead": drawn.dead(),
        "runs": drawn.runs(),
    }
    return {name: plot for name, plot in found.items() if plot is not None}


@dataclass(frozen=True, slots=True)
class _Drawn:
    report: Report
    zone: tzinfo
    axis: str

    def waiting(self) -> Plot | None:
        points = self.report.points
        if not any(point.waiting for point in points):
            return None
        rows = [{"at": self._clock(self._end(number)), "events": point.waiting} for number, point in enumerate(points)]
        most = max(point.waiting for point in points)
        mark = {"type": "area", "interpolate": "step-before", "color": SERIES[0], "opacity": 0.75, "line": False}
        return Plot(
            f"Events that were waiting at the end of each {self._step}, excluding those that are dead now",
            f"Area over time. The highest value is {most:,}, the last one {points[-1].waiting:,}.",
            {
                "height": 150,
                "data": {"values": rows},
                "mark": mark,
                "encoding": {"x": self._x(), "y": vertical_axis("events", "events", most)},
            },
        )

    def rates(self) -> Plot | None:
        points, step = self.report.points, self.report.parts.step_s
        if not any(point.created or point.sent for point in points):
            return None
        rows = [
            {"at": self._clock(point.at), "series": series, "rate": number * 60 / step}
            for point in points
            for series, number in (("created", point.created), ("sent", point.sent))
        ]
        lines: Spec = {
            "data": {"values": rows},
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {
                "x": self._x(),
                "y": vertical_axis("rate", "events per minute"),
                "color": colour_of("series", ["created", "sent"], (SERIES[0], SERIES[1])),
                "strokeDash": dash_of("series", ["created", "sent"]),
            },
        }
        return Plot(
            f"Events created and sent per minute, in intervals of {self._step}{self._shaded}",
            "Two lines over time: the events created, and the events sent.",
            {"height": 150, "layer": [*self._pause(), lines]},
        )

    def lag(self) -> Plot | None:
        sent = [point for point in self.report.points if point.longest is not None]
        if not sent:
            return None
        names = ("half within", "95 of 100 within", "slowest")
        rows = [
            {"at": self._clock(point.at), "series": name, "lag": max(_SHORTEST_LAG_S, value or 0)}
            for point in sent
            for name, value in zip(names, (point.lag_p50, point.lag_p95, point.longest), strict=True)
        ]
        y = vertical_axis("lag", "lag") | {
            "scale": {"type": "log"},
            "axis": {"labelExpr": _DURATION, "values": _DURATION_TICKS, "title": "lag"},
        }
        return Plot(
            "Lag of the sent events: the time from the creation of an event until it was sent",
            f"Three lines over time. The longest lag is {max(point.longest or 0 for point in sent):,.1f} seconds.",
            {
                "height": 180,
                "data": {"values": rows},
                "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 18, "filled": True}},
                "encoding": {
                    "x": self._x(),
                    "y": y,
                    "color": colour_of("series", names, SERIES),
                    "strokeDash": dash_of("series", names),
                },
            },
        )

    def refused(self) -> Plot | None:
        refused = self.report.callbacks.refused if self.report.callbacks else {}
        if not refused:
            return None
        totals = {reason: sum(parts.values()) for reason, parts in refused.items()}
        shown = sorted(totals, key=lambda reason: (-totals[reason], reason))[:_MOST_REASONS]
        names = {reason: _text(reason) for reason in shown}
        parts = self.report.parts
        rows, heights = [], dict.fromkeys(range(parts.number), 0)
        for reason in sorted(totals, key=lambda reason: (-totals[reason], reason)):
            for part, number in refused[reason].items():
                low, heights[part] = heights[part], heights[part] + number
                rows.append(
                    {
                        "at": self._clock(parts.start(part)),
                        "to": self._clock(parts.start(part + 1)),
                        "reason": names.get(reason, "other reasons"),
                        "low": low,
                        "high": heights[part],
                    }
                )
        order = [*names.values(), *(["other reasons"] if len(totals) > len(shown) else [])]
        said = ", ".join(f"{_text(reason)} {totals[reason]:,}" for reason in shown)
        return Plot(
            f"Callbacks refused, by reason, in intervals of {self._step}",
            f"Stacked bars over time. The totals are {said}.",
            {
                "height": 150,
                "data": {"values": rows},
                "mark": {"type": "bar", "orient": "vertical"},
                "encoding": {
                    "x": self._x(),
                    "x2": {"field": "to"},
                    "y": vertical_axis("high", "callbacks", max(heights.values())),
                    "y2": {"field": "low"},
                    "color": colour_of("reason", order, SERIES[::-1]),
                },
            },
        )

    def dead(self) -> Plot | None:
        groups = [group for group in self.report.dead_groups or () if group.dead]
        if not groups:
            return None
        rows = [
            {"error": f"{group.group} {cut(_text(group.pattern), 60)}", "events": group.dead, "place": place}
            for place, group in enumerate(groups)
        ]
        x = {"field": "events", "type": "quantitative", "title": "events"}
        x["axis"] = vertical_axis("events", "events", groups[0].dead)["axis"]
        bar: Spec = {"mark": {"type": "bar", "color": SERIES[3], "height": 10, "yOffset": 8}, "encoding": {"x": x}}
        return Plot(
            "Events that are dead now, by error group",
            "Bars. " + ", ".join(f"group {row['error']}: {row['events']:,}" for row in rows),
            labelled_rows(rows, "error", "place", bar),
        )

    def runs(self) -> Plot | None:
        runs, parts = self.report.runs or (), self.report.parts
        if not runs:
            return None
        rows = []
        for number, run in enumerate(runs):
            start = max(parts.since, run.started_at)
            end = min(parts.until, run.finished_at or (parts.until if run.status == "running" else run.started_at))
            # The bar of a one-second run would be too short to see.
            shortest = (parts.until - parts.since) / 120
            rows.append(
                {
                    "run": f"{_text(run.who.actor or run.who.os_user)}: {_text(run.command)}",
                    "from": self._clock(start),
                    "to": self._clock(max(end, start + shortest)),
                    "status": _text(run.status),
                    "number": number,
                }
            )
        statuses = list(dict.fromkeys(_text(run.status) for run in runs))
        colours = [_RUN_COLOURS.get(status, SERIES[2]) for status in statuses]
        bar: Spec = {
            "mark": {"type": "bar", "height": 10, "yOffset": 8},
            "encoding": {
                "x": self._x("from"),
                "x2": {"field": "to"},
                "color": colour_of("status", statuses, colours),
            },
        }
        return Plot(
            "Operators' runs",
            f"Bars over time, one row for each operator and command. {len(rows)} runs.",
            labelled_rows(rows, "run", "number", bar),
        )

    @property
    def _step(self) -> str:
        return duration(self.report.parts.step_s)

    @property
    def _shaded(self) -> str:
        """The end of the caption, which gives the exact times of the shaded pause."""
        pause = self.report.pause
        if pause is None:
            return ""
        since, until = wall_clock(pause.since, self.zone), wall_clock(pause.until, self.zone)
        return f". Shaded: events were waiting and none was sent, {since} → {until}"

    def _pause(self) -> list[Spec]:
        """Return the layer that shades the longest pause, from its exact start to its exact end."""
        pause = self.report.pause
        if pause is None:
            return []
        row = {"from": self._clock(pause.since), "to": self._clock(pause.until)}
        mark = {"type": "rect", "color": SERIES[3], "opacity": 0.18}
        encoding = {"x": self._x("from"), "x2": {"field": "to"}}
        return [{"data": {"values": [row]}, "mark": mark, "encoding": encoding}]

    def _x(self, field: str = "at") -> Spec:
        parts = self.report.parts
        return {
            "field": field,
            "type": "temporal",
            "scale": {"type": "utc", "domain": [self._clock(parts.since), self._clock(parts.until)]},
            "axis": {"labelExpr": _CLOCK, "title": self.axis},
        }

    def _end(self, part: int) -> datetime:
        return self.report.parts.start(part + 1)

    def _clock(self, at: datetime) -> str:
        """Return the clock time in the report's zone, written as if it were UTC."""
        offset = at.astimezone(self.zone).utcoffset() or timedelta(0)
        return rfc3339(at + offset)


def _text(text: str) -> str:
    return cut(" ".join(escape(redact(text)).split()) or "(none)", 80)
