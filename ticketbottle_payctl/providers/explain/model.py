"""Define the types for an explanation. Their string representations never contain a key or a valid MAC."""

from __future__ import annotations

from dataclasses import dataclass, field

from ticketbottle_payctl.providers.mac import Algorithm


@dataclass(frozen=True, slots=True)
class Hint:
    """A possible reason why a signature is not valid, as a stable code for scripts and a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The signed text that payctl builds, and hints about changes that would make the signature valid.

    ``canonical_masked`` is the signed text with personal data masked, or None if payctl cannot read the content.
    ``hints`` is empty only for a genuine callback.
    """

    canonical_masked: str | None
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A string that the sender may have signed by mistake. If the signature matches, the hint explains the mistake."""

    hint: Hint
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Another key to try, for a gateway whose signed text contains a key.

    Therefore each signer has its own signed text.
    """

    hint: Hint
    key: bytes = field(repr=False)
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """The parts of a request that a search needs.

    ``text`` is the signed text, and ``masked`` is the same text with personal data masked. ``key_name`` is the name of
    the credential that signs the text. ``presented`` is the received signature. ``variants`` and ``signers`` are
    possible mistakes to try.
    """

    algorithm: Algorithm
    key_name: str
    presented: bytes = field(repr=False)
    text: bytes = field(repr=False)
    masked: str
    variants: tuple[Variant, ...] = field(repr=False)
    signers: tuple[Signer, ...] = field(default=(), repr=False)
    older_texts: tuple[bytes, ...] = field(default=(), repr=False)
    """The strings that older protocol versions would sign, with other algorithms."""


def variant(code: str, text: str, signed: str) -> Variant:
    """Return a variant whose hint reads "would match if ``text``"."""
    return Variant(Hint(code, f"would match if {text}"), signed.encode("utf-8", "surrogatepass"))
