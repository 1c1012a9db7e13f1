"""`POST /conversation`: a turn in the shape of Home Assistant's own conversation API, whole or as server-sent events.

As events: any number of `delta` (`{"content": "..."}`), then one `reply` with the same object a whole answer is; before
them, for clients that ask, `queue` (`{"position": 2, "expected_seconds": 4.5}`) while the turn waits for the model.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from gateway.edge.api import Input, Name, Output, Text
from gateway.edge.keys import PIPELINE, SCOPE
from gateway.edge.queueing import QueueStatus, to_json
from gateway.edge.wire import cache_control
from gateway.home.speech.intents import ASKING
from gateway.shapes import Delta, Reply, Turn

EVENTS = "text/event-stream"
# An answer that ends so is a question back; Home Assistant then listens on.
ASKS = ("?", ";", "？")


class ConversationRequest(Input):
    text: Text
    conversation_id: Name | None = Field(default=None, description="To go on with a conversation")
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] | None = None
    area: Name | None = Field(default=None, description="The room that the speaker is in")
    device_id: Name | None = None
    stream: bool = Field(default=False, description="Answer as server-sent events")


class Plain(Output):
    speech: str
    extra_data: None = None


class Speech(Output):
    plain: Plain


class Response(Output):
    speech: Speech
    card: dict[str, Any] = Field(default_factory=dict)
    language: str
    response_type: str = Field(description="action_done, query_answer or error")
    data: dict[str, Any]


class UsedSource(Output):
    kind: str = Field(description="preference, knowledge, document, conversation, event or measurement")
    id: int
    text: str
    score: float | None = None
    source: str | None = Field(default=None, description="Where it comes from")
    at: datetime | None = Field(default=None, description="When it was told, said or seen")
    outdated: bool = Field(default=False, description="Something newer that was recalled with it says otherwise")


class TurnError(Output):
    code: str
    message: str


class ConversationReply(Output):
    response: Response
    conversation_id: str
    continue_conversation: bool
    interaction_id: str = Field(description="Names this turn, for feedback")
    cache: str = Field(description="hit, miss, or bypass with its reason")
    sources: list[UsedSource]
    model: str
    timings: dict[str, float] = Field(description="Milliseconds by step")
    intent: str | None = Field(default=None, description="What the gateway did itself")
    without: list[str] = Field(default_factory=list, description="Parts that did not answer in time")
    error: TurnError | None = None


async def converse(request: web.Request, given: ConversationRequest) -> web.StreamResponse:
    """One turn. As in Home Assistant's API a failed one is a 200 too: `response_type` is `error`, with words to say."""
    turn = Turn(
        scope=request[SCOPE],
        utterance=given.text.strip(),
        edge="conversation",
        conversation_id=given.conversation_id,
        area=given.area,
        device_id=given.device_id,
        language=given.language,
        voice=True,
        cache_control=cache_control(request),
    )
    if given.stream:
        return await _stream(request, turn)
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if isinstance(piece, Reply):
                return _whole(piece)
    raise AssertionError("a turn ends with its reply")


async def _stream(request: web.Request, turn: Turn) -> web.StreamResponse:
    status = QueueStatus(request)
    response = web.StreamResponse(headers={"Content-Type": EVENTS, "Cache-Control": "no-store", **status.headers})
    await response.prepare(request)
    held = b""  # the last words go out with the reply
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if isinstance(piece, Reply):
                held += _event("reply", orjson.dumps(to_body(piece)))
            elif piece.queue is not None:
                if not status.hides(piece):
                    held += _event("queue", orjson.dumps(to_json(piece.queue)))
            elif piece.content:
                held += _event("delta", orjson.dumps({"content": piece.content}))
            if held and isinstance(piece, Delta) and piece.finish is None:
                await response.write(held)
                held = b""
    await response.write_eof(held)
    return response


def to_body(reply: Reply) -> dict[str, Any]:
    """The reply as a `ConversationReply` states it; made without one, which would take longer than the rest."""
    data: dict[str, Any] = {"targets": [], "success": [], "failed": []}
    kind = "action_done" if reply.intent and reply.intent not in ASKING else "query_answer"
    if reply.error is not None:
        kind, data = "error", {"code": "unknown"}
    return {
        "response": {
            "speech": {"plain": {"speech": reply.text, "extra_data": None}},
            "card": {},
            "language": reply.language,
            "response_type": kind,
            "data": data,
        },
        "conversation_id": reply.conversation_id,
        "continue_conversation": reply.text.rstrip().endswith(ASKS),
        "interaction_id": reply.interaction_id,
        "cache": str(reply.cache),
        "sources": [
            {
                "kind": source.kind,
                "id": source.id,
                "text": source.text,
                "score": source.score,
                "source": source.origin,
                "at": source.at,
                "outdated": source.outdated,
            }
            for source in reply.sources
        ],
        "model": reply.model,
        "timings": dict(reply.timings),
        "intent": reply.intent,
        "without": list(reply.degraded),
        "error": {"code": reply.error.code, "message": reply.error.message} if reply.error is not None else None,
    }


def _whole(reply: Reply) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if reply.error is not None and reply.error.retry_after is not None:
        headers["Retry-After"] = str(reply.error.retry_after)
    return web.Response(
        body=orjson.dumps(to_body(reply)),
        headers=headers,
    )


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
