"""Prints the gateway's figures beside their floors.

    python -m tests.benchmarks                       everything, in about two minutes
    python -m tests.benchmarks turns export          some of it
    python -m tests.benchmarks export --rows 1000000

The gateway runs as a program of its own, as at home, with its embedded PostgreSQL; the model server is scripted, so
that what is measured is the gateway. Floor and gateway take turns, so that a noisy machine is noisy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import IO

import aiohttp
import asyncpg
import numpy as np
import orjson

from gateway.edge.assist import STATIC_CONTEXT
from gateway.store.address import Address
from gateway.store.pool import register_codecs
from gateway.store.server import EmbeddedServer
from tests.scripted_model import Answer, ScriptedModel

ROUNDS = 4
ENTRIES = 10_000
DIMENSIONS = 384
LANGUAGES = ("Who wrote Hamlet?", "Qui a écrit Les Misérables ?", "Kto napisał Pana Tadeusza?")


@dataclass
class Bench:
    """What every measurement needs."""

    http: aiohttp.ClientSession
    gateway: str
    process: asyncio.subprocess.Process
    floor: str
    model: ScriptedModel
    admin: asyncpg.Connection
    address: Address
    household_id: int
    rows: int
    start_seconds: float
    floor_start_seconds: float

    async def ask(self, url: str, text: str) -> float:
        """Milliseconds of one turn."""
        began = time.perf_counter()
        async with self.http.post(f"{url}/conversation", json={"text": text}) as response:
            await response.read()
            response.raise_for_status()
        return (time.perf_counter() - began) * 1000


def told(name: str, figure: str, floor: str = "", ratio: float | None = None) -> None:
    """A row of the table."""
    print(f"{name:<46} {figure:>22} {floor:>30} {'' if ratio is None else f'{ratio:.2f}x':>9}", flush=True)


def p99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100)[98]


async def turns(bench: Bench) -> None:
    """A cached turn, one client and sixteen."""
    question = LANGUAGES[0]
    await bench.ask(bench.gateway, question)
    for clients in (1, 16):
        share = 800 // clients
        ours: list[float] = []
        floors: list[float] = []
        rates: dict[str, list[float]] = {bench.gateway: [], bench.floor: []}
        for _ in range(ROUNDS):
            for url, times in ((bench.floor, floors), (bench.gateway, ours)):
                began = time.perf_counter()

                async def client(url: str = url, times: list[float] = times, share: int = share) -> None:
                    times.extend([await bench.ask(url, question) for _ in range(share)])

                await asyncio.gather(*(client() for _ in range(clients)))
                rates[url].append(800 / (time.perf_counter() - began))
        told(
            f"cached turn, {clients} client{'s' if clients > 1 else ''}, p50",
            f"{median(ours):.2f} ms",
            f"{median(floors):.2f} ms (one SELECT)",
            median(ours) / median(floors),
        )
        told(
            "    requests a second",
            f"{median(rates[bench.gateway]):.0f}",
            f"{median(rates[bench.floor]):.0f}",
            median(rates[bench.gateway]) / median(rates[bench.floor]),
        )


async def first_token(bench: Bench) -> None:
    """What a turn that asks the model waits longer for its first token than the model's own client."""
    bench.model.answer = lambda body: Answer("Yes.")
    direct: list[float] = []
    through: list[float] = []

    async def first_line(url: str, number: int) -> float:
        body = {
            "model": "qwen3:4b-instruct",
            "messages": [{"role": "user", "content": f"Explain the number {number} of the list"}],
        }
        began = time.perf_counter()
        async with bench.http.post(f"{url}/api/chat", json=body) as response:
            await response.content.readline()
            took = (time.perf_counter() - began) * 1000
            await response.read()
        return took

    for number in range(300):
        direct.append(await first_line(bench.model.url, number))
        through.append(await first_line(bench.gateway, number))
    extra = median(through) - median(direct)
    told("before the first token, p50 (with recall)", f"{median(through):.2f} ms", f"{median(direct):.2f} ms (direct)")
    told("    added by the gateway", f"{extra:.2f} ms")
    commands = [await bench.ask(bench.gateway, "What do you know about me?") for _ in range(200)]
    told("    a memory command, whole", f"{median(commands):.2f} ms")


async def commands(bench: Bench) -> None:
    """A command in a house of 100 things, each said for the first time, end to end; and the model's way for it."""
    rooms = ("Kitchen", "Office", "Bedroom", "Hall", "Garage", "Bathroom", "Attic", "Cellar", "Nursery", "Garden")
    things = ("Lamp", "Ceiling Light", "Fan", "Heater", "Radio", "Printer", "Kettle", "Camera", "Pump", "Socket")
    listed = "".join(
        f"- names: {room} {thing}\n  domain: {'light' if 'L' in thing else 'switch'}\n  areas: {room}\n"
        for room in rooms
        for thing in things
    )
    system = f"You are a voice assistant.\n{STATIC_CONTEXT}\n{listed}"
    names = {name: {"type": "string"} for name in ("name", "area", "floor")}
    schema = {"type": "object", "properties": {**names, "domain": {"type": "array", "items": {"type": "string"}}}}
    tools = [
        {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
        for name in ("HassTurnOn", "HassTurnOff")
    ]

    async def say(url: str, words: str) -> tuple[float, bool]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": words}]
        began = time.perf_counter()
        async with bench.http.post(
            f"{url}/api/chat", json={"model": "qwen3:4b-instruct", "messages": messages, "tools": tools}
        ) as response:
            answered = await response.read()
        return (time.perf_counter() - began) * 1000, b"tool_calls" in answered

    await say(bench.gateway, "turn on the kitchen lamp")
    took: list[float] = []
    floors: list[float] = []
    called = 0
    for on in ("on", "off"):
        for room in rooms:
            for thing in things:
                milliseconds, acted = await say(bench.gateway, f"turn {on} the {room} {thing}".lower())
                took.append(milliseconds)
                called += acted
                floors.append((await say(bench.model.url, f"turn {on} the {room} {thing}"))[0])
    told(
        f"command, first time heard, 100 things ({called} of {len(took)})",
        f"{median(took):.2f} ms",
        f"{median(floors):.2f} ms (a model of no time)",
        median(took) / median(floors),
    )
    told("    p99", f"{p99(took):.2f} ms", f"{p99(floors):.2f} ms", p99(took) / p99(floors))
    await bench.ask(bench.gateway, LANGUAGES[0])
    alone = [await bench.ask(bench.gateway, LANGUAGES[0]) for _ in range(400)]
    beside: list[float] = []
    speaking = asyncio.Event()

    async def another_speaker() -> None:
        while not speaking.is_set():
            beside.append(await bench.ask(bench.gateway, LANGUAGES[0]))

    other = asyncio.create_task(another_speaker(), name="another speaker")
    for room in rooms:
        for thing in things:
            await say(bench.gateway, f"could you please turn on the {room} {thing}".lower())
    speaking.set()
    await other
    told(
        "another speaker's cached turn meanwhile, p50",
        f"{median(beside):.2f} ms",
        f"{median(alone):.2f} ms (alone)",
        median(beside) / median(alone),
    )
    told("    p99", f"{p99(beside):.2f} ms", f"{p99(alone):.2f} ms", p99(beside) / p99(alone))


async def search(bench: Bench) -> None:
    """`/memory/search` among 10,000 entries."""
    space = await bench.admin.fetchval("SELECT id FROM embedding_spaces WHERE state = 'current'")
    random = np.random.default_rng(7)
    centres = random.normal(size=(200, DIMENSIONS))
    vectors = centres[random.integers(0, 200, ENTRIES)] + 0.4 * random.normal(size=(ENTRIES, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = [
        row["id"]
        for row in await bench.admin.fetch(
            "INSERT INTO knowledge (household_id, content, tags) SELECT $1, 'entry ' || n, '{bench}' "
            "FROM generate_series(1, $2) AS n RETURNING id",
            bench.household_id,
            ENTRIES,
        )
    ]
    await bench.admin.executemany(
        "INSERT INTO vectors (household_id, kind, ref_id, space_id, embedding) VALUES ($1, 'knowledge', $2, $3, $4)",
        [(bench.household_id, ref, space, vector) for ref, vector in zip(ids, vectors, strict=True)],
    )
    await bench.admin.execute("ANALYZE")
    whole: list[float] = []
    embedding: list[float] = []
    bare: list[float] = []
    for number in range(300):
        query = f"where is entry {number}"
        began = time.perf_counter()
        async with bench.http.get(f"{bench.gateway}/memory/search", params={"query": query, "limit": "5"}) as response:
            found = orjson.loads(await response.read())
        whole.append((time.perf_counter() - began) * 1000)
        if len(found["results"]) != 5:
            raise RuntimeError(f"only {len(found['results'])} found")
        began = time.perf_counter()
        async with bench.http.post(
            f"{bench.model.url}/api/embed", json={"model": "nomic-embed-text", "input": ["search_query: " + query]}
        ) as response:
            await response.read()
        embedding.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        await bench.admin.fetch(
            "SELECT ref_id FROM vectors WHERE space_id = $1 ORDER BY embedding <=> $2 LIMIT 5", space, vectors[number]
        )
        bare.append((time.perf_counter() - began) * 1000)
    told(
        f"/memory/search, {ENTRIES:,} entries, p50",
        f"{median(whole):.2f} ms",
        f"{median(bare):.2f} ms (bare SQL)",
        median(whole) / median(bare),
    )
    told("    p99", f"{p99(whole):.2f} ms", f"{p99(bare):.2f} ms", p99(whole) / p99(bare))
    told("    of which the embedding (scripted), p50", f"{median(embedding):.2f} ms")
    told("    embedding with the embedded e5, p50", f"{await _e5():.1f} ms")


async def _e5() -> float:
    from gateway.config import EmbeddingSettings
    from gateway.llm.embedding import E5Embedder

    embedder = await E5Embedder.load(EmbeddingSettings())
    try:
        times = []
        for number in range(20):
            began = time.perf_counter()
            await embedder.query(f"When does bus number {number} go to the old town?")
            times.append((time.perf_counter() - began) * 1000)
        return median(times)
    finally:
        await embedder.close()


async def export(bench: Bench) -> None:
    """JSONL export against COPY, and the gateway's memory meanwhile."""
    await bench.admin.execute(
        "INSERT INTO training_data (household_id, turn_id, input_text, output_text, feedback_score, language) "
        "SELECT $1, md5(n::text), 'What is number ' || n || ' of the list?', repeat('It is a number. ', 6), 5, 'en' "
        "FROM generate_series(1, $2) AS n",
        bench.household_id,
        bench.rows,
        timeout=900,
    )
    began = time.perf_counter()
    copied = 0

    async def count(data: bytes) -> None:
        nonlocal copied
        copied += len(data)

    await bench.admin.copy_from_query(
        "SELECT input_text, output_text, feedback_score, language FROM training_data ORDER BY id",
        output=count,
        timeout=900,
    )
    floor = bench.rows / (time.perf_counter() - began)
    before = resident(bench.process.pid)
    peak = before
    began = time.perf_counter()
    lines = 0
    async with bench.http.get(f"{bench.gateway}/training/export", timeout=aiohttp.ClientTimeout(total=900)) as response:
        async for chunk in response.content.iter_any():
            lines += chunk.count(b"\n")
            peak = max(peak, resident(bench.process.pid))
    ours = bench.rows / (time.perf_counter() - began)
    marked = await bench.admin.fetchval("SELECT count(*) FROM training_data WHERE exported")
    told(f"export of {bench.rows:,} rows, rows a second", f"{ours:,.0f}", f"{floor:,.0f} (COPY)", ours / floor)
    told("    lines sent, rows marked", f"{lines:,} / {marked:,}")
    told("    memory before and at most", f"{before} / {peak} MB")


async def start(bench: Bench) -> None:
    """Start-up over a warm data folder, and resident memory in use."""
    told(
        "start to the first answer (warm data folder)",
        f"{bench.start_seconds:.2f} s",
        f"{bench.floor_start_seconds:.2f} s (bare handler)",
        bench.start_seconds / bench.floor_start_seconds,
    )
    for text in LANGUAGES:
        await bench.ask(bench.gateway, text)
    for number in range(1000):
        await bench.ask(bench.gateway, f"What is the square of {number}?")
    async with bench.http.get(f"{bench.gateway}/cache/stats") as response:
        entries = orjson.loads(await response.read())["entries"]
    told(f"resident, 3 languages, {entries} cached answers", f"{resident(bench.process.pid)} MB")


def resident(pid: int) -> int:
    """Megabytes of a process' resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def answering(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    """Waits until `url` answers its health check."""
    while True:
        if process.returncode is not None:
            raise RuntimeError(f"it ended with {process.returncode}")
        try:
            async with http.get(f"{url}/healthz") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    http: aiohttp.ClientSession,
    arguments: Sequence[str],
    url: str,
    environment: dict[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, float]]:
    """A program, once it answers, and the seconds until then; ended by SIGTERM. Its log goes to `log`, or is seen."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, **(environment or {})},
    )
    try:
        await answering(http, url, process)
        yield process, time.perf_counter() - began
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def opened(rows: int) -> AsyncIterator[Bench]:
    """Everything that is measured, and what it is measured against."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        async with ScriptedModel() as model, aiohttp.ClientSession() as http:
            model.answer = lambda body: Answer("William Shakespeare wrote it, around the year 1600.")
            url, floor_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
            environment = {
                "GATEWAY_DATA": str(folder / "data"),
                "GATEWAY_WYOMING_PORT": "0",
                "GATEWAY_PORT": url.rsplit(":", 1)[1],
                "OLLAMA_URL": model.url,
                "GATEWAY_LOG_LEVEL": "warning",
            }
            async with running(http, ["gateway", "serve"], url, environment):
                pass  # the first start makes the database
            async with running(http, ["gateway", "serve"], url, environment) as (process, start_seconds):
                address = EmbeddedServer(folder / "data" / "postgres").address
                arguments = ["tests.benchmarks.floor", floor_url.rsplit(":", 1)[1]]
                arguments += [address.host, str(address.port), address.database]
                async with running(http, arguments, floor_url) as (_, floor_start):
                    admin = await address.connect()
                    await register_codecs(admin)
                    try:
                        household_id = int(await admin.fetchval("SELECT min(id) FROM households"))
                        yield Bench(
                            http,
                            url,
                            process,
                            floor_url,
                            model,
                            admin,
                            address,
                            household_id,
                            rows,
                            start_seconds,
                            floor_start,
                        )
                    finally:
                        await admin.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


MEASUREMENTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "turns": turns,
    "first_token": first_token,
    "commands": commands,
    "start": start,
    "search": search,
    "export": export,
}


async def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], help="default: everything")
    parser.add_argument("--rows", type=int, default=200_000, help="rows to export")
    arguments = parser.parse_args()
    print(f"{'':<46} {'gateway':>22} {'floor':>30} {'ratio':>9}")
    async with opened(arguments.rows) as bench:
        for name in arguments.what or MEASUREMENTS:
            await MEASUREMENTS[name](bench)


if __name__ == "__main__":
    asyncio.run(main())
