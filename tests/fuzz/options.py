"""Check how payctl reads an operator's times, durations, zones, selectors, and fields of a simulated callback."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import typer

from tests.fuzz import merchant
from tests.fuzz.draw import Draw
from tests.fuzz.oracle import KEYS, only
from tests.fuzz.scratch import folder
from ticketbottle_payctl.cli.app.global_options import Shared
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.simulate.command import _change
from ticketbottle_payctl.cli.input import durations, selector_options, times
from ticketbottle_payctl.cli.input.selector import selector_of
from ticketbottle_payctl.domain.callback import Rejected, RejectReason
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.formats import command_line, duration, local_and_utc, rfc3339
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.settings.time_zone import machine_zone, time_zone
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy, predicate
from ticketbottle_payctl.wiring import Services

NOW = datetime(2026, 11, 29, 12, 34, 56, 789_000, tzinfo=UTC)
ZONES = tuple(time_zone(name) for name in ("UTC", "Asia/Ho_Chi_Minh", "America/New_York", "Australia/Lord_Howe"))
GENUINE = {name: merchant.genuine(name) for name in merchant.NAMES}
_HUNDRED_YEARS = timedelta(days=36_525)
_SESSION = Session("list outbox", Shared(quiet=True, tz="Asia/Ho_Chi_Minh"), Services({}, now=lambda: NOW))


def times_and_zones(data: bytes) -> None:
    """Assert that any string is refused, or is an instant, a duration, a rate or a zone within its bounds."""
    draw = Draw(data)
    zone, text = draw.pick((*ZONES, None)), draw.utf8()
    if zone is None:
        _zone(text)
        return
    with suppress(typer.BadParameter):
        moment = times.instant(text, zone, NOW, option="--since")
        assert 1900 <= moment.year < 2200
        assert moment.utcoffset() == timedelta(0)
        assert local_and_utc(moment, zone)
        assert abs(times.instant(rfc3339(moment), zone, NOW) - moment) < timedelta(milliseconds=1)
    with suppress(typer.BadParameter):
        length = times.age(text)
        assert timedelta(0) < length <= _HUNDRED_YEARS
        assert duration(length.total_seconds())
        assert times.is_age(text)
    with suppress(typer.BadParameter):
        assert durations.per_second(text) > 0


def _zone(text: str) -> None:
    with suppress(ValueError):  # the error's text is not shown to a user
        found = time_zone(text)
        assert NOW.astimezone(found) == NOW
        assert local_and_utc(NOW, found)
    if "/" not in text:  # a path would name a file on this machine
        with only(ConfigError):
            assert machine_zone({"TZ": text}, localtime=str(folder()))


def selectors(data: bytes) -> None:
    """Assert that selector values reach SQL only as parameters, and that a shell does not change the values."""
    draw = Draw(data, 400)  # shlex reads long strings slowly
    with suppress(typer.BadParameter), only(InputError):  # a user can quote a value
        chosen = _selector(draw)
        compiled = predicate(chosen, 5)
        assert compiled.sql == predicate(_harmless(chosen), 5).sql
        json.dumps(chosen.described())
        assert chosen.is_empty == (chosen == Selector(limit=chosen.limit, by=chosen.by))
        words = [*(chosen.ids or ()), *chosen.types, *chosen.aggregates, *chosen.order_codes]
        typed = shlex.split(command_line(("replay",), words, ("--error", chosen.error or "")))
        placed = typed[-len(words) :] if any(each.startswith("-") for each in words) else typed[2:-2]
        assert placed == words


def _selector(draw: Draw) -> Selector:
    text = selector_options.text
    return selector_of(
        _SESSION,
        ids=[draw.utf8()] if draw.flag() else None,
        failed=draw.flag(),
        stuck=draw.flag(),
        age=times.age(draw.utf8()) if draw.flag() else None,
        published=draw.flag(),
        types=[text(draw.utf8())] if draw.flag() else None,
        aggregates=[text(draw.utf8())] if draw.flag() else None,
        order_codes=[text(draw.utf8())] if draw.flag() else None,
        provider=selector_options.provider(draw.utf8()) if draw.flag() else None,
        since=draw.utf8() if draw.flag() else None,
        until=draw.utf8() if draw.flag() else None,
        by=WindowBy.PUBLISHED if draw.flag() else WindowBy.CREATED,
        error=text(draw.utf8()) if draw.flag() else None,
        error_group=text(draw.utf8()) if draw.flag() else None,
        limit=draw.byte() or None,
        stored=False,  # no database, so relative times use the session's clock
    )


def _harmless(chosen: Selector) -> Selector:
    """Return a selector with the same options and harmless values."""
    values = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    changed: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, tuple) and value:
            changed[name] = ("x",)
        elif isinstance(value, str) and not isinstance(value, WindowBy):
            changed[name] = "x"
        elif isinstance(value, datetime):
            changed[name] = NOW
    return replace(chosen, **changed)  # type: ignore[arg-type]


def changes(data: bytes) -> None:
    """Assert that a simulated callback with changed fields has the gateway's signature, or is refused.

    The verifier checks the signature and shares no code with the simulator.
    """
    draw = Draw(data)
    name = draw.pick(merchant.NAMES)
    request = GENUINE[name][draw.byte() % len(GENUINE[name])]
    with suppress(typer.BadParameter, InputError):
        typed = [_change(draw.utf8()) for _ in range(1 + draw.byte() % 3)]
        made = alter(request, name, typed, KEYS)
        if merchant.SIGNATURES[name] in {path for path, _ in typed}:
            return
        verdict = GATEWAYS[name].verify(made, merchant.CREDENTIALS[name])
        assert not (isinstance(verdict, Rejected) and verdict.reason is RejectReason.SIGNATURE), verdict
