"""Two rankings into one: by meaning (cosines) and by words (BM25)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.store.knowledge import Knowledge, WordMatch

CANDIDATES = 50  # of each leg
# Tuned with e5 on half of 240 questions each of XQuAD in English, in Spanish and across: nDCG@10 at .1 is .983, .991
# and .942, at .15 .986, .991 and .945, at .2 .985, .994 and .943; without words .966, .956 and .936.
WORD_WEIGHT = 0.15
# Words outweigh the meaning where a question is full of words that nobody here ever said: what is misspelt changes its
# vector more than its words. Tuned on the same halves with an edit in a word of four, nDCG@10 at 0, 2 and 5: Cranfield
# .498, .504 and .510, XQuAD in English .975, .977 and .977, across .886, .889 and .887.
MISSPELT_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found. `cosine` is None where it has no vector (or nobody asked), and so is `likeness` (see
    `gateway.memory.threshold`), also while that is not learned; `words` where it has none of the question's. The ranks
    count from 1 within a leg and are None where that leg did not find it."""

    entry: Knowledge
    score: float
    cosine: float | None = None
    words: WordMatch | None = None
    vector_rank: int | None = None
    text_rank: int | None = None
    likeness: float | None = None


def fuse(
    near: Sequence[tuple[Knowledge, float]],
    matched: Sequence[tuple[Knowledge, WordMatch]],
    cosines: Mapping[int, float],
    *,
    weight: float = WORD_WEIGHT,
    misspelt_weight: float = MISSPELT_WEIGHT,
) -> list[Hit]:
    """One list of what the legs found, best first.

    The score is the cosine (or the likeness: whatever stands in `near` and `cosines`), plus `weight` times the part of
    the question's greatest BM25 score that the entry has. So words count by how sure they are: where question and entry
    are in two languages they share next to nothing, and the order is that of the cosines. Ranks say nothing of that,
    and fusing them drags the better leg down. `misspelt_weight` is how much more words count where all are misspelt.

    `cosines` are those of `matched`. An entry that has no vector yet is judged as if its meaning matched as its words
    do, between the least and the greatest cosine found.
    """
    measured = {entry.id: cosine for entry, cosine in near} | dict(cosines)
    least, greatest = (min(measured.values()), max(measured.values())) if measured else (0.0, 0.0)
    entries = {entry.id: entry for entry, _ in near} | {entry.id: entry for entry, _ in matched}
    words = {entry.id: match for entry, match in matched}
    vector_ranks = {entry.id: rank for rank, (entry, _) in enumerate(near, start=1)}
    text_ranks = {entry.id: rank for rank, (entry, _) in enumerate(matched, start=1)}
    hits = []
    for row, entry in entries.items():
        match, cosine = words.get(row), measured.get(row)
        assumed = cosine
        if assumed is None:
            assumed = least + (greatest - least) * (match.share if match else 0.0)
        score = assumed + (weight * (1 + misspelt_weight * match.misspelt) * match.strength if match else 0.0)
        hits.append(Hit(entry, score, cosine, match, vector_ranks.get(row), text_ranks.get(row)))
    return sorted(hits, key=lambda hit: (-hit.score, -hit.entry.id))


def by_words(matched: Sequence[tuple[Knowledge, WordMatch]]) -> list[Hit]:
    """The hits of the words' leg alone, in its order."""
    return [Hit(entry, match.strength, None, match, None, rank) for rank, (entry, match) in enumerate(matched, start=1)]
