"""Seen from outside: whether the process lives, whether a turn could be answered, figures, and the API's own pages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from aiohttp import web
from pydantic import Field

from gateway.edge.api import JSON, Nothing, Output, answer
from gateway.edge.keys import METRICS, OPENAPI, PARTS, Part
from gateway.errors import GatewayError

CHECK_SECONDS = 3.0  # a part that has not answered by then is not well

WEB = Path(__file__).parent.parent / "web"
# The page needs no other host, and may use none.
CONTENT_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"


class Alive(Output):
    status: Literal["ok"] = "ok"


class PartHealth(Output):
    ok: bool
    needed: bool = Field(description="Without it no turn can be answered")
    message: str | None = Field(default=None, description="What is wrong, or what is going on")


class Readiness(Output):
    status: Literal["ready", "degraded", "not ready"]
    parts: dict[str, PartHealth]


async def healthz(_: web.Request, __: Nothing) -> web.Response:
    """Whether the process lives."""
    return answer(Alive())


async def readyz(request: web.Request, _: Nothing) -> web.Response:
    """Each part; 503 where a turn could not be answered."""
    parts = request.app[PARTS]
    checks = await asyncio.gather(*(_check(part) for part in parts.values()))
    health = dict(zip(parts, checks, strict=True))
    if any(part.needed and not part.ok for part in health.values()):
        return answer(Readiness(status="not ready", parts=health), status=503)
    well = all(part.ok for part in health.values())
    return answer(Readiness(status="ready" if well else "degraded", parts=health))


async def _check(part: Part) -> PartHealth:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            message = await part.check()
    except GatewayError as error:
        return PartHealth(ok=False, needed=part.needed, message=error.message)
    except TimeoutError:
        return PartHealth(ok=False, needed=part.needed, message=f"no answer within {CHECK_SECONDS:g} s")
    return PartHealth(ok=True, needed=part.needed, message=message)


async def metrics(request: web.Request, _: Nothing) -> web.Response:
    """Prometheus' text format."""
    return web.Response(body=request.app[METRICS].render(), headers={"Content-Type": METRICS_TYPE})


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def openapi(request: web.Request, _: Nothing) -> web.Response:
    """The OpenAPI 3.1 document."""
    return web.Response(body=request.app[OPENAPI], content_type=JSON)


async def docs(_: web.Request, __: Nothing) -> web.FileResponse:
    """The page that shows the document."""
    return _file("docs.html", "text/html")


async def docs_script(_: web.Request, __: Nothing) -> web.FileResponse:
    """The page's script."""
    return _file("docs.js", "text/javascript")


async def docs_style(_: web.Request, __: Nothing) -> web.FileResponse:
    """The page's style."""
    return _file("docs.css", "text/css")


def _file(name: str, kind: str) -> web.FileResponse:
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Security-Policy": CONTENT_POLICY}
    return web.FileResponse(WEB / name, headers=headers)
