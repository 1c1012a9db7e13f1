"""A model server that speaks Ollama's wire and answers what it was told to. The only thing that tests fake.

    async with ScriptedModel() as model:
        model.script(Answer("Hello", " there"))                 # the next chat's answer, in these chunks
        model.script(Answer("one", gate, "two"))                # waits for `gate` (asyncio.Event) between the chunks
        model.script(Answer(status=500, error="out of memory"))  # refuses
        model.script(Answer("one", CUT))                        # closes the connection in mid-stream
        ...
        model.chats[-1]["messages"]                             # what it was asked
        await model.client_gone.wait()                          # the client closed the connection

Without a script it answers "I heard: " and the last user message.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

import numpy as np
from aiohttp import web


@dataclass(frozen=True)
class _Mark:
    name: str


CUT: Final = _Mark("cut")  # the connection is closed here
BROKEN: Final = _Mark("broken")  # a line that is not JSON
HANG: Final = _Mark("hang")  # nothing more comes until the client or the server goes
BLANK: Final = _Mark("blank")  # an empty line

BODY: web.RequestKey[Any] = web.RequestKey("body", object)  # a request's JSON


@dataclass(frozen=True)
class ErrorLine:
    """A line `{"error": ...}` in mid-stream, after which Ollama ends the stream."""

    message: str


@dataclass(frozen=True)
class Thinking:
    """A chunk of `message.thinking`."""

    text: str


@dataclass(frozen=True)
class Tools:
    """Tool calls: pairs of a name and its arguments."""

    calls: tuple[tuple[str, dict[str, Any]], ...]


Step = str | asyncio.Event | _Mark | ErrorLine | Thinking | Tools | dict[str, Any]


@dataclass(init=False)
class Answer:
    """What one chat is answered: chunks of text, events to wait for, tool calls, mishaps; a dict is a raw line.

    The closing line (`done: true`) is added, with `done_reason` and counts, unless a mishap ended the stream.
    """

    steps: tuple[Step, ...]
    status: int
    error: str
    done_reason: str
    usage: dict[str, int]

    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        error: str = "",
        done_reason: str = "stop",
        usage: dict[str, int] | None = None,
    ) -> None:
        self.steps = steps
        self.status = status
        self.error = error
        self.done_reason = done_reason
        self.usage = usage or {}

    @property
    def text(self) -> str:
        return "".join(step for step in self.steps if isinstance(step, str))


@dataclass(frozen=True)
class Seen:
    """A request as it came. `body` is the parsed JSON (None without one)."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass
class ScriptedModel:
    """See the module. `models` it has, `pullable` it can fetch; `embed_dimensions` is the vectors' width."""

    models: list[str] = field(default_factory=lambda: ["qwen3:4b-instruct", "nomic-embed-text:latest"])
    # The width of one embedding model's vectors, where it is not `embed_dimensions`; what it says is wrong with it.
    embed_widths: dict[str, int] = field(default_factory=dict)
    embed_refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    embed_gates: dict[str, asyncio.Semaphore] = field(default_factory=dict)  # a permit for each batch of several texts
    pullable: set[str] = field(default_factory=lambda: {"qwen3:4b-instruct", "nomic-embed-text", "all-minilm"})
    embed_dimensions: int = 768
    answer: Callable[[dict[str, Any]], Answer] | None = None
    # Failure of everything (status, words), for a server that is up and unwell; of /api/embed alone; a wait in front.
    failing: tuple[int, str] | None = None
    embed_failing: tuple[int, str] | None = None
    embed_gate: asyncio.Event | None = None
    chat_gate: asyncio.Event | None = None
    pull_gate: asyncio.Event | None = None  # waited for behind each line of progress

    def __post_init__(self) -> None:
        self.requests: list[Seen] = []
        self.client_gone = asyncio.Event()
        self.clients_gone = 0
        self.url = ""
        self._answers: deque[Answer] = deque()
        self._arrived = asyncio.Condition()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # --- scripting and looking

    def script(self, *answers: Answer) -> None:
        """The next chats are answered so, in order."""
        self._answers.extend(answers)

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of every chat so far."""
        return self.seen("/api/chat")

    def seen(self, path: str) -> list[Any]:
        """The bodies of every request to `path` so far."""
        return [request.body for request in self.requests if request.path == path]

    async def arrived(self, count: int, path: str = "/api/chat") -> None:
        """Returns once `count` requests to `path` have come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen(path)) >= count)

    # --- life

    async def __aenter__(self) -> ScriptedModel:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listens on loopback, by default on a free port; `url` says where."""
        self._closing.clear()
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._record])
        app.add_routes(
            [
                web.get("/", self._root),
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._ps),
                web.post("/api/show", self._show),
                web.post("/api/pull", self._pull),
                web.post("/api/embed", self._embed),
                web.post("/api/embeddings", self._embedding),
                web.post("/api/generate", self._generate),
                web.delete("/api/delete", self._delete),
                web.post("/api/blobs/{digest}", self._blob),
                web.head("/api/blobs/{digest}", self._blob),
                web.post("/api/chat", self._chat),
            ]
        )
        # With handler_cancellation a handler is cancelled when its client goes: how client_gone is known.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes every connection; a later `start(port)` serves again."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- Ollama's wire

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = len(raw) if "/blobs/" in request.path else json.loads(raw) if raw else None
        except ValueError:
            return web.json_response({"error": "invalid character in request"}, status=400)
        request[BODY] = body
        async with self._arrived:
            self.requests.append(Seen(request.method, request.path, dict(request.headers), body))
            self._arrived.notify_all()
        if self.failing is not None:
            return web.json_response({"error": self.failing[1]}, status=self.failing[0])
        try:
            response: web.StreamResponse = await handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            if not self._closing.is_set():
                self.clients_gone += 1
                self.client_gone.set()
            raise
        return response

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.13.5"})

    async def _tags(self, request: web.Request) -> web.Response:
        return web.json_response({"models": [self._entry(name) for name in self.models]})

    async def _ps(self, request: web.Request) -> web.Response:
        return web.json_response({"models": []})

    async def _show(self, request: web.Request) -> web.Response:
        if not self._has(request[BODY].get("model", "")):
            return self._unknown(request[BODY].get("model", ""))
        return web.json_response({"capabilities": ["completion", "tools"], "model_info": {}, "details": {}})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name = request[BODY].get("model") or request[BODY].get("name")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await self._line(response, {"status": "pulling manifest"})
        if name not in self.pullable:
            await self._line(response, {"error": "pull model manifest: file does not exist"})
            return response
        for completed in (0, 512, 1024):
            await self._line(
                response,
                {"status": "pulling 8f1c", "digest": "sha256:8f1c", "total": 1024, "completed": completed},
            )
            await self._wait(self.pull_gate)
        await self._line(response, {"status": "verifying sha256 digest"})
        await self._line(response, {"status": "success"})
        self.models.append(name if ":" in name else f"{name}:latest")
        return response

    async def _embed(self, request: web.Request) -> web.Response:
        body = request[BODY]
        if not self._has(body["model"]):
            return self._unknown(body["model"])
        await self._wait(self.embed_gate)
        gate = self.embed_gates.get(body["model"])
        if gate is not None and isinstance(body["input"], list) and len(body["input"]) > 1:
            await gate.acquire()
        if (failing := self.embed_refused.get(body["model"], self.embed_failing)) is not None:
            return web.json_response({"error": failing[1]}, status=failing[0])
        width = self.embed_widths.get(body["model"], self.embed_dimensions)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        return web.json_response(
            {
                "model": body["model"],
                "embeddings": [words_vector(text, width).tolist() for text in texts],
                "total_duration": 1_000_000,
                "load_duration": 1000,
                "prompt_eval_count": sum(len(text.split()) for text in texts),
            }
        )

    async def _embedding(self, request: web.Request) -> web.Response:
        if not self._has(request[BODY]["model"]):
            return self._unknown(request[BODY]["model"])
        return web.json_response({"embedding": words_vector(request[BODY]["prompt"], self.embed_dimensions).tolist()})

    async def _delete(self, request: web.Request) -> web.Response:
        if not self._has(request[BODY]["model"]):
            return self._unknown(request[BODY]["model"])
        self.models.remove(request[BODY]["model"])
        # Ollama answers every web page of the machine; what stands before it must not.
        return web.Response(headers={"Access-Control-Allow-Origin": "*", "X-Ollama": "own"})

    async def _blob(self, request: web.Request) -> web.Response:
        return web.Response(status=201 if request.method == "POST" else 404)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = request[BODY]
        if not self._has(body["model"]):
            return self._unknown(body["model"])
        answer = self._answers.popleft() if self._answers else Answer("I heard: ", body.get("prompt", ""))
        if answer.status != 200:
            return web.json_response({"error": answer.error}, status=answer.status)
        if not body.get("stream", True):
            whole = {**self._head(body), "response": answer.text, "done": True, "done_reason": "stop", "context": [1]}
            return web.json_response(whole)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for step in answer.steps:
            if step is HANG:
                await self._closing.wait()
            elif step is CUT:
                assert request.transport is not None
                request.transport.abort()
                return response
            elif isinstance(step, asyncio.Event):
                await self._wait(step)
            elif isinstance(step, ErrorLine):
                await self._line(response, {"error": step.message})
                return response
            elif isinstance(step, str):
                await self._line(response, {**self._head(body), "response": step, "done": False})
        end = {"response": "", "done": True, "done_reason": answer.done_reason, "context": list(range(30_000))}
        await self._line(response, {**self._head(body), **end})
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = request[BODY]
        if not self._has(body["model"]):
            return self._unknown(body["model"])
        await self._wait(self.chat_gate)
        if self._answers:
            answer = self._answers.popleft()
        elif self.answer is not None:
            answer = self.answer(body)
        else:
            answer = Answer("I heard: ", last_user(body))
        if answer.status != 200:
            return web.json_response({"error": answer.error}, status=answer.status)
        if body.get("stream", True):
            return await self._streamed(request, body, answer)
        return await self._whole(body, answer)

    async def _streamed(self, request: web.Request, body: dict[str, Any], answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for step in answer.steps:
            if isinstance(step, asyncio.Event):
                await self._wait(step)
            elif step is HANG:
                await self._closing.wait()
            elif step is CUT:
                assert request.transport is not None
                request.transport.abort()
                return response
            elif step is BROKEN:
                await response.write(b'{"model": "m", "message": {"ro\n')
            elif step is BLANK:
                await response.write(b"\n")
            elif isinstance(step, ErrorLine):
                await self._line(response, {"error": step.message})
                return response
            elif isinstance(step, dict):
                await self._line(response, step)
            elif not isinstance(step, _Mark):
                await self._line(response, {**self._head(body), "message": message(step), "done": False})
        closing = {"role": "assistant", "content": ""}
        await self._line(response, {**self._head(body), "message": closing, **self._tail(body, answer)})
        return response

    async def _whole(self, body: dict[str, Any], answer: Answer) -> web.Response:
        whole: dict[str, Any] = {"role": "assistant", "content": ""}
        for step in answer.steps:
            if isinstance(step, asyncio.Event):
                await self._wait(step)
            elif step is HANG:
                await self._closing.wait()
            elif isinstance(step, ErrorLine):
                return web.json_response({"error": step.message}, status=500)
            elif isinstance(step, (str, Thinking, Tools)):
                for key, value in message(step).items():
                    whole[key] = value if key == "role" else whole.get(key, type(value)()) + value
        return web.json_response({**self._head(body), "message": whole, **self._tail(body, answer)})

    def _head(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": body["model"], "created_at": "2026-11-21T06:00:00.123456789Z"}

    def _tail(self, body: dict[str, Any], answer: Answer) -> dict[str, Any]:
        prompt = sum(len(str(one.get("content", "")).split()) for one in body["messages"])
        return {
            "done": True,
            "done_reason": answer.done_reason,
            "total_duration": 5_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": prompt,
            "prompt_eval_duration": 2_000_000,
            "eval_count": max(len(answer.text.split()), 1),
            "eval_duration": 2_000_000,
            **answer.usage,
        }

    def _entry(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "modified_at": "2026-11-01T12:00:00.5Z",
            "size": 2_497_293_803,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "qwen3",
                "families": ["qwen3"],
                "parameter_size": "4.0B",
                "quantization_level": "Q4_K_M",
            },
        }

    def _has(self, name: str) -> bool:
        return name in self.models or f"{name}:latest" in self.models

    def _unknown(self, name: str) -> web.Response:
        return web.json_response({"error": f"model '{name}' not found"}, status=404)

    async def _wait(self, event: asyncio.Event | None) -> None:
        if event is None:
            return
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _line(self, response: web.StreamResponse, line: dict[str, Any]) -> None:
        await response.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def message(step: str | Thinking | Tools) -> dict[str, Any]:
    """A chunk's `message`."""
    if isinstance(step, Thinking):
        return {"role": "assistant", "content": "", "thinking": step.text}
    if isinstance(step, Tools):
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in step.calls]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    return {"role": "assistant", "content": step}


def last_user(body: dict[str, Any]) -> str:
    """The last user message of a chat's body."""
    for one in reversed(body["messages"]):
        if one["role"] == "user":
            return str(one.get("content", ""))
    return ""


def words_vector(text: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A vector of the words in `text`, always the same: texts that share words are near each other."""
    # The two prefixes of nomic-embed-text are no words of the text.
    words = re.findall(r"\w+", re.sub(r"^search_(query|document): ", "", text).lower()) or ["nothing"]
    total = np.zeros(dimensions)
    for word in words:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        total += np.random.default_rng(seed).standard_normal(dimensions)
    vector: np.ndarray[Any, np.dtype[np.float32]] = (total / np.linalg.norm(total)).astype(np.float32)
    return vector
