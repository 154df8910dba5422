"""Define the options of a publisher."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class OnDead(StrEnum):
    """The possible effects of a dead event on the later events of its payment."""

    BLOCK = "block"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """The options of a run. ``rate`` is in events per second. ``budget`` is the time limit of the whole run."""

    batch_size: int = 1000
    max_retries: int = 5
    max_batches: int | None = None
    budget: timedelta | None = None
    loop: bool = False
    rate: float | None = None
    types: tuple[str, ...] = ()
    on_dead: OnDead = OnDead.BLOCK
    shards: int = 1
