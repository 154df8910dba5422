"""Define the options of a benchmark run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The sizes of a benchmark run.

    ``rows`` is the size of the backlog, ``published`` is the number of published rows in the table, and ``runs`` is the
    number of rounds.
    """

    rows: int = 200_000
    published: int = 1_000_000
    runs: int = 5
    many: int = 5_000_000
    seconds: float = 20.0
    patience: float = 120.0

    @classmethod
    def quick(cls) -> Options:
        """Return small sizes, for checking that the benchmarks work. Results with these sizes are not meaningful."""
        return cls(rows=20_000, published=20_000, runs=1, many=50_000, seconds=3.0, patience=2.0)
