"""The modules of the tables: what goes in comes out, best first, and the edges of each function."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Conflict
from gateway.shapes import Scope, Space
from gateway.store import cache, conversations, history, households, knowledge, members, preferences, training, vectors
from gateway.store.cache import CacheRow
from gateway.store.conversations import Said
from gateway.store.knowledge import NewKnowledge
from gateway.store.pool import Database

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=365 * 50), NOW + timedelta(days=365 * 50)
SPACE = Space("m", 3)


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


# --- knowledge ------------------------------------------------------------------------------------------------------


async def test_knowledge_comes_and_changes_and_goes(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        added = await knowledge.insert(
            connection,
            content="Ada likes tea",
            source="user",
            tags=["drinks", "ada"],
            kind="note",
            member_id=member.member_id,
            expires_at=FUTURE,
            pinned=True,
        )
        assert await knowledge.get(connection, added.id) == added
        assert (added.tags, added.member_id, added.expires_at) == (["drinks", "ada"], member.member_id, FUTURE)
        changed = await knowledge.update(connection, added.id, content="Ada likes coffee", source=None, expires_at=None)
        assert changed is not None
        assert (changed.content, changed.source, changed.expires_at) == ("Ada likes coffee", None, None)
        assert (changed.tags, changed.pinned, changed.kind) == (added.tags, True, "note")
        assert await knowledge.delete(connection, added.id)
        assert not await knowledge.delete(connection, added.id)
        assert await knowledge.get(connection, added.id) is None
        assert await knowledge.update(connection, added.id, content="x") is None
        with pytest.raises(TypeError, match="household_id"):
            await knowledge.update(connection, added.id, household_id=2)


async def test_updated_at_moves_with_a_change(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        added = await knowledge.insert(connection, content="x")
    async with database.scoped(scope) as connection:
        changed = await knowledge.update(connection, added.id, tags=["new"])
        assert changed is not None
        assert changed.updated_at > added.updated_at
        assert changed.created_at == added.created_at


async def test_a_reference_is_there_once(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        first = await knowledge.insert(connection, content="first", reference="r")
        assert await knowledge.insert(connection, content="second", reference="r") == first
        rows = [NewKnowledge("third", reference="r"), NewKnowledge("fourth"), NewKnowledge("fifth", reference="q")]
        assert len(await knowledge.insert_many(connection, rows)) == 2
        assert await knowledge.count(connection) == 3


async def test_many_at_once_keep_their_order(database: Database, member: Scope) -> None:
    rows = [
        NewKnowledge(
            f"fact {n}", f"s{n}", [f"t{n}"] * (n % 3), "note", member.member_id if n % 2 else None, FUTURE, n == 7
        )
        for n in range(200)
    ]
    async with database.scoped(member) as connection:
        ids = await knowledge.insert_many(connection, rows)
        assert ids == sorted(ids)
        kept = await knowledge.page(connection, limit=1000)
    assert [(k.content, k.source, k.tags, k.kind, k.member_id, k.expires_at, k.pinned) for k in kept] == [
        (r.content, r.source, list(r.tags), r.kind, r.member_id, r.expires_at, r.pinned) for r in rows
    ]
    assert [k.id for k in kept] == ids


async def test_pages(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        for n in range(10):
            await knowledge.insert(
                connection, content=f"{n}", tags=["even"] * (n % 2 == 0), member_id=member.member_id if n < 3 else None
            )
        first = await knowledge.page(connection, limit=4)
        second = await knowledge.page(connection, limit=4, after=first[-1].id)
        assert [k.content for k in first + second] == list("01234567")
        assert [k.content for k in await knowledge.page(connection, tags=["even"])] == list("02468")
        assert [k.content for k in await knowledge.page(connection, member=member.member_id)] == list("012")


async def test_the_same_words_of_the_same_owner(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        shared = await knowledge.insert(connection, content="x")
        own = await knowledge.insert(connection, content="x", member_id=member.member_id)
        await knowledge.insert(connection, content="old", expires_at=PAST)
        assert await history.same_words(connection, ["x"], None) == [shared]
        assert await history.same_words(connection, ["X!"], member.member_id) == [own]
        assert await history.same_words(connection, ["y", "old"], None) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.tuples(
            st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any),
            st.sets(st.sampled_from("ab")),
            st.booleans(),
            st.booleans(),
        ),
        max_size=8,
    ),
    query=st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any),
    tags=st.sets(st.sampled_from("ab")),
    own=st.booleans(),
)
async def test_nearest_is_the_exact_answer(
    database: Database,
    member: Scope,
    data: list[tuple[list[int], set[str], bool, bool]],
    query: list[int],
    tags: set[str],
    own: bool,
) -> None:
    """Against the definition, in numpy."""
    wanted = vector(*query)
    expected = []
    async with database.scoped(member) as connection:
        await connection.execute("DELETE FROM knowledge")
        space = await vectors.use_space(connection, SPACE)
        for values, has, is_own, expired in data:
            owner = member.member_id if is_own else None
            row = await knowledge.insert(
                connection, content="x", tags=sorted(has), member_id=owner, expires_at=PAST if expired else None
            )
            made = vector(*values)
            await vectors.upsert(connection, space, "knowledge", [(row.id, owner, made)])
            if tags <= has and not expired and (is_own or not own):
                cosine = float(made @ wanted / (np.linalg.norm(made) * np.linalg.norm(wanted)))
                expected.append(cosine)
        found = await knowledge.nearest(
            connection,
            space_id=space,
            embedding=wanted,
            limit=5,
            only=knowledge.Filter(sorted(tags), member.member_id if own else None),
        )
    assert [score for _, score in found] == pytest.approx(sorted(expected, reverse=True)[:5], abs=1e-6)


@pytest.mark.parametrize(
    "query,best",
    [
        ("When do the bins go out?", "The bins go out on Tuesday"),
        ("bin", "The bins go out on Tuesday"),
        ("Où est la clé de l'abri ?", "La clé de l’abri est derrière le pot"),
        ("ou est la cle", "La clé de l’abri est derrière le pot"),
        ("kiedy wywóz śmieci", "Śmieci wywozimy w poniedziałki"),
        ("SMIECI poniedzialek", "Śmieci wywozimy w poniedziałki"),
        (r"it's \ 'quoted' | & ! ( wifi:*", "Il est dit : it's 'quoted' \\ wifi"),
    ],
)
async def test_matching_words(database: Database, scope: Scope, query: str, best: str) -> None:
    async with database.scoped(scope) as connection:
        for content in (
            "The bins go out on Tuesday",
            "The car is in the garage on Monday",
            "La clé de l’abri est derrière le pot",
            "Śmieci wywozimy w poniedziałki",
            "Il est dit : it's 'quoted' \\ wifi",
        ):
            await knowledge.insert(connection, content=content, tags=["t"])
        await knowledge.insert(connection, content=best, expires_at=PAST)
        found = await knowledge.matching(connection, query=query, limit=3, only=knowledge.Filter(["t"]))
        assert found[0][0].content == best
        scores = [match.bm25 for _, match in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < match.strength <= 1 and 0 < match.share <= 1 for _, match in found)
        assert await knowledge.matching(connection, query=query, limit=3, only=knowledge.Filter(["other"])) == []


@pytest.mark.parametrize("query", ["", "...", "🙂", "&|!():*'\\", "a" * 3000])
async def test_matching_nothing(database: Database, scope: Scope, query: str) -> None:
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="The bins go out on Tuesday")
        assert await knowledge.matching(connection, query=query, limit=3) == []


# --- vectors --------------------------------------------------------------------------------------------------------


async def test_spaces(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        assert await vectors.current_space(connection) is None
        first = await vectors.use_space(connection, SPACE)
        assert await vectors.use_space(connection, SPACE) == first
        second = await vectors.use_space(connection, Space("m", 4, "query: "))
        assert second != first
        assert await vectors.current_space(connection) == Space("m", 4, "query: ")
        assert await vectors.use_space(connection, SPACE) == first
        assert await connection.fetchval("SELECT count(*) FROM embedding_spaces WHERE state = 'current'") == 1


async def test_rows_wait_for_their_vector(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        space = await vectors.use_space(connection, SPACE)
        one = await knowledge.insert(connection, content="one")
        two = await knowledge.insert(connection, content="two", member_id=member.member_id)
        await knowledge.insert(connection, content="expired", expires_at=PAST)
        assert await knowledge.without_vector(connection, space, 10) == [
            (one.id, "one", None),
            (two.id, "two", member.member_id),
        ]
        assert (await vectors.progress(connection, space))[1] == 2
        rows = [(one.id, None, vector(1, 0, 0)), (two.id, member.member_id, vector(0, 1, 0))]
        assert await vectors.upsert(connection, space, "knowledge", rows) == 2
        assert (await vectors.progress(connection, space))[1] == 0
        await knowledge.update(connection, one.id, tags=["x"])
        assert (await vectors.progress(connection, space))[1] == 0
        await knowledge.update(connection, one.id, content="other words")
        assert [row[0] for row in await knowledge.without_vector(connection, space, 10)] == [one.id]
        await knowledge.update(connection, two.id, member_id=None)
        assert (await vectors.progress(connection, space))[1] == 2
        await vectors.upsert(connection, space, "knowledge", [(one.id, None, vector(1, 0, 0))])
        await knowledge.delete(connection, one.id)
        assert await connection.fetchval("SELECT count(*) FROM vectors") == 0


async def test_a_vector_of_words_that_changed_meanwhile_is_left_out(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        space = await vectors.use_space(connection, SPACE)
        same, changed, gone = [(await knowledge.insert(connection, content=c)).id for c in ("same", "changed", "gone")]
        rows = [(ref, None, vector(1, 0, 0)) for ref in (same, changed, gone)]
        await knowledge.update(connection, changed, content="new words")
        await knowledge.delete(connection, gone)
        made_of = ["same", "changed", "gone"]
        assert await vectors.upsert(connection, space, "knowledge", rows, made_of=made_of) == 1
        assert [row[0] for row in await knowledge.without_vector(connection, space, 10)] == [changed]


async def test_vectors_of_rows_and_a_sample_of_them(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        space = await vectors.use_space(connection, SPACE)
        assert await vectors.sample(connection, space, "test", 10) == {}
        rows = [(ref, None, vector(ref, 1, 0)) for ref in range(1, 101)]
        await vectors.upsert(connection, space, "test", [*rows, (1000, member.member_id, vector(0, 0, 1))])
        found = await vectors.of_rows(connection, space, "test", [7, 1000, 5000])
        assert {ref: list(made) for ref, made in found.items()} == {7: [7, 1, 0], 1000: [0, 0, 1]}
        assert all(made.dtype == np.float32 for made in found.values())
        assert len(await vectors.sample(connection, space, "test", 2000)) == 101
        few = await vectors.sample(connection, space, "test", 20)
        assert list(few) == list(await vectors.sample(connection, space, "test", 20))
        assert {1, 1000} <= few.keys()
        assert len(few) <= 20
        assert few[1000] == pytest.approx([0, 0, 1])
    async with database.scoped(Scope(member.household_id)) as connection:
        assert 1000 not in await vectors.sample(connection, space, "test", 2000)
        assert await vectors.of_rows(connection, space, "test", [1000]) == {}


async def test_a_vector_has_its_spaces_width(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        space = await vectors.use_space(connection, SPACE)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.scoped(scope) as connection:
            await vectors.upsert(connection, space, "knowledge", [(1, None, vector(1, 2, 3, 4))])


async def test_wide_vectors_are_kept_whole(database: Database, scope: Scope) -> None:
    wide = np.random.default_rng(1).normal(size=4096).astype(np.float32)
    async with database.scoped(scope) as connection:
        space = await vectors.use_space(connection, Space("wide", 4096))
        row = await knowledge.insert(connection, content="x")
        await vectors.upsert(connection, space, "knowledge", [(row.id, None, wide)])
        kept = await connection.fetchval("SELECT k.embedding FROM knowledge k")
    np.testing.assert_array_equal(kept, wide)


# --- preferences ----------------------------------------------------------------------------------------------------


async def test_a_members_own_preference_goes_before_the_shared_one(database: Database, member: Scope) -> None:
    async with database.scoped(member) as connection:
        shared, created = await preferences.put(connection, key="k", value={"a": [1, "ż"]}, category="c")
        assert created
        assert shared.value == {"a": [1, "ż"]}
        own, created = await preferences.put(connection, key="k", value=False, member_id=member.member_id)
        assert created
        again, created = await preferences.put(connection, key="k", value="new")
        assert (again.id, again.category, created) == (shared.id, "c", False)
        assert await preferences.get(connection, "k") == own
        assert await preferences.get(connection, "other") is None
        assert len(await preferences.all_visible(connection)) == 2
        assert await preferences.delete(connection, own.id)
        assert not await preferences.delete(connection, own.id)
        assert await preferences.get(connection, "k") == again


async def test_preferences_are_listed_and_changed(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        made = [(await preferences.put(connection, key=f"k{n}", value=n, category=f"c{n % 2}"))[0] for n in range(6)]
        assert await preferences.listing(connection, limit=4) == made[:4]
        assert await preferences.listing(connection, limit=4, after=made[3].id) == made[4:]
        assert await preferences.listing(connection, category="c1") == made[1::2]
    async with database.scoped(scope) as connection:
        changed = await preferences.update(connection, made[0].id, value=[1], category=None)
        assert changed is not None
        assert (changed.key, changed.value, changed.category) == ("k0", [1], None)
        assert await preferences.by_id(connection, made[0].id) == changed
        assert (await preferences.all_visible(connection))[0] == changed
        assert await preferences.update(connection, 10**9, value=1) is None
        with pytest.raises(TypeError):
            await preferences.update(connection, made[0].id, member_id=1)
    with pytest.raises(Conflict):
        async with database.scoped(scope) as connection:
            await preferences.update(connection, made[0].id, key="k1")


# --- conversations --------------------------------------------------------------------------------------------------


def said(turn: str, at: datetime, session: str = "s", answered: bool = True) -> list[Said]:
    user = Said(turn, session, None, "user", f"{turn}?", "en", None, at, {"a": 1})
    assistant = Said(turn, session, None, "assistant", f"{turn}!", "en", None, at + timedelta(seconds=1))
    return [user, assistant] if answered else [user]


async def test_the_last_turns_of_a_conversation(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        rows = [row for n in range(5) for row in said(f"t{n}", NOW + timedelta(minutes=n), answered=n != 3)]
        await conversations.insert(connection, [*rows, *said("other", NOW, "another")])
        await conversations.insert(connection, rows)
        last = await conversations.last_turns(connection, "s", 3, NOW)
        assert [(turn.user, turn.assistant) for turn in last] == [("t2?", "t2!"), ("t3?", ""), ("t4?", "t4!")]
        assert len(await conversations.last_turns(connection, "s", 10, NOW + timedelta(minutes=2))) == 3
        assert await conversations.last_turns(connection, "none", 3, NOW) == []


async def test_conversations_by_pages(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        for n in range(4):
            await conversations.insert(connection, said(f"t{n}", NOW + timedelta(minutes=n), f"s{n % 2}"))
        first = await conversations.page(connection, limit=3)
        second = await conversations.page(connection, limit=100, before_id=first[-1].id)
        assert [row.content for row in first + second] == ["t3!", "t3?", "t2!", "t2?", "t1!", "t1?", "t0!", "t0?"]
        assert {row.turn_id for row in await conversations.page(connection, session_id="s1")} == {"t1", "t3"}
        assert {row.role for row in await conversations.page(connection, role="user")} == {"user"}
        between = await conversations.page(
            connection, since=NOW + timedelta(minutes=1), until=NOW + timedelta(minutes=2)
        )
        assert {row.turn_id for row in between} == {"t1"}
        assert [row.role for row in await conversations.turn(connection, "t1")] == ["user", "assistant"]
        assert (await conversations.turn(connection, "t1"))[0].metadata == {"a": 1}


# --- cache ----------------------------------------------------------------------------------------------------------


async def test_a_cached_answer(database: Database, member: Scope) -> None:
    row = CacheRow("h", "when", "Tuesday", 7, "print", member.member_id, FUTURE, {"model": "m"})
    async with database.scoped(member) as connection:
        assert await cache.get(connection, "h") is None
        assert await cache.put(connection, [row], 1, 10)
        await cache.touch(connection, [("h", 2, FUTURE), ("unknown", 1, NOW)])
        await cache.touch(connection, [("h", 1, PAST)])
        kept = await cache.get(connection, "h")
        assert kept is not None
        assert (kept.response, kept.memory_epoch, kept.prompt_fingerprint) == ("Tuesday", 7, "print")
        assert (kept.hit_count, kept.last_used_at, kept.metadata) == (3, FUTURE, {"model": "m"})
        assert await cache.stats(connection) == (1, len("when") + len("Tuesday"), 3)
        assert await cache.put(connection, [row], 1, 10)
        assert await cache.stats(connection) == (1, 11, 0)
        ends = FUTURE - timedelta(minutes=1)
        await cache.renew(connection, [("h", "another prompt", 9, PAST), ("h", "print", 8, ends)])
        kept = await cache.get(connection, "h")
        assert kept is not None
        assert (kept.memory_epoch, kept.expires_at) == (8, ends)
        assert await cache.take_back(connection, query_hash="h") == ["h"]
        assert await cache.take_back(connection, query_hash="h") == []


async def test_what_is_taken_back_does_not_come_back_from_a_gateway_that_did_not_know(
    database: Database, scope: Scope
) -> None:
    async with database.scoped(scope) as connection:
        before = await households.moment(connection)
        assert before is not None
        assert await cache.put(connection, [CacheRow("h", "q", "r", 1)], before.generation, 10)
        assert await cache.take_back(connection, query_hash="h") == ["h"]
        assert not await cache.put(connection, [CacheRow("h", "q", "r", 1)], before.generation, 10)
        after = await households.moment(connection)
        assert after is not None
        assert after.epoch == before.epoch
        assert await cache.get(connection, "h") is None
        assert await cache.put(connection, [CacheRow("h", "q", "r", 1)], after.generation, 10)


async def test_an_answer_on_its_way_into_the_table_is_taken_back_too(database: Database, scope: Scope) -> None:
    """The one who takes back waits for the one who writes, and then sees what was written."""
    written, seen = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with database.scoped(scope) as connection:
            assert await cache.put(connection, [CacheRow("h", "q", "r", 1)], 1, 10)
            written.set()
            await seen.wait()

    async def take_back() -> list[str]:
        await written.wait()
        async with database.scoped(scope) as connection:
            asyncio.get_running_loop().call_later(0.1, seen.set)
            return await cache.take_back(connection, query_hash="h")

    _, gone = await asyncio.gather(write(), take_back())
    assert gone == ["h"]
    async with database.scoped(scope) as connection:
        assert await cache.get(connection, "h") is None


@pytest.mark.parametrize("score,there", [(1, False), (2, False), (3, True)])
async def test_a_low_score_takes_the_answer_back(database: Database, scope: Scope, score: int, there: bool) -> None:
    async with database.scoped(scope) as connection:
        await cache.put(connection, [CacheRow("h", "q", "r", 1), CacheRow("other", "q2", "r", 1)], 1, 10)
        rows = [replace(row, metadata={"cache_key": "h"}) for row in said("t", NOW)]
        await conversations.insert(connection, rows)
        await training.upsert_feedback(connection, "t", score)
        assert (await cache.get(connection, "h") is not None) is there
        assert await cache.get(connection, "other") is not None
        moment = await households.moment(connection)
        assert moment is not None
        assert (moment.generation == 1) is there


async def test_the_least_recently_used_answer_leaves_first(database: Database, scope: Scope) -> None:
    for n in range(5):
        async with database.scoped(scope) as connection:
            await cache.put(connection, [CacheRow(f"h{n}", "q", "r", 1)], 1, 3)
            if n == 2:
                await cache.touch(connection, [("h0", 1, FUTURE)])
    async with database.scoped(scope) as connection:
        assert [h for h in ("h0", "h1", "h2", "h3", "h4") if await cache.get(connection, h)] == ["h0", "h3", "h4"]


async def test_clearing(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        for n, expires_at in enumerate((PAST, FUTURE, None, None)):
            await cache.put(connection, [CacheRow(f"h{n}", f"q{n}", "r", 1, expires_at=expires_at)], 1, 10)
        assert await cache.get(connection, "h0") is None
        assert await cache.clear_expired(connection) == 1
        assert await cache.take_back(connection, query_text="q1") == ["h1"]
        assert await cache.take_back(connection, query_text="q1") == []
        assert await cache.clear_all(connection) == 2
        assert await cache.stats(connection) == (0, 0, 0)


# --- training -------------------------------------------------------------------------------------------------------


async def test_feedback_is_one_row_a_turn(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        await conversations.insert(connection, [*said("t", NOW), *said("unanswered", NOW, answered=False)])
        rated = await training.upsert_feedback(connection, "t", 5, "good")
        assert rated is not None
        row, created = rated
        assert created
        assert (row.input_text, row.output_text, row.language, row.interaction_type) == ("t?", "t!", "en", "question")
        assert (row.feedback_score, row.metadata) == (5, {"comment": "good"})
        assert await training.mark_exported(connection, [row.id]) == 1
        assert await training.mark_exported(connection, [row.id]) == 0
        same = await training.upsert_feedback(connection, "t", 5, "good")
        assert same is not None
        assert (same[0].id, same[0].exported, same[1]) == (row.id, True, False)
        worse = await training.upsert_feedback(connection, "t", 2)
        assert worse is not None
        assert (worse[0].feedback_score, worse[0].exported, worse[0].metadata) == (2, False, {"comment": "good"})
        assert await training.upsert_feedback(connection, "unanswered", 5) is None
        assert await training.upsert_feedback(connection, "unknown", 5) is None
        assert await training.count(connection) == 1


async def test_an_export_by_batches(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        for n in range(10):
            await conversations.insert(connection, said(f"t{n}", NOW))
            await training.upsert_feedback(connection, f"t{n}", n % 5 + 1)
    async with database.scoped(scope) as connection:
        batches = [batch async for batch in training.export(connection, batch=4)]
        assert [len(batch) for batch in batches] == [4, 4, 2]
        assert [row.turn_id for batch in batches for row in batch] == [f"t{n}" for n in range(10)]
        good = [row async for batch in training.export(connection, min_score=4) for row in batch]
        assert {row.feedback_score for row in good} == {4, 5}
        assert await training.mark_exported(connection, [row.id for row in good]) == 4
        assert sum([len(batch) async for batch in training.export(connection, only_new=True)]) == 6
        assert [batch async for batch in training.export(connection, since=FUTURE)] == []


# --- members --------------------------------------------------------------------------------------------------------


async def test_members(admin: asyncpg.Connection, database: Database, household_id: int) -> None:
    ada = await members.add(admin, household_id, "Ada", b"1" * 32)
    with pytest.raises(Conflict, match="Ada"):
        await members.add(admin, household_id, "Ada", b"2" * 32)
    async with database.unscoped() as connection:
        assert await members.by_token_hash(connection, b"1" * 32) == Scope(household_id, ada.id, "Ada")
    assert await members.revoke(admin, household_id, "Ada")
    assert not await members.revoke(admin, household_id, "Ada")
    [revoked] = await members.listing(admin, household_id)
    assert revoked.revoked_at is not None
    again = await members.add(admin, household_id, "Ada", b"3" * 32)
    assert (again.id, again.revoked_at) == (ada.id, None)
