"""The model servers as one: who waits for which, who is well, who has read a conversation already.

A turn waits in the queue for a place of a server that is well and has its model, preferably the one that has most of
its prompt in memory, else the least loaded. It moves on to another server when one fails before its first word.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gateway.config import LlmSettings
from gateway.errors import ModelError, ModelNotFound, ModelRefused, ModelUnavailable, Preempted
from gateway.llm.breaker import Breaker
from gateway.llm.chat import ChatKind, ChatModel
from gateway.llm.ollama import OllamaChat, same_model
from gateway.llm.prefixes import Chain, WarmPrompts, chained
from gateway.llm.queue import AdmissionQueue, Order
from gateway.metrics import Metrics
from gateway.shapes import ChatRequest, Delta, Priority, QueuePlace
from gateway.tasks import end

CHECK_SECONDS = 30.0  # between two looks at a server that is well

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChatServer:
    """A model server: the `name` it is told by, how many turns it answers at once, its models (none: all it has)."""

    chat: ChatModel
    name: str
    parallel: int = 1
    models: tuple[str, ...] = ()


class Fleet:
    """Answers what turns ask, by one of the `servers`. Made inside a running loop; `start` and `close` bracket its
    tasks, and the servers' chat models are closed by whoever opened them."""

    def __init__(self, servers: Sequence[ChatServer], settings: LlmSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._servers = {server.name: _Watched(server, metrics, alone=len(servers) == 1) for server in servers}
        self._first = next(iter(self._servers.values()))
        self._watching: list[asyncio.Task[None]] = []
        self.queue = AdmissionQueue({server.name: server.parallel for server in servers}, settings.queue_size, metrics)

    @property
    def name(self) -> str:
        """The model asked where a client names none."""
        return self._first.chat.name

    @property
    def kind(self) -> ChatKind:
        """Who answers."""
        return self._first.chat.kind

    async def start(self) -> None:
        """Begins to watch over the servers."""
        self._watching = [
            asyncio.create_task(self._watch(server), name=f"watching {server.name}")
            for server in self._servers.values()
        ]

    async def close(self) -> None:
        """Ends the watching."""
        tasks = [*self._watching, *(server.probing for server in self._servers.values() if server.probing)]
        await end(*tasks)
        self._watching.clear()

    # --- asking

    def ask(self, request: ChatRequest, *, priority: Priority, seconds: float) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece, as `ChatModel.stream` gives it, once a place is free.

            Delta(queue=QueuePlace(2, 9.1)), Delta(queue=QueuePlace(1, 4.0)),   while it waits, whenever it moves up
            Delta(queue=QueuePlace(0, 0)),                                      when it has its place
            Delta("Hel"), Delta("lo"), Delta(finish=...)

        It waits at most `seconds` for a place. Closing it early ends the generation at once. With
        `Priority.BACKGROUND` it is ended, with Preempted, as soon as a turn needs its place.

        Raises QueueFull and QueueTimeout, and what `ChatModel.stream` raises.
        """
        if priority is Priority.BACKGROUND:
            return self._in_background(request, seconds)
        return self._ask(request, priority, seconds)

    @asynccontextmanager
    async def place(self, model: str, priority: Priority = Priority.CHAT) -> AsyncIterator[ChatModel]:
        """Holds a place while the block runs, and says at whom: for what is asked in other words than a turn's.

        Raises as `ask` does. A ModelError raised in the block counts as the server's failure.
        """
        await self._able(model, {}, None)
        with self.queue.entered(
            self._settings.queue_seconds, priority=priority, suits=lambda: self._order(model, (), {}, priority)
        ) as entry:
            async for _ in entry.waits():
                pass
            server = self._servers[entry.server]
            try:
                yield server.chat
            except ModelError as error:
                self._failed(server, error, model)
                raise

    def ollama(self, model: str = "") -> OllamaChat | None:
        """The Ollama to pass a request about `model` on to, a healthy one that has it if there is one; None where the
        models are embedded."""
        ollamas = [server for server in self._servers.values() if isinstance(server.chat, OllamaChat)]
        # In the order of the settings, but those first that can do it.
        ollamas.sort(key=lambda server: (not server.may_have(model), server.breaker.is_open))
        chat = ollamas[0].chat if ollamas else None
        return chat if isinstance(chat, OllamaChat) else None

    async def models(self) -> list[dict[str, Any]]:
        """The models of every server that answers, each once, as Ollama's `/api/tags` lists them.

        Raises ModelUnavailable or ModelTimeout where none answers.
        """
        found = await asyncio.gather(*(server.listing() for server in self._servers.values()))
        listings = [one for one in found if not isinstance(one, ModelError)]
        if not listings and isinstance(found[0], ModelError):
            raise found[0]
        entries: dict[str, dict[str, Any]] = {}
        for entry in chain.from_iterable(listings):
            entries.setdefault(_name(entry), entry)
        return list(entries.values())

    async def check(self) -> None:
        """Returns when the model can be asked of one of the servers; raises ModelError that says why it can't."""
        errors = await asyncio.gather(*(_failure(server.chat.check()) for server in self._able_ever(self.name)))
        if not errors:
            raise ModelNotFound(f"none of the model servers has the model {self.name}")
        if all(errors) and errors[0] is not None:
            raise errors[0]

    def checks(self) -> Mapping[str, Callable[[], Any]]:
        """Each server's own check, by its name, where there are several."""
        if len(self._servers) == 1:
            return {}
        return {name: server.check for name, server in self._servers.items()}

    # --- a turn's way

    async def _ask(
        self, request: ChatRequest, priority: Priority, seconds: float, wanted: Callable[[], object] | None = None
    ) -> AsyncGenerator[Delta, None]:
        model = request.model or self.name
        prompt = chained(request, model) if len(self._servers) > 1 else ()
        tried: dict[str, ModelError] = {}
        failure: ModelError | None = None
        order: Order | None = None
        began, waited = time.monotonic(), 0.0
        while True:
            await self._able(model, tried, failure)
            with self.queue.entered(
                seconds - waited,
                priority=priority,
                suits=lambda: self._order(model, prompt, tried, priority),
                wanted=wanted,
                order=order,
            ) as entry:
                came = time.monotonic()
                async for place in entry.waits():
                    yield Delta(queue=place)
                order, waited = entry.order, waited + time.monotonic() - came
                yield Delta(queue=QueuePlace(0, 0.0))
                server = self._servers[entry.server]
                spoke = False
                try:
                    await self._trust(server)
                    async with aclosing(server.chat.stream(request)) as deltas:
                        async for delta in deltas:
                            if not spoke:
                                spoke = True
                                server.warm.read(prompt)
                            yield delta
                except ModelError as error:
                    self._failed(server, error, model)
                    lasted = time.monotonic() - began - waited
                    if spoke or lasted > self._settings.total_seconds or not _another_may_do(error):
                        raise
                    tried[server.name] = failure = error
                    if not self._able_ever(model, tried):
                        raise
                    log.warning("%s failed before its first word, another is asked: %s", server.name, error.message)
                    entry.counts = False
                else:
                    self._succeeded(server)
                    return

    async def _in_background(self, request: ChatRequest, seconds: float) -> AsyncGenerator[Delta, None]:
        # In a task of its own: its place is free at once when a turn wants it, whatever the reader is doing.
        pieces: asyncio.Queue[Delta | None] = asyncio.Queue()

        async def read() -> None:
            try:
                task = asyncio.current_task()
                wanted = task.cancel if task is not None else None
                async with aclosing(self._ask(request, Priority.BACKGROUND, seconds, wanted)) as deltas:
                    async for delta in deltas:
                        pieces.put_nowait(delta)
            finally:
                pieces.put_nowait(None)

        reading = asyncio.create_task(read(), name="background answer")
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await asyncio.wait({reading})
            if reading.cancelled():
                raise Preempted("a turn needed the place")
            reading.result()
        finally:
            await end(reading)

    async def _able(self, model: str, tried: Mapping[str, ModelError], failure: ModelError | None) -> None:
        """Returns when a server not yet tried may answer; raises `failure`, or what is wrong, where there is none.

        Where none of them is known to be well, they are asked at once: a turn does not fail of old news.
        """
        able = self._able_ever(model, tried)
        if not able:
            if failure is None:
                # The lists may be older than a model that was fetched a moment ago.
                await asyncio.gather(*(server.probe(self._changed) for server in self._servers.values()))
                able = self._able_ever(model, tried)
            if not able:
                raise failure or ModelNotFound(f"model '{model}' not found")
        if all(server.breaker.is_open for server in able):
            errors = await asyncio.gather(*(server.probe(self._changed) for server in able))
            if all(errors):
                raise (
                    failure
                    or (errors[0] if len(errors) == 1 else None)
                    or ModelUnavailable(
                        f"none of the {len(able)} model servers answers: "
                        + "; ".join(error.message for error in errors if error is not None)
                    )
                )

    async def _trust(self, server: _Watched) -> None:
        """Asks a server that failed meanwhile whether it is back, before a turn waits for it."""
        if server.breaker.is_open and (error := await server.probe(self._changed)) is not None:
            raise error

    def _able_ever(self, model: str, tried: Iterable[str] = ()) -> list[_Watched]:
        return [server for server in self._servers.values() if server.name not in tried and server.may_have(model)]

    def _order(self, model: str, prompt: Chain, tried: Iterable[str], priority: Priority) -> list[str]:
        """Whose places will do, the best first."""
        able = self._able_ever(model, tried) or list(self._servers.values())
        well = [server for server in able if not server.breaker.is_open] or able
        if len(well) > 1:
            well.sort(
                key=lambda server: (
                    -server.warm.shared(prompt),
                    self.queue.active_at(server.name) / server.parallel,
                )
            )
        # To warm another server than the one where the next turn will go would be of no use.
        return [server.name for server in (well[:1] if priority is Priority.BACKGROUND else well)]

    # --- how the servers are

    def _succeeded(self, server: _Watched) -> None:
        was_open = server.breaker.is_open
        server.breaker.succeeded()
        if was_open:
            self._changed(server)

    def _failed(self, server: _Watched, error: ModelError, model: str) -> None:
        if isinstance(error, ModelNotFound):
            server.lacks(model)
        elif _is_failure(error):
            server.note_failure(error, self._changed)

    def _changed(self, server: _Watched) -> None:
        """A server opened or closed its breaker, or has other models."""
        server.turned.set()
        self.queue.look_again()

    async def _watch(self, server: _Watched) -> None:
        if not server.alone:
            await server.probe(self._changed)
        while True:
            server.turned.clear()
            try:
                async with asyncio.timeout(server.breaker.pause if server.breaker.is_open else CHECK_SECONDS):
                    await server.turned.wait()
            except TimeoutError:
                await server.probe(self._changed)


class _Watched:
    """A server and what is known of it."""

    def __init__(self, server: ChatServer, metrics: Metrics, *, alone: bool) -> None:
        self.name = server.name
        self.chat = server.chat
        self.parallel = server.parallel
        self.alone = alone
        self.breaker = Breaker()
        self.warm = WarmPrompts(server.parallel)
        self.turned = asyncio.Event()
        self.probing: asyncio.Task[ModelError | None] | None = None
        self._metrics = metrics
        self._models = server.models
        self._listed: tuple[str, ...] | None = None  # None: not known yet
        metrics.model_up.labels(self.name).set(1)

    def may_have(self, model: str) -> bool:
        """Whether it is worth asking for this model: one server alone says best itself what it has."""
        known = self._models or (None if self.alone else self._listed)
        return known is None or not model or any(same_model(model, name) for name in known)

    def lacks(self, model: str) -> None:
        """It said that it does not have this model."""
        if self._listed is not None:
            self._listed = tuple(name for name in self._listed if not same_model(model, name))

    async def listing(self) -> list[dict[str, Any]] | ModelError:
        """Its models, or why it does not say."""
        try:
            entries = await self.chat.models()
        except ModelError as error:
            return error
        if self.chat.kind == "ollama":
            self._listed = tuple(_name(entry) for entry in entries)
        if self._models:
            return [entry for entry in entries if any(same_model(_name(entry), name) for name in self._models)]
        return entries

    async def check(self) -> None:
        """Raises ModelError where it does not answer."""
        if isinstance(listed := await self.listing(), ModelError):
            raise listed

    async def probe(self, changed: Callable[[_Watched], None]) -> ModelError | None:
        """Asks it whether it is there; what is wrong, if anything. Who asks meanwhile shares the answer."""
        if self.probing is None:
            self.probing = asyncio.create_task(self._probe(changed), name=f"asking {self.name} how it is")
            self.probing.add_done_callback(self._probed)
        return await asyncio.shield(self.probing)

    def _probed(self, _: object) -> None:
        self.probing = None

    async def _probe(self, changed: Callable[[_Watched], None]) -> ModelError | None:
        error = await _failure(self.check() if self.chat.kind == "ollama" else self.chat.check())
        if error is not None:
            self.note_failure(error, changed)
        elif self.breaker.is_open:
            log.info("%s answers again", self.name)
            self.breaker.answered()
            self._metrics.model_up.labels(self.name).set(1)
            changed(self)
        return error

    def note_failure(self, error: ModelError, changed: Callable[[_Watched], None]) -> None:
        """Counts it, and leaves the server alone where it was one too many."""
        self._metrics.model_failures.labels(self.name, error.code).inc()
        was_open = self.breaker.is_open
        self.breaker.failed()
        if self.breaker.is_open and not was_open:
            log.warning("%s failed again and again and is left alone for a while: %s", self.name, error.message)
            self._metrics.model_up.labels(self.name).set(0)
            self.warm.forget()
            changed(self)


def _is_failure(error: ModelError) -> bool:
    """Whether it tells of the server, not of the request."""
    if isinstance(error, ModelRefused):
        return error.status >= 500
    return not isinstance(error, ModelNotFound)


def _another_may_do(error: ModelError) -> bool:
    return isinstance(error, ModelNotFound) or _is_failure(error)


async def _failure(checking: Any) -> ModelError | None:
    try:
        await checking
    except ModelError as error:
        return error
    return None


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("model") or entry.get("name"))
