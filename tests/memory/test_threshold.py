"""What has nothing to do with a question is told from what has, by what the memory itself has in common."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import EmbeddingSettings
from gateway.llm.embedding import E5Embedder, Vector
from gateway.memory.fusion import Hit
from gateway.memory.threshold import (
    LEAST_ENTRIES,
    LEAST_OF_A_LANGUAGE,
    TYPICAL_QUESTIONS,
    Background,
    belongs,
    newest_first,
)
from gateway.store.knowledge import Knowledge, WordMatch
from tests.benchmarks.retrieval import household

WIDTH = 96
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Speech:
    """Vectors as a model makes them: what all texts have in common, a language's part, asking's part, and a topic's."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = np.random.default_rng(seed)
        self._common, self._asking, *languages = self._directions(5)
        self._languages = dict(zip(("en", "fr", "pl"), languages, strict=True))

    def topics(self, count: int) -> list[Vector]:
        """So many topics, each a direction."""
        return list(self._directions(count))

    def entry(self, topic: Vector, language: str) -> Vector:
        """What a text on this topic says."""
        return self._said(topic, language, np.zeros(WIDTH))

    def question(self, topic: Vector, language: str) -> Vector:
        """A question about this topic."""
        return self._said(topic, language, self._asking)

    def _said(self, topic: Vector, language: str, more: Vector) -> Vector:
        vector = 4 * self._common + self._languages[language] + more + 0.6 * topic + 0.2 * self._directions(1)[0]
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def _directions(self, count: int) -> Vector:
        drawn = self._chance.normal(size=(count, WIDTH))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def hit(row: int, words: WordMatch | None = None) -> Hit:
    entry = Knowledge(row, f"text {row}", None, [], "fact", None, 1.0, False, None, LONG_AGO, LONG_AGO)
    return Hit(entry, 1.0, 0.8, words)


def learned(entries: Sequence[Vector], languages: Sequence[str | None], typical: Sequence[Vector]) -> Background:
    background = Background.learn(np.stack(entries), languages, np.stack(typical))
    assert background is not None
    return background


@pytest.fixture
def speech() -> Speech:
    return Speech()


def test_of_few_entries_nothing_is_learned(speech: Speech) -> None:
    entries = np.stack([speech.entry(topic, "en") for topic in speech.topics(LEAST_ENTRIES)])
    typical = np.stack([speech.question(topic, "en") for topic in speech.topics(20)])
    languages = ["en"] * LEAST_ENTRIES
    assert Background.learn(entries[1:], languages[1:], typical) is None
    assert Background.learn(entries, languages, typical) is not None


def test_what_is_asked_in_another_language_is_found_and_what_was_not_told_is_not(speech: Speech) -> None:
    told = ["en", "fr", "pl"] * 30
    topics = speech.topics(len(told))
    entries = np.stack([speech.entry(topic, language) for topic, language in zip(topics, told, strict=True)])
    typical = [speech.question(topic, language) for topic, language in zip(speech.topics(54), told, strict=False)]
    background = learned(list(entries), told, typical)
    assert background.several_languages
    by_cosine = by_likeness = 0
    for place, topic in enumerate(topics):
        question = speech.question(topic, {"en": "fr", "fr": "pl", "pl": "en"}[told[place]])
        likeness = background.likeness(question, entries)
        by_cosine += int(np.argmax(entries @ question)) == place
        by_likeness += int(np.argmax(likeness)) == place and likeness[place] >= background.threshold
    untold = [background.likeness(speech.question(topic, "en"), entries).max() for topic in speech.topics(100)]
    assert by_cosine < 10  # the language alone decides
    assert by_likeness > 80
    assert sum(value < background.threshold for value in untold) > 70


def test_the_sharpened_question_finds_by_cosine_what_likeness_ranks(speech: Speech) -> None:
    told = ["en", "fr"] * 30
    entries = np.stack([speech.entry(topic, one) for topic, one in zip(speech.topics(60), told, strict=True)])
    background = learned(list(entries), told, [speech.question(topic, "en") for topic in speech.topics(20)])
    question = speech.question(speech.topics(1)[0], "fr")
    sharp = background.sharpened(question)
    assert np.linalg.norm(sharp) == pytest.approx(1, abs=1e-5)
    assert background.languages @ sharp == pytest.approx(0, abs=1e-6)
    likeness = background.likeness(question, entries)
    particular = entries - background.entries
    particular -= (particular @ background.languages.T) @ background.languages
    constant = (entries @ sharp) - likeness * np.linalg.norm(particular, axis=1)
    assert constant == pytest.approx(constant[0], abs=1e-5)


@pytest.mark.parametrize(
    "told",
    [
        ["en"] * 40,
        [None] * 40,
        ["en"] * (41 - LEAST_OF_A_LANGUAGE) + ["fr"] * (LEAST_OF_A_LANGUAGE - 1),
    ],
)
def test_one_language_has_no_direction_of_its_own(speech: Speech, told: list[str | None]) -> None:
    entries = [speech.entry(topic, "en") for topic in speech.topics(40)]
    background = learned(entries, told, [speech.question(topic, "en") for topic in speech.topics(20)])
    assert background.languages.shape == (0, WIDTH)
    assert not background.several_languages


def test_languages_that_say_the_same_on_average_have_no_direction(speech: Speech) -> None:
    entries = [speech.entry(topic, "en") for topic in speech.topics(20)]
    background = learned(entries * 2, ["en"] * 20 + ["fr"] * 20, [speech.question(entries[0], "en")])
    assert not background.several_languages


def test_entries_that_are_all_the_same_are_like_nothing(speech: Speech) -> None:
    (topic,) = speech.topics(1)
    entry = np.zeros(WIDTH, np.float32)
    entry[0] = 1
    question = speech.question(topic, "en")
    background = learned([entry] * 40, ["en"] * 40, [question])
    assert background.likeness(question, np.stack([entry])) == pytest.approx(0, abs=1e-6)


@given(st.lists(st.sampled_from([None, "en", "fr", "pl"]), min_size=LEAST_ENTRIES, max_size=60), st.integers(0, 99))
def test_likeness_is_a_cosine_whatever_the_languages(languages: list[str | None], seed: int) -> None:
    speech = Speech(seed)
    entries = np.stack(
        [speech.entry(topic, one or "en") for topic, one in zip(speech.topics(60), languages, strict=False)]
    )
    background = learned(list(entries), languages, [speech.question(topic, "pl") for topic in speech.topics(5)])
    likeness = background.likeness(speech.question(speech.topics(1)[0], "fr"), entries)
    assert likeness.dtype == np.float32
    assert likeness.shape == (len(entries),)
    assert np.isfinite(likeness).all()
    assert np.abs(likeness).max() <= 1 + 1e-5
    assert -1 <= background.threshold <= 1


def test_what_belongs_keeps_its_order_and_goes_by_words_without_a_vector() -> None:
    none = np.zeros((0, 3), np.float32)
    background = Background(np.zeros(3, np.float32), np.zeros(3, np.float32), none, threshold=0.3)
    hits = [
        hit(5),
        hit(2, WordMatch(9.0, 1.0, 1.0)),
        hit(4, WordMatch(9.0, 0.5, 0.5)),
        hit(3, WordMatch(9.0, 0.5, 0.49)),
        hit(1),
        hit(6),
    ]
    assert [one.entry.id for one in belongs(hits, {5: 0.3, 2: 0.29, 1: 0.9}, background)] == [5, 4, 1]


def told(row: int, *, days: int, member: int | None = None, document: int | None = None) -> Hit:
    when = LONG_AGO + timedelta(days=days)
    return Hit(replace(hit(row).entry, member_id=member, document_id=document, created_at=when), 1.0, 0.8)


def test_the_newer_of_two_on_one_subject_stands_first() -> None:
    none = np.zeros((0, 3), np.float32)
    background = Background(np.zeros(3, np.float32), np.zeros(3, np.float32), none, threshold=0.3)
    bins, wifi = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
    others = [told(9, days=9), told(8, days=3, member=7), told(6, days=8, document=1), told(5, days=9)]
    hits = [told(1, days=1), *others, told(2, days=5), told(3, days=3), told(4, days=3)]
    made = {1: bins, 9: wifi, 8: bins, 6: bins, 2: bins, 3: bins, 4: bins}
    ordered = newest_first(hits, made, background)
    assert [one.entry.id for one in ordered] == [2, 4, 3, 1, 9, 8, 6, 5]
    assert newest_first(hits, {1: bins}, background) == hits
    assert newest_first([], made, background) == []


def test_typical_questions_are_the_same_in_each_language_and_none_of_those_measured_with() -> None:
    assert len({len(texts) for texts in TYPICAL_QUESTIONS.values()}) == 1
    typical = {text for texts in TYPICAL_QUESTIONS.values() for text in texts}
    assert len(typical) == sum(len(texts) for texts in TYPICAL_QUESTIONS.values())
    family = household()
    assert not typical & {question.text for question in (*family.questions, *family.nothing)}


async def test_a_family_asks_in_another_language_than_it_told() -> None:
    """With the embedded model: twelve facts in each of three languages, asked in one of the others."""
    family = household()
    places = [
        place
        for language in ("en", "fr", "pl")
        for place in [one for one, told in enumerate(family.languages) if told == language][20:32]
    ]
    embedder = await E5Embedder.load(EmbeddingSettings(query_seconds=60, document_seconds=60))
    try:
        entries = await embedder.documents([family.texts[place] for place in places])
        typical = [await embedder.query(text) for texts in TYPICAL_QUESTIONS.values() for text in texts[::3]]
        asked = [one for one in family.questions if one.across and next(iter(one.relevant)) in places]
        questions = [await embedder.query(one.text) for one in asked]
    finally:
        await embedder.close()
    background = learned(list(entries), [family.languages[place] for place in places], typical)
    answers = [places.index(*one.relevant) for one in asked]
    by_cosine = [np.argmax(entries @ question) == answer for question, answer in zip(questions, answers, strict=True)]
    by_likeness = [
        np.argmax(background.likeness(question, entries)) == answer
        for question, answer in zip(questions, answers, strict=True)
    ]
    assert len(asked) >= 36
    assert sum(by_likeness) > sum(by_cosine) + 4
