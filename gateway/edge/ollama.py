"""Ollama's own API, so that its clients need only another address: `/api/chat`, `/api/tags`, `/api/version`.

The stream is NDJSON, a line a delta, the last with `"done": true`:

    {"model": "m", "created_at": "...Z", "message": {"role": "assistant", "content": "Hi"}, "done": false}
    {"model": "m", "created_at": "...Z", "message": {"role": "assistant", "content": ""}, "done": true,
     "done_reason": "stop", "total_duration": 1, "prompt_eval_count": 1, "eval_count": 1, ...}

Home Assistant's assistant breaks on an error status and on a blank line, so a voice turn that fails says so in words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from gateway.edge.api import read_body
from gateway.edge.assist import dissect
from gateway.edge.keys import PIPELINE, SETTINGS
from gateway.edge.queueing import QueueStatus, to_json
from gateway.edge.upstream import answered, as_the_others, behind
from gateway.edge.wire import cache_control, check_size, is_voice_door, speaker
from gateway.errors import BadRequest, ModelError
from gateway.llm.fleet import Fleet
from gateway.shapes import CacheControl, Delta, Message, Reply, Role, Scope, ToolCall, Turn

log = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"
# What a client is told where no Ollama is behind the gateway: the version whose API this is.
VERSION = "0.12.6"
PATIENCE_SECONDS = 1.0  # Home Assistant gives the list five seconds
ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MAX_DEPTH = 64
MESSAGE_FIELDS = frozenset({"role", "content", "thinking", "tool_calls", "images"})
# What the turn carries in fields of its own; every other field of a request is passed on as it came.
TURN_FIELDS = frozenset({"model", "messages", "tools", "stream"})

MODELS: web.AppKey[KnownModels] = web.AppKey("models")


class KnownModels:
    """The models there are, as last heard: Home Assistant must see its model even while Ollama is away."""

    def __init__(self, chat: Fleet) -> None:
        self._chat = chat
        self._last: list[dict[str, Any]] = []

    async def listed(self) -> list[dict[str, Any]]:
        """Ollama's entries of `/api/tags`. Never raises for a model server that is away."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._last = await self._chat.models()
        except (ModelError, TimeoutError) as error:
            log.warning(
                "listing the models as last heard: %s",
                error.message if isinstance(error, ModelError) else "no answer in time",
            )
        return self._last or [{"name": self._chat.name, "model": self._chat.name}]


async def tags(request: web.Request) -> web.Response:
    """`GET /api/tags`."""
    return _json({"models": await request.app[MODELS].listed()})


async def version(request: web.Request) -> web.Response:
    """`GET /api/version`: that of the Ollama behind the gateway, where one answers."""
    ollama = behind(request.app)
    if ollama is not None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return _json({"version": await ollama.version()})
        except (ModelError, TimeoutError):
            pass  # what the gateway speaks is known without it
    return _json({"version": VERSION})


async def chat(request: web.Request) -> web.StreamResponse:
    """`POST /api/chat`, streamed (the default) or whole. Raises GatewayError for what Ollama would refuse."""
    data = await read_body(request, request.app[SETTINGS], images=True)
    body = parse(data)
    check_size(body, len(data), request.app[SETTINGS].server)
    if not body.get("messages"):
        ollama = behind(request.app, body["model"])
        if ollama is not None:
            return await answered(request, as_the_others(request.app, body), ollama)
        return _json(_line(body["model"], "", done=True, extra={"done_reason": "load"}))
    body["model"], name = split_alias(body["model"])
    turn = from_chat(
        body,
        await speaker(request, name or said_by(body).get("user")),
        cache_control=cache_control(request),
        max_text=request.app[SETTINGS].server.max_text_characters,
        voice=is_voice_door(request),
    )
    if body.get("stream", True):
        return await _stream(request, turn)
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if isinstance(piece, Reply):
                if piece.error is not None and not turn.voice:
                    raise piece.error
                return _json(to_whole(piece), {"X-Interaction-Id": piece.interaction_id})
    raise AssertionError("a turn ends with its reply")


async def _stream(request: web.Request, turn: Turn) -> web.StreamResponse:
    status = QueueStatus(request)
    headers = {"Content-Type": NDJSON, "X-Interaction-Id": turn.interaction_id, **status.headers}
    response = web.StreamResponse(headers=headers)
    held = b""  # the last words go out with the last line: a cached answer then takes one write, not three
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if status.hides(piece):
                continue
            if isinstance(piece, Reply) and piece.error is not None and not turn.voice:
                if not response.prepared:
                    raise piece.error  # nothing was sent: the client gets its status
                held += orjson.dumps({"error": piece.error.message}) + b"\n"
                break
            if not response.prepared:
                await response.prepare(request)
            line = to_last_line(piece) if isinstance(piece, Reply) else to_line(turn, piece)
            if line is not None:
                held += orjson.dumps(line) + b"\n"
            if held and isinstance(piece, Delta) and piece.finish is None:
                await response.write(held)
                held = b""
    await response.write_eof(held)
    return response


# --- request -> Turn ----------------------------------------------------------------------------------------------


def parse(data: bytes) -> dict[str, Any]:
    """The body of a chat request, its fields of the right types. Raises BadRequest that names what is wrong."""
    body = parse_object(data)
    check_chat(body)
    return body


def parse_object(data: bytes) -> dict[str, Any]:
    """A body's JSON object. Raises BadRequest for anything else, and for what could be neither kept nor passed on."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"invalid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body should be a JSON object")
    if b"\\u0000" in data or _nearly_too_deep(body):
        _check_values(body)
    return body


def check_chat(body: Mapping[str, Any]) -> None:
    """Raises BadRequest that names the field of a chat request that is not as it should be."""
    model, messages = body.get("model"), body.get("messages", [])
    if not isinstance(model, str) or not model:
        raise BadRequest("model is required", field="model")
    if not isinstance(body.get("stream", True), bool):
        raise BadRequest("stream should be true or false", field="stream")
    for name, kind in (("options", dict), ("tools", list)):
        if not isinstance(body.get(name) or kind(), kind):
            raise BadRequest(f"{name} should be {'an object' if kind is dict else 'a list'}", field=name)
    if any(not isinstance(tool, dict) for tool in body.get("tools") or ()):
        raise BadRequest("tools should be a list of objects", field="tools")
    if messages is not None and not isinstance(messages, list):
        raise BadRequest("messages should be a list", field="messages")
    for position, message in enumerate(messages or ()):
        _check_message(message, f"messages.{position}")


def from_chat(
    body: Mapping[str, Any], scope: Scope, *, cache_control: CacheControl, max_text: int, voice: bool = False
) -> Turn:
    """The turn that a checked chat request is.

    The first system message is the head. The last user message is the utterance; tool calls and results after it (or
    the beginning of an answer to go on with) are the turn's continuation. Raises BadRequest for text over `max_text`.
    """
    messages = [_to_message(message) for message in body["messages"]]
    system = messages[0].content if messages[0].role == "system" else ""
    rest = messages[1:] if messages[0].role == "system" else messages
    spoken_at = max((at for at, message in enumerate(rest) if message.role == "user"), default=None)
    utterance = rest[spoken_at] if spoken_at is not None else Message("user")
    if len(utterance.content) > max_text:
        raise BadRequest(
            f"the last user message is {len(utterance.content)} characters long; at most {max_text} are allowed",
            field="messages",
        )
    history = rest[:spoken_at] if spoken_at is not None else ()
    continuation = rest[spoken_at + 1 :] if spoken_at is not None else rest
    told = dissect(system)
    if told.volatile or told.clock:
        log.debug("taken out of the head: %s; put beside the words: %s", told.volatile, told.clock)
    options = dict(body.get("options") or {})
    if options.pop("cache", True) is False:
        cache_control = CacheControl.NO_STORE
    request = {name: value for name, value in body.items() if name not in TURN_FIELDS and value is not None}
    if "options" in request:
        request["options"] = options
    return Turn(
        scope=scope,
        utterance=utterance.content,
        edge="ollama",
        head=told.head,
        volatile=told.volatile,
        clock=told.clock,
        history=tuple(history),
        sends_history=True,
        continuation=tuple(continuation),
        images=utterance.images,
        tools=tuple(body.get("tools") or ()),
        entities=told.entities,
        area=told.area,
        device_id=told.said_by.get("device"),
        language=told.said_by.get("lang"),
        floor=told.floor,
        voice=(told.assist and not told.task) or voice,
        task=told.task or request.get("format") is not None,
        model=body["model"],
        request=request,
        cache_control=cache_control,
    )


def split_alias(model: str) -> tuple[str, str | None]:
    """`qwen3:4b@anna` is the model `qwen3:4b`, asked by Anna."""
    name, separator, member = model.partition("@")
    return (name, member) if separator and name and member else (model, None)


def said_by(body: Mapping[str, Any]) -> Mapping[str, str]:
    """What the line `[gw ...]` of the system prompt says of the speaker."""
    first = body["messages"][0]
    return dissect(first.get("content") or "").said_by if first["role"] == "system" else {}


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        raise BadRequest(f"{place} should be an object", field=place)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"{place}.role should be one of {', '.join(ROLES)}", field=f"{place}.role")
    for name in ("content", "thinking"):
        if not isinstance(message.get(name) or "", str):
            raise BadRequest(f"{place}.{name} should be a string", field=f"{place}.{name}")
    images = message.get("images") or []
    if not isinstance(images, list) or any(not isinstance(image, str) for image in images):
        raise BadRequest(f"{place}.images should be a list of base64 strings", field=f"{place}.images")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRequest(f"{place}.tool_calls should be a list", field=f"{place}.tool_calls")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRequest(f"{place}.tool_calls should hold functions with a name", field=f"{place}.tool_calls")
        if not isinstance(function.get("arguments") or {}, dict):
            raise BadRequest(f"{place}.tool_calls: arguments should be an object", field=f"{place}.tool_calls")


def _to_message(message: Mapping[str, Any]) -> Message:
    calls = message.get("tool_calls") or ()
    return Message(
        role=ROLES[message["role"]],
        content=message.get("content") or "",
        thinking=message.get("thinking") or "",
        tool_calls=tuple(ToolCall(call["function"]["name"], call["function"].get("arguments") or {}) for call in calls),
        images=tuple(message.get("images") or ()),
        extra={name: value for name, value in message.items() if name not in MESSAGE_FIELDS},
    )


def _nearly_too_deep(body: Mapping[str, Any]) -> bool:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH - 2):
        held = [one.values() if isinstance(one, dict) else one for one in level]
        level = [inner for values in held for inner in values if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _check_values(body: Mapping[str, Any]) -> None:
    """PostgreSQL's text holds no NUL, and a value nested without end would not be written again."""
    level: list[tuple[str, Any]] = list(body.items())
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, Any]] = []
        for name, value in level:
            if isinstance(value, str):
                if "\x00" in value:
                    raise BadRequest(f"{name} holds a NUL character", field=name)
            elif isinstance(value, dict):
                if any("\x00" in key for key in value):
                    raise BadRequest(f"{name} holds a NUL character", field=name)
                inner += [(name, held) for held in value.values()]
            elif isinstance(value, list):
                inner += [(name, held) for held in value]
        if not inner:
            return
        level = inner
    raise BadRequest(f"{level[0][0]} is nested more than {MAX_DEPTH} levels deep", field=level[0][0])


# --- Delta, Reply -> response -------------------------------------------------------------------------------------


def to_line(turn: Turn, delta: Delta) -> dict[str, Any] | None:
    """A delta's line; None for one that says nothing (its figures come with the last line).

    Where a turn stands in the queue, for clients that ask, is a line without words:

        {"model": "m", ..., "message": {"role": "assistant", "content": ""}, "done": false,
         "queue": {"position": 2, "expected_seconds": 4.5}}
    """
    if delta.queue is not None:
        return _line(turn.model or "", "", extra={"queue": to_json(delta.queue)})
    if not (delta.content or delta.thinking or delta.tool_calls):
        return None
    return _line(turn.model or "", delta.content, thinking=delta.thinking, tool_calls=delta.tool_calls)


def to_last_line(reply: Reply) -> dict[str, Any]:
    """The line that ends a stream: why it ended, and its figures."""
    return _line(reply.model, "", done=True, extra=_figures(reply))


def to_whole(reply: Reply) -> dict[str, Any]:
    """The answer in one object, for a client that does not stream."""
    return _line(
        reply.model, reply.text, thinking=reply.thinking, tool_calls=reply.tool_calls, done=True, extra=_figures(reply)
    )


def _line(
    model: str,
    content: str,
    *,
    thinking: str = "",
    tool_calls: Sequence[ToolCall] = (),
    done: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if tool_calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.arguments)}} for call in tool_calls
        ]
    created_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": created_at, "message": message, "done": done, **(extra or {})}


def _figures(reply: Reply) -> dict[str, Any]:
    """Ollama's own figures (durations in nanoseconds), and beside them the gateway's."""
    usage = reply.usage
    return {
        "done_reason": "length" if reply.finish == "length" else "stop",
        "total_duration": int(reply.timings.get("total", 0.0) * 1_000_000),
        "load_duration": usage.load_ns,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": usage.prompt_ns,
        "eval_count": usage.completion_tokens,
        "eval_duration": usage.completion_ns,
        "interaction_id": reply.interaction_id,
        "cache": str(reply.cache),
    }


def _json(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": JSON, **(headers or {})})
