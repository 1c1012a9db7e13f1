"""The floor of a cached turn: a bare aiohttp handler that reads its JSON body and does one SELECT by key.

python -m tests.benchmarks.floor PORT HOST DBPORT DATABASE
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import orjson
import uvloop
from aiohttp import web

POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool")


async def answer(request: web.Request) -> web.Response:
    """One SELECT, one JSON object."""
    asked = orjson.loads(await request.read())
    row = await request.app[POOL].fetchrow("SELECT $1::text AS said", asked["text"])
    return web.Response(body=orjson.dumps({"said": row["said"]}), content_type="application/json")


async def main(port: int, host: str, database_port: int, database: str) -> None:
    """Serves until it is killed."""
    pool = await asyncpg.create_pool(
        host=host, port=database_port, user="postgres", database=database, min_size=1, max_size=8
    )
    application = web.Application()
    application[POOL] = pool
    application.router.add_post("/conversation", answer)
    await serve(application, port)


async def serve(application: web.Application, port: int) -> None:
    """Serves `application`, and its health check, on loopback until it is killed."""
    application.router.add_get("/healthz", ready)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def ready(_: web.Request) -> web.Response:
    """That it runs."""
    return web.Response(text="ok")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
