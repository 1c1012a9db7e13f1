"""Recall: what of the memory belongs beside an utterance, within a budget of time and tokens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from gateway.config import RecallSettings
from gateway.errors import StoreUnavailable
from gateway.memory.commands import ALIAS_PREFIX
from gateway.memory.expansion import Expansion, expand
from gateway.memory.fusion import Hit
from gateway.memory.knowledge import KnowledgeBase, SearchResult
from gateway.memory.order import relation
from gateway.memory.past import Past
from gateway.memory.preferences import Preferences
from gateway.memory.selection import Candidate, estimate_tokens, select
from gateway.memory.threshold import MIN_WORDS, belongs, newest_first
from gateway.shapes import Entity, Scope, Source
from gateway.store.knowledge import Knowledge

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what helps to understand it.

    `things`: what is at home, what the household calls it among its names. `called`: the same of those whose id is
    known, by their ids. `before`: what the same speaker said before in this conversation.
    """

    scope: Scope
    utterance: str
    language: str = "en"
    things: Sequence[Entity] = ()
    called: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was recalled: preferences, then the rest, most useful first. `missing` names the parts that did not answer
    in time or are not up to date: an answer built on an incomplete recall is not stored. `next_expiry` is when the
    first of the visible memory ends. `added` is what the question was expanded by, and why."""

    sources: tuple[Source, ...] = ()
    missing: tuple[str, ...] = ()
    next_expiry: datetime | None = None
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not self.missing


@dataclass
class _Found:
    """What the retrievers have found so far: kept when time runs out."""

    preferences: list[Source] = field(default_factory=list)
    known: list[Candidate] = field(default_factory=list)
    past: list[Candidate] = field(default_factory=list)
    missing: set[str] = field(default_factory=lambda: {"preferences", "knowledge", "past"})
    next_expiry: datetime | None = None


class Recall:
    """What stays true (preferences, newest first; knowledge and documents) and what happened, side by side."""

    def __init__(
        self,
        knowledge: KnowledgeBase,
        preferences: Preferences,
        past: Past,
        settings: RecallSettings,
        now: Callable[[], datetime],
    ) -> None:
        """`now` tells the time in the household's zone."""
        self._knowledge = knowledge
        self._preferences = preferences
        self._past = past
        self._settings = settings
        self._now = now

    async def __call__(self, question: Question) -> Recalled:
        """What the asker may see that belongs to the question. A part that is away is in `missing`."""
        found = _Found()
        expansion = expand(
            question.utterance, language=question.language, things=question.things, before=question.before
        )
        try:
            async with asyncio.timeout(self._settings.seconds):
                await asyncio.gather(
                    self._recall_preferences(question.scope, found),
                    self._recall_knowledge(question.scope, expansion, found),
                    self._recall_past(question, found),
                )
        except TimeoutError:
            log.warning("recall cut after %.1f s without %s", self._settings.seconds, ", ".join(sorted(found.missing)))
        sources = (
            *_within(found.preferences, self._settings.preference_tokens),
            *select([*found.past, *found.known], self._settings.knowledge_tokens, relation),
        )
        told = [source.id for source in sources if source.kind in ("knowledge", "document")]
        self._knowledge.recalled(question.scope, told)
        return Recalled(sources, tuple(sorted(found.missing)), found.next_expiry, expansion.added)

    async def happened(self, question: Question) -> bool:
        """Whether anything of the past belongs to the question, or this cannot be told in time."""
        found = _Found()
        try:
            async with asyncio.timeout(self._settings.seconds):
                await self._recall_past(question, found)
        except TimeoutError:
            return True
        return bool(found.past) or "past" in found.missing

    async def _recall_preferences(self, scope: Scope, found: _Found) -> None:
        try:
            visible = await self._preferences.visible(scope)
        except StoreUnavailable:
            return
        newest_first = sorted(visible, key=lambda preference: (preference.updated_at, preference.id), reverse=True)
        found.preferences = [
            Source(
                "preference",
                preference.id,
                f"{preference.key}: {orjson.dumps(preference.value).decode()}",
                at=self._local(preference.updated_at),
            )
            for preference in newest_first
            if preference.category != "aliases" and not preference.key.startswith(ALIAS_PREFIX)
        ]
        found.missing.discard("preferences")

    async def _recall_knowledge(self, scope: Scope, expansion: Expansion, found: _Found) -> None:
        if self._settings.knowledge_tokens == 0 or not expansion.question.strip():
            found.missing.discard("knowledge")
            return
        try:
            result = await self._knowledge.search(scope, expansion, limit=self._settings.candidates)
        except StoreUnavailable:
            return
        found.known = [
            Candidate(self._source(hit), usefulness)
            for hit, usefulness in _useful(self._belonging(result), result.hits)
        ]
        if not found.known:
            revived = await self._revived(scope, expansion.question)
            found.known = [Candidate(self._source(Hit(entry, 0.0)), 1.0) for entry in revived]
        found.next_expiry = result.next_expiry
        if result.complete:
            found.missing.discard("knowledge")

    async def _revived(self, scope: Scope, utterance: str) -> list[Knowledge]:
        """What was archived because nobody recalled it, and is asked for by name now."""
        try:
            return await self._knowledge.revive(scope, utterance)
        except StoreUnavailable:
            return []

    async def _recall_past(self, question: Question, found: _Found) -> None:
        if self._settings.knowledge_tokens > 0:
            try:
                found.past = await self._past(
                    question.scope,
                    question.utterance,
                    language=question.language,
                    now=self._now(),
                    conversation_id=question.conversation_id,
                    called=question.called,
                )
            except StoreUnavailable:
                return
        found.missing.discard("past")

    def _belonging(self, result: SearchResult) -> list[Hit]:
        """The hits that have to do with the question. By their meaning where that could be measured: words that two
        texts share do not make them about one thing. By a fixed cosine where the settings have one, or nothing is
        learned yet."""
        learned = result.background
        if learned is None or self._settings.min_score is not None:
            least = result.min_score if self._settings.min_score is None else self._settings.min_score
            belonging = [hit for hit in result.hits if _belongs(hit, least)]
        else:
            likeness = {hit.entry.id: hit.likeness for hit in result.hits if hit.likeness is not None}
            belonging = belongs(result.hits, likeness, learned)
        return belonging if learned is None else newest_first(belonging, result.vectors, learned)

    def _source(self, hit: Hit) -> Source:
        entry = hit.entry
        kind = "document" if entry.document_id is not None else "knowledge"
        at = self._local(entry.updated_at)
        return Source(kind, entry.id, entry.content, round(hit.score, 4), at, entry.source)

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self._now().tzinfo)


def _useful(belonging: Sequence[Hit], hits: Sequence[Hit]) -> Iterator[tuple[Hit, float]]:
    """Each hit with its usefulness: where its score stands between the least and the greatest of all `hits`, and never
    more than the one before it has."""
    scores = [hit.score for hit in hits]
    usefulness = 1.0
    for hit in belonging:
        spread = max(scores) - min(scores)
        usefulness = min(usefulness, (hit.score - min(scores)) / spread if spread > 0 else 1.0)
        yield hit, usefulness


def _belongs(hit: Hit, min_score: float) -> bool:
    if hit.cosine is not None:
        return hit.cosine >= min_score
    return hit.words is not None and hit.words.share >= MIN_WORDS


def _within(sources: Sequence[Source], budget: int) -> list[Source]:
    """The first sources whose texts fit into `budget` tokens together. One that does not fit is passed over."""
    kept: list[Source] = []
    for source in sources:
        tokens = estimate_tokens(source.text)
        if tokens <= budget:
            kept.append(source)
            budget -= tokens
    return kept
