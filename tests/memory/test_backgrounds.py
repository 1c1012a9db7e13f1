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
from gateway.shapes import Scope
from gateway.store.knowledge import NewKnowledge
from tests.benchmarks.retrieval import household as family
from tests.household import Household, language_of, no_other

Known = tuple[KnowledgeBase, Backgrounds]


@pytest.fixture
async def e5() -> AsyncIterator[E5Embedder]:
    embedder = await E5Embedder.load(EmbeddingSettings())
    yield embedder
    await embedder.close()


@pytest.fixture
async def nothing_known(household: Household, scope: Scope, e5: E5Embedder) -> AsyncIterator[Known]:
    """An empty memory, with the vectors of the real model."""
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
        yield knowledge, backgrounds


@pytest.fixture
async def known(scope: Scope, nothing_known: Known) -> Known:
    """Sixty facts of a family in three languages."""
    facts = family().texts
    for fact in facts[:: len(facts) // 60]:
        await nothing_known[0].add(scope, NewKnowledge(fact))
    await nothing_known[0].add(scope, NewKnowledge("The spare key is under the blue flower pot"))
    return nothing_known


def recall_of(household: Household, knowledge: KnowledgeBase) -> Recall:
    return Recall(
        knowledge,
        household.preferences,
        Past(household.database, household.measurements, is_question),
        RecallSettings(),
        now=lambda: datetime.now(UTC),
    )


async def learned(knowledge: KnowledgeBase, scope: Scope, question: str) -> SearchResult:
    async with asyncio.timeout(60):
        while (result := await knowledge.search(scope, question, limit=15)).background is None:
            await asyncio.sleep(0.05)
        return result


@pytest.mark.parametrize(
    ("asked", "language", "found"),
    [
        ("Who looks after the boiler?", "en", "the boiler is serviced by Nowak in October"),
        ("Gdzie jest zapasowy klucz?", "pl", "the spare key is under the blue pot"),
        ("Where is the spare key?", "en", "the spare key is under the blue pot"),
        ("Who wrote Hamlet?", "en", None),
        ("Combien de lunes a Jupiter ?", "fr", None),
    ],
)
async def test_a_few_facts_are_told_apart_among_those_that_households_have(
    household: Household, scope: Scope, nothing_known: Known, asked: str, language: str, found: str | None
) -> None:
    knowledge, _ = nothing_known
    for fact in ("the boiler is serviced by Nowak in October", "the spare key is under the blue pot"):
        await knowledge.add(scope, NewKnowledge(fact))
    await learned(knowledge, scope, asked)
    recalled = await recall_of(household, knowledge)(Question(scope, asked, language))
    assert [source.text for source in recalled.sources] == ([found] if found is not None else [])


async def test_of_nothing_nothing_is_learned(scope: Scope, nothing_known: Known) -> None:
    assert await nothing_known[1].learn(scope) is None


async def test_a_question_in_another_language_finds_its_fact_and_nothing_else(
    household: Household, scope: Scope, known: Known
) -> None:
    knowledge, backgrounds = known
    recall = recall_of(household, knowledge)
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


async def test_what_was_learned_follows_the_memory(household: Household, scope: Scope, known: Known) -> None:
    knowledge, _ = known
    before = (await learned(knowledge, scope, "Who?")).background
    await knowledge.add(scope, NewKnowledge("A heron lives at the pond behind the school"))
    async with asyncio.timeout(60):
        while (await knowledge.search(scope, "Who?", limit=1)).background is before:
            await asyncio.sleep(0.05)
