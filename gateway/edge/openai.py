"""OpenAI's API, for its clients: `/v1/chat/completions`, `/v1/models`, `/v1/embeddings`.

The stream is server-sent events, a chunk a delta, the last before `[DONE]` with the figures where they are asked for:

    data: {"id": "chatcmpl-...", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"},
           "finish_reason": null}], ...}
    data: {"id": "chatcmpl-...", ..., "choices": [], "usage": {"prompt_tokens": 26, "completion_tokens": 5, ...}}
    data: [DONE]

A request is put into Ollama's words, and from there on the turn is the same. What the models behind the gateway cannot
do (several choices, sound, files, pictures by address) is refused by name; what changes nothing is ignored.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from gateway.edge.api import read_body
from gateway.edge.keys import PIPELINE, SETTINGS
from gateway.edge.ollama import MODELS, check_chat, from_chat, parse_object, said_by, split_alias
from gateway.edge.queueing import QueueStatus, to_json
from gateway.edge.upstream import check_texts, embedded_vectors, read_json
from gateway.edge.wire import cache_control, check_size, is_voice_door, speaker
from gateway.errors import BadRequest, GatewayError, ModelError, ModelNotFound
from gateway.llm.ollama import same_model
from gateway.shapes import Delta, Reply, ToolCall, Turn, Usage

EVENTS = "text/event-stream"
DONE = b"data: [DONE]\n\n"
# Where a request's field has another name, or sits elsewhere, with Ollama.
OPTIONS = {
    "frequency_penalty": "frequency_penalty",
    "max_completion_tokens": "num_predict",
    "max_tokens": "num_predict",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "temperature": "temperature",
    "top_p": "top_p",
}
THINK = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
# Fields that are Ollama's own, which its users send in `extra_body`.
OLLAMAS = ("keep_alive", "think")
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,(?P<data>[A-Za-z0-9+/=\s]*)")


async def chat(request: web.Request) -> web.StreamResponse:
    """`POST /v1/chat/completions`, whole (the default) or streamed. Raises GatewayError."""
    data = await read_body(request, request.app[SETTINGS], images=True)
    body = parse_object(data)
    check_size(body, len(data), request.app[SETTINGS].server)
    turn = await to_turn(body, request)
    if body.get("stream"):
        return await _stream(request, turn, with_usage=(body.get("stream_options") or {}).get("include_usage") is True)
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if isinstance(piece, Reply):
                if piece.error is not None and not turn.voice:
                    raise piece.error
                return _json(to_whole(turn, piece), {"X-Interaction-Id": piece.interaction_id})
    raise AssertionError("a turn ends with its reply")


async def _stream(request: web.Request, turn: Turn, *, with_usage: bool) -> web.StreamResponse:
    status = QueueStatus(request)
    headers = {"Content-Type": EVENTS, "Cache-Control": "no-store", "X-Interaction-Id": turn.interaction_id}
    headers |= status.headers
    response = web.StreamResponse(headers=headers)
    chunks = Chunks(turn, with_usage=with_usage)
    async with aclosing(request.app[PIPELINE].run(turn)) as answer:
        async for piece in answer:
            if status.hides(piece):
                continue
            failed = piece.error if isinstance(piece, Reply) and not turn.voice else None
            if failed is not None and not response.prepared:
                raise failed  # nothing was sent: the client gets its status
            if not response.prepared:
                await response.prepare(request)
            if failed is not None:
                await response.write(_event(to_failure(failed)))
                break
            for chunk in chunks.of(piece):
                await response.write(_event(chunk))
            if isinstance(piece, Reply):
                await response.write(DONE)
    await response.write_eof()
    return response


async def models(request: web.Request) -> web.Response:
    """`GET /v1/models`."""
    listed = [_model(entry) for entry in await request.app[MODELS].listed()]
    return _json({"object": "list", "data": listed})


async def model(request: web.Request) -> web.Response:
    """`GET /v1/models/{model}`. Raises ModelNotFound."""
    wanted = request.match_info["model"]
    for entry in await request.app[MODELS].listed():
        if same_model(wanted, _name(entry)):
            return _json({**_model(entry), "id": wanted})
    raise ModelNotFound(f"model '{wanted}' not found")


async def embeddings(request: web.Request) -> web.Response:
    """`POST /v1/embeddings`: by Ollama, or by the gateway's own embedding model as it stores texts. Raises
    GatewayError."""
    body = parse_object(await read_body(request, request.app[SETTINGS]))
    name, given, width = body.get("model"), body.get("input"), body.get("dimensions")
    if not isinstance(name, str) or not name:
        raise BadRequest("model is required", field="model")
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise BadRequest("encoding_format should be float or base64", field="encoding_format")
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or width < 1):
        raise BadRequest("dimensions should be a whole number from 1 on", field="dimensions")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or any(text == "" for text in texts):
        raise BadRequest("input should be a string, or a list of them, and none of them empty", field="input")
    if any(isinstance(text, int | list) for text in texts):
        raise BadRequest("input should be text; tokens are another model's", field="input")
    check_texts(texts, request.app[SETTINGS].server.max_body_bytes)
    vectors, tokens = await embedded_vectors(request.app, name, texts, width), 0
    if vectors is None:
        asked = {"model": name, "input": texts, **({"dimensions": width} if width else {})}
        answer = await read_json(request.app, "/api/embed", asked)
        try:
            vectors = np.asarray(answer.get("embeddings"), dtype=np.float32)
        except (TypeError, ValueError):
            raise ModelError("Ollama sent embeddings that are no numbers") from None
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ModelError("Ollama did not send a vector for each text")
        tokens = answer.get("prompt_eval_count") or 0
    coded = body.get("encoding_format") == "base64"
    return _json(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _base64(vector) if coded else vector.tolist()}
                for index, vector in enumerate(vectors)
            ],
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


# --- request -> Turn ----------------------------------------------------------------------------------------------


async def to_turn(body: Mapping[str, Any], request: web.Request) -> Turn:
    """The turn that a request's JSON object is. Raises BadRequest that names the field at fault."""
    chat = to_ollama(body)
    check_chat(chat)
    if not chat["messages"]:
        raise BadRequest("messages should not be empty", field="messages")
    chat["model"], name = split_alias(chat["model"])
    turn = from_chat(
        chat,
        await speaker(request, name or said_by(chat).get("user")),
        cache_control=cache_control(request),
        max_text=request.app[SETTINGS].server.max_text_characters,
        voice=is_voice_door(request),
    )
    return replace(turn, edge="openai")


def to_ollama(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request in Ollama's words. Raises BadRequest for what has no words there."""
    _refuse_what_cannot_be(body)
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise BadRequest("messages should be a list", field="messages")
    names: dict[str, str] = {}  # of the tools called, by the call's id
    chat: dict[str, Any] = {
        "model": body.get("model"),
        "messages": [_message(message, f"messages.{at}", names) for at, message in enumerate(messages)],
        "tools": _tools(body),
        "options": {**_object(body, "options"), **_options(body)},
        "format": _format(body),
    }
    effort = body.get("reasoning_effort")
    if effort is not None:
        if not isinstance(effort, str) or effort not in THINK:
            raise BadRequest(f"reasoning_effort should be one of {', '.join(THINK)}", field="reasoning_effort")
        chat["think"] = THINK[effort]
    chat |= {name: body[name] for name in OLLAMAS if name in body}
    return {name: value for name, value in chat.items() if value is not None}


def _refuse_what_cannot_be(body: Mapping[str, Any]) -> None:
    for name, only, why in (
        ("n", (None, 1), "one choice is made at a time"),
        ("logprobs", (None, False), "probabilities are not told here"),
        ("top_logprobs", (None, 0), "probabilities are not told here"),
        ("logit_bias", (None, {}), "the models here take none"),
        ("functions", (None, []), "give tools instead"),
        ("function_call", (None, "none", "auto"), "give tool_choice instead"),
        ("modalities", (None, ["text"]), "answers are text"),
        ("audio", (None,), "answers are text"),
    ):
        if body.get(name) not in only:
            raise BadRequest(f"{name} cannot be this: {why}", field=name)
    if not isinstance(body.get("stream") or False, bool):
        raise BadRequest("stream should be true or false", field="stream")
    _object(body, "stream_options")


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{name} should be an object", field=name)
    return value


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, ollamas in OPTIONS.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BadRequest(f"{name} should be a number", field=name)
        options[ollamas] = value
    stop = body.get("stop")
    if stop is not None:
        stop = [stop] if isinstance(stop, str) else stop
        if not isinstance(stop, list) or any(not isinstance(one, str) for one in stop):
            raise BadRequest("stop should be a string, or a list of them", field="stop")
        options["stop"] = stop
    return options


def _tools(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools offered. Ollama cannot be made to call one, but it can be offered that one alone."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if not isinstance(tools, list):
        raise BadRequest("tools should be a list", field="tools")
    for position, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRequest(f"tools.{position} should be a function with a name", field=f"tools.{position}")
    if choice in (None, "auto", "required"):
        return tools
    if choice == "none":
        return []
    match choice:
        case {"function": {"name": str() as name}}:
            wanted = [tool for tool in tools if tool["function"]["name"] == name]
        case _:
            wanted = []
    if not wanted:
        raise BadRequest("tool_choice should be none, auto, required, or one of tools", field="tool_choice")
    return wanted


def _format(body: Mapping[str, Any]) -> Any:
    match body.get("response_format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
        case _:
            raise BadRequest(
                "response_format should be of type text, json_object, or json_schema with its schema",
                field="response_format",
            )


def _message(message: Any, place: str, names: dict[str, str]) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadRequest(f"{place} should be an object", field=place)
    role = message.get("role")
    text, images = _content(message.get("content"), f"{place}.content")
    made: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": text}
    if images:
        made["images"] = images
    for name in ("reasoning", "reasoning_content"):
        if role == "assistant" and isinstance(message.get(name), str):
            made["thinking"] = message[name]
    calls = message.get("tool_calls")
    if calls:
        made["tool_calls"] = _calls(calls, f"{place}.tool_calls", names)
    if role == "tool":
        called = names.get(str(message.get("tool_call_id"))) or message.get("name")
        made |= {"tool_name": called} if isinstance(called, str) else {}
    return made


def _content(content: Any, place: str) -> tuple[str, list[str]]:
    """A message's text and its images."""
    if content is None or isinstance(content, str):
        return content or "", []
    if not isinstance(content, list):
        raise BadRequest(f"{place} should be a string or a list of parts", field=place)
    texts: list[str] = []
    images: list[str] = []
    for position, part in enumerate(content):
        match part:
            case {"type": "text", "text": str() as text} | {"type": "refusal", "refusal": str() as text}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str() as url} | (str() as url)}:
                data = _DATA_URL.fullmatch(url)
                if data is None:
                    raise BadRequest(
                        f"{place}.{position}: an image should be in the request, as data:image/...;base64,...",
                        field=f"{place}.{position}",
                    )
                images.append("".join(data["data"].split()))
            case _:
                raise BadRequest(f"{place}.{position} should be of type text or image_url", field=f"{place}.{position}")
    return "\n".join(texts), images


def _calls(calls: Any, place: str, names: dict[str, str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else [None]:
        match call:
            case {"function": {"name": str() as name, **function}, **rest}:
                arguments = function.get("arguments") or {}
                if isinstance(arguments, str):
                    try:
                        arguments = orjson.loads(arguments)
                    except orjson.JSONDecodeError:
                        raise BadRequest(f"{place}: arguments should be JSON", field=place) from None
                made.append({"function": {"name": name, "arguments": arguments}})
                names[str(rest.get("id"))] = name
            case _:
                raise BadRequest(f"{place} should hold functions with a name", field=place)
    return made


# --- Delta, Reply -> response -------------------------------------------------------------------------------------


class Chunks:
    """The chunks of one streamed answer."""

    def __init__(self, turn: Turn, *, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._calls = 0
        self._begun = False
        self._head: dict[str, Any] = {
            "id": _id(turn.id),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": turn.model,
            "system_fingerprint": None,
        }

    def of(self, piece: Delta | Reply) -> list[dict[str, Any]]:
        """The chunks that say a delta, or that end the answer.

        Where a turn stands in the queue, for clients that ask, is a chunk without choices, as the figures' is.
        """
        if isinstance(piece, Reply):
            end = self._chunk({}, _finish_reason(piece))
            end |= {"interaction_id": piece.interaction_id, "cache": str(piece.cache)}
            figures = {**self._head, "choices": [], "usage": _usage(piece.usage)}
            return [*self._beginning(), end, *([figures] if self._with_usage else [])]
        if piece.queue is not None:
            return [*self._beginning(), {**self._head, "choices": [], "queue": to_json(piece.queue)}]
        said: dict[str, Any] = {}
        if piece.content:
            said["content"] = piece.content
        if piece.thinking:
            said["reasoning"] = piece.thinking
        if piece.tool_calls:
            said["tool_calls"] = [
                {"index": self._calls + at, **_call(call)} for at, call in enumerate(piece.tool_calls)
            ]
            self._calls += len(piece.tool_calls)
        return [*self._beginning(), self._chunk(said)] if said else []

    def _beginning(self) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "choices": [choice], **({"usage": None} if self._with_usage else {})}


def to_whole(turn: Turn, reply: Reply) -> dict[str, Any]:
    """The answer in one object."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text or (None if reply.tool_calls else ""),
        "refusal": None,
    }
    if reply.thinking:
        message["reasoning"] = reply.thinking
    if reply.tool_calls:
        message["tool_calls"] = [_call(call) for call in reply.tool_calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    return {
        "id": _id(reply.turn_id),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": turn.model,
        "system_fingerprint": None,
        "choices": [choice],
        "usage": _usage(reply.usage),
        "interaction_id": reply.interaction_id,
        "cache": str(reply.cache),
    }


def to_failure(error: GatewayError) -> dict[str, Any]:
    """An error where the status is gone already: in the stream."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": error.field, "code": error.code}}


def _id(turn_id: str) -> str:
    return f"chatcmpl-{turn_id}"


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = orjson.dumps(dict(call.arguments)).decode()
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _finish_reason(reply: Reply) -> str:
    if reply.tool_calls:
        return "tool_calls"
    return "length" if reply.finish == "length" else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    made: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_prompt_tokens is not None:
        made["prompt_tokens_details"] = {"cached_tokens": usage.cached_prompt_tokens}
    return made


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("model") or entry.get("name"))


def _model(entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        created = int(datetime.fromisoformat(str(entry.get("modified_at"))[:19] + "+00:00").timestamp())
    except ValueError:
        created = 0
    return {"id": _name(entry), "object": "model", "created": created, "owned_by": "library"}


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _json(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": "application/json", **(headers or {})})
