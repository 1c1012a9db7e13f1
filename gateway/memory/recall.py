"""Recall: what of the memory belongs beside an utterance, within a budget of time and tokens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from gateway.config import RecallSettings
from gateway.errors import StoreUnavailable
from gateway.memory.commands import ALIAS_PREFIX
from gateway.memory.fusion import Hit
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.preferences import Preferences
from gateway.shapes import Scope, Source

log = logging.getLogger(__name__)

MIN_WORDS = 0.5  # the share of a question's words (by their weight) that makes a text belong to it, without vectors
BYTES_PER_TOKEN = 3  # of UTF-8: on the cautious side for the models in use (English has 4 to 5, Polish 2.5 to 3)


def estimate_tokens(text: str) -> int:
    """How many tokens `text` is for a model, estimated from its UTF-8 length."""
    return len(text.encode()) // BYTES_PER_TOKEN + 1


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was recalled, best first. `missing` names the parts that did not answer in time or are not up to date: an
    answer built on an incomplete recall is not stored. `next_expiry` is when the first of the visible memory ends."""

    sources: tuple[Source, ...] = ()
    missing: tuple[str, ...] = ()
    next_expiry: datetime | None = None

    @property
    def complete(self) -> bool:
        return not self.missing


@dataclass
class _Found:
    """What the legs have found so far: kept when time runs out."""

    preferences: list[Source] = field(default_factory=list)
    knowledge: list[Source] = field(default_factory=list)
    missing: set[str] = field(default_factory=lambda: {"preferences", "knowledge"})
    next_expiry: datetime | None = None


class Recall:
    """Preferences (newest first) and knowledge (best first, by meaning and by words), side by side."""

    def __init__(self, knowledge: KnowledgeBase, preferences: Preferences, settings: RecallSettings) -> None:
        self._knowledge = knowledge
        self._preferences = preferences
        self._settings = settings

    async def __call__(self, scope: Scope, utterance: str) -> Recalled:
        """What `scope` may see that belongs to `utterance`. A part that is away is in `missing`."""
        found = _Found()
        try:
            async with asyncio.timeout(self._settings.seconds):
                await asyncio.gather(
                    self._recall_preferences(scope, found), self._recall_knowledge(scope, utterance, found)
                )
        except TimeoutError:
            log.warning("recall cut after %.1f s without %s", self._settings.seconds, ", ".join(sorted(found.missing)))
        sources = (
            *_within(found.preferences, self._settings.preference_tokens),
            *_within(found.knowledge, self._settings.knowledge_tokens),
        )
        return Recalled(sources, tuple(sorted(found.missing)), found.next_expiry)

    async def _recall_preferences(self, scope: Scope, found: _Found) -> None:
        try:
            visible = await self._preferences.visible(scope)
        except StoreUnavailable:
            return
        newest_first = sorted(visible, key=lambda preference: (preference.updated_at, preference.id), reverse=True)
        found.preferences = [
            Source("preference", preference.id, f"{preference.key}: {orjson.dumps(preference.value).decode()}")
            for preference in newest_first
            if preference.category != "aliases" and not preference.key.startswith(ALIAS_PREFIX)
        ]
        found.missing.discard("preferences")

    async def _recall_knowledge(self, scope: Scope, utterance: str, found: _Found) -> None:
        if self._settings.knowledge_tokens == 0 or not utterance.strip():
            found.missing.discard("knowledge")
            return
        try:
            result = await self._knowledge.search(scope, utterance, limit=self._settings.candidates)
        except StoreUnavailable:
            return
        min_score = result.min_score if self._settings.min_score is None else self._settings.min_score
        found.knowledge = [
            Source("document", hit.entry.id, f"[{hit.entry.source}] {hit.entry.content}", round(hit.score, 4))
            if hit.entry.kind == "document" and hit.entry.source
            else Source("knowledge", hit.entry.id, hit.entry.content, round(hit.score, 4))
            for hit in result.hits
            if _belongs(hit, min_score)
        ]
        found.next_expiry = result.next_expiry
        if result.complete:
            found.missing.discard("knowledge")


def _belongs(hit: Hit, min_score: float) -> bool:
    """By its meaning where that could be measured: words that two texts share do not make them about one thing."""
    if hit.cosine is not None:
        return hit.cosine >= min_score
    return hit.words is not None and hit.words.share >= MIN_WORDS


def _within(sources: Iterable[Source], budget: int) -> list[Source]:
    """The first sources whose texts fit into `budget` tokens together. One that does not fit is passed over."""
    kept: list[Source] = []
    for source in sources:
        tokens = estimate_tokens(source.text)
        if tokens <= budget:
            kept.append(source)
            budget -= tokens
    return kept
