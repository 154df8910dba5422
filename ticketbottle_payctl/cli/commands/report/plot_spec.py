"""Build the parts of a Vega-Lite specification that all plots share.

Colours are CSS variables, so that they suit both a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
SERIES = tuple(f"var(--series-{number})" for number in range(1, 7))
"""The colours for a plot's series."""
_FEW = 5


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: its caption, a description for screen readers, and its specification for a width in pixels."""

    caption: str
    about: str
    spec: Spec

    def wide(self, width: int) -> Spec:
        """Return the specification of the plot. Its total width in pixels, including the axes, is ``width``."""
        narrow = width < 500  # noqa: PLR2004 - a phone's screen
        axis_x = {"labelOverlap": True, "tickCount": 4 if narrow else 10}
        config = {
            **_CONFIG,
            "axisX": {**_CONFIG["axisX"], **axis_x},
            "legend": {**_CONFIG["legend"], "columns": 2 if narrow else 5},
        }
        return {
            "$schema": _SCHEMA,
            "description": self.about,
            "width": width,
            "autosize": {"type": "fit", "contains": "padding"},
            "config": config,
            **self.spec,
        }


_CONFIG: Spec = {
    "background": "transparent",
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "axisX": {"grid": False},
    "legend": {
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 150,
        "columnPadding": 34,
        "title": None,
        "orient": "top",
        "direction": "horizontal",
        "symbolType": "square",
    },
    "text": {"fill": "var(--ink)"},
}


def vertical_axis(field: str, title: str, most: int | None = None) -> Spec:
    """Return the vertical axis. ``most`` is the highest count. If it is given, the ticks are whole numbers."""
    ticks: Spec = {"format": ",~g"}
    if most is not None:
        ticks = {"format": ",d", **({"values": [*range(most + 1)]} if most <= _FEW else {})}
    return {"field": field, "type": "quantitative", "title": title, "axis": {"tickCount": 5, **ticks}}


def labelled_rows(rows: Sequence[Spec], name: str, order: str, bar: Spec) -> Spec:
    """Return a plot with one row for each name.

    Each name is above its bars, so that the bars can use the whole width.
    """
    label = {
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "bottom",
            "fontSize": 12,
            "limit": {"expr": "width - 50"},
        },
        "transform": [{"aggregate": [{"op": "min", "field": order, "as": order}], "groupby": [name]}],
        "encoding": {"text": {"field": name}, "x": {"value": 0}},
    }
    return {
        "height": {"step": 34},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(rows)},
        "encoding": {"y": {"field": name, "type": "nominal", "sort": {"field": order, "op": "min"}, "axis": None}},
        "layer": [bar, label],
    }


def colour_of(field: str, domain: Sequence[str], colours: Sequence[str]) -> Spec:
    """Return the colours for the values in ``domain``, in the same order."""
    return {"field": field, "type": "nominal", "scale": {"domain": list(domain), "range": list(colours[: len(domain)])}}


def dash_of(field: str, domain: Sequence[str]) -> Spec:
    """Return the dash patterns for the values in ``domain``, so that a plot's lines differ even without colour."""
    dashes: Sequence[Sequence[int]] = ([1, 0], [6, 3], [2, 2])
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": list(domain), "range": [list(each) for each in dashes[: len(domain)]]},
    }
