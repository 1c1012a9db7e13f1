"""A real Home Assistant, its Ollama integration and its voice pipeline, in front of the whole gateway.

Run by `scripts/test --home-assistant`. It needs root, and the driver that installs and starts Home Assistant
(`../shared/home-assistant`); what took how long is printed at the end.
"""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.home_assistant.home import FOLDER, ONLY_WHEN_ASKED, Home, gateway, install
from tests.questions import GENERAL
from tests.scripted_model import Answer, ScriptedModel
from tests.test_killed import free_port

REPEATED = 20

pytestmark = ONLY_WHEN_ASKED


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


async def test_home_assistant() -> None:
    await install()
    home = Home()
    port, broken_port, wyoming, broken_wyoming = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(gateway(FOLDER / f"one-{time.time_ns()}", port, wyoming))
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
            gateway(FOLDER / f"two-{time.time_ns()}", broken_port, broken_wyoming, OLLAMA_URL=model.url)
        )
        broken = await home.run("ollama", f"http://127.0.0.1:{broken_port}", "qwen3:4b-instruct")
        assert spoken(await home.voice(broken, "Who wrote Hamlet?")) == "My language model could not answer that."

        await _repeats(home, FOLDER / f"three-{time.time_ns()}")
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
