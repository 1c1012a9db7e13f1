"""Ollama, over its own wire: `POST /api/chat` in a stream of JSON lines, `GET /api/tags`, and what is passed through.

{"model": "m", "created_at": "...", "message": {"role": "assistant", "content": "Hi"}, "done": false}
{"model": "m", ..., "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
 "prompt_eval_count": 26, "eval_count": 5, "load_duration": 1, "prompt_eval_duration": 1, "eval_duration": 1}
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from typing import Any, Literal

import aiohttp

from gateway.config import LlmSettings
from gateway.errors import ModelError, ModelNotFound, ModelRefused
from gateway.llm.lines import Deadline, Patience, connector_timeout, error_words, fetch, named, parse, post_lines
from gateway.shapes import ChatRequest, Delta, Finish, FinishReason, Message, ToolCall, Usage

# How long a question that needs no model (tags, version) may take.
QUICK_SECONDS = 5.0


class OllamaServer:
    """The connections to one Ollama. Made inside a running loop; `close` ends them."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.who = f"Ollama at {self.url}"
        # No limit here: the admission queue is the bound, and a waiting connection would hide in another's time.
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def version(self, seconds: float = QUICK_SECONDS) -> str:
        """Ollama's version. Raises ModelError where nothing, or something else, answers at the address."""
        answer = await fetch(self.session, "GET", f"{self.url}/api/version", Patience.at_most(seconds), self.who)
        version = answer.get("version")
        if not isinstance(version, str):
            raise ModelError(f"what answers at {self.url} is not Ollama")
        return version

    async def models(self) -> list[dict[str, Any]]:
        """The entries of `/api/tags`."""
        answer = await fetch(self.session, "GET", f"{self.url}/api/tags", Patience.at_most(QUICK_SECONDS), self.who)
        entries = answer.get("models") or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ModelError(f"{self.who} sent a list of models that is none")
        return entries

    async def require(self, model: str) -> None:
        """Returns when the server has `model`; raises ModelNotFound that says how to get it."""
        if not any(same_model(model, str(entry.get("model") or entry.get("name"))) for entry in await self.models()):
            raise ModelNotFound(f"{self.who} does not have the model {model}; get it with: ollama pull {model}")

    async def close(self) -> None:
        """Closes the connections, those in use too."""
        await self.session.close()


class OllamaChat:
    """A chat model of Ollama. Made inside a running loop."""

    kind: Literal["ollama"] = "ollama"

    def __init__(self, url: str, settings: LlmSettings) -> None:
        self._server = OllamaServer(url)
        self._patience = Patience.of(settings)
        self._context_tokens = settings.context_tokens
        self._keep_alive = keep_alive(settings.keep_alive)
        self.name = settings.model

    @property
    def url(self) -> str:
        """Where Ollama is."""
        return self._server.url

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """See `ChatModel.stream`."""
        who = self._server.who
        called = False
        body = self._body(request)
        async with aclosing(
            post_lines(self._server.session, f"{self.url}/api/chat", body, self._patience, who)
        ) as lines:
            async for line in lines:
                chunk = parse(line, who)
                if "error" in chunk:
                    raise ModelRefused(error_words(chunk["error"]), status=502)
                delta = _delta(chunk, who, called)
                called = called or bool(delta.tool_calls)
                if delta.content or delta.thinking or delta.tool_calls or delta.finish:
                    yield delta
                if delta.finish:
                    return
        raise ModelError(f"{who} broke off its answer before its end")

    async def models(self) -> list[dict[str, Any]]:
        """See `ChatModel.models`."""
        return await self._server.models()

    async def version(self) -> str:
        """Ollama's version."""
        return await self._server.version()

    async def check(self) -> None:
        """See `ChatModel.check`."""
        await self._server.require(self.name)

    async def proxy(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Passes a request on as it is (`path` begins with a slash and may have a query) and gives the response,
        whatever its status; the caller reads its body and calls `release()` or `close()`.

        Raises ModelUnavailable or ModelTimeout before the response's head; the body has no bound but the caller's.
        """
        async with (
            named(self._server.who),
            Deadline(self._patience, self._server.who).within(self._patience.first, "did not answer"),
        ):
            return await self._server.session.request(
                method,
                f"{self.url}{path}",
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=connector_timeout(self._patience),
            )

    async def close(self) -> None:
        """See `ChatModel.close`."""
        await self._server.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            **request.extra,
            "model": request.model or self.name,
            "messages": [to_wire(message) for message in request.messages],
            "stream": True,
            # A num_ctx that differs from the last caller's makes Ollama load the model anew.
            "options": {"num_ctx": self._context_tokens, **request.options},
            "keep_alive": self._keep_alive if request.keep_alive is None else request.keep_alive,
        }
        if request.tools:
            body["tools"] = list(request.tools)
        if request.format is not None:
            body["format"] = request.format
        if request.think is not None:
            body["think"] = request.think
        return body


def same_model(asked: str, there: str) -> bool:
    """Whether Ollama means the same by two names: `nomic-embed-text` is `nomic-embed-text:latest`."""
    return _tagged(asked) == _tagged(there)


def _tagged(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def keep_alive(setting: str) -> str | int:
    """Ollama wants a number without a unit (`-1`: for ever) as a number; as a string it refuses it."""
    return int(setting) if re.fullmatch(r"-?\d+", setting) else setting


def to_wire(message: Message) -> dict[str, Any]:
    """A message as Ollama takes it."""
    wire: dict[str, Any] = {**message.extra, "role": message.role, "content": message.content}
    if message.thinking:
        wire["thinking"] = message.thinking
    if message.tool_calls:
        wire["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    if message.images:
        wire["images"] = list(message.images)
    return wire


def _delta(chunk: Mapping[str, Any], who: str, called: bool) -> Delta:
    message = chunk.get("message") or {}
    if not isinstance(message, dict):
        raise ModelError(f"{who} sent a message that is no object")
    calls = tuple(_tool_call(call, who) for call in message.get("tool_calls") or ())
    finish = None
    if chunk.get("done") is True:
        reason: FinishReason = "length" if chunk.get("done_reason") == "length" else "stop"
        finish = Finish(
            reason="tool_calls" if called or calls else reason,
            usage=Usage(
                prompt_tokens=_count(chunk, "prompt_eval_count"),
                completion_tokens=_count(chunk, "eval_count"),
                load_ns=_count(chunk, "load_duration"),
                prompt_ns=_count(chunk, "prompt_eval_duration"),
                completion_ns=_count(chunk, "eval_duration"),
            ),
            model=str(chunk.get("model") or ""),
        )
    return Delta(
        content=str(message.get("content") or ""),
        thinking=str(message.get("thinking") or ""),
        tool_calls=calls,
        finish=finish,
    )


def _tool_call(call: Any, who: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ModelError(f"{who} sent a tool call without a name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # Servers that only nearly speak Ollama's wire send OpenAI's form, JSON inside a string.
        arguments = parse(arguments.encode(), who) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise ModelError(f"{who} sent a tool call whose arguments are no object")
    return ToolCall(name=function["name"], arguments=arguments)


def _count(chunk: Mapping[str, Any], key: str) -> int:
    value = chunk.get(key)
    return value if isinstance(value, int) else 0
