"""What a memory has in common is learned while it is searched, and decides what is recalled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.cache.law import is_question
from gateway.config import EmbeddingSettings, RecallSettings
from gateway.llm.embedding import E5Embedder
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.knowledge import KnowledgeBase, SearchResult
from gateway.memory.past import Past
from gateway.memory.recall import Question, Recall
from gateway.memory.spaces import Spaces
from gateway.memory.threshold import LEAST_ENTRIES
from gateway.shapes import Scope
from gateway.store.knowledge import NewKnowledge
from tests.benchmarks.retrieval import household as family
from tests.household import Household, language_of, no_other


@pytest.fixture
async def e5() -> AsyncIterator[E5Embedder]:
    embedder = await E5Embedder.load(EmbeddingSettings())
    yield embedder
    await embedder.close()


@pytest.fixture
async def known(household: Household, scope: Scope, e5: E5Embedder) -> AsyncIterator[tuple[KnowledgeBase, Backgrounds]]:
    """Sixty facts of a family in three languages, with the vectors of the real model."""
    spaces = Spaces(household.database, household.epoch, scope.household_id, e5, no_other)
    await spaces.start()
    async with Backgrounds(household.database, spaces, household.epoch) as backgrounds:
        knowledge = KnowledgeBase(
            household.database,
            spaces,
            backgrounds,
            household.journal,
            household.epoch,
            EmbeddingSettings(),
            lambda: None,
            language_of,
        )
        facts = family().texts
        for fact in facts[:: len(facts) // 60]:
            await knowledge.add(scope, NewKnowledge(fact))
        await knowledge.add(scope, NewKnowledge("The spare key is under the blue flower pot"))
        yield knowledge, backgrounds


async def learned(knowledge: KnowledgeBase, scope: Scope, question: str) -> SearchResult:
    async with asyncio.timeout(60):
        while (result := await knowledge.search(scope, question, limit=15)).background is None:
            await asyncio.sleep(0.05)
        return result


async def test_little_is_learned_from_little(household: Household, scope: Scope) -> None:
    for number in range(LEAST_ENTRIES - 1):
        await household.knowledge.add(scope, NewKnowledge(f"Fact {number} is of the year {number + 1900}"))
    result = await household.knowledge.search(scope, "Which year?", limit=5)
    assert result.background is None
    assert all(hit.likeness is None for hit in result.hits)


async def test_a_question_in_another_language_finds_its_fact_and_nothing_else(
    household: Household, scope: Scope, known: tuple[KnowledgeBase, Backgrounds]
) -> None:
    knowledge, backgrounds = known
    recall = Recall(
        knowledge,
        household.preferences,
        Past(household.database, household.measurements, is_question),
        RecallSettings(),
        now=lambda: datetime.now(UTC),
    )
    await learned(knowledge, scope, "Gdzie jest zapasowy klucz?")
    for language, asked in (
        ("pl", "Gdzie jest zapasowy klucz?"),
        ("en", "Where do we keep the spare key?"),
    ):
        recalled = await recall(Question(scope, asked, language))
        assert recalled.sources[0].text == "The spare key is under the blue flower pot", asked
        assert len(recalled.sources) <= 5, [source.text for source in recalled.sources]
    nothing = await recall(Question(scope, "How many moons does Jupiter have?", "en"))
    assert nothing.sources == ()
    await backgrounds.learn(scope)


async def test_what_was_learned_follows_the_memory(
    household: Household, scope: Scope, known: tuple[KnowledgeBase, Backgrounds]
) -> None:
    knowledge, _ = known
    before = (await learned(knowledge, scope, "Who?")).background
    await knowledge.add(scope, NewKnowledge("A heron lives at the pond behind the school"))
    async with asyncio.timeout(60):
        while (await knowledge.search(scope, "Who?", limit=1)).background is before:
            await asyncio.sleep(0.05)
