"""Define a type for secret values that cannot be printed, logged, pickled or serialised by accident."""

from __future__ import annotations

from typing import NoReturn, final


@final
class Secret:
    """A secret string. Only :meth:`reveal` returns the string, so a search for ``reveal`` finds every use.

    ``origin`` is the source of the secret, such as a variable's name. The source is not secret.
    """

    __slots__ = ("__value", "origin")

    def __init__(self, value: str, origin: str = "") -> None:
        self.__value = value
        self.origin = origin

    def reveal(self) -> str:
        """Return the secret string. Pass the string only to the library or function that needs it."""
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(self.__value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        message = "a Secret is not pickled"
        raise TypeError(message)
