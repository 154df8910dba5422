"""What an explanation is made of. No value here ever holds a key or a MAC that would match."""

from __future__ import annotations

from dataclasses import dataclass, field

from ticketbottle_payctl.providers.mac import Algorithm


@dataclass(frozen=True, slots=True)
class Hint:
    """One finding: a stable code for scripts and a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The signed text as we build it, personal data masked, and what would make the signature match.

    ``canonical_masked`` is None where the content is too broken to say what was signed. There is always a hint
    unless the callback is valid.
    """

    canonical_masked: str | None
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A text near the canonical one that a mistaken sender or a proxy would have signed or made us sign."""

    hint: Hint
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A gateway's view of one request: what we sign, under which key, what was presented, what lies near."""

    algorithm: Algorithm
    key_name: str
    presented: bytes = field(repr=False)
    text: bytes = field(repr=False)
    masked: str
    variants: tuple[Variant, ...] = field(repr=False)


def variant(code: str, text: str, signed: str) -> Variant:
    """A variant whose hint reads "would match if ``text``"."""
    return Variant(Hint(code, f"would match if {text}"), signed.encode("utf-8", "surrogatepass"))
