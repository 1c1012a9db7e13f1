"""By these keys the edge finds what the composition root opened. Below the edge they are constructor arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from gateway.automations.engine import Automations
    from gateway.config import Settings
    from gateway.edge.cache import StoredAnswers
    from gateway.home.link import Link
    from gateway.home.registry import Registry
    from gateway.llm.fleet import Fleet
    from gateway.memory.documents import Documents
    from gateway.memory.forgetting import Forgetting
    from gateway.memory.knowledge import KnowledgeBase
    from gateway.memory.measurements import Measurements
    from gateway.memory.preferences import Preferences
    from gateway.memory.spaces import Spaces
    from gateway.metrics import Metrics
    from gateway.shapes import Scope
    from gateway.store.epoch import EpochWatch
    from gateway.store.journal import Journal
    from gateway.store.pool import Database
    from gateway.switches import Switches
    from gateway.training.export import Export
    from gateway.training.feedback import Feedback


@dataclass(frozen=True, slots=True)
class Part:
    """A part whose health `/readyz` tells.

    `check` raises a GatewayError that says what is wrong; what it returns is told of a part that is well. `needed`:
    without it a turn cannot be answered.
    """

    check: Callable[[], Awaitable[str | None]]
    needed: bool = False


SETTINGS: web.AppKey[Settings] = web.AppKey("settings")
DATABASE: web.AppKey[Database] = web.AppKey("database")
HOUSEHOLD: web.AppKey[int] = web.AppKey("household")
JOURNAL: web.AppKey[Journal] = web.AppKey("journal")
EPOCH: web.AppKey[EpochWatch] = web.AppKey("epoch")
KNOWLEDGE: web.AppKey[KnowledgeBase] = web.AppKey("knowledge")
DOCUMENTS: web.AppKey[Documents] = web.AppKey("documents")
MEASUREMENTS: web.AppKey[Measurements] = web.AppKey("measurements")
FORGETTING: web.AppKey[Forgetting] = web.AppKey("forgetting")
PREFERENCES: web.AppKey[Preferences] = web.AppKey("preferences")
FEEDBACK: web.AppKey[Feedback] = web.AppKey("feedback")
EXPORT: web.AppKey[Export] = web.AppKey("export")
CACHE: web.AppKey[StoredAnswers] = web.AppKey("cache")
CHAT: web.AppKey[Fleet] = web.AppKey("chat")
SPACES: web.AppKey[Spaces] = web.AppKey("spaces")
REGISTRY: web.AppKey[Registry] = web.AppKey("registry")
LINK: web.AppKey[Link | None] = web.AppKey("link")
AUTOMATIONS: web.AppKey[Automations | None] = web.AppKey("automations")
PIPELINE: web.AppKey[Any] = web.AppKey("pipeline")
SWITCHES: web.AppKey[Switches] = web.AppKey("switches")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics")
PARTS: web.AppKey[Mapping[str, Part]] = web.AppKey("parts")
OPENAPI: web.AppKey[bytes] = web.AppKey("openapi")

SCOPE: web.RequestKey[Scope] = web.RequestKey("scope")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id")
