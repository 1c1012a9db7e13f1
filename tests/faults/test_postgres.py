"""PostgreSQL killed, stopped, cut off, slow or deaf while turns run: they are answered without memory, kept, and
brought in when it is back; nothing hangs, and no answer from before comes back with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from gateway.app import listening, open_gateway
from gateway.config import Settings
from gateway.edge import keys, middleware
from gateway.errors import StoreUnavailable
from gateway.shapes import Scope
from gateway.store import documents as rows_of_documents
from gateway.store import knowledge as rows_of_knowledge
from gateway.store import pool
from gateway.store import preferences as rows_of_preferences
from gateway.store.address import Address
from gateway.store.pool import Database
from gateway.store.server import EmbeddedServer
from gateway.store.setup import prepare
from tests.faults.proxy import Proxy
from tests.faults.test_journal_history import Postgres as Lossy
from tests.house import House, speech
from tests.scripted_model import Answer, ScriptedModel
from tests.store.conftest import until

# What is committed must be there after a SIGKILL; a power cut is not what is tested.
OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=40", "shared_buffers=16MB")
HANGS = 30.0  # whatever takes longer hangs


class Server:
    """A PostgreSQL of this module's own, to be killed and stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.embedded = EmbeddedServer(folder, options=OPTIONS)

    def processes(self) -> list[int]:
        """The postmaster and its children: a backend is in no group of the postmaster's."""
        first = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *(int(child) for child in children)]

    def signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):  # a backend may be at its end
                os.kill(process, number)

    async def again(self) -> None:
        """Starts it after a kill."""
        process = self.embedded._process
        assert process is not None
        await asyncio.to_thread(process.wait)
        self.embedded._release()
        self.embedded = EmbeddedServer(self.folder, options=OPTIONS)
        await self.embedded.start()


@pytest.fixture(scope="module")
def server(run_folder: Path) -> Iterator[Server]:
    server = Server(run_folder / f"faults-{uuid.uuid4().hex[:8]}")
    asyncio.run(server.embedded.start())
    address = replace(server.embedded.address, database="template_of_faults")
    try:
        asyncio.run(prepare(Settings(), address))
        yield server
    finally:
        asyncio.run(server.embedded.stop())


@pytest.fixture
async def address(server: Server) -> Address:
    """A database on that server."""
    name = f"test_{uuid.uuid4().hex}"
    owner = await replace(server.embedded.address, database="postgres").connect()
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE template_of_faults")
    await owner.close()
    return replace(server.embedded.address, database=name)


@pytest.fixture
async def admin(address: Address) -> None:
    """No connection of the test's own stays open: PostgreSQL may be killed."""


@dataclass
class Outage:
    """How PostgreSQL goes, and how it comes back."""

    begin: Callable[[Server, Proxy], Any]
    end: Callable[[Server, Proxy], Any]


OUTAGES = {
    "killed": Outage(lambda server, _: server.signal(signal.SIGKILL), lambda server, _: server.again()),
    "stopped": Outage(lambda server, _: server.signal(signal.SIGSTOP), lambda server, _: server.signal(signal.SIGCONT)),
    "refused": Outage(lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.serve()),
    "deaf": Outage(lambda _, proxy: proxy.hang(), lambda _, proxy: proxy.serve()),
}


@asynccontextmanager
async def outage(kind: str, server: Server, proxy: Proxy) -> AsyncIterator[None]:
    """PostgreSQL is away for the block, and comes back even where the test fails."""
    OUTAGES[kind].begin(server, proxy)
    try:
        yield
    finally:
        if (coming := OUTAGES[kind].end(server, proxy)) is not None:
            await coming


async def rows(address: Address) -> list[asyncpg.Record]:
    owner = await address.connect()
    try:
        return list(await owner.fetch("SELECT turn_id, role, content, language FROM conversations ORDER BY id"))
    finally:
        await owner.close()


async def unknown(house: House) -> None:
    """Returns once the gateway knows that it does not know the memory's state."""
    await until(lambda: house.gateway.application[keys.EPOCH].current() is None)


async def known(house: House) -> None:
    await until(lambda: house.gateway.application[keys.EPOCH].current() is not None)


async def hit(house: House, text: str) -> dict[str, Any]:
    """The answer from the cache, once it is in it: memory's own vectors may come late and move its state."""
    while not (reply := await house.say(text))["cache"].startswith("hit"):
        await asyncio.sleep(0.01)
    return reply


@pytest.mark.parametrize("kind", OUTAGES)
async def test_turns_go_on_and_come_in_later(
    kind: str, server: Server, postgres_proxy: Proxy, house: House, address: Address
) -> None:
    house.model.answer = lambda body: Answer(f"Answer {len(house.model.chats)}.")
    journal = house.gateway.application[keys.JOURNAL]
    async with asyncio.timeout(3 * HANGS):
        await house.say("Remember that the bins go out on Tuesday")
        before = await hit(house, "Who wrote Hamlet?")
        assert await journal.flush(HANGS)
        asked_before = len(await rows(address)) // 2

        async with outage(kind, server, postgres_proxy):
            await unknown(house)
            said = [
                await house.say(text)
                for text in ("Who wrote Hamlet?", "Qui a écrit Les Misérables ?", "Kto napisał Pana Tadeusza?")
            ]
            assert [reply["response"]["language"] for reply in said] == ["en", "fr", "pl"]
            for reply in said:
                assert speech(reply).startswith("Answer "), "the model answers"
                assert speech(reply) != speech(before), "nothing is taken from the cache"
                assert "memory" in reply["without"]
            noted = await house.say("Remember that the key is under the mat")
            assert speech(noted).startswith("I've taken note, and will file it as soon as my memory answers again")
            for text, sentence in (
                ("Que sais-tu de moi ?", "Ma mémoire ne répond pas pour le moment. Réessayez plus tard."),
                ("Co o mnie wiesz?", "Moja pamięć w tej chwili nie odpowiada. Spróbuj ponownie później."),
            ):
                assert speech(await house.say(text)) == sentence
            rating = {"interaction_id": said[0]["interaction_id"], "score": 5}
            async with house.client.post("/training/feedback", json=rating) as response:
                assert response.status == 202
            async with house.client.delete("/memory/1") as response:
                assert response.status == 503
                assert "Retry-After" in response.headers
            async with house.client.get("/readyz") as response:
                ready = await response.json()
            assert (response.status, ready["status"]) == (200, "degraded")
            assert ready["parts"]["postgres"]["ok"] is False
            assert ready["parts"]["chat"]["ok"] is True
            async with house.client.get("/metrics") as response:
                assert f"gateway_journal_records {journal.records_waiting:.1f}" in await response.text()
            assert journal.records_waiting >= 7

        assert await journal.flush(HANGS)
        await known(house)
        stored = await rows(address)
        asked = [row["content"] for row in stored if row["role"] == "user"]
        assert asked[asked_before:] == [
            "Who wrote Hamlet?",
            "Qui a écrit Les Misérables ?",
            "Kto napisał Pana Tadeusza?",
            "Remember that the key is under the mat",
            "Que sais-tu de moi ?",
            "Co o mnie wiesz?",
        ], "in order, each once"
        assert len({(row["turn_id"], row["role"]) for row in stored}) == len(stored) == 2 * len(asked)
        owner = await address.connect()
        assert await owner.fetchval("SELECT feedback_score FROM training_data") == 5
        facts = [row["content"] for row in await owner.fetch("SELECT content FROM knowledge ORDER BY id")]
        assert facts == ["the bins go out on Tuesday", "the key is under the mat"]
        await owner.close()

        while (back := await house.say("When do the bins go out on which day?")).get("without"):
            pass  # recall has little time here, and the machine may be busy
        assert "the bins go out on Tuesday" in [source["text"] for source in back["sources"]]
        async with house.client.get("/readyz") as response:
            assert (await response.json())["status"] == "ready"


async def test_an_answer_from_before_does_not_come_back(house: House, postgres_proxy: Proxy, address: Address) -> None:
    """While this gateway is cut off, somebody else changes the memory."""
    house.model.answer = lambda body: Answer(f"Answer {len(house.model.chats)}.")
    async with asyncio.timeout(3 * HANGS):
        before = await hit(house, "Who wrote Hamlet?")
        postgres_proxy.refuse()
        await unknown(house)
        owner = await address.connect()
        await owner.execute(
            "INSERT INTO knowledge (household_id, content) VALUES ($1, 'who wrote Hamlet is Bruno')",
            house.gateway.household_id,
        )
        await owner.close()
        postgres_proxy.serve()
        await known(house)
        after = await house.say("Who wrote Hamlet?")
        assert after["cache"] == "miss"
        assert speech(after) != speech(before)
        while not after["sources"]:  # until recall, which has little time, comes through
            assert after["cache"] != "hit"
            after = await house.say("Who wrote Hamlet?")
        assert [source["text"] for source in after["sources"]] == ["who wrote Hamlet is Bruno"]


async def test_connections_cut_amid_turns_are_made_anew(house: House, postgres_proxy: Proxy, address: Address) -> None:
    """Again and again, while eight people talk: each is answered, and each turn is there once."""
    done = asyncio.Event()

    async def cut() -> None:
        while not done.is_set():
            postgres_proxy.cut()
            await asyncio.sleep(0.02)

    async def talk(person: int) -> list[str]:
        return [
            (await house.say(f"Explain the number {person * 100 + number}"))["interaction_id"] for number in range(4)
        ]

    async with asyncio.timeout(3 * HANGS):
        cutting = asyncio.create_task(cut(), name="cutting")
        try:
            turns = [turn for talked in await asyncio.gather(*(talk(person) for person in range(8))) for turn in talked]
        finally:
            done.set()
            await cutting
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
    stored = await rows(address)
    assert sorted(row["turn_id"] for row in stored if row["role"] == "user") == sorted(
        turn.removeprefix("conv_") for turn in turns
    )
    assert len(stored) == 2 * len(turns)


async def test_a_slow_database_does_not_keep_anyone_waiting(house: House, postgres_proxy: Proxy) -> None:
    """Slower than recall may take: answered without memory, and recorded all the same."""
    async with asyncio.timeout(3 * HANGS):
        await house.say("Remember that the bins go out on Tuesday")
        postgres_proxy.delay = 0.3
        reply = await house.say("When do the bins go out on which day?")
        assert speech(reply).startswith("I heard")
        assert reply["without"]
        assert reply["sources"] == []
        assert not (await house.say("When do the bins go out on which day?"))["cache"].startswith(("hit", "reval"))
        postgres_proxy.serve()
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
        await known(house)
        while not (back := await house.say("And when do the bins go out?"))["sources"]:
            pass  # recall has little time here, and the machine may be busy
        assert [source["text"] for source in back["sources"]] == ["the bins go out on Tuesday"]


@asynccontextmanager
async def patient(settings: Settings, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A gateway whose statements may take longer than anyone can wait."""
    monkeypatch.setattr(pool, "GRACE_SECONDS", HANGS)
    postgres = settings.postgres.model_copy(update={"statement_seconds": HANGS, "acquire_seconds": HANGS})
    settings = settings.model_copy(update={"postgres": postgres})
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield House(f"http://127.0.0.1:{port}", client, model, gateway, None)


async def test_a_database_that_turns_deaf_amid_recall_does_not_silence_the_turn(
    settings: Settings, model: ScriptedModel, postgres_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statement may take a long time yet, and so would rolling it back: whoever speaks waits for neither."""
    visible = rows_of_preferences.all_visible

    async def deaf(connection: asyncpg.Connection) -> Any:
        postgres_proxy.hang()
        return await visible(connection)

    async with patient(settings, model, monkeypatch) as house:
        monkeypatch.setattr(rows_of_preferences, "all_visible", deaf)
        async with asyncio.timeout(HANGS):
            assert speech(await house.say("Who wrote Hamlet?")).startswith("I heard: ")
        monkeypatch.setattr(rows_of_preferences, "all_visible", visible)
        postgres_proxy.serve()
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)


async def test_a_member_known_before_is_known_while_the_database_hangs(
    settings: Settings, model: ScriptedModel, postgres_proxy: Proxy, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "TOKEN_FRESH_SECONDS", 0.0)
    ada = {"Authorization": "Bearer token-of-ada"}
    async with patient(settings, model, monkeypatch) as house:
        owner = await address.connect()
        await owner.execute(
            "INSERT INTO members (household_id, name, token_hash) VALUES ($1, 'Ada', $2)",
            house.gateway.household_id,
            hashlib.sha256(b"token-of-ada").digest(),
        )
        await house.say("Who wrote Hamlet?", headers=ada)
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
        postgres_proxy.hang()
        async with asyncio.timeout(HANGS):
            assert speech(await house.say("Who wrote Faust?", headers=ada)).startswith("I heard: ")
            # Nobody can say who this is, and they are told to come back.
            stranger = {"Authorization": "Bearer token-of-nobody"}
            async with house.client.post("/conversation", json={"text": "Who?"}, headers=stranger) as response:
                assert response.status == 503
                assert "Retry-After" in response.headers
        postgres_proxy.serve()
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
    asked = await owner.fetch("SELECT content FROM conversations WHERE member_id IS NOT NULL AND role = 'user'")
    assert sorted(row["content"] for row in asked) == ["Who wrote Faust?", "Who wrote Hamlet?"]
    await owner.close()


async def test_what_was_stored_without_a_word_of_it_is_not_stored_again(house: House, address: Address) -> None:
    """The connection ends between the COMMIT and its confirmation; the fact goes to the journal as well."""
    knowledge = house.gateway.application[keys.KNOWLEDGE]
    lossy = Lossy(knowledge._database)
    lossy.mode = "deaf"
    knowledge._database = lossy  # type: ignore[assignment]
    async with house.client.post("/memory/add", json={"content": "Tea is at five"}) as response:
        assert response.status == 202
    assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
    owner = await address.connect()
    assert [row["content"] for row in await owner.fetch("SELECT content FROM knowledge")] == ["Tea is at five"]
    await owner.close()


class Doomed:
    """The real one, until it is killed: amid the writing of rows, or once they are stored and before that is said."""

    def __init__(self, database: Database, server: Server, when: str) -> None:
        self.database = database
        self.server = server
        self.when = when
        self.pieces = 2  # written before it is killed
        self.killed = asyncio.Event()

    def about_to_write(self, when: str) -> None:
        """Counts a piece; kills where it is time to."""
        self.pieces -= 1
        if when == self.when and self.pieces < 0 and not self.killed.is_set():
            self.server.signal(signal.SIGKILL)
            self.killed.set()

    @asynccontextmanager
    async def scoped(self, scope: Scope) -> AsyncIterator[asyncpg.Connection]:
        async with self.database.scoped(scope) as connection:
            yield connection
        if self.when == "stored" and self.pieces < 0 and not self.killed.is_set():
            self.server.signal(signal.SIGKILL)
            self.killed.set()
            raise StoreUnavailable("it was stored, and nothing said so")

    async def again(self) -> None:
        await self.killed.wait()
        await self.server.again()


async def contents(address: Address) -> list[str]:
    owner = await address.connect()
    try:
        return [row["content"] for row in await owner.fetch("SELECT content FROM knowledge ORDER BY id")]
    finally:
        await owner.close()


@pytest.mark.parametrize("when", ["parsed", "amid its passages", "stored"])
async def test_killed_while_a_document_is_read(
    when: str,
    settings: Settings,
    model: ScriptedModel,
    server: Server,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "\n\n".join(f"Paragraph {number} is one of many. " * 12 for number in range(400))
    async with patient(settings, model, monkeypatch) as house, asyncio.timeout(3 * HANGS):
        documents = house.gateway.application[keys.DOCUMENTS]
        doomed = Doomed(documents._database, server, when)
        monkeypatch.setattr(documents, "_database", doomed)
        monkeypatch.setattr("gateway.memory.documents.BATCH", 100)
        parse, add_passages = documents._parse, rows_of_documents.add_passages

        async def parsed(*given: Any) -> dict[str, Any]:
            said = await parse(*given)
            if when == "parsed":
                doomed.pieces = 0
                doomed.about_to_write("parsed")
            return said

        async def add(*given: Any, **named: Any) -> None:
            doomed.about_to_write("amid its passages")
            await add_passages(*given, **named)

        monkeypatch.setattr(documents, "_parse", parsed)
        monkeypatch.setattr(rows_of_documents, "add_passages", add)
        form = aiohttp.FormData()
        form.add_field("file", text.encode(), filename="letter.txt")
        async with house.client.post("/documents", data=form) as response:
            assert response.status == 202, await response.text()
            given = await response.json()
        await doomed.again()
        while True:
            async with house.client.get(f"/documents/{given['id']}") as response:
                found = await response.json()
            if response.status == 200 and found["state"] in ("ready", "failed"):
                break
            await asyncio.sleep(0.05)
        assert (found["state"], found["version"], found["served"]) == ("ready", 1, 1), found["reason"]
        stored = await contents(address)
        assert found["passages"] == len(stored) > 300
        assert len(set(stored)) == len(stored), "each once"
        assert all(any(f"Paragraph {number} " in passage for passage in stored) for number in range(400))
        await until(lambda: not any(documents._folder.iterdir()))


@pytest.mark.parametrize("when", ["amid its lines", "stored"])
async def test_killed_amid_an_import(
    when: str,
    settings: Settings,
    model: ScriptedModel,
    server: Server,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [f"Fact number {number}" for number in range(1000)]
    async with patient(settings, model, monkeypatch) as house, asyncio.timeout(3 * HANGS):
        knowledge = house.gateway.application[keys.KNOWLEDGE]
        doomed = Doomed(knowledge._database, server, when)
        monkeypatch.setattr(knowledge, "_database", doomed)
        monkeypatch.setattr("gateway.memory.knowledge.IMPORT_BATCH", 100)
        monkeypatch.setattr("gateway.memory.knowledge.IMPORT_PATIENCE_SECONDS", HANGS)
        insert_many = rows_of_knowledge.insert_many

        async def insert(*given: Any) -> list[int]:
            made = await insert_many(*given)
            doomed.about_to_write("amid its lines")
            return made

        monkeypatch.setattr(rows_of_knowledge, "insert_many", insert)
        body = "".join(f'{{"content": "{line}"}}\n' for line in lines)
        starting = asyncio.create_task(doomed.again(), name="PostgreSQL starts again")
        async with house.client.post(
            "/memory/import", data=body, headers={"Content-Type": "application/x-ndjson"}
        ) as response:
            report = await response.json()
        await starting
        assert (response.status, report["added"], report["refused"]) == (200, len(lines), 0)
        assert await contents(address) == lines


async def test_an_import_ends_where_the_database_stays_away(
    settings: Settings, model: ScriptedModel, server: Server, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how many are stored: so many are."""
    lines = [f"Fact number {number}" for number in range(1000)]
    async with patient(settings, model, monkeypatch) as house, asyncio.timeout(3 * HANGS):
        knowledge = house.gateway.application[keys.KNOWLEDGE]
        doomed = Doomed(knowledge._database, server, "amid its lines")
        monkeypatch.setattr(knowledge, "_database", doomed)
        monkeypatch.setattr("gateway.memory.knowledge.IMPORT_BATCH", 100)
        monkeypatch.setattr("gateway.memory.knowledge.IMPORT_PATIENCE_SECONDS", 0.0)
        insert_many = rows_of_knowledge.insert_many

        async def insert(*given: Any) -> list[int]:
            doomed.about_to_write("amid its lines")
            return await insert_many(*given)

        monkeypatch.setattr(rows_of_knowledge, "insert_many", insert)
        body = "".join(f'{{"content": "{line}"}}\n' for line in lines)
        async with house.client.post(
            "/memory/import", data=body, headers={"Content-Type": "application/x-ndjson"}
        ) as response:
            error = (await response.json())["error"]
        assert response.status == 503
        assert "Retry-After" in response.headers
        await doomed.again()
        stored = await contents(address)
        assert stored == lines[: len(stored)]
        assert f"its first {len(stored)} entries are stored" in error["message"]
        assert len(stored) == 164


async def test_it_closes_while_the_database_is_away_and_the_next_start_goes_on(
    settings: Settings, model: ScriptedModel, postgres_proxy: Proxy, address: Address
) -> None:
    async with asyncio.timeout(3 * HANGS):
        async with (
            open_gateway(settings, lambda words: None) as gateway,
            listening(gateway.application, settings) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        ):
            postgres_proxy.refuse()
            async with client.post("/conversation", json={"text": "Who wrote Hamlet?"}) as response:
                assert response.status == 200
        assert await rows(address) == []
        postgres_proxy.serve()
        async with open_gateway(settings, lambda words: None) as gateway:
            assert await gateway.application[keys.JOURNAL].flush(HANGS)
    said = [(row["role"], row["content"]) for row in await rows(address)]
    assert [role for role, _ in said] == ["user", "assistant"]
    assert said[0][1] == "Who wrote Hamlet?"
    assert said[1][1].startswith("I heard: ")
