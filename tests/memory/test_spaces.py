"""The memory moves to another embedding model while it is searched and written; and back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from gateway.app import listening, open_gateway
from gateway.config import EmbeddingSettings, Settings
from gateway.edge import keys
from gateway.llm.embedding import E5_MIN_SCORE, E5_MODEL, NOMIC_MIN_SCORE
from gateway.shapes import Scope
from gateway.store import members, vectors
from tests.house import House
from tests.scripted_model import ScriptedModel

NOMIC, MINI = "nomic-embed-text", "all-minilm"
WIDTH = 64
QUESTION = "Why is the sky blue?"
PLACES = {
    "rake": "shed",
    "saw": "attic",
    "drill": "cellar",
    "tent": "garage",
    "kettle": "kitchen",
    "iron": "laundry",
    "globe": "study",
    "cello": "parlour",
    "skis": "hall",
}
FACTS = [f"The {thing} is in the {place}" for thing, place in PLACES.items()]

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other tests a second may pass between two reads of the epoch."""
    monkeypatch.setattr("gateway.store.epoch.CONFIRMED_SECONDS", 30.0)


@pytest.fixture
def mini(settings: Settings, model: ScriptedModel) -> Settings:
    """The settings after the household chose another model; the server gives it a batch for each permit."""
    model.embed_widths[MINI] = WIDTH
    model.embed_gates[MINI] = asyncio.Semaphore(0)
    return settings.model_copy(update={"embedding": EmbeddingSettings(model=MINI, dimensions=WIDTH, batch_size=2)})


@asynccontextmanager
async def running(settings: Settings, model: ScriptedModel, admin: asyncpg.Connection) -> AsyncIterator[House]:
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield House(f"http://127.0.0.1:{port}", client, model, gateway, admin)


async def add(house: House, *contents: str, headers: Mapping[str, str] | None = None) -> None:
    for content in contents:
        async with house.client.post("/memory/add", json={"content": content}, headers=headers) as response:
            assert response.status == 201, await response.text()


async def first(house: House, query: str, headers: Mapping[str, str] | None = None) -> tuple[str, bool, str]:
    """How the question was answered, whether everything could be looked at, and what was found."""
    async with house.client.get("/memory/search", params={"query": query}, headers=headers) as response:
        found = await response.json()
        assert response.status == 200, found
        return found["mode"], found["complete"], found["results"][0]["content"]


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.02)


async def states(admin: asyncpg.Connection) -> dict[str, str]:
    return {row["model"]: row["state"] for row in await admin.fetch("SELECT model, state FROM embedding_spaces")}


async def is_current(admin: asyncpg.Connection, name: str) -> bool:
    return (await states(admin))[name] == "current"


async def made(admin: asyncpg.Connection, name: str) -> int:
    """How many vectors the model's space has."""
    return int(
        await admin.fetchval(
            "SELECT count(*) FROM vectors v JOIN embedding_spaces s ON s.id = v.space_id WHERE s.model = $1", name
        )
    )


async def told(house: House) -> str | None:
    async with house.client.get("/readyz") as response:
        part = (await response.json())["parts"]["embeddings"]
        assert part["ok"], part
        message: str | None = part["message"]
        return message


def texts(model: ScriptedModel, name: str) -> list[str]:
    """What a model was asked for, as it came."""
    return [text for body in model.seen("/api/embed") if body["model"] == name for text in body["input"]]


def let(model: ScriptedModel, batches: int) -> None:
    for _ in range(batches):
        model.embed_gates[MINI].release()


async def test_it_moves_while_it_is_searched_and_written(
    settings: Settings, mini: Settings, model: ScriptedModel, admin: asyncpg.Connection, household_id: int
) -> None:
    await members.add(admin, household_id, "Ada", hashlib.sha256(b"ada").digest())
    ada = {"Authorization": "Bearer ada"}
    async with running(settings, model, admin) as house:
        await add(house, *FACTS)
        await add(house, "My diary is in the loft", headers=ada)
        assert await states(admin) == {NOMIC: "current"}

    async with running(mini, model, admin) as house:
        assert any("in the background" in note for note in house.gateway.notes)
        assert await states(admin) == {NOMIC: "current", MINI: "building"}
        assert await first(house, "Where is the saw?") == ("hybrid", True, "The saw is in the attic")
        assert (await house.say(QUESTION))["cache"] == "miss"

        let(model, 1)
        await until(lambda: made(admin, MINI))
        assert await made(admin, MINI) == 2
        assert (await house.say(QUESTION))["cache"] == "hit", "what is not searched yet changes no answer"
        await add(house, "The ladder is in the barn")
        await house.say("Remember that the hose is in the yard")
        assert await first(house, "Where is the ladder?") == ("hybrid", True, "The ladder is in the barn")
        assert await first(house, "Where is the hose?") == ("hybrid", True, "the hose is in the yard")
        assert "search_query: Where is the hose?" in texts(model, NOMIC)
        assert await told(house) == f"building {MINI}, {WIDTH} wide: 2 of 10 entries"
        async with house.client.get("/metrics") as response:
            assert "gateway_space_missing_rows 8.0" in await response.text()

        let(model, 50)
        await until(lambda: is_current(admin, MINI))
        assert await states(admin) == {NOMIC: "retired", MINI: "current"}
        assert await made(admin, MINI) == await made(admin, NOMIC) == 12
        assert await first(house, "Where is the drill?") == ("hybrid", True, "The drill is in the cellar")
        assert await first(house, "Where is my diary?", ada) == ("hybrid", True, "My diary is in the loft")
        assert "Where is my diary?" in texts(model, MINI)
        await add(house, "The rope is in the barn")
        assert (await made(admin, MINI), await made(admin, NOMIC)) == (13, 12)
        await until(lambda: is_silent(house))
        async with house.client.get("/metrics") as response:
            assert "gateway_space_missing_rows 0.0" in await response.text()


async def is_silent(house: House) -> bool:
    return await told(house) is None


async def test_where_the_model_that_is_left_is_away_words_are_searched_until_the_new_one_is_there(
    settings: Settings, mini: Settings, model: ScriptedModel, admin: asyncpg.Connection
) -> None:
    async with running(settings, model, admin) as house:
        await add(house, *FACTS)
    model.embed_refused[NOMIC] = (500, "out of memory")
    async with running(mini, model, admin) as house:
        await add(house, "The ladder is in the barn")
        assert await first(house, "Where is the ladder?") == ("text", False, "The ladder is in the barn")
        let(model, 50)

        async def is_found_by_its_vector() -> bool:
            return await first(house, "Where is the ladder?") == ("hybrid", True, "The ladder is in the barn")

        await until(is_found_by_its_vector)  # the gateway hears of the change a moment after it is in the table


async def test_of_two_gateways_one_builds_and_both_follow(
    settings: Settings, mini: Settings, model: ScriptedModel, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    def elsewhere(which: Settings, name: str) -> Settings:
        return which.model_copy(update={"data": tmp_path / name})

    async with running(settings, model, admin) as old:
        await add(old, *FACTS)
        async with (
            running(elsewhere(mini, "one"), model, admin) as one,
            running(elsewhere(mini, "two"), model, admin) as two,
        ):
            let(model, 50)
            await until(lambda: is_current(admin, MINI))
            built = [text for text in texts(model, MINI) if text in FACTS]
            assert sorted(built) == sorted(FACTS), "each text once"

            async def follows(house: House) -> bool:
                asked = f"Where is the drill? {id(house)}"
                found = await first(house, asked) == ("hybrid", True, "The drill is in the cellar")
                return found and asked in texts(model, MINI)

            for house in (old, one, two):
                await until(partial(follows, house))  # each hears of the change a moment after it is in the table


async def test_going_back_while_the_gateway_runs_and_after_it_starts_again(
    settings: Settings, mini: Settings, model: ScriptedModel, admin: asyncpg.Connection, household_id: int
) -> None:
    async with running(settings, model, admin) as house:
        await add(house, *FACTS)
    let(model, 50)
    async with running(mini, model, admin) as house:
        await until(lambda: is_current(admin, MINI))
        await add(house, "The ladder is in the barn")
        nomic, small = [size.stored.id for size in await vectors.sizes(admin, household_id)]
        await vectors.go_to(admin, household_id, nomic)
        assert await states(admin) == {NOMIC: "current", MINI: "set_aside"}
        await house.gateway.application[keys.EPOCH].refresh()
        assert (await first(house, "Where is the drill?"))[0] == "hybrid"
        assert "search_query: Where is the drill?" in texts(model, NOMIC)
        await add(house, "The hose is in the yard")

    async with running(mini, model, admin) as house:
        assert any("set aside" in note for note in house.gateway.notes)
        await until(lambda: vectors_whole(admin, NOMIC))
        assert await first(house, "Where is the ladder?") == ("hybrid", True, "The ladder is in the barn")
        assert await states(admin) == {NOMIC: "current", MINI: "set_aside"}
        await vectors.drop(admin, household_id, small)
        assert await states(admin) == {NOMIC: "current"}
        assert (await made(admin, NOMIC), await admin.fetchval("SELECT count(*) FROM vectors")) == (11, 11)


async def vectors_whole(admin: asyncpg.Connection, name: str) -> bool:
    return await made(admin, name) == await admin.fetchval("SELECT count(*) FROM knowledge")


async def test_one_that_is_set_aside_half_way_is_not_built_on(
    settings: Settings, mini: Settings, model: ScriptedModel, admin: asyncpg.Connection, household_id: int
) -> None:
    async with running(settings, model, admin) as house:
        await add(house, *FACTS)
    async with running(mini, model, admin) as house:
        let(model, 1)
        await until(lambda: made(admin, MINI))
        nomic, small = [size.stored.id for size in await vectors.sizes(admin, household_id)]
        await vectors.go_to(admin, household_id, nomic)
        await house.gateway.application[keys.EPOCH].refresh()
        let(model, 50)
        await until(lambda: is_silent(house))
        assert await made(admin, MINI) < len(FACTS)
        await vectors.drop(admin, household_id, small)
        await add(house, "The ladder is in the barn")
        assert await first(house, "Where is the ladder?") == ("hybrid", True, "The ladder is in the barn")


async def test_between_ollama_and_the_embedded_model(
    settings: Settings, model: ScriptedModel, admin: asyncpg.Connection
) -> None:
    async with running(settings, model, admin) as house:
        await add(house, "The rubbish is collected on Tuesday", "Le café est dans le placard")
        knowledge = house.gateway.application[keys.KNOWLEDGE]
        assert (await knowledge.search(Scope(1), "bins", limit=1)).min_score == NOMIC_MIN_SCORE
    embedded = settings.model_copy(update={"embedding": EmbeddingSettings(backend="embedded", query_seconds=60)})
    async with running(embedded, model, admin) as house:
        knowledge = house.gateway.application[keys.KNOWLEDGE]
        await until(lambda: is_current(admin, E5_MODEL))
        assert await first(house, "When do the bins go out?") == ("hybrid", True, "The rubbish is collected on Tuesday")
        assert (await knowledge.search(Scope(1), "bins", limit=1)).min_score == E5_MIN_SCORE
        asked = len(texts(model, NOMIC))
        await add(house, "The hose is in the yard")
        assert len(texts(model, NOMIC)) == asked
    async with running(
        settings.model_copy(update={"embedding": EmbeddingSettings(backend="ollama")}), model, admin
    ) as house:
        await until(lambda: is_current(admin, NOMIC))
        assert await states(admin) == {NOMIC: "current", E5_MODEL: "retired"}
        assert await first(house, "Where is the hose?") == ("hybrid", True, "The hose is in the yard")
