"""A real Home Assistant, its Ollama integration and its voice pipeline, in front of the whole gateway.

Run by `scripts/test --home-assistant`. It needs root, and the driver that installs and starts Home Assistant
(`../shared/home-assistant`); what took how long is printed at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.questions import GENERAL
from tests.scripted_model import Answer, ScriptedModel
from tests.test_killed import free_port

DRIVER = Path(__file__).parents[3] / "shared" / "home-assistant"
ROOT = Path(__file__).parents[2]
REPEATED = 20
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}  # where chroot and mount are

pytestmark = [
    pytest.mark.skipif(
        "GATEWAY_TEST_HOME_ASSISTANT" not in os.environ, reason="run it by scripts/test --home-assistant"
    ),
    pytest.mark.skipif(not DRIVER.exists(), reason="the driver of a real Home Assistant is not here"),
    pytest.mark.timeout(2400),
]


@dataclass
class Home:
    """Drives Home Assistant by its command line."""

    times: list[tuple[str, float]] = field(default_factory=list)

    async def run(self, *words: str) -> str:
        """The driver's output. Fails with what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(DRIVER / "ha"),
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


@asynccontextmanager
async def gateway(folder: Path, port: int, wyoming: int, **more: str) -> AsyncIterator[Path]:
    """The gateway as a program of its own, everything embedded; yields its log."""
    environment = {
        "GATEWAY_DATA": str(folder / "data"),
        "GATEWAY_PORT": str(port),
        "GATEWAY_WYOMING_PORT": str(wyoming),
        **more,
    }
    log = folder / "gateway.log"
    folder.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "serve",
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
                process.terminate()
            await process.wait()


def turns(log: Path) -> list[dict[str, Any]]:
    """The turns of the gateway's log."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "turn"]


def spoken(events: list[dict[str, Any]]) -> str:
    """What the pipeline would say aloud."""
    ends = [event for event in events if event["type"] == "intent-end"]
    said: str = ends[0]["intent_output"]["response"]["speech"]["plain"]["speech"]
    return said


def heard(reply: dict[str, Any]) -> str:
    """What Home Assistant's conversation API answered."""
    said: str = reply["response"]["speech"]["plain"]["speech"]
    return said


async def test_home_assistant(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path("/var/tmp/gateway-home-assistant-test")  # noqa: S108 (PostgreSQL's own user has to reach it)
    folder.mkdir(exist_ok=True)
    installing = await asyncio.create_subprocess_exec(str(DRIVER / "install"), env=ENVIRONMENT)
    if await installing.wait() != 0:
        pytest.skip("Home Assistant could not be installed here")
    home = Home()
    port, broken_port, wyoming, broken_wyoming = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(gateway(folder / f"one-{time.time_ns()}", port, wyoming))
        await home.run("start", "--port", str(free_port()))
        stack.push_async_callback(home.run, "stop")
        agent = await home.run("ollama", url, "smollm2:135m")

        # Questions, by voice: from two rooms and from none, with Home Assistant's own matching first and without.
        for text, *more in (
            ("What is the capital of France?", "--area", "Kitchen"),
            ("What is the capital of France?", "--area", "Bedroom"),
            ("What is the capital of France?", "--area", "Kitchen"),
            ("What is the capital of France?",),
            ("Who wrote Hamlet?", "--area", "Kitchen", "--local"),
            ("Remember that the bins go out on Tuesday", "--area", "Kitchen", "--local"),
            ("What do you know about me?", "--area", "Bedroom"),
            ("Jaka jest stolica Polski?", "--area", "Kitchen", "--language", "pl"),
        ):
            assert spoken(await home.voice(agent, text, *more)).strip()
        assert [turn["cache"] for turn in turns(log)][:3] == ["miss", "miss", "hit"]
        assert "bins go out on Tuesday" in spoken(await home.voice(agent, "What do you know about us?"))

        # Commands, without the model: seen in Home Assistant's own states.
        asked = len(turns(log))
        await home.voice(agent, "turn off the kitchen lights", "--area", "Kitchen")
        assert (await home.state("light.kitchen_lights"))["state"] == "off"
        await home.voice(agent, "could you please turn on the kitchen lights for me", "--area", "Bedroom")
        assert (await home.state("light.kitchen_lights"))["state"] == "on"
        await home.voice(agent, "set the kitchen lights to 40 percent", "--area", "Kitchen", "--local")
        assert (await home.state("light.kitchen_lights"))["attributes"]["brightness"] == pytest.approx(102, abs=1)
        assert "sun" in heard(await home.say(agent, "call the office lamp the sun"))
        assert heard(await home.say(agent, "turn on the sun")).strip()
        assert (await home.state("input_boolean.office_lamp"))["state"] == "on"
        acted = turns(log)[asked:]
        assert acted
        assert {turn["outcome"] for turn in acted} == {"acted"}, acted

        # The same through Wyoming.
        other = await home.run("wyoming", "127.0.0.1", str(wyoming))
        assert heard(await home.say(other, "What do you know about me?")).strip()

        # A model that fails is heard as a sentence.
        model = await stack.enter_async_context(ScriptedModel(models=["qwen3:4b-instruct", "nomic-embed-text:latest"]))
        model.answer = lambda body: Answer(status=500, error="out of memory")
        await stack.enter_async_context(
            gateway(folder / f"two-{time.time_ns()}", broken_port, broken_wyoming, OLLAMA_URL=model.url)
        )
        broken = await home.run("ollama", f"http://127.0.0.1:{broken_port}", "qwen3:4b-instruct")
        assert spoken(await home.voice(broken, "Who wrote Hamlet?")) == "My language model could not answer that."

        await _repeats(home, folder / f"three-{time.time_ns()}")
        for what, seconds in home.times:
            print(f"{seconds:8.2f} s  {what}")


async def _repeats(home: Home, folder: Path) -> None:
    """General questions by way of Home Assistant, each again in other clothes: nearly all are answered from the cache,
    and each with the answer that was made for it."""
    port = free_port()
    async with ScriptedModel(models=["qwen3:4b-instruct", "nomic-embed-text:latest"]) as model:
        model.answer = lambda body: Answer(f"Number {len(model.chats)}.")
        async with gateway(folder, port, free_port(), OLLAMA_URL=model.url) as log:
            agent = await home.run("ollama", f"http://127.0.0.1:{port}", "qwen3:4b-instruct")
            repeats = 0
            for question in GENERAL["en"][:REPEATED]:
                said = [heard(await home.say(agent, question))]
                for again in (
                    question,
                    question.upper(),
                    question.rstrip("?"),
                    f"Please, {question[0].lower()}{question[1:]}",
                ):
                    said.append(heard(await home.say(agent, again)))
                    repeats += 1
                assert len(set(said)) == 1, (question, said)
            outcomes = [turn["cache"] for turn in turns(log)]
            hits = outcomes.count("hit")
            print(f"through Home Assistant: {hits} of {repeats} repeats answered from the cache")
            assert hits >= 0.98 * repeats, outcomes
