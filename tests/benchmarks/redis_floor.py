"""The floor of a cached turn: a bare aiohttp handler that reads its JSON body and does one Redis GET.

    python -m tests.benchmarks.redis_floor PORT REDIS_PORT

It answers `/conversation` with a JSON object and `/api/chat` with a line, each with the very bytes that Redis has.
"""

from __future__ import annotations

import sys

import orjson
import redis.asyncio
import uvloop
from aiohttp import web

from tests.benchmarks.floor import serve

REDIS: web.AppKey[redis.asyncio.Redis] = web.AppKey("redis")
CONNECTIONS = 1024  # as many as ask at once: with fewer, shared, it was slower


async def converse(request: web.Request) -> web.Response:
    """The answer kept for the words of a `/conversation`."""
    asked = orjson.loads(await request.read())
    kept = await request.app[REDIS].get(asked["text"])
    return web.Response(body=kept, content_type="application/json")


async def chat(request: web.Request) -> web.Response:
    """The answer kept for the last words of an `/api/chat`."""
    asked = orjson.loads(await request.read())
    kept = await request.app[REDIS].get(asked["messages"][-1]["content"])
    return web.Response(body=kept, content_type="application/x-ndjson")


async def main(port: int, redis_port: int) -> None:
    """Serves until it is killed."""
    application = web.Application()
    application[REDIS] = redis.asyncio.Redis(port=redis_port, max_connections=CONNECTIONS)
    application.router.add_post("/conversation", converse)
    application.router.add_post("/api/chat", chat)
    await serve(application, port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
