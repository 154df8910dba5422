"""Refuse a deployment, or warn about it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

REFUSED, NOT_READY, NOT_CONFIRMED = 2, 3, 7
"""The exit codes for a refused deployment, for a missing program or credentials, and for a missing confirmation."""

ALLOWS_MIXED = "--allow-mixed"


class NotDeployableError(Exception):
    """The build or a parameter is missing or wrong, or the two do not match. The message may have several lines."""


def refuse(wrong: Iterable[str], mixed: Iterable[str], *, allowed: bool) -> None:
    """Raise an error with every sentence. If mixed values are allowed, only warn about them.

    Raises:
        NotDeployableError: something is wrong.
    """
    sentences = list(wrong)
    if allowed:
        warn(mixed)
    else:
        sentences += [f"{each}; if this is what you want, add ARGS={ALLOWS_MIXED}" for each in mixed]
    if sentences:
        raise NotDeployableError("\n".join(sorted(sentences)))


def warn(sentences: Iterable[str]) -> None:
    """Write each sentence as a warning to stderr."""
    for sentence in sentences:
        sys.stderr.write(f"warning: {sentence}\n")
