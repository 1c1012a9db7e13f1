"""The model server killed, stopped, cut off, slow or deaf while turns run: what is stored and understood goes on, the
rest is told in the user's language and recorded, and all goes on by itself when it is back.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.edge import keys
from gateway.turn.phrases import phrase
from tests.faults.proxy import Proxy
from tests.faults.test_postgres import HANGS, hit
from tests.house import House, speech
from tests.test_killed import free_port


class Server:
    """The model server as a program."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.model_server",
            str(self.port),
            cwd=Path(__file__).parent.parent.parent,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"listening\n"

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def again(self) -> None:
        await self.stop()
        await self.start()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def model_proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Bounds of the model that a test can wait for, and a recall that outlasts the embedding's."""
    llm = {"connect_seconds": 0.5, "first_token_seconds": 0.7, "between_tokens_seconds": 0.7, "total_seconds": 5}
    changes = {
        "llm": settings.llm.model_copy(update=llm),
        "embedding": settings.embedding.model_copy(update={"query_seconds": 0.5}),
        "recall": settings.recall.model_copy(update={"seconds": 5.0}),
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def model_url(server: Server, model_proxy: Proxy, request: pytest.FixtureRequest) -> str:
    """A program that is killed or stopped is met without the proxy: its port is closed then, or says nothing."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    direct = parameters.get("kind") in ("killed", "stopped")
    return f"http://127.0.0.1:{server.port if direct else model_proxy.port}"


@dataclass
class Outage:
    """How the model server goes, how it comes back, and which sentences may tell of it."""

    begin: Callable[[Server, Proxy], Any]
    end: Callable[[Server, Proxy], Any]
    told: tuple[str, ...]


AWAY = ("model_unavailable",)
SILENT = ("model_timeout", "model_unavailable")  # once it is known, the latter
OUTAGES = {
    "killed": Outage(lambda server, _: server.signal(signal.SIGKILL), lambda server, _: server.again(), AWAY),
    "stopped": Outage(
        lambda server, _: server.signal(signal.SIGSTOP), lambda server, _: server.signal(signal.SIGCONT), SILENT
    ),
    "refused": Outage(lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.serve(), AWAY),
    "deaf": Outage(lambda _, proxy: proxy.hang(), lambda _, proxy: proxy.serve(), SILENT),
}


@asynccontextmanager
async def outage(kind: str, server: Server, proxy: Proxy) -> AsyncIterator[None]:
    """The model is away for the block, and comes back even where the test fails."""
    OUTAGES[kind].begin(server, proxy)
    try:
        yield
    finally:
        if (coming := OUTAGES[kind].end(server, proxy)) is not None:
            await coming


@pytest.mark.parametrize("kind", OUTAGES)
async def test_what_needs_no_model_goes_on_and_the_rest_is_told(
    kind: str, server: Server, model_proxy: Proxy, house: House
) -> None:
    questions = {
        "en": "How many rivers are there in France?",
        "fr": "Qui a écrit Les Misérables ?",
        "pl": "Kto napisał Pana Tadeusza?",
    }
    async with asyncio.timeout(3 * HANGS):
        before = await hit(house, "Who wrote Hamlet?")
        async with outage(kind, server, model_proxy):
            for language, text in questions.items():
                reply = await house.say(text)
                assert speech(reply) in [phrase(language, told) for told in OUTAGES[kind].told], reply["error"]
                assert reply["response"]["response_type"] == "error"
            assert speech(await hit(house, "Who wrote Hamlet?")) == speech(before)
            async with house.client.post(
                "/v1/chat/completions",
                json={"model": "qwen3:4b-instruct", "messages": [{"role": "user", "content": "Who was Bach?"}]},
            ) as response:
                assert response.status in (502, 503, 504)
                assert (await response.json())["error"]["code"] in ("model_error", *OUTAGES[kind].told)
            async with house.client.get("/readyz") as response:
                assert (response.status, (await response.json())["status"]) == (503, "not ready")
            # The fact's vector comes from the same server: it is kept, and gets it later.
            told = await house.say("Remember that the key is under the mat")
            assert speech(told) == "OK, I'll remember: the key is under the mat."

        answered = await house.say(questions["en"])
        while answered.get("error"):  # until the gateway has noticed
            answered = await house.say(questions["en"])
        assert speech(answered).startswith("I heard: ")
        while not await house.admin.fetchval("SELECT count(*) FROM vectors"):
            await asyncio.sleep(0.01)
        async with house.client.get("/readyz") as response:
            assert (await response.json())["status"] == "ready"
        rows = await house.logged()
        unanswered = [row for row in rows if row["role"] == "assistant" and row["metadata"]["unanswered"]]
        assert len(unanswered) >= len(questions) + 1
        asked = [row["content"] for row in rows if row["role"] == "user"]
        assert [text for text in asked if text in questions.values()][: len(questions)] == list(questions.values())


@pytest.mark.parametrize("kind", OUTAGES)
async def test_amid_an_answer(kind: str, server: Server, model_proxy: Proxy, house: House) -> None:
    """What was said stands, the rest is told; nothing of it is stored, and the next one is answered."""
    async with asyncio.timeout(3 * HANGS):
        async with house.client.post(
            "/conversation", json={"text": "Explain slowly the history of France", "stream": True}
        ) as response:
            said = await response.content.readuntil(b"\n\n")
            assert b"Once" in said
            async with outage(kind, server, model_proxy):
                said += await response.content.read()
        events = [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: ")]
        assert "Once" in speech(events[-1])
        assert any(phrase("en", words) in speech(events[-1]) for words in (*SILENT, "model_error"))
        assert events[-1]["response"]["response_type"] == "error"
        answered = await house.say("Who wrote Hamlet?")
        while answered.get("error"):
            answered = await house.say("Who wrote Hamlet?")
        rows = await house.logged()
        assert rows[1]["metadata"]["unanswered"] is True
        assert "Once" in rows[1]["content"]
        assert await house.admin.fetchval("SELECT count(*) FROM response_cache WHERE query_text LIKE '%slowly%'") == 0


async def test_a_slow_line_to_the_model_only_makes_it_slow(house: House, model_proxy: Proxy) -> None:
    model_proxy.delay = 0.05
    async with asyncio.timeout(HANGS):
        while (reply := await house.say("Who wrote Hamlet?")).get("error"):
            pass
    assert speech(reply).startswith("I heard: ")


async def test_eight_people_while_the_model_comes_and_goes(house: House, model_proxy: Proxy) -> None:
    """Each is told something, each turn is recorded once, and none is left in the queue."""
    done = asyncio.Event()

    async def come_and_go() -> None:
        while not done.is_set():
            model_proxy.refuse()
            await asyncio.sleep(0.03)
            model_proxy.serve()
            await asyncio.sleep(0.05)

    async def talk(person: int) -> list[str]:
        said = []
        for number in range(3):
            reply = await house.say(f"Explain the number {person * 100 + number}")
            assert speech(reply)
            said.append(reply["interaction_id"].removeprefix("conv_"))
        return said

    async with asyncio.timeout(3 * HANGS):
        going = asyncio.create_task(come_and_go(), name="coming and going")
        try:
            turns = [turn for talked in await asyncio.gather(*(talk(person) for person in range(8))) for turn in talked]
        finally:
            done.set()
            await going
        reply = await house.say("Who wrote Hamlet?")
        while reply.get("error"):
            reply = await house.say("Who wrote Hamlet?")
    rows = await house.logged()
    assert {row["turn_id"] for row in rows} >= set(turns)
    assert len({(row["turn_id"], row["role"]) for row in rows}) == len(rows)
    async with house.client.get("/metrics") as response:
        figures = (await response.text()).splitlines()
    waiting = [line for line in figures if line.startswith(("gateway_queue_waiting", "gateway_queue_active"))]
    assert waiting
    assert all(line.endswith(" 0.0") for line in waiting), waiting


async def test_embeddings_that_do_not_come_leave_the_search_by_words(house: House, model_proxy: Proxy) -> None:
    async with asyncio.timeout(3 * HANGS):
        await house.say("Remember that the bins go out on Tuesday")
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
        model_proxy.hang()
        reply = await house.say("When do the bins go out, the bins?")
        assert [source["text"] for source in reply["sources"]] == ["the bins go out on Tuesday"]
        assert reply["without"] == ["knowledge"]
        model_proxy.serve()
        while (reply := await house.say("When do the bins go out, the bins?")).get("without"):
            pass
        assert [source["text"] for source in reply["sources"]] == ["the bins go out on Tuesday"]
