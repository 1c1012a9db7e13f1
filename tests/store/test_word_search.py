"""Search by words: its statistics against a recount, its rank against BM25's definition, and words spelt otherwise."""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import asyncpg
import pytest

from gateway.shapes import Passage, Scope
from gateway.store import documents, knowledge
from gateway.store.knowledge import Filter, NewKnowledge
from gateway.store.pool import Database

WORDS = ["apple", "bread", "cheese", "donkey", "engine", "fjord", "grape", "hotel", "igloo", "jacket"]


async def recounted(admin: asyncpg.Connection) -> bool:
    """Whether the statistics are those that a recount gives."""
    words = await admin.fetchval(
        """
        SELECT count(*) FROM (
            (SELECT household_id, member_id, language, word COLLATE "C", count(*) FROM knowledge
             CROSS JOIN LATERAL unnest(tsvector_to_array(search)) AS l (word) GROUP BY 1, 2, 3, 4
             EXCEPT SELECT household_id, member_id, language, word, documents FROM knowledge_words)
            UNION ALL
            (SELECT household_id, member_id, language, word, documents FROM knowledge_words
             EXCEPT SELECT household_id, member_id, language, word COLLATE "C", count(*) FROM knowledge
             CROSS JOIN LATERAL unnest(tsvector_to_array(search)) AS l (word) GROUP BY 1, 2, 3, 4)) AS differing
        """
    )
    totals = await admin.fetchval(
        """
        SELECT count(*) FROM (
            (SELECT household_id, member_id, language, count(*), sum(words) FROM knowledge GROUP BY 1, 2, 3
             EXCEPT SELECT household_id, member_id, language, entries, words FROM knowledge_totals)
            UNION ALL
            (SELECT household_id, member_id, language, entries, words FROM knowledge_totals WHERE entries <> 0
             EXCEPT SELECT household_id, member_id, language, count(*), sum(words) FROM knowledge
             GROUP BY 1, 2, 3)) AS differing
        """
    )
    return bool(words == 0 and totals == 0)


async def test_the_statistics_are_those_of_a_recount(
    admin: asyncpg.Connection, database: Database, member: Scope
) -> None:
    chance = random.Random(3)

    def said() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))

    async with database.scoped(member) as connection:
        for _ in range(40):
            owner = chance.choice((None, member.member_id))
            new = [
                NewKnowledge(said(), member_id=owner, language=chance.choice((None, "en", "pl")))
                for _ in range(chance.randint(0, 3))
            ]
            if new:
                await knowledge.insert_many(connection, new)
            ids = [entry.id for entry in await knowledge.page(connection, limit=200)]
            for row in chance.sample(ids, min(2, len(ids))):
                change = chance.choice(
                    ({"content": said()}, {"member_id": chance.choice((None, owner))}, {"language": "fr"})
                )
                await knowledge.update(connection, row, **change)
            if ids and chance.random() < 0.4:
                await knowledge.delete(connection, chance.choice(ids))
    assert await recounted(admin)
    assert await admin.fetchval("SELECT count(*) FROM knowledge_words") > len(WORDS)

    await admin.execute("DELETE FROM members WHERE id = $1", member.member_id)
    assert await recounted(admin)
    await admin.execute("UPDATE knowledge SET confidence = 0.5")
    assert await recounted(admin)
    await admin.execute("TRUNCATE knowledge CASCADE")
    assert await recounted(admin)
    assert await admin.fetchval("SELECT count(*) FROM knowledge_words") == 0


async def test_a_household_goes_with_its_statistics(admin: asyncpg.Connection) -> None:
    other = await admin.fetchval("INSERT INTO households (name) VALUES ('Other') RETURNING id")
    await admin.execute("INSERT INTO knowledge (household_id, content) VALUES ($1, 'apple bread')", other)
    await admin.execute("DELETE FROM households WHERE id = $1", other)
    assert await admin.fetchval("SELECT count(*) FROM knowledge_words") == 0
    assert await admin.fetchval("SELECT count(*) FROM knowledge_totals") == 0


async def test_the_rank_is_bm25s(database: Database, scope: Scope) -> None:
    """Against the definition; words so unlike that none stands for another."""
    chance = random.Random(5)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(60)]
    async with database.scoped(scope) as connection:
        await knowledge.insert_many(connection, [NewKnowledge(text) for text in texts])
        found = await knowledge.matching(connection, query="apple fjord apple igloo", limit=60)
    average = sum(len(text.split()) for text in texts) / len(texts)
    for entry, match in found:
        count, length = Counter(entry.content.split()), len(entry.content.split())
        expected = 0.0
        for word in ("apple", "fjord", "igloo"):
            holding = sum(word in text.split() for text in texts)
            weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            long = 1.2 * (1 - 0.75 + 0.75 * length / average)
            expected += weight * count[word] * 2.2 / (count[word] + long)
        assert match.bm25 == pytest.approx(expected)
    assert len(found) == sum(any(word in text.split() for word in ("apple", "fjord", "igloo")) for text in texts)


@pytest.mark.parametrize(
    "query,best",
    [
        ("komputr", "The computer is in the office, komputer in Polish"),
        ("thermstat", "The thermostat is set to twenty"),
        ("thremostat", "The thermostat is set to twenty"),
        ("dishwahser", "The dishwasher leaks"),
        ("zmywarki", "Zmywarka cieknie"),
        ("leak", "The dishwasher leaks"),
    ],
)
async def test_words_spelt_otherwise(database: Database, scope: Scope, query: str, best: str) -> None:
    async with database.scoped(scope) as connection:
        for content in (
            "The computer is in the office, komputer in Polish",
            "The thermostat is set to twenty",
            "The dishwasher leaks",
            "Zmywarka cieknie",
        ):
            await knowledge.insert(connection, content=content)
        found = await knowledge.matching(connection, query=query, limit=3)
    assert [entry.content for entry, _ in found] == [best]


async def test_the_word_itself_comes_before_words_alike(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        for content in ("lights here", "light here", "lighted here"):
            await knowledge.insert(connection, content=content)
        found = await knowledge.matching(connection, query="light", limit=3)
    assert found[0][0].content == "light here"
    assert len(found) == 3
    assert found[0][1].share > found[1][1].share


@pytest.mark.parametrize(
    "language,content,query",
    [
        ("en", "Grandma buries the dahlias in October", "burying"),
        ("en", "He denied it", "deny"),
        ("fr", "Nous avons des chevaux", "cheval"),
        ("es", "Los niños duermen aquí", "niñas"),
        ("de", "Die Häuser sind alt", "Hauses"),
        ("ru", "Книги стоят на полке", "книгами"),
    ],
)
async def test_words_of_one_stem_stand_for_each_other(
    database: Database, scope: Scope, language: str, content: str, query: str
) -> None:
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content=content, language=language)
        await knowledge.insert(connection, content="Something else entirely", language="en")
        found = await knowledge.matching(connection, query=query, limit=3)
    assert [entry.content for entry, _ in found] == [content]
    assert found[0][1].share == pytest.approx(1)


async def test_stems_are_those_of_the_entrys_language(database: Database, scope: Scope) -> None:
    """What is not known to be English is not cut as English is; suggestions are words, not stems."""
    async with database.scoped(scope) as connection:
        row = await knowledge.insert(connection, content="He denied it")
        assert await knowledge.matching(connection, query="deny", limit=3) == []
        await knowledge.update(connection, row.id, language="en")
        assert len(await knowledge.matching(connection, query="deny", limit=3)) == 1
        assert await knowledge.suggest_words(connection, "den", 3) == [("denied", 1)]


async def test_stop_words_are_asked_for_only_where_there_is_nothing_else(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        for content in ("The key is under the mat", "What is in the box", "The Who are on the shelf"):
            await knowledge.insert(connection, content=content, language="en")
        found = await knowledge.matching(connection, query="what is the box", limit=5)
        assert [entry.content for entry, _ in found] == ["What is in the box"]
        found = await knowledge.matching(connection, query="the who", limit=5)
        assert found[0][0].content == "The Who are on the shelf"
        # In Polish "to" is no English preposition.
        await knowledge.insert(connection, content="To nasz kod", language="pl")
        await knowledge.insert(connection, content="To jest klucz", language="pl")
        found = await knowledge.matching(connection, query="to kod", limit=5)
        assert [entry.content for entry, _ in found] == ["To nasz kod", "To jest klucz"]


async def test_words_that_others_have_give_no_stems(database: Database, scope: Scope, member: Scope) -> None:
    async with database.scoped(member) as connection:
        await knowledge.insert(connection, content="He denied it", language="en", member_id=member.member_id)
        assert len(await knowledge.matching(connection, query="deny", limit=3)) == 1
    async with database.scoped(scope) as connection:
        assert await knowledge.matching(connection, query="deny", limit=3) == []


async def test_common_words_are_searched_for_too(admin: asyncpg.Connection, database: Database, scope: Scope) -> None:
    """More rows hold them than words may find; with a rarer word, that one finds, and they still count."""
    await admin.execute(
        "INSERT INTO knowledge (household_id, content) SELECT $1, 'the light ' || n FROM generate_series(1, 3500) AS n",
        scope.household_id,
    )
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="lantern of the light")
        await knowledge.insert(connection, content="lantern of brass today")
        found = await knowledge.matching(connection, query="the light", limit=10)
        assert len(found) == 10
        assert all(match.share == pytest.approx(1) for _, match in found)
        both = await knowledge.matching(connection, query="the lantern light", limit=10)
        assert [entry.content for entry, _ in both] == ["lantern of the light", "lantern of brass today"]
        assert both[0][1].share == pytest.approx(1)


async def test_filters(database: Database, member: Scope) -> None:
    now = datetime.now(UTC)
    async with database.scoped(member) as connection:
        await knowledge.insert(connection, content="bins on Tuesday", tags=["bins"], kind="fact")
        await knowledge.insert(connection, content="bins on Monday", kind="habit", member_id=member.member_id)
        await knowledge.insert(connection, content="bins on Friday", expires_at=now - timedelta(seconds=1))
        for only, expected in (
            (Filter(), {"bins on Tuesday", "bins on Monday"}),
            (Filter(tags=("bins",)), {"bins on Tuesday"}),
            (Filter(kind="habit"), {"bins on Monday"}),
            (Filter(member=member.member_id), {"bins on Monday"}),
            (
                Filter(since=now - timedelta(days=1), until=now + timedelta(days=1)),
                {"bins on Tuesday", "bins on Monday"},
            ),
            (Filter(since=now + timedelta(days=1)), set()),
            (Filter(until=now - timedelta(days=1)), set()),
        ):
            found = await knowledge.matching(connection, query="bins", limit=5, only=only)
            assert {entry.content for entry, _ in found} == expected


async def test_a_documents_passages_alone(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        made = []
        for name in ("oven.txt", "hob.txt"):
            document, _ = await documents.insert(
                connection,
                member_id=None,
                folder=None,
                name=name,
                tags=[],
                sha256=sha256(name.encode()).digest(),
                size=1,
                upload=name,
            )
            passages = [(Passage(f"The timer of the {name}"), "en"), (Passage("Minuterie"), "fr")]
            await documents.add_passages(connection, document, passages, first=1)
            made.append(document.id)
        await knowledge.insert(connection, content="The timer is loud")
        assert len(await knowledge.matching(connection, query="timer", limit=5)) == 3
        found = await knowledge.matching(connection, query="timer", limit=5, only=Filter(document=made[0]))
        assert [(entry.content, entry.language) for entry, _ in found] == [("The timer of the oven.txt", "en")]
        assert await knowledge.matching(connection, query="timer", limit=5, only=Filter(document=0)) == []
