"""How automations reach the rest of the gateway: a turn's whole reply, the household's memory, its preferences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.preferences import Preferences
from gateway.shapes import Reply, Scope, Turn
from gateway.store.knowledge import NewKnowledge
from gateway.turn.pipeline import Pipeline

SOURCE = "automation"


def whole(pipeline: Pipeline) -> Callable[[Turn], Awaitable[Reply]]:
    """Asks a turn and waits for all of its reply; to cancel that ends the model's work."""

    async def ask(turn: Turn) -> Reply:
        async with aclosing(pipeline.run(turn)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
        raise AssertionError("a turn ends with its reply")

    return ask


def keeping(knowledge: KnowledgeBase, scope: Scope) -> Callable[[str, Sequence[str]], Awaitable[None]]:
    """Keeps something for everyone in the household, once."""

    async def remember(content: str, tags: Sequence[str]) -> None:
        await knowledge.add_once(scope, NewKnowledge(content=content, source=SOURCE, tags=tuple(tags), member_id=None))

    return remember


def preferring(preferences: Preferences, scope: Scope) -> Callable[[str, Any], Awaitable[None]]:
    """Sets a preference of everyone in the household."""

    async def prefer(key: str, value: Any) -> None:
        await preferences.set(scope, key=key, value=value, category=None, member_id=None)

    return prefer
