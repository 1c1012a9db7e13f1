"""The journal through random histories: turns and memory said, PostgreSQL away, the disk full or out of order, the
process killed in any call that changes a file. What was acknowledged comes to PostgreSQL: in order, once.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.config import PostgresSettings
from gateway.errors import JournalFull, StartError, StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import journal, preferences
from gateway.store.address import Address
from gateway.store.journal import Journal
from gateway.store.pool import Database
from gateway.tasks import end
from tests.faults.disk import WHEN, Disk, Killed
from tests.store.test_journal import turn, wanted

BOUND = 20_000
LONG = 60.0

Step = tuple[Any, ...]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("turns"), st.integers(1, 7)),
    st.tuples(st.just("turns"), st.integers(1, 7)),
    st.tuples(st.just("prefer"), st.sampled_from("ab")),
    st.tuples(st.just("unfit")),
    st.tuples(st.just("postgres"), st.sampled_from(["here", "here", "away", "deaf", "cut"])),
    st.tuples(st.just("disk"), st.sampled_from(["well", "well", "full", "broken", "unnoted"])),
    st.tuples(st.just("drain"), st.integers(1, 30)),
    st.tuples(st.just("doom"), st.integers(1, 9), st.sampled_from(WHEN)),
    st.tuples(st.just("kill")),
    st.tuples(st.just("restart")),
)


class Postgres:
    """The real one, and what may come between: nothing answers ("away"), what is committed is not confirmed ("deaf"),
    the connection is cut before it is ("cut")."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mode = "here"

    @asynccontextmanager
    async def scoped(self, scope: Scope) -> AsyncIterator[asyncpg.Connection]:
        if self.mode == "away":
            raise StoreUnavailable("away")
        async with self.database.scoped(scope) as connection:
            yield connection
            if self.mode == "cut":
                raise StoreUnavailable("cut")
        if self.mode == "deaf":
            raise StoreUnavailable("deaf")


class History:
    """One history: what was said, and what was promised about it."""

    def __init__(self, folder: Path, disk: Disk, postgres: Postgres, scope: Scope) -> None:
        self.folder = folder
        self.disk = disk
        self.postgres = postgres
        self.scope = scope
        self.journal: Journal | None = None
        self.numbers = itertools.count()
        self.promised: list[str] = []  # turns that were acknowledged
        self.possible: set[str] = set()  # those during which the process was killed
        self.refused: set[str] = set()
        self.preferred: dict[str, set[int]] = {"a": {-1}, "b": {-1}}  # what each may be at the end
        self.unfit: list[int] = []
        self.ways: dict[str, Callable[..., Awaitable[None]]] = {
            "turns": self.turns,
            "prefer": self.prefer,
            "unfit": self.say_unfit,
            "postgres": self.put_postgres,
            "disk": self.put_disk,
            "drain": self.drain,
            "doom": self.doom,
            "kill": self.kill,
            "restart": self.restart,
        }

    async def play(self, steps: list[Step]) -> None:
        await self.start()
        for name, *arguments in steps:
            try:
                await self.ways[name](*arguments)
            except Killed:
                await self.kill()
        self.postgres.mode = "here"
        self.disk.put("well")
        await self.kill()
        assert self.journal is not None
        assert await self.journal.flush(LONG)
        waiting = (self.journal.records_waiting, self.journal.bytes_waiting, self.journal.pending_memory)
        assert waiting == (0, 0, 0)
        assert self.journal.waiting_seconds == 0
        await self.journal.close()
        await self.check()

    async def start(self) -> None:
        self.disk.alive()
        try:
            self.journal = Journal(self.disk.folder(self.folder), self.postgres, BOUND, Metrics())  # type: ignore[arg-type]
        except StartError:
            self.disk.put("well")  # somebody sees to it
            await self.start()
            return
        await self.journal.start()

    async def turns(self, count: int) -> None:
        for _ in range(count):
            record = turn(next(self.numbers), self.scope, session=f"s{self.scope.household_id}")
            name = record["turn_id"] = f"{record['turn_id']}-{self.scope.household_id}"
            await self.append(record, lambda: self.promised.append(name), self.possible, self.refused, name)  # noqa: B023

    async def prefer(self, key: str) -> None:
        """As `Preferences.set` does: into PostgreSQL unless something of the kind waits, else into the journal."""
        value = next(self.numbers)
        assert self.journal is not None
        if not self.journal.pending_memory:
            try:
                async with self.postgres.scoped(self.scope) as connection:
                    await preferences.put(connection, key=key, value=value, category=None, member_id=None)
            except StoreUnavailable:
                self.preferred[key].add(value)  # it may have come through
            else:
                self.preferred[key] = {value}
                return
        possible = self.preferred[key]
        await self.append(
            wanted(key, value, self.scope), lambda: self.preferred.update({key: {value}}), possible, None, value
        )

    async def say_unfit(self) -> None:
        number = next(self.numbers)
        record = {"kind": "dance", "household_id": self.scope.household_id, "number": number}
        await self.append(record, lambda: self.unfit.append(number), set(), None, number)

    async def append(
        self,
        record: dict[str, Any],
        kept: Callable[[], object],
        possible: set[Any],
        refused: set[Any] | None,
        name: Any,
    ) -> None:
        assert self.journal is not None
        try:
            self.journal.append(record)
        except JournalFull:
            if refused is not None:
                refused.add(name)
        except Killed:
            possible.add(name)
            raise
        else:
            kept()
        await asyncio.sleep(0)

    async def put_postgres(self, mode: str) -> None:
        self.postgres.mode = mode

    async def put_disk(self, state: str) -> None:
        self.disk.put(state)

    async def drain(self, milliseconds: int) -> None:
        await asyncio.sleep(milliseconds / 1000)
        if self.disk.dead:
            raise Killed

    async def doom(self, calls: int, when: str) -> None:
        self.disk.alive()
        self.disk.killed_at, self.disk.when = calls, when

    async def kill(self) -> None:
        """As kill -9 does: nothing more is written, the system closes what was open."""
        assert self.journal is not None
        self.disk.dead = True
        await end(*self.journal._tasks)
        self.journal._let_go()
        await self.start()

    async def restart(self) -> None:
        assert self.journal is not None
        if self.disk.dead:
            raise Killed
        await self.journal.close()
        await self.start()

    async def check(self) -> None:
        async with self.postgres.database.scoped(self.scope) as connection:
            rows = await connection.fetch("SELECT turn_id FROM conversations WHERE role = 'assistant' ORDER BY id")
            liked = {row.key: row.value for row in await preferences.all_visible(connection)}
        stored = [row["turn_id"] for row in rows]
        assert stored == sorted(set(stored), key=lambda name: int(name.split("-")[1])), "in order, each once"
        assert set(self.promised) <= set(stored), "none is lost"
        assert set(stored) <= set(self.promised) | self.possible, "none that was refused"
        for key, may_be in self.preferred.items():
            assert liked.get(key, -1) in may_be, "what was said last holds"
        aside = self.folder / "rejected.jsonl"
        lines = [orjson.loads(line) for line in aside.read_bytes().splitlines()] if aside.exists() else []
        assert set(self.unfit) <= {line["number"] for line in lines}
        assert all(line["kind"] == "dance" for line in lines)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Small files and batches, hardly any pause, and a disk that can fail."""
    disk = Disk()
    for name, value in (
        ("SEGMENT_BYTES", 900),
        ("BATCH_RECORDS", 3),
        ("GATHER_SECONDS", 0.0),
        ("SYNC_SECONDS", 0.01),
        ("FIRST_PAUSE_SECONDS", 0.001),
        ("LONGEST_PAUSE_SECONDS", 0.004),
        ("CLOSE_SECONDS", 0.02),
        ("os", disk),
    ):
        monkeypatch.setattr(journal, name, value)
    yield disk
    disk.alive()


def run(address: Address, folder: Path, disk: Disk, *histories: list[Step]) -> None:
    """Plays histories, each in a household of its own."""

    async def play() -> None:
        owner = await address.connect()
        database = await Database.open(address, PostgresSettings(pool_size=2), Metrics())
        try:
            for steps in histories:
                disk.put("well")
                name = uuid.uuid4().hex
                household = await owner.fetchval("INSERT INTO households (name) VALUES ($1) RETURNING id", name)
                await History(folder / name, disk, Postgres(database), Scope(household)).play(steps)
        finally:
            disk.alive()
            await database.close()
            await owner.close()

    asyncio.run(play())


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(
    max_examples=80, deadline=None, suppress_health_check=QUIET, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
@given(steps=st.lists(STEPS, min_size=5, max_size=30))
def test_nothing_that_was_acknowledged_is_lost_or_comes_twice(
    address: Address, tmp_path: Path, quick: Disk, steps: list[Step]
) -> None:
    run(address, tmp_path, quick, steps)


AWAY: list[Step] = [("postgres", "away"), ("turns", 6), ("prefer", "a"), ("unfit",), ("prefer", "a")]
BACK: list[Step] = [("postgres", "here"), ("drain", 30), ("prefer", "a"), ("turns", 2), ("drain", 30)]


@pytest.mark.parametrize("when", WHEN)
def test_killed_in_any_call_that_changes_a_file(address: Address, tmp_path: Path, quick: Disk, when: str) -> None:
    """Each in turn: while turns are said, while they are drained, while files are made and deleted."""
    histories: list[list[Step]] = []
    for call in range(1, 30):
        histories += [[("doom", call, when), *AWAY, *BACK], [*AWAY, ("doom", call, when), *BACK]]
    run(address, tmp_path, quick, *histories)


@pytest.mark.parametrize("state", ["full", "broken", "unnoted"])
def test_a_disk_that_fails_in_the_middle(address: Address, tmp_path: Path, quick: Disk, state: str) -> None:
    histories: list[list[Step]] = []
    for place in range(len(AWAY) + len(BACK)):
        before, after = [*AWAY, *BACK][:place], [*AWAY, *BACK][place:]
        for then in ("kill", "restart"):
            failing: list[Step] = [("disk", state), ("drain", 5)]
            histories.append([*before, *failing, *after, ("disk", "well"), *AWAY, (then,), *BACK])
            histories.append([*before, *failing, *after, (then,)])
    run(address, tmp_path, quick, *histories)
