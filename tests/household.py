"""The memory, training and REST parts put together as the gateway does, on a test's own database and model server."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.cache.responses import ResponseCache
from gateway.config import DocumentSettings, Settings
from gateway.edge import keys, routes
from gateway.edge.api import MAX_URL_BYTES
from gateway.edge.middleware import middlewares
from gateway.errors import ModelUnavailable, StartError
from gateway.home.action_log import ActionLog
from gateway.home.registry import Registry
from gateway.llm.embedding import Embedder, OllamaEmbedder
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.documents import Documents
from gateway.memory.embedder import LateEmbedder
from gateway.memory.forgetting import Forgetting
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.measurements import Measurements
from gateway.memory.preferences import Preferences
from gateway.memory.spaces import Spaces
from gateway.metrics import Metrics
from gateway.shapes import Scope, Space
from gateway.store import members
from gateway.store.address import Address
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.pool import Database
from gateway.training.export import Export
from gateway.training.feedback import Feedback
from gateway.turn.language import Languages
from tests.scripted_model import ScriptedModel

Client = TestClient[web.Request, web.Application]


@dataclass
class Household:
    """A household's parts. `part_away` holds the names of parts that `/readyz` shall find ill."""

    scope: Scope
    database: Database
    epoch: EpochWatch
    journal: Journal
    model: ScriptedModel
    metrics: Metrics
    late: LateEmbedder
    knowledge: KnowledgeBase
    documents: Documents
    measurements: Measurements
    action_log: ActionLog  # it writes when it is asked to
    forgetting: Forgetting
    preferences: Preferences
    cache: ResponseCache
    feedback: Feedback
    export: Export
    parts_away: set[str]
    registry: Registry = field(default_factory=Registry)

    def turn(
        self, session_id: str = "talk", *, member_id: int | None = None, user: str = "Hi?", text: str = "Hello."
    ) -> str:
        """Records a turn in the journal; its id."""
        turn_id = uuid.uuid4().hex
        self.journal.append(
            {
                "kind": "turn",
                "household_id": self.scope.household_id,
                "member_id": member_id,
                "turn_id": turn_id,
                "session_id": session_id,
                "at": "2026-03-01T12:00:00+00:00",
                "done_at": "2026-03-01T12:00:01+00:00",
                "language": "en",
                "intent": None,
                "user": user,
                "assistant": text,
                "metadata": {"model": "scripted"},
            }
        )
        return turn_id

    def application(self, settings: Settings | None = None) -> web.Application:
        """The REST edge over these parts."""
        settings = settings or Settings()

        async def find_member(token_hash: bytes) -> Scope | None:
            async with self.database.unscoped() as connection:
                return await members.by_token_hash(connection, token_hash)

        async def check(name: str) -> None:
            if name in self.parts_away:
                raise ModelUnavailable(f"{name} is away")

        app = web.Application(middlewares=middlewares(settings.server, self.scope.household_id, find_member))
        app[keys.SETTINGS] = settings
        app[keys.DATABASE] = self.database
        app[keys.KNOWLEDGE] = self.knowledge
        app[keys.DOCUMENTS] = self.documents
        app[keys.MEASUREMENTS] = self.measurements
        app[keys.FORGETTING] = self.forgetting
        app[keys.PREFERENCES] = self.preferences
        app[keys.FEEDBACK] = self.feedback
        app[keys.EXPORT] = self.export
        app[keys.CACHE] = self.cache
        app[keys.METRICS] = self.metrics
        app[keys.REGISTRY] = self.registry
        app[keys.AUTOMATIONS] = None
        app[keys.PARTS] = {
            "chat": keys.Part(lambda: check("chat"), needed=True),
            "postgres": keys.Part(lambda: check("postgres")),
        }
        routes.register(app)
        return app

    @asynccontextmanager
    async def client(self, settings: Settings | None = None, **more: Any) -> AsyncIterator[Client]:
        """A client of a listening REST edge, with these headers where given."""
        server = TestServer(self.application(settings), host="127.0.0.1")
        await server.start_server(max_line_size=MAX_URL_BYTES)
        async with TestClient(server, **more) as client:
            yield client


async def no_other(space: Space) -> Embedder:
    """For a household whose model stays the same."""
    raise StartError(f"{space.model} is not to be opened here")


@cache
def languages(known: tuple[str, ...] = ("en", "fr", "pl")) -> Languages:
    """What tells these languages apart, one for all tests of a worker: it holds nothing of theirs."""
    return Languages(known)


def language_of(text: str) -> str | None:
    """What tells the language of what is kept."""
    return languages().of_text(text)


@asynccontextmanager
async def opened(
    address: Address, database: Database, scope: Scope, folder: Path, model: ScriptedModel
) -> AsyncIterator[Household]:
    """Opens the parts in the gateway's order."""
    settings = Settings()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        epoch = EpochWatch(address, scope.household_id)
        await epoch.start()
        stack.push_async_callback(epoch.close)
        journal = Journal(folder, database, settings.journal.max_bytes, metrics, epoch)
        await journal.start()
        stack.push_async_callback(journal.close)
        embedder = OllamaEmbedder(model.url, settings.embedding)
        stack.push_async_callback(embedder.close)
        spaces = Spaces(database, epoch, scope.household_id, embedder, no_other)
        stack.push_async_callback(spaces.close)
        await spaces.start()
        late = LateEmbedder(database, spaces, epoch, metrics, settings.embedding, scope.household_id)
        await stack.enter_async_context(late)

        async def changed() -> None:
            await epoch.refresh()
            late.wake()

        documents = Documents(
            database, DocumentSettings(), folder.parent / "documents", scope.household_id, changed, language_of
        )
        await stack.enter_async_context(documents)
        cache = ResponseCache(database, epoch, settings.cache, metrics)
        await cache.start()
        stack.push_async_callback(cache.close)

        async def end_answers(scope: Scope) -> int:
            return await cache.clear(scope, everything=True)

        backgrounds = Backgrounds(database, spaces, epoch)
        await stack.enter_async_context(backgrounds)
        knowledge = KnowledgeBase(
            database, spaces, backgrounds, journal, epoch, settings.embedding, late.wake, language_of
        )
        action_log = ActionLog(database)
        yield Household(
            scope=scope,
            database=database,
            epoch=epoch,
            journal=journal,
            model=model,
            metrics=metrics,
            late=late,
            knowledge=knowledge,
            documents=documents,
            measurements=Measurements(database, settings.measurements, scope.household_id, ZoneInfo("Europe/Warsaw")),
            action_log=action_log,
            forgetting=Forgetting(database, knowledge, documents, journal, epoch, end_answers, action_log.write),
            preferences=Preferences(database, journal, epoch),
            cache=cache,
            feedback=Feedback(database, journal, epoch),
            export=Export(database),
            parts_away=set(),
        )


async def add_member(owner: asyncpg.Connection, scope: Scope, name: str, token: str) -> Scope:
    """Makes a member with this token."""
    added = await members.add(owner, scope.household_id, name, hashlib.sha256(token.encode()).digest())
    return Scope(scope.household_id, added.id, name)
