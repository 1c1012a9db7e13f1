"""The head of the prompt is read while nobody waits, and a turn never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.config import LlmSettings
from gateway.llm.fleet import ChatServer, Fleet
from gateway.llm.ollama import OllamaChat
from gateway.metrics import Metrics
from gateway.shapes import ChatRequest, Message, Priority
from gateway.turn import warm
from gateway.turn.warm import Warmer, seconds_of
from tests.scripted_model import HANG, Answer, ScriptedModel

REQUEST = ChatRequest(
    messages=(Message("system", "You are a voice assistant.\nLamp: kitchen"), Message("user", "Hi")),
    model="qwen3:4b-instruct",
    tools=({"type": "function", "function": {"name": "HassTurnOn"}},),
    keep_alive="5m",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "IDLE_SECONDS", 0.02)


@pytest.fixture
async def fleet(model: ScriptedModel) -> AsyncIterator[Fleet]:
    """One server with one place."""
    chat = OllamaChat(model.url, LlmSettings())
    yield Fleet([ChatServer(chat, "only")], LlmSettings(), Metrics())
    await chat.close()


async def test_the_head_of_the_last_run_is_read_at_the_start(
    model: ScriptedModel, fleet: Fleet, tmp_path: Path
) -> None:
    first = Warmer(fleet, tmp_path / "heads.json", "30m")
    first.seen(REQUEST)
    second = Warmer(fleet, tmp_path / "heads.json", "30m")
    await second.start()
    await asyncio.wait_for(model.arrived(1), 10)
    await second.close()
    asked = model.chats[0]
    assert asked["messages"][0] == {"role": "system", "content": "You are a voice assistant.\nLamp: kitchen"}
    assert asked["tools"] == list(REQUEST.tools)
    assert asked["options"]["num_predict"] == 1


async def test_a_head_just_read_is_not_read_again(model: ScriptedModel, fleet: Fleet, tmp_path: Path) -> None:
    warmer = Warmer(fleet, tmp_path / "heads.json", "30m")
    await warmer.start()
    warmer.seen(REQUEST)
    for _ in range(20):
        await asyncio.sleep(0.01)
    await warmer.close()
    assert model.chats == []


async def test_a_head_is_read_again_before_it_would_be_forgotten(
    model: ScriptedModel, fleet: Fleet, tmp_path: Path
) -> None:
    warmer = Warmer(fleet, tmp_path / "heads.json", "100ms")
    await warmer.start()
    warmer.seen(ChatRequest(messages=REQUEST.messages, model=REQUEST.model))
    await asyncio.wait_for(model.arrived(2), 10)
    await warmer.close()


async def test_a_turn_ends_the_warming_at_once_and_is_answered(
    model: ScriptedModel, fleet: Fleet, tmp_path: Path
) -> None:
    Warmer(fleet, tmp_path / "heads.json", "30m").seen(REQUEST)
    model.script(Answer(HANG), Answer("Hello."))
    warmer = Warmer(fleet, tmp_path / "heads.json", "30m")
    await warmer.start()
    await asyncio.wait_for(model.arrived(1), 10)
    async with aclosing(fleet.ask(REQUEST, priority=Priority.VOICE, seconds=10)) as deltas:
        said = [delta.content async for delta in deltas]
    assert "".join(said) == "Hello."
    await asyncio.wait_for(model.client_gone.wait(), 10)
    await asyncio.wait_for(model.arrived(3), 10)  # and then the head is read after all
    await warmer.close()


async def test_closing_ends_what_is_read(model: ScriptedModel, fleet: Fleet, tmp_path: Path) -> None:
    Warmer(fleet, tmp_path / "heads.json", "30m").seen(REQUEST)
    model.script(Answer(HANG))
    warmer = Warmer(fleet, tmp_path / "heads.json", "30m")
    await warmer.start()
    await asyncio.wait_for(model.arrived(1), 10)
    await warmer.close()
    await asyncio.wait_for(model.client_gone.wait(), 10)
    assert fleet.queue.active == 0


async def test_while_a_turn_is_answered_nothing_is_warmed(model: ScriptedModel, fleet: Fleet, tmp_path: Path) -> None:
    Warmer(fleet, tmp_path / "heads.json", "30m").seen(REQUEST)
    warmer = Warmer(fleet, tmp_path / "heads.json", "30m")
    async with fleet.queue.admitted(1):
        await warmer.start()
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert model.chats == []
    await asyncio.wait_for(model.arrived(1), 10)
    await warmer.close()


async def test_broken_memory_of_heads_does_no_harm(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "heads.json").write_text("[{", encoding="utf-8")
    warmer = Warmer(fleet, tmp_path / "heads.json", "30m")
    await warmer.start()
    await warmer.close()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("300s", 300),
        (-1.0, None),
        ("-1.0s", None),
        (60, 60),
        ("90", 90),
        (None, None),
        ("x", None),
    ],
)
def test_keep_alive_in_seconds(told: object, seconds: float | None) -> None:
    assert seconds_of(told) == seconds
