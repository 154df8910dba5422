"""Write the outbox's state in the text format that Prometheus and its push gateway read.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4). A metric without a value is left
out. Label values are escaped first for a terminal, and then as this format requires.
"""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.commands.stats.result import label_name
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.jobs.stats import By, StatsReport
from ticketbottle_payctl.redaction import redact

_Sample = tuple[str, float | None]


def exposition(report: StatsReport) -> str:
    """Return all metrics, each with its help and type, ending with a newline."""
    return "".join(f"{line}\n" for name, text, samples in _metrics(report) for line in _lines(name, text, samples))


def _metrics(report: StatsReport) -> Iterator[tuple[str, str, list[_Sample]]]:
    yield "pending_events", "Events that are pending.", [("", report.pending)]
    yield "dead_events", "Events out of retries, including the closed ones.", [("", report.dead)]
    yield "dead_closed_events", "Dead events that a person has closed.", [("", report.closed)]
    yield "blocked_events", "Pending events behind a dead event of their payment.", [("", report.blocked)]
    yield "published_events", "Published events, estimated on a large table.", [("", report.published)]
    # If no event is pending, the age is 0 instead of absent, because an alert cannot fire on an absent series.
    oldest = report.oldest_pending_age_s or 0
    yield "oldest_pending_age_seconds", "Age of the oldest pending event; 0 if no event is pending.", [("", oldest)]
    wait = "Longest wait of a pending event, from its creation or its replay; 0 if no event is pending."
    yield "longest_wait_seconds", wait, [("", report.longest_wait_s or 0)]
    lags = [("0.5", report.lag.p50), ("0.95", report.lag.p95), ("0.99", report.lag.p99)]
    labelled: list[_Sample] = [(f'{{quantile="{quantile}"}}', value) for quantile, value in lags]
    yield "publish_lag_seconds", "Time from creation to publication of the events in the window.", labelled
    yield "created_events_per_second", "Events created in the window.", [("", report.in_per_s)]
    yield "sent_events_per_second", "Events published in the window.", [("", report.out_per_s)]
    yield (
        "drain_eta_seconds",
        "Time until only blocked events are pending; absent if the backlog is not shrinking.",
        [("", report.drain_eta_s)],
    )
    if report.by is not None and report.by is not By.STATUS:
        # After redaction, two errors may have the same text. A label must not occur twice in the output.
        by: dict[str, float] = {}
        for row in report.items:
            label = f'{{{label_name(report.by)}="{_escaped(redact(row.label or "none"))}"'
            for status, count in (("pending", row.pending), ("dead", row.dead)):
                series = f'{label},status="{status}"}}'
                by[series] = by.get(series, 0.0) + count
        yield f"events_by_{report.by.value}", f"Unpublished events by {report.by.value} and status.", [*by.items()]


def _lines(name: str, text: str, samples: list[_Sample]) -> Iterator[str]:
    full = f"payctl_outbox_{name}"
    present = [(label, value) for label, value in samples if value is not None]
    if present:
        yield f"# HELP {full} {text}"
        yield f"# TYPE {full} gauge"
        yield from (f"{full}{label} {value:.15g}" for label, value in present)


def _escaped(label: str) -> str:
    """Escape a label's value for a terminal and for the format.

    The format's own rules leave control characters unchanged.
    """
    safe = "\n".join(escape(line) for line in label.split("\n"))
    return safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
