"""A real Home Assistant, by the command line of its driver (`../shared/home-assistant`), and the gateway beside it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

DRIVER = Path(__file__).parents[3] / "shared" / "home-assistant"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}  # where chroot and mount are
KEPT = Path(os.environ.get("HA_ROOT", "/var/tmp/home-assistant")) / "config" / "driver.json"  # noqa: S108
# PostgreSQL's own user has to reach what the gateway keeps, which it cannot below pytest's folders.
FOLDER = Path("/var/tmp/gateway-home-assistant-test")  # noqa: S108

ONLY_WHEN_ASKED = [
    pytest.mark.skipif(
        "GATEWAY_TEST_HOME_ASSISTANT" not in os.environ, reason="run it by scripts/test --home-assistant"
    ),
    pytest.mark.skipif(not DRIVER.exists(), reason="the driver of a real Home Assistant is not here"),
    pytest.mark.timeout(2400),
]


async def install() -> None:
    """Puts Home Assistant where the driver looks for it, and takes away what the last run left; skips the test where
    it cannot be installed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    installing = await asyncio.create_subprocess_exec(str(DRIVER / "install"), env=ENVIRONMENT)
    if await installing.wait() != 0:
        pytest.skip("Home Assistant could not be installed here")


# Ends Home Assistant and starts it on the same configuration, for which the driver has no word.
RESTART = """
import asyncio, importlib.machinery, importlib.util, json, sys
import aiohttp

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("driver", sys.argv[1])
driver = importlib.util.module_from_spec(importlib.util.spec_from_loader("driver", loader))
loader.exec_module(driver)
memo = json.loads(driver.MEMO.read_text())
driver.stop(None, keep_memo=True)

async def start():
    async with aiohttp.ClientSession() as session:
        await driver.running(session, memo)

asyncio.run(start())
"""


@dataclass
class Home:
    """Drives Home Assistant by its command line."""

    times: list[tuple[str, float]] = field(default_factory=list)

    async def run(self, *words: str) -> str:
        """The driver's output. Fails with what it said."""
        return await self._python(str(DRIVER / "ha"), *words)

    async def restart(self) -> None:
        """Returns when it runs again."""
        await self._python("-c", RESTART, str(DRIVER / "ha"))

    @staticmethod
    async def _python(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode() or output.decode()
        return output.decode().strip()

    async def say(self, agent: str, text: str, *more: str) -> dict[str, Any]:
        """One turn through Home Assistant's conversation API."""
        reply: dict[str, Any] = json.loads(await self.run("say", agent, text, *more))
        self.times.append((f"say: {text}", reply["seconds"]))
        return reply

    async def voice(self, agent: str, text: str, *more: str) -> list[dict[str, Any]]:
        """One turn through the voice pipeline: its events."""
        output = await self.run("voice", agent, text, *more)
        events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        self.times.append((f"voice {' '.join(more)}: {text}", events[-1]["seconds"]))
        assert events[-1]["type"] == "run-end", events[-1]
        assert not [event for event in events if event["type"] == "error"], events
        return events

    async def state(self, entity: str) -> dict[str, Any]:
        """An entity's state."""
        found: dict[str, Any] = json.loads(await self.run("state", entity))
        return found


class Watch:
    """What Home Assistant knows, as its own frontend sees it."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self._numbers = 0
        self._something = asyncio.Event()
        self.states: dict[str, str] = {}
        self.attributes: dict[str, dict[str, Any]] = {}

    async def ask(self, kind: str, **more: Any) -> Any:
        """One of the commands of its websocket; only before `follow`."""
        self._numbers += 1
        await self._socket.send_json({"id": self._numbers, "type": kind, **more})
        reply = await self._socket.receive_json()
        assert reply["success"], reply
        return reply["result"]

    async def call(self, domain: str, service: str, **data: Any) -> None:
        """A service, by REST."""
        async with self._session.post(f"/api/services/{domain}/{service}", json=data) as reply:
            assert reply.status == 200, await reply.text()

    async def follow(self) -> None:
        """Keeps `states` and `attributes` as they are there, until it is cancelled."""
        self._numbers += 1
        await self._socket.send_json({"id": self._numbers, "type": "subscribe_entities"})
        async for message in self._socket:
            told = message.json()
            if told["type"] != "event":
                continue
            for entity, now in told["event"].get("a", {}).items():
                self.states[entity], self.attributes[entity] = now["s"], dict(now["a"])
            for entity, change in told["event"].get("c", {}).items():
                now, gone = change.get("+", {}), change.get("-", {})
                self.states[entity] = now.get("s", self.states[entity])
                self.attributes[entity] |= now.get("a", {})
                for key in gone.get("a", ()):
                    self.attributes[entity].pop(key, None)
            for entity in told["event"].get("r", ()):
                del self.states[entity], self.attributes[entity]
            self._something.set()

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Returns when that holds; fails with what it knows of the gateway."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._something.clear()
                    await self._something.wait()
        except TimeoutError:
            ours = {entity: state for entity, state in self.states.items() if "ai_gateway" in entity}
            pytest.fail(f"not within {seconds} s; the gateway's entities: {ours}")

    async def reads(self, entity: str, state: str, seconds: float = 20) -> None:
        """Returns when that entity is in that state."""
        await self.until(lambda: self.states.get(entity) == state, seconds)


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Home Assistant, as it runs now."""
    kept = json.loads(KEPT.read_text())
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{kept['port']}", headers={"Authorization": f"Bearer {kept['token']}"}
    ) as session:
        socket = await session.ws_connect("/api/websocket", max_msg_size=0)
        await socket.receive_json()
        await socket.send_json({"type": "auth", "access_token": kept["token"]})
        assert (await socket.receive_json())["type"] == "auth_ok"
        watch = Watch(session, socket)
        yield watch


@asynccontextmanager
async def gateway(
    folder: Path, port: int, wyoming: int, *, settings: str | None = None, killed: bool = False, **more: str
) -> AsyncIterator[Path]:
    """The gateway as a program of its own, everything embedded; yields its log. `settings`: a file's text, in place of
    the shipped ones. `killed`: it ends without a word to anybody."""
    environment = {
        "GATEWAY_DATA": str(folder / "data"),
        "GATEWAY_PORT": str(port),
        "GATEWAY_WYOMING_PORT": str(wyoming),
        **more,
    }
    log = folder / "gateway.log"
    folder.mkdir(exist_ok=True)
    if settings is not None:
        (folder / "gateway.yaml").write_text(settings)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "serve",
            *(() if settings is None else ("--config", str(folder / "gateway.yaml"))),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
        try:
            while b"Ask it something" not in log.read_bytes():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.1)
            yield log
        finally:
            if process.returncode is None:
                process.kill() if killed else process.terminate()
            await process.wait()
