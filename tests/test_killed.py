"""A gateway that is killed outright loses no turn that it answered, and no document that it took in."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg

from gateway.store.address import Address
from tests.scripted_model import Answer, ScriptedModel, Seen

TURNS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def program(environment: dict[str, str], settings: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The gateway as a program of its own; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--config",
        str(settings),
        env={**os.environ, **environment},
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = b""
    while b"curl" not in said:
        line = await process.stdout.readline()
        assert line, said.decode()
        said += line
    reading = asyncio.create_task(process.stdout.read(), name="the gateway's output")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def test_killed_amid_twenty_turns(address: Address, admin: asyncpg.Connection, tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        port = free_port()
        environment = {
            "GATEWAY_DATA": str(tmp_path / "data"),
            "GATEWAY_PORT": str(port),
            "GATEWAY_WYOMING_PORT": "0",
            "POSTGRES_HOST": address.host,
            "POSTGRES_PORT": str(address.port),
            "POSTGRES_USER": address.user,
            "POSTGRES_DB": address.database,
            "OLLAMA_URL": model.url,
        }
        never = asyncio.Event()
        model.answer = lambda body: (
            Answer("Forty", "-two.") if "odd" in body["messages"][-1]["content"] else Answer("Forty", never)
        )
        answered: list[str] = []
        enough = asyncio.Event()

        async def ask(session: aiohttp.ClientSession, number: int) -> None:
            text = f"Explain the {'odd' if number % 2 else 'even'} number {number}"
            async with session.post(f"http://127.0.0.1:{port}/conversation", json={"text": text}) as response:
                answered.append((await response.json())["interaction_id"].removeprefix("conv_"))
            if len(answered) == TURNS // 2:
                enough.set()

        settings = tmp_path / "gateway.yaml"
        settings.write_text(f"llm:\n  parallel: {TURNS}\n", encoding="utf-8")
        locked = admin.transaction()
        async with program(environment, settings) as gateway:
            # Nothing gets into the table: what is answered now is in the journal alone.
            await locked.start()
            await admin.execute("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")
            async with aiohttp.ClientSession() as session:
                asking = [asyncio.create_task(ask(session, number)) for number in range(TURNS)]
                await asyncio.wait_for(enough.wait(), 60)
                gateway.send_signal(signal.SIGKILL)
                await gateway.wait()
                await asyncio.gather(*asking, return_exceptions=True)
        await locked.rollback()
        assert len(answered) == TURNS // 2

        async with program(environment, settings) as gateway:
            while True:
                rows = await admin.fetch("SELECT turn_id, role FROM conversations")
                if len(rows) >= 2 * len(answered):
                    break
                await asyncio.sleep(0.05)
            assert sorted((row["turn_id"], row["role"]) for row in rows) == sorted(
                (turn, role) for turn in answered for role in ("user", "assistant")
            )
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0


async def test_killed_while_a_document_is_stored(address: Address, admin: asyncpg.Connection, tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        port = free_port()
        environment = {
            "GATEWAY_DATA": str(tmp_path / "data"),
            "GATEWAY_PORT": str(port),
            "GATEWAY_WYOMING_PORT": "0",
            "POSTGRES_HOST": address.host,
            "POSTGRES_PORT": str(address.port),
            "POSTGRES_USER": address.user,
            "POSTGRES_DB": address.database,
            "OLLAMA_URL": model.url,
        }
        settings = tmp_path / "gateway.yaml"
        settings.write_text("{}\n", encoding="utf-8")
        text = "\n\n".join(f"Paragraph {number} of a long letter. " * 20 for number in range(600))
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'knowledge'::regclass AND NOT granted"
        locked = admin.transaction()
        async with program(environment, settings) as gateway:
            await locked.start()
            await admin.execute("LOCK TABLE knowledge IN SHARE MODE")
            async with aiohttp.ClientSession() as session:
                form = aiohttp.FormData()
                form.add_field("file", text.encode(), filename="letter.txt")
                async with session.post(f"http://127.0.0.1:{port}/documents", data=form) as response:
                    assert response.status == 202, await response.text()
                while not await admin.fetchval(waiting):
                    await asyncio.sleep(0.02)
            gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
        await locked.rollback()

        async with program(environment, settings):
            while (document := await admin.fetchrow("SELECT state, passages FROM documents"))["state"] != "ready":
                await asyncio.sleep(0.05)
        stored = await admin.fetch("SELECT content FROM knowledge WHERE kind = 'document' ORDER BY id")
        assert document["passages"] == len(stored) > 600
        assert all(any(f"Paragraph {number} " in row["content"] for row in stored) for number in (0, 299, 599))


async def test_killed_while_the_memory_moves_to_another_model(
    address: Address, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    facts = [f"Box {number} holds the things of the year {1900 + number}" for number in range(60)]
    async with ScriptedModel() as model:
        environment = {
            "GATEWAY_DATA": str(tmp_path / "data"),
            "GATEWAY_PORT": str(port := free_port()),
            "GATEWAY_WYOMING_PORT": "0",
            "POSTGRES_HOST": address.host,
            "POSTGRES_PORT": str(address.port),
            "POSTGRES_USER": address.user,
            "POSTGRES_DB": address.database,
            "OLLAMA_URL": model.url,
        }
        settings = tmp_path / "gateway.yaml"
        settings.write_text("embedding:\n  batch_size: 4\n", encoding="utf-8")
        async with program(environment, settings), aiohttp.ClientSession() as session:
            lines = "\n".join(f'{{"content": "{fact}"}}' for fact in facts)
            async with session.post(f"http://127.0.0.1:{port}/memory/import", data=lines) as response:
                assert response.status == 200, await response.text()
            while await admin.fetchval("SELECT count(*) FROM vectors") < len(facts):
                await asyncio.sleep(0.02)

        environment |= {"EMBEDDING_MODEL": "all-minilm", "EMBEDDING_DIMENSIONS": "64"}
        model.embed_widths["all-minilm"] = 64
        gate = model.embed_gates["all-minilm"] = asyncio.Semaphore(5)
        there = "SELECT k.content FROM vectors v JOIN knowledge k ON k.id = v.ref_id WHERE v.dimensions = 64"
        async with program(environment, settings) as gateway:
            while len(stored := await admin.fetch(there)) < 20:
                await asyncio.sleep(0.02)
            gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
        assert len(stored) == 20
        assert await admin.fetchval("SELECT state FROM embedding_spaces WHERE dimensions = 64") == "building"

        model.requests.clear()
        for _ in facts:
            gate.release()
        async with program(environment, settings):
            while await admin.fetchval("SELECT state FROM embedding_spaces WHERE dimensions = 64") != "current":
                await asyncio.sleep(0.05)
        asked = _texts(model.requests)
        assert {row["content"] for row in stored}.isdisjoint(asked), "what was made before is not made again"
        assert sorted([*(row["content"] for row in stored), *asked]) == sorted([*facts, "width"])
        assert len(await admin.fetch(there)) == len(facts)


def _texts(requests: list[Seen]) -> list[str]:
    return [text for seen in requests if seen.path == "/api/embed" for text in seen.body["input"]]


async def test_killed_while_it_makes_an_index(address: Address, admin: asyncpg.Connection, tmp_path: Path) -> None:
    """With its connection to the database: what it leaves is half an index, and the next start makes a whole one."""
    async with ScriptedModel() as model:
        environment = {
            "GATEWAY_DATA": str(tmp_path / "data"),
            "GATEWAY_PORT": str(free_port()),
            "GATEWAY_WYOMING_PORT": "0",
            "POSTGRES_HOST": address.host,
            "POSTGRES_PORT": str(address.port),
            "POSTGRES_USER": address.user,
            "POSTGRES_DB": address.database,
            "OLLAMA_URL": model.url,
            "EMBEDDING_DIMENSIONS": "32",
        }
        settings = tmp_path / "gateway.yaml"
        settings.write_text("{}\n", encoding="utf-8")
        whole = "SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text ~ '^vectors_near_'"
        async with program(environment, settings) as gateway:
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0
        async with admin.transaction():
            await admin.execute(
                """
                INSERT INTO knowledge (household_id, content)
                SELECT h.id, 'x' FROM households h CROSS JOIN generate_series(1, 20001);
                INSERT INTO vectors (household_id, kind, ref_id, space_id, embedding)
                SELECT k.household_id, 'knowledge', k.id, s.id, made.embedding
                FROM knowledge k CROSS JOIN embedding_spaces s CROSS JOIN LATERAL (
                    SELECT array_agg(sin(k.id * n))::vector AS embedding FROM generate_series(1, 32) AS n) AS made
                """
            )
        earlier = await address.connect()
        held = earlier.transaction(isolation="repeatable_read")
        await held.start()  # no index is whole before this is over
        await earlier.execute("SELECT count(*) FROM vectors")
        async with program(environment, settings) as gateway:
            while await admin.fetchval(whole) is None:
                await asyncio.sleep(0.02)
            gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'ai-gateway indexes' AND datname = current_database()"
        )
        await held.rollback()
        await earlier.close()
        assert await admin.fetchval(whole) is False

        async with program(environment, settings):
            while not await admin.fetchval(whole):
                await asyncio.sleep(0.05)
