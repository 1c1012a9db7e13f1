"""`/cache`: what is kept of earlier answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web
from pydantic import Field

from gateway.edge.api import Input, Nothing, Output, QueryBool, Text, answer
from gateway.edge.keys import CACHE, SCOPE
from gateway.shapes import Scope


class StoredAnswers(Protocol):
    """What this edge needs of the response cache."""

    async def stats(self, scope: Scope) -> Mapping[str, Any]:
        """The fields of `Stats`."""
        ...

    async def clear(self, scope: Scope, *, everything: bool = False, query: str | None = None) -> int:
        """Ends expired entries, or everything, or the entries of one question; how many ended."""
        ...


class LayerStats(Output):
    entries: int
    hits: int = Field(description="Fresh answers it gave since the start")


class RedisStats(LayerStats):
    available: bool = Field(description="Whether Redis answered just now; without it the next layer serves")


class TableStats(LayerStats):
    bytes: int = Field(description="Of questions and answers")
    uses: int = Field(description="How often these answers were given, by any gateway and layer")


class Layers(Output):
    memory: LayerStats
    redis: RedisStats | None = Field(default=None, description="Where REDIS_URL is set")
    table: TableStats


class Stats(Output):
    hits: int = Field(description="Answers given that were made in the memory as it is")
    revalidated: int = Field(description="Answers given after a change of memory, the same prompt having been asked")
    joined: int = Field(description="Turns that shared an answer under way")
    misses: int
    bypasses: dict[str, int] = Field(description="By reason")
    entries: int
    bytes: int
    hit_rate: float = Field(description="Turns answered without a model of their own, among those and misses, 0 to 1")
    model_seconds_saved: float = Field(description="What the model would have taken for hits and revalidated answers")
    layers: Layers


class Clearing(Input):
    all: QueryBool = Field(default=False, description="Everything, not the expired alone")
    query: Text | None = Field(default=None, description="What is stored for this question")


class Cleared(Output):
    cleared: int


async def stats(request: web.Request, _: Nothing) -> web.Response:
    """Hits, misses and bypasses since the start, and what is stored."""
    return answer(Stats.model_validate(dict(await request.app[CACHE].stats(request[SCOPE]))))


async def clear(request: web.Request, clearing: Clearing) -> web.Response:
    """Ends expired entries; with `all` everything, with `query` one question's."""
    cleared = await request.app[CACHE].clear(request[SCOPE], everything=clearing.all, query=clearing.query)
    return answer(Cleared(cleared=cleared))
