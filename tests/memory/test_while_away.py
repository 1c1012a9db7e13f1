"""With PostgreSQL away: what can be taken down truthfully is, the rest is refused, and all is well afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from gateway.errors import NotFound, StoreUnavailable
from gateway.memory.knowledge import Pending
from gateway.memory.preferences import Accepted
from gateway.shapes import Scope
from gateway.store.address import Address
from gateway.store.knowledge import Knowledge, NewKnowledge
from tests.household import Household


@asynccontextmanager
async def away(postgres: Address, address: Address) -> AsyncIterator[None]:
    """This test's database is not where it was, and who was in it is thrown out."""
    name = address.database
    owner = await postgres.connect()
    try:
        await owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        gone = False
        while not gone:  # whoever was at the door as it was shut comes in still
            await owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
            with suppress(asyncpg.ObjectInUseError):
                await owner.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
                gone = True
        try:
            yield
        finally:
            await owner.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
            await owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    finally:
        await owner.close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory.knowledge", "memory.preferences", "training.feedback"):
        monkeypatch.setattr(f"gateway.{module}.JOURNAL_SECONDS", 0.05)


async def test_memory_is_taken_down_and_stored_when_it_is_back(
    household: Household, scope: Scope, postgres: Address, address: Address
) -> None:
    kept = await household.knowledge.add(scope, NewKnowledge("The bins go out on Tuesday"))
    assert isinstance(kept, Knowledge)
    async with away(postgres, address):
        pending = await household.knowledge.add(scope, NewKnowledge("The key is under the mat", tags=("key",)))
        assert isinstance(pending, Pending)
        assert await household.knowledge.add_once(scope, NewKnowledge("Tea is at five")) == "pending"
        set_one = await household.preferences.set(scope, key="colour", value="red", category=None, member_id=None)
        assert set_one == Accepted("colour")
        assert household.epoch.current() is None
        with pytest.raises(StoreUnavailable):
            await household.knowledge.delete(scope, kept.id)
        with pytest.raises(StoreUnavailable):
            await household.knowledge.update(scope, kept.id, {"content": "Never"})
        with pytest.raises(StoreUnavailable):
            await household.preferences.delete(scope, 1)
        with pytest.raises(StoreUnavailable):
            await household.knowledge.search(scope, "bins", limit=1)
    assert await household.journal.flush(30)
    entries = await household.knowledge.page(scope, limit=10)
    assert [entry.content for entry in entries] == [kept.content, "The key is under the mat", "Tea is at five"]
    assert (await household.preferences.get(scope, "colour")).value == "red"
    await household.late.embed_all()
    found = await household.knowledge.search(scope, "under the mat", limit=1)
    assert (found.mode, found.complete, found.hits[0].entry.tags) == ("hybrid", True, ["key"])


async def test_feedback_waits_for_its_turn(
    household: Household, scope: Scope, postgres: Address, address: Address, admin: asyncpg.Connection
) -> None:
    before = household.turn()
    assert await household.journal.flush(30)
    async with away(postgres, address):
        during = household.turn()
        for turn_id in (before, during):
            recorded = await household.feedback.record(scope, f"conv_{turn_id}", 4, "fine")
            assert (recorded.created, recorded.stored) == (False, False)
        with pytest.raises(NotFound):
            await household.feedback.record(scope, "conv_123", 4, None)
    assert await household.journal.flush(30)
    owner = await address.connect()
    try:
        rated = await owner.fetch("SELECT turn_id, feedback_score FROM training_data ORDER BY id")
    finally:
        await owner.close()
    assert [tuple(row) for row in rated] == [(before, 4), (during, 4)]


async def test_the_rest_edge_says_so(household: Household, postgres: Address, address: Address) -> None:
    async with household.client() as client, away(postgres, address):
        added = await client.post("/memory/add", json={"content": "Tea is at five"})
        assert added.status == 202
        assert (await added.json())["reference"].startswith("mem_")
        assert (await client.post("/preferences/set", json={"key": "k", "value": 1})).status == 202
        for path in ("/memory", "/memory/search?query=tea", "/training/export", "/conversations"):
            answer = await client.get(path)
            assert answer.status == 503
            assert "Retry-After" in answer.headers
        assert (await client.delete("/memory/1")).status == 503
    assert await household.journal.flush(30)
