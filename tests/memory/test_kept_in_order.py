"""Memory kept in order: merged, superseded, and every version there to be read and put back."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from gateway.config import MemorySettings
from gateway.errors import NotFound
from gateway.memory.fading import Fading
from gateway.memory.knowledge import Kept
from gateway.shapes import Scope
from gateway.store.knowledge import Knowledge, NewKnowledge
from tests.household import Household


async def keep(household: Household, scope: Scope, content: str, **more: object) -> Kept:
    kept = await household.knowledge.keep(scope, NewKnowledge(content, member_id=scope.member_id, **more))  # type: ignore[arg-type]
    assert isinstance(kept, Kept)
    return kept


async def contents(household: Household, scope: Scope) -> list[str]:
    return [entry.content for entry in await household.knowledge.page(scope, limit=50)]


async def found(household: Household, scope: Scope, query: str) -> list[str]:
    return [hit.entry.content for hit in (await household.knowledge.search(scope, query, limit=20)).hits]


async def test_what_is_said_again_is_one_entry_of_both(household: Household, scope: Scope) -> None:
    first = await keep(household, scope, "The bins go out on Tuesday", source="conversation", tags=("bins",))
    again = await keep(household, scope, "On Tuesday the bins go out.", source="note", tags=("bins", "street"))
    assert (again.merged, again.entry.id) == (True, first.entry.id)
    assert (again.entry.source, again.entry.tags) == ("conversation; note", ["bins", "street"])
    assert await contents(household, scope) == ["On Tuesday the bins go out."]
    _, [before] = await household.knowledge.history(scope, first.entry.id)
    assert (before.content, before.reason) == ("The bins go out on Tuesday", "merged")
    # Merged by mistake, it becomes an entry of its own.
    own = await household.knowledge.restore(scope, first.entry.id, before.id)
    assert own.id != first.entry.id
    assert len(await contents(household, scope)) == 2
    assert (await household.knowledge.history(scope, first.entry.id))[1] == []


async def test_the_very_words_again_leave_no_version(household: Household, scope: Scope) -> None:
    first = await keep(household, scope, "Tea is at five")
    again = await keep(household, scope, "Tea is at five")
    assert (again.merged, again.entry.id) == (True, first.entry.id)
    assert (await household.knowledge.history(scope, first.entry.id))[1] == []


async def test_a_new_fact_puts_an_end_to_the_old_one(household: Household, scope: Scope) -> None:
    small = (await keep(household, scope, "my office is the small room", pinned=True)).entry
    attic = await keep(household, scope, "my office is the attic room")
    assert attic.superseded == (small.id,)
    assert attic.entry.pinned
    assert await contents(household, scope) == ["my office is the attic room"]
    assert await found(household, scope, "my office") == ["my office is the attic room"]
    shed = await keep(household, scope, "no, my office is the shed")
    assert await contents(household, scope) == ["my office is the shed"]
    # The whole chain, from the one that holds now and from the first.
    entry, versions = await household.knowledge.history(scope, shed.entry.id)
    assert entry == shed.entry
    assert [(version.content, version.replaced_by) for version in versions] == [
        ("my office is the attic room", shed.entry.id),
        ("my office is the small room", attic.entry.id),
    ]
    assert (await household.knowledge.history(scope, small.id))[0] is None
    # Back it comes under its own id, and is found.
    back = await household.knowledge.restore(scope, small.id)
    assert (back.id, back.content, back.pinned, back.created_at) == (small.id, small.content, True, small.created_at)
    await household.late.embed_all()
    assert set(await found(household, scope, "my office")) == {small.content, shed.entry.content}


async def test_without_vectors_it_is_told_by_the_words(household: Household, scope: Scope) -> None:
    household.model.embed_failing = (500, "no")
    await keep(household, scope, "the wifi password is hunter2")
    for place in range(30):
        await keep(household, scope, f"note number {place} of the password of the wifi")
    assert (await keep(household, scope, "the wifi password is sesame")).superseded


async def test_across_owners_and_kinds_nothing_is_touched(household: Household, scope: Scope, member: Scope) -> None:
    await keep(household, scope, "my office is the small room")
    for mine in ("my office is the small room", "my office is the attic room"):
        kept = await keep(household, member, mine)
    assert len(kept.superseded) == 1
    assert await contents(household, scope) == ["my office is the small room"]
    other = await keep(household, scope, "my office is the attic room", kind="plan")
    assert (other.merged, other.superseded) == (False, ())
    with pytest.raises(NotFound):
        await household.knowledge.history(scope, kept.superseded[0])
    with pytest.raises(NotFound):
        await household.knowledge.restore(scope, kept.superseded[0])


async def test_a_correction_is_undone(household: Household, scope: Scope) -> None:
    entry = (await keep(household, scope, "The bins go out on Tuesday", tags=("bins",))).entry
    await household.knowledge.update(scope, entry.id, {"content": "The bins go out on Friday", "tags": []})
    await household.knowledge.update(scope, entry.id, {"content": "The bins go out on Friday"})
    _, [before] = await household.knowledge.history(scope, entry.id)
    assert (before.content, before.tags, before.reason) == (entry.content, ["bins"], "edited")
    back = await household.knowledge.restore(scope, entry.id)
    assert (back.id, back.content, back.tags) == (entry.id, entry.content, ["bins"])
    _, [undone] = await household.knowledge.history(scope, entry.id)
    assert undone.content == "The bins go out on Friday"
    with pytest.raises(NotFound):
        await household.knowledge.restore(scope, entry.id, 999_999)


async def test_deleted_is_deleted_with_its_history(
    household: Household, scope: Scope, admin: asyncpg.Connection
) -> None:
    for room in ("small", "attic", "green"):
        entry = (await keep(household, scope, f"my office is the {room} room")).entry
    await household.knowledge.delete(scope, entry.id)
    assert await admin.fetchval("SELECT count(*) FROM knowledge_history") == 0
    with pytest.raises(NotFound):
        await household.knowledge.delete(scope, entry.id)
    superseded = (await keep(household, scope, "the code is 12")).entry
    await keep(household, scope, "the code is 13")
    await household.knowledge.delete(scope, superseded.id)  # what is history only
    assert await admin.fetchval("SELECT count(*) FROM knowledge_history") == 0
    assert await contents(household, scope) == ["the code is 13"]


async def test_told_twice_at_once_it_is_kept_once(household: Household, scope: Scope) -> None:
    told = await asyncio.gather(*(keep(household, scope, "Tea is at five") for _ in range(8)))
    assert len({kept.entry.id for kept in told}) == 1
    assert sum(not kept.merged for kept in told) == 1


async def test_an_import_merges_the_very_words_only(household: Household, scope: Scope) -> None:
    await keep(household, scope, "The bins go out on Tuesday", tags=("bins",))

    async def lines() -> object:
        for text in (b"The bins go out on Tuesday", b"the bins go out on tuesday", b"one", b"one", b"two"):
            yield b'{"content": "%s"}\n' % text

    def read(line: bytes) -> NewKnowledge:
        return NewKnowledge(line.decode().split('"')[3], tags=("imported",))

    report = await household.knowledge.import_lines(scope, lines(), read)  # type: ignore[arg-type]
    assert (report.added, report.merged) == (3, 2)
    entries: list[Knowledge] = await household.knowledge.page(scope, limit=50)
    assert [(entry.content, entry.tags) for entry in entries] == [
        ("The bins go out on Tuesday", ["bins", "imported"]),
        ("the bins go out on tuesday", ["imported"]),
        ("one", ["imported"]),
        ("two", ["imported"]),
    ]


@pytest.fixture
async def fading(household: Household) -> Fading:
    """Looks when it is told to."""
    return Fading(
        household.database, household.knowledge, household.epoch, MemorySettings(), household.scope.household_id
    )


async def age(admin: asyncpg.Connection, days: float) -> None:
    """Everything was told, changed and recalled so much earlier."""
    await admin.execute(
        """
        ALTER TABLE knowledge DISABLE TRIGGER touch_updated_at;
        UPDATE knowledge SET updated_at = updated_at - make_interval(secs => 86400 * $1),
                             last_recalled_at = last_recalled_at - make_interval(secs => 86400 * $1);
        """.replace("$1", str(days))
    )
    await admin.execute("ALTER TABLE knowledge ENABLE TRIGGER touch_updated_at")


async def test_what_nobody_recalls_fades_and_comes_back_by_its_name(
    household: Household, scope: Scope, member: Scope, fading: Fading, admin: asyncpg.Connection
) -> None:
    tulips = (await keep(household, scope, "The tulips stand in the blue vase")).entry
    recalled = (await keep(household, scope, "Tea is at five")).entry
    pinned = (await keep(household, scope, "The doctor is called Roux", pinned=True)).entry
    secret = (await keep(household, member, "The tulips hide the blue key")).entry
    await age(admin, 365)
    household.knowledge.recalled(scope, [recalled.id])
    await household.knowledge.write_recalled()
    epoch = await admin.fetchval("SELECT memory_epoch FROM households")
    assert await fading.fade() == (0, 0)
    assert await admin.fetchval("SELECT memory_epoch FROM households") == epoch  # nobody's answer changes by that
    sure = {entry.id: entry.confidence for entry in await household.knowledge.page(member, limit=10)}
    assert sure == {tulips.id: pytest.approx(0.5, abs=0.01), recalled.id: 1, pinned.id: 1, secret.id: sure[tulips.id]}

    await age(admin, 3 * 365)
    household.knowledge.recalled(scope, [recalled.id])
    await household.knowledge.write_recalled()
    assert await fading.fade() == (2, 0)
    assert await contents(household, member) == [recalled.content, pinned.content]
    assert (await household.knowledge.history(scope, tulips.id))[1][0].reason == "archived"

    for not_by_its_name in ("tulips", "Which vase is on the table in the hall?", "Who wrote Hamlet?", ""):
        assert await household.knowledge.revive(scope, not_by_its_name) == []
    [back] = await household.knowledge.revive(scope, "Which vase are the tulips in?")
    assert (back.id, back.content, back.confidence) == (tulips.id, tulips.content, 1)
    assert await household.knowledge.revive(scope, "Where is the blue key of the tulips?") == []
    assert await fading.fade() == (0, 0)
    [of_member] = await household.knowledge.revive(member, "Where is the blue key of the tulips?")
    assert of_member.id == secret.id


async def test_archived_for_long_it_is_deleted_for_good(
    household: Household, scope: Scope, fading: Fading, admin: asyncpg.Connection
) -> None:
    await keep(household, scope, "the code is 12")
    await keep(household, scope, "the code is 13")
    await age(admin, 5 * 365)
    assert await fading.fade() == (1, 0)
    await admin.execute("UPDATE knowledge_history SET ended_at = ended_at - interval '364 days'")
    assert await fading.fade() == (0, 0)
    await admin.execute("UPDATE knowledge_history SET ended_at = ended_at - interval '2 days'")
    assert await fading.fade() == (0, 1)
    assert [row["reason"] for row in await admin.fetch("SELECT reason FROM knowledge_history")] == ["superseded"]


async def test_without_a_half_life_nothing_fades(household: Household, scope: Scope, admin: asyncpg.Connection) -> None:
    still = Fading(
        household.database,
        household.knowledge,
        household.epoch,
        MemorySettings(half_life_days=0),
        scope.household_id,
    )
    await keep(household, scope, "Tea is at five")
    await age(admin, 3650)
    assert await still.fade() == (0, 0)
    assert [entry.confidence for entry in await household.knowledge.page(scope, limit=5)] == [1]
