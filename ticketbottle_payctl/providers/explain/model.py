"""Define types for an explanation. They contain no key and no valid MAC, so they can be shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from ticketbottle_payctl.providers.mac import Algorithm


@dataclass(frozen=True, slots=True)
class Hint:
    """A possible cause: a stable code for scripts and a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The signed text as payctl builds it, and the changes that would make the signature valid.

    Personal data in ``canonical_masked`` is masked. It is None if the content is too broken to build the signed text.
    ``hints`` is empty only for a genuine callback.
    """

    canonical_masked: str | None
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A text that explains the signature if it matches. A sender's mistake or a proxy's change leads to it."""

    hint: Hint
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Another key and its signed text, for a gateway whose signed text contains a key."""

    hint: Hint
    key: bytes = field(repr=False)
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """The signed parts of a request: the text, the key's name, the received signature, and the variants of the text."""

    algorithm: Algorithm
    key_name: str
    presented: bytes = field(repr=False)
    text: bytes = field(repr=False)
    masked: str
    variants: tuple[Variant, ...] = field(repr=False)
    signers: tuple[Signer, ...] = field(default=(), repr=False)
    older_texts: tuple[bytes, ...] = field(default=(), repr=False)
    """The texts that older versions of the protocol would have signed, with other algorithms."""


def variant(code: str, text: str, signed: str) -> Variant:
    """Return a variant whose hint reads "would match if ``text``"."""
    return Variant(Hint(code, f"would match if {text}"), signed.encode("utf-8", "surrogatepass"))
