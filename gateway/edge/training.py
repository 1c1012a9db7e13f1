"""`/training`: scores that people give, and the training data that comes of them."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from gateway.edge.api import JSON_LINES, Input, Moment, Name, Output, QueryBool, Text, answer, digits
from gateway.edge.keys import EXPORT, FEEDBACK, SCOPE
from gateway.errors import GatewayError
from gateway.training.export import Choice

LOG = logging.getLogger(__name__)

SEND_SECONDS = 60.0  # a client that reads nothing for so long has gone; its connection is closed

SEND_BUFFER_BYTES = 65_536


def _whole(value: Any) -> Any:
    # JSON has one kind of number: 5.0 is the whole number 5 there.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Score = Annotated[int, Field(ge=1, le=5), BeforeValidator(_whole)]
QueryScore = Annotated[int, Field(ge=1, le=5), BeforeValidator(digits)]


class Opinion(Input):
    interaction_id: Name = Field(description="Of the turn, as its answer gave it")
    score: Score
    comment: Text | None = None


class Noted(Output):
    """`pending`: taken down while PostgreSQL is away; it will be stored."""

    status: Literal["stored", "pending"]
    interaction_id: str
    score: int
    comment: str | None


class Selection(Input):
    min_score: QueryScore | None = None
    since: Moment | None = None
    only_new: QueryBool = Field(default=False, description="Only what no export has sent yet")


async def feedback(request: web.Request, opinion: Opinion) -> web.Response:
    """Scores a turn."""
    recorded = await request.app[FEEDBACK].record(
        request[SCOPE], opinion.interaction_id, opinion.score, opinion.comment
    )
    noted = Noted(
        status="stored" if recorded.stored else "pending",
        interaction_id=opinion.interaction_id,
        score=opinion.score,
        comment=opinion.comment,
    )
    return answer(noted, status=202 if not recorded.stored else 201 if recorded.created else 200)


async def export(request: web.Request, selection: Selection) -> web.StreamResponse:
    """JSONL, `{"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}` a line."""
    response = web.StreamResponse(
        headers={"Content-Type": JSON_LINES, "Content-Disposition": 'attachment; filename="training.jsonl"'}
    )

    async def begin() -> None:
        if request.transport is not None:
            # No buffer of ours: a chunk counts as sent when the system has taken all of it.
            request.transport.set_write_buffer_limits(high=0)
            connection = request.transport.get_extra_info("socket")
            if connection is not None:
                # And the system shall not hold megabytes of it that may never arrive.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        await response.prepare(request)

    async def send(lines: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            if not response.prepared:
                await begin()
            await response.write(lines)
            await _sent(request)

    choice = Choice(min_score=selection.min_score, since=selection.since, only_new=selection.only_new)
    try:
        await request.app[EXPORT].send(request[SCOPE], choice, send)
        if not response.prepared:
            await begin()
        await response.write_eof()
    except (GatewayError, TimeoutError) as error:
        if not response.prepared:
            raise
        # Half of it has been sent: only a broken connection can still tell the client that it is not the whole.
        why = error.message if isinstance(error, GatewayError) else "the client stopped reading"
        LOG.warning("an export broke off: %s", why)
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        LOG.info("an export broke off: the client went away")
    return response


async def _sent(request: web.Request) -> None:
    """Returns when nothing written to the client waits in this process. Raises ConnectionError if it has gone."""
    _still_there(request)
    # `write` waits by itself only behind 64 KiB, and aiohttp has no other way to wait that is not deprecated.
    await request.protocol._drain_helper()  # noqa: SLF001
    _still_there(request)


def _still_there(request: web.Request) -> None:
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client went away")
