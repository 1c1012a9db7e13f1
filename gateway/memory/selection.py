"""What of the recalled goes before the model: each thing once, the newer of two that contradict first, in a budget."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

from gateway.shapes import Source

BYTES_PER_TOKEN = 3  # of UTF-8: on the cautious side for the models in use (English has 4 to 5, Polish 2.5 to 3)
ALIKE = 0.8  # a text that has all the words of another, and of its own no more than the rest, says the same

Relation = Callable[[str, str], Literal["same", "supersedes"] | None]

_WORD = re.compile(r"\w+")
# A text with one of these and a text without it say the opposite, however many words they share.
_NEGATION = frozenset(
    {
        *(
            "not",
            "no",
            "never",
            "none",
            "nothing",
            "without",
            "isn",
            "aren",
            "don",
            "doesn",
            "didn",
            "won",
            "cannot",
            "can",
        ),
        *("ne", "n", "pas", "jamais", "rien", "aucun", "aucune", "sans", "plus"),
        *("nie", "nigdy", "nic", "bez", "żaden", "żadna", "żadne"),
    }
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something recalled. `usefulness` is 0 to 1, and compares what several retrievers found."""

    source: Source
    usefulness: float


def estimate_tokens(text: str) -> int:
    """How many tokens `text` is for a model, estimated from its UTF-8 length."""
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def select(candidates: Iterable[Candidate], budget: int, relation: Relation) -> tuple[Source, ...]:
    """The sources to use, the most useful first, of at most `budget` tokens together.

    Of near-duplicates the most useful stays. Where a newer one contradicts an older one (`relation(older, newer)` is
    `supersedes`), it stands before it and the older is marked `outdated`. What the budget does not hold is the least
    useful for its length; the most useful one goes in if it fits at all.
    """
    ranked = sorted(candidates, key=lambda candidate: -candidate.usefulness)
    kept = _within(_folded(ranked), budget)
    return tuple(_newer_first([candidate.source for candidate in kept], relation))


def _folded(ranked: Sequence[Candidate]) -> list[Candidate]:
    kept: list[tuple[Candidate, frozenset[str]]] = []
    for candidate in ranked:
        words = _words(candidate.source.text)
        if not any(_alike(words, others) for _, others in kept):
            kept.append((candidate, words))
    return [candidate for candidate, _ in kept]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether one says what the other says, and hardly more. Where each has a word of its own they may well differ in
    what matters."""
    less, more = sorted((one, other), key=len)
    if not less <= more or len(less) < ALIKE * len(more):
        return False
    return not any(word in _NEGATION or any(map(str.isdigit, word)) for word in more - less)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(unicodedata.normalize("NFC", text).casefold()))


def _within(ranked: Sequence[Candidate], budget: int) -> list[Candidate]:
    """The candidates that fit, in their order. Which ones is decided by usefulness a token, after the first."""
    fits = [(candidate, estimate_tokens(candidate.source.text)) for candidate in ranked]
    fits = [(candidate, tokens) for candidate, tokens in fits if tokens <= budget]
    kept: set[int] = set()
    order = sorted(range(1, len(fits)), key=lambda place: (-fits[place][0].usefulness / fits[place][1], place))
    for place in [*range(min(1, len(fits))), *order]:
        tokens = fits[place][1]
        if tokens <= budget:
            kept.add(place)
            budget -= tokens
    return [candidate for place, (candidate, _) in enumerate(fits) if place in kept]


def _newer_first(sources: Sequence[Source], relation: Relation) -> list[Source]:
    newer: dict[int, int] = {}  # of each that is out of date, the newest that says otherwise
    for (place, source), (other_place, other) in permutations(enumerate(sources), 2):
        if source.at is None or other.at is None or other.at <= source.at:
            continue
        known = newer.get(place)
        if (known is None or (sources[known].at or other.at) < other.at) and relation(source.text, other.text) == (
            "supersedes"
        ):
            newer[place] = other_place
    order: dict[int, None] = {}
    for place in range(len(sources)):
        if place in newer:
            order.setdefault(newer[place])
        order.setdefault(place)
    return [replace(sources[place], outdated=place in newer) for place in order]
