"""Read values from the bytes of one input.

The same bytes always yield the same values, with or without a fuzzer. The byte FF ends a string. This byte never occurs
in UTF-8, so an input stays readable. A fuzzer can insert and delete text without changing the other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

END, TIMES = b"\xff", b"\xfe"
LARGEST = 70_000
"""The length, in bytes, of the largest string. This length is above every limit on a callback's size."""

_DEEPEST = 4


def expanded(data: bytes, largest: int = LARGEST) -> bytes:
    """Return the bytes. If they contain ``TIMES``, repeat the part before it.

    If the byte after ``TIMES`` is *n*, the part appears *n* x *n* times. A short input can therefore become a large
    string.
    """
    before, times, after = data.partition(TIMES)
    if not times:
        return data
    wanted = (after[0] if after else 0) ** 2
    return (before * min(wanted, largest // max(1, len(before))) + after[1:])[:largest]


class Draw:
    """The values of one input. After the input's last byte, every number is 0 and every string is empty."""

    def __init__(self, data: bytes, largest: int = LARGEST) -> None:
        self._data = data
        self._largest = largest
        self._at = 0

    @property
    def left(self) -> bool:
        """Whether the input has unread bytes."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """Return the next byte, or 0 at the end of the input."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def flag(self) -> bool:
        """Draw a boolean and return it."""
        return bool(self.byte() & 1)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices. The byte A selects the first choice, B the second, and so on."""
        return choices[(self.byte() - 65) % len(choices)]

    def raw(self) -> bytes:
        """Return the expanded bytes up to the next ``END``."""
        end = self._data.find(END, self._at)
        piece = self._data[self._at : end if end >= 0 else len(self._data)]
        self._at += len(piece) + 1
        return expanded(piece, self._largest)

    def text(self) -> str:
        """Return a string. Each byte that is not valid UTF-8 becomes a lone surrogate."""
        return self.raw().decode("utf-8", "surrogateescape")

    def utf8(self) -> str:
        """Return a string that UTF-8 can encode, because payctl requires this for every variable and argument."""
        return self.raw().decode("utf-8", "replace")

    def variable(self) -> str:
        """Return the value of an environment variable, which cannot contain NUL."""
        return self.utf8().replace("\0", "")

    def value(self, depth: int = 0) -> object:  # noqa: PLR0911 - one for each kind
        """Return a value that JSON can contain."""
        kind = self.byte() % (8 if depth < _DEEPEST else 6)
        match kind:
            case 0:
                return None
            case 1 | 2:
                return kind == 1
            case 3:
                return self._number()
            case 4:
                return self._real()
            case 5:
                return self.text()
            case 6:
                return [self.value(depth + 1) for _ in range(self.byte() % 5)]
            case _:
                return {self.text(): self.value(depth + 1) for _ in range(self.byte() % 5)}

    def _number(self) -> int:
        digits = self.raw()[:400]
        try:
            return int(digits)
        except ValueError:
            return int.from_bytes(digits[:9], signed=True)

    def _real(self) -> float:
        try:
            return float(self.raw()[:40])
        except ValueError:
            return 0.5
