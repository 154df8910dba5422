"""Compare the time for verifying a signature with the minimum, which is the time for one HMAC and one parse."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from statistics import median
from urllib.parse import parse_qsl

from benchmarks import processes
from benchmarks.options import Options
from benchmarks.report import Section
from ticketbottle_payctl.domain.callback import Callback
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.samples import Sample, sample

_TIMES = 2000
_ROUNDS = 9


def verify(options: Options) -> list[Section]:
    """Measure verification for every gateway.

    Return a section with one row for each gateway, with medians of many calls.
    """
    section = Section("verify", "Verifying a signature", ("gateway", "µs", "only HMAC and parsing, µs", "ratio"))
    processes.wait_for_quiet(options.patience)
    for name in GATEWAYS:
        ours, bare = _pair(sample(name))
        rounds = [(_microseconds(ours), _microseconds(bare)) for _ in range(_ROUNDS)]
        spent, least = (median(values) for values in zip(*rounds, strict=True))
        section.rows.append((name, f"{spent:.1f}", f"{least:.1f}", f"{spent / least:.2f}"))
        section.samples.append({"gateway": name, "rounds_us": rounds})
        section.at_most(f"verifying {name}, compared with only HMAC and parsing", spent / least, 3, " times")
    return [section]


def _pair(example: Sample) -> tuple[Callable[[], object], Callable[[], object]]:
    gateway, request = GATEWAYS[example.gateway], example.request
    signed = request.body or request.query.encode()
    algorithm = hashlib.sha256 if request.body else hashlib.sha512
    key = b"k" * 32

    def ours() -> object:
        return gateway.verify(request, example.credentials)

    def bare() -> object:
        hmac.new(key, signed, algorithm).hexdigest()
        if not request.body:
            return dict(parse_qsl(request.query))
        parsed = json.loads(signed)
        return (
            json.loads(parsed["data"]) if isinstance(parsed.get("data"), str) else parsed
        )  # ZaloPay sends JSON inside a JSON string

    if not isinstance(ours(), Callback):
        message = f"the example of {example.gateway} was refused"
        raise TypeError(message)
    return ours, bare


def _microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_TIMES):
        call()
    return (time.perf_counter() - began) / _TIMES * 1e6
