"""Where stored answers are kept: this process' memory, a Redis that gateways may share, and the table.

A layer gives what it has, of whatever memory epoch; whether that may be said is `responses.py`'s to judge. What was
taken back is told by its generation: of an older one, memory and Redis count as empty and the table, where what was
taken back is deleted, is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cache.entry import Entry, from_row, pack, to_row, unpack
from gateway.errors import SettingsError, StoreUnavailable
from gateway.shapes import Scope
from gateway.store import cache as rows
from gateway.store.pool import Database
from gateway.tasks import end

if TYPE_CHECKING:
    import redis.asyncio

log = logging.getLogger(__name__)

TABLE_SECONDS = 1.0  # the model may be quicker than a table that takes longer
REDIS_SECONDS = 0.25  # a Redis on the household's own network answers in a thousandth of that
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0
MOST_WAITING = 4096  # answers that may wait for a Redis that is away; the oldest are dropped
BATCH = 128
PREFIX = "ai-gateway"


class MemoryLayer:
    """The answers used last, in this process."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, generation: int) -> Entry | None:
        """The answer, if it has not expired and nothing was taken back since it came here."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.moment.generation != generation or entry.expires_at <= datetime.now(UTC):
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, entry: Entry) -> None:
        """Keeps the answer; the one used longest ago goes where there are too many."""
        self._entries[entry.key] = entry
        self._entries.move_to_end(entry.key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()


class RedisLayer:
    """Answers in Redis, for every gateway of the household: `<prefix>:<household's uid>:answer:<key>`, and beside them
    the sorted set `...:used` of the keys by their last use, by which the oldest go when there are too many. So the
    keyspace need never be walked through.

    Writing is done behind, by one task. A Redis that does not answer is left alone until that task has heard of it
    again; a turn waits for it once, `REDIS_SECONDS` at most.
    """

    def __init__(self, url: str, uid: str, max_entries: int) -> None:
        """`uid` is the household's. Raises SettingsError for a `url` that is none."""
        import redis.asyncio  # here: 6 MB that a household without a Redis need not carry
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Disconnected
        from redis.exceptions import RedisError

        try:
            self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
                url,
                socket_timeout=REDIS_SECONDS,
                socket_connect_timeout=REDIS_SECONDS,
                # Once more, for a connection that a restarted server knows nothing of.
                retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
            )
        except ValueError as error:
            raise SettingsError("REDIS_URL is no address such as redis://127.0.0.1:6379/0") from error
        self._failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._root = f"{PREFIX}:{uid}"
        self._max_entries = max_entries
        self._available = False
        self._waiting: OrderedDict[str, Entry] = OrderedDict()
        self._used: dict[str, float] = {}
        self._gone: set[str] = set()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._available

    async def start(self) -> None:
        """Looks whether Redis is there, and begins to write behind."""
        await self._look()
        self._task = asyncio.create_task(self._write_behind(), name="cache in redis")

    async def close(self) -> None:
        """Writes what waits, if Redis is there, and lets go of it."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        if self._available:
            async with self._tolerant():
                await self._write()
        await self._redis.aclose()

    async def get(self, scope: Scope, key: str, generation: int) -> Entry | None:
        """The answer, if it is there for this scope and nothing was taken back since it came there."""
        if not self._available:
            return None
        packed = None
        async with self._tolerant():
            packed = await self._redis.get(self._name(key))
        if not isinstance(packed, bytes):
            return None
        try:
            entry = unpack(packed)
        except ValueError:
            log.warning("what stands in Redis under a key of the cache is no answer of a gateway; it is left aside")
            return None
        # Redis has no notion of who may read what: a wrong name must not be enough.
        whose = (entry.key, entry.scope.household_id, entry.scope.member_id)
        if whose != (key, scope.household_id, scope.member_id) or entry.moment.generation != generation:
            return None
        return entry if datetime.now(UTC) < entry.expires_at else None

    def put(self, entry: Entry) -> None:
        """Has the answer written soon."""
        self._waiting[entry.key] = entry
        self._waiting.move_to_end(entry.key)
        self._gone.discard(entry.key)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        self._work.set()

    def touch(self, used: Iterable[tuple[str, datetime]]) -> None:
        """Notes when answers were last used, to be written soon."""
        self._used.update((key, at.timestamp()) for key, at in used)
        self._work.set()

    def delete(self, keys: Iterable[str]) -> None:
        """Has answers deleted soon. They do not count any more in any case: their generation is over."""
        for key in keys:
            self._waiting.pop(key, None)
            self._gone.add(key)
        self._work.set()

    async def clear(self) -> None:
        """Deletes every answer of the household, as far as Redis is there."""
        self._waiting.clear()
        self._used.clear()
        if not self._available:
            return
        async with self._tolerant():
            while await self._pop(BATCH):
                pass

    async def count(self) -> int | None:
        """How many answers are kept (some may have expired since the last one came); None while Redis is away."""
        counted = None
        if self._available:
            async with self._tolerant():
                counted = await self._redis.zcard(self._index)
        return counted

    @property
    def _index(self) -> str:
        return f"{self._root}:used"

    def _name(self, key: str) -> str:
        return f"{self._root}:answer:{key}"

    @asynccontextmanager
    async def _tolerant(self) -> AsyncIterator[None]:
        try:
            yield
        except self._failures as error:
            if self._available:
                log.warning("the cache goes on without Redis: %s", str(error) or type(error).__name__)
            self._available = False
            self._work.set()

    async def _look(self) -> None:
        async with self._tolerant():
            await self._redis.ping()
            if not self._available:
                log.info("the cache shares its answers through Redis")
            self._available = True

    async def _write_behind(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._work.wait()
            self._work.clear()
            while not self._available:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                await self._look()
            async with self._tolerant():
                await self._write()
                # Not before: one that answers and takes nothing (full, or a replica) is away too.
                pause = FIRST_PAUSE_SECONDS

    async def _write(self) -> None:
        """Writes what waits, in batches. What was not written still waits when it raises."""
        while self._waiting:
            batch = list(self._waiting.values())[:BATCH]
            async with self._redis.pipeline(transaction=False) as pipe:
                for entry in batch:
                    pipe.set(self._name(entry.key), pack(entry), pxat=_milliseconds(entry.expires_at))
                    pipe.zadd(self._index, {entry.key: time.time()})
                last = max(_milliseconds(entry.expires_at) for entry in batch)
                pipe.pexpireat(self._index, last, nx=True)
                pipe.pexpireat(self._index, last, gt=True)
                await pipe.execute()
            for entry in batch:
                if self._waiting.get(entry.key) is entry:
                    del self._waiting[entry.key]
        if used := dict(self._used):
            # GT: another gateway may have used it since. XX: it may have gone.
            await self._redis.zadd(self._index, used, xx=True, gt=True)
            self._used = {key: at for key, at in self._used.items() if used.get(key) != at}
        if gone := set(self._gone):
            await self._redis.unlink(*map(self._name, gone))
            await self._redis.zrem(self._index, *gone)
            self._gone -= gone
        over = int(await self._redis.zcard(self._index)) - self._max_entries
        if over > 0:
            await self._pop(over)

    async def _pop(self, most: int) -> int:
        """Deletes the answers used longest ago, at most `most`; how many."""
        popped: Any = await self._redis.zpopmin(self._index, most)
        if popped:
            await self._redis.unlink(*(self._name(key.decode()) for key, _ in popped))
        return len(popped)


class TableLayer:
    """The `response_cache` table: what outlives the process, is counted and listed."""

    def __init__(self, database: Database, max_entries: int) -> None:
        self._database = database
        self._max_entries = max_entries

    async def get(self, scope: Scope, key: str, generation: int) -> Entry | None:
        """The answer, if it is there and has not expired; None as well while PostgreSQL does not answer in time."""
        try:
            async with asyncio.timeout(TABLE_SECONDS), self._database.scoped(scope) as connection:
                row = await rows.get(connection, key)
        except (StoreUnavailable, TimeoutError):
            return None
        if row is None:
            return None
        entry = from_row(row, scope, generation)
        return entry if datetime.now(UTC) < entry.expires_at else None

    async def put(self, scope: Scope, entries: Sequence[Entry], generation: int) -> None:
        """Writes answers of one scope and generation; none where that generation is over. Raises StoreUnavailable."""
        async with self._database.scoped(scope) as connection:
            await rows.put(connection, [to_row(entry) for entry in entries], generation, self._max_entries)

    async def touch(self, scope: Scope, used: Sequence[tuple[str, int, datetime]]) -> None:
        """Adds up uses, each (key, hits since the last time, when last). Raises StoreUnavailable."""
        async with self._database.scoped(scope) as connection:
            await rows.touch(connection, used)

    async def renew(self, scope: Scope, renewed: Sequence[Entry]) -> None:
        """Takes answers over into the memory epoch they have now. Raises StoreUnavailable."""
        async with self._database.scoped(scope) as connection:
            await rows.renew(
                connection, [(one.key, one.fingerprint, one.moment.epoch, one.expires_at) for one in renewed]
            )

    async def take_back(self, scope: Scope, words: str) -> list[str]:
        """Ends the scope's answers to these normalised words, for every gateway; their keys."""
        async with self._database.scoped(scope) as connection:
            return await rows.take_back(connection, query_text=words)

    async def clear(self, scope: Scope, *, expired_only: bool) -> int:
        """Ends the household's answers, or the expired ones; how many. Raises StoreUnavailable."""
        async with self._database.scoped(scope) as connection:
            return await (rows.clear_expired if expired_only else rows.clear_all)(connection)

    async def totals(self, scope: Scope) -> rows.CacheTotals:
        """The household's totals. Raises StoreUnavailable."""
        async with self._database.scoped(scope) as connection:
            return await rows.stats(connection)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
