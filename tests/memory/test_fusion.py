"""Two rankings into one."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.memory.fusion import by_words, fuse
from gateway.memory.knowledge import split_last_word
from gateway.store.knowledge import Knowledge, WordMatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(row: int) -> Knowledge:
    return Knowledge(row, f"entry {row}", None, [], "fact", None, 1, False, None, NOW, NOW)


def match(strength: float, share: float | None = None) -> WordMatch:
    return WordMatch(bm25=10 * strength, strength=strength, share=strength if share is None else share)


def test_words_decide_between_meanings_that_are_close() -> None:
    hits = fuse([(entry(1), 0.86), (entry(2), 0.85)], [(entry(2), match(0.6)), (entry(1), match(0.1))], {})
    assert [hit.entry.id for hit in hits] == [2, 1]
    assert (hits[0].vector_rank, hits[0].text_rank, hits[0].cosine) == (2, 1, 0.85)


def test_a_word_shared_by_chance_does_not_overrule_the_meaning() -> None:
    hits = fuse([(entry(1), 0.90), (entry(2), 0.80)], [(entry(2), match(0.1))], {})
    assert [hit.entry.id for hit in hits] == [1, 2]


def test_what_only_words_found_is_measured_too() -> None:
    hits = fuse([(entry(1), 0.9)], [(entry(2), match(0.5))], {2: 0.7})
    assert [(hit.entry.id, hit.cosine, hit.vector_rank) for hit in hits] == [(1, 0.9, 1), (2, 0.7, None)]


def test_an_entry_without_a_vector_is_judged_by_its_words() -> None:
    hits = fuse([(entry(1), 0.9), (entry(2), 0.8)], [(entry(3), match(1.0))], {})
    assert [hit.entry.id for hit in hits] == [3, 1, 2]
    assert hits[0].cosine is None
    hits = fuse([(entry(1), 0.9), (entry(2), 0.8)], [(entry(3), match(0.0, 0.1))], {})
    assert [hit.entry.id for hit in hits] == [1, 3, 2]


def test_one_leg_alone() -> None:
    assert [hit.entry.id for hit in fuse([(entry(1), 0.9), (entry(2), 0.8)], [], {})] == [1, 2]
    assert fuse([], [], {}) == []
    hits = by_words([(entry(2), match(0.9)), (entry(1), match(0.3))])
    assert [(hit.entry.id, hit.score, hit.text_rank) for hit in hits] == [(2, 0.9, 1), (1, 0.3, 2)]


def test_the_last_word() -> None:
    assert split_last_word("Is the ha") == ("Is the ", "ha")
    assert split_last_word("zażó") == ("", "zażó")
    assert split_last_word("the hall ") == ("the hall ", "")
    assert split_last_word("") == ("", "")


def test_words_count_for_more_where_the_question_is_misspelt() -> None:
    meant, near = entry(1), entry(2)
    cosines = {1: 0.80, 2: 0.90}

    def first(misspelt: float) -> int:
        words = [(meant, WordMatch(9.0, 0.5, 0.5, misspelt))]
        return fuse([(near, 0.90), (meant, 0.80)], words, cosines)[0].entry.id

    assert (first(0.0), first(1.0)) == (2, 1)
