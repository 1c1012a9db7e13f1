"""What each scope's memory has in common, learned anew in the background when the memory has changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from gateway.llm.embedding import Embedder, Vector
from gateway.memory.rounds import Rounds
from gateway.memory.spaces import ServedSpace, Spaces
from gateway.memory.threshold import LEAST_ENTRIES, SAMPLE, TYPICAL_ENTRIES, TYPICAL_QUESTIONS, Background
from gateway.shapes import Scope
from gateway.store import knowledge, vectors
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

MOST_SCOPES = 64
VECTOR_KIND = "knowledge"


@dataclass(frozen=True, slots=True)
class _Learned:
    epoch: int | None
    background: Background | None


class Backgrounds(Rounds):
    """One task that learns a `Background` for each scope that is searched. `async with` starts and ends it.

    Whoever searches takes what was learned last, which is of this memory or of the one just before it.
    """

    def __init__(self, database: Database, spaces: Spaces, epoch: EpochWatch) -> None:
        super().__init__("backgrounds", self._round)
        self._database = database
        self._spaces = spaces
        self._epoch = epoch
        # By household, member and space; None where it is to be learned.
        self._learned: dict[tuple[int, int | None, int], _Learned] = {}
        self._wanted_of: dict[tuple[int, int | None, int], Scope] = {}
        # By space: the vectors of the questions that nothing answers, and of the entries that every household has.
        self._questions: dict[int, Vector] = {}
        self._entries: dict[int, Vector] = {}

    def of(self, scope: Scope, space: ServedSpace) -> Background | None:
        """What is known of the scope's memory; None while nothing is, or where there is nothing to learn from."""
        name = (scope.household_id, scope.member_id, space.id)
        learned = self._learned.get(name)
        epoch = self._epoch.current()
        if epoch is not None and (learned is None or learned.epoch != epoch):
            self._wanted_of[name] = scope
            self.wake()
        return learned.background if learned is not None else None

    async def learn(self, scope: Scope) -> Background | None:
        """Learns from what the scope sees now. Raises StoreUnavailable, or ModelError where the model is away."""
        space = (await self._spaces.in_use()).current
        epoch = self._epoch.current()
        background = await self._learn(scope, space, space.embedder) if space.embedder is not None else None
        name = (scope.household_id, scope.member_id, space.id)
        self._learned.pop(name, None)
        self._learned[name] = _Learned(epoch, background)
        while len(self._learned) > MOST_SCOPES:
            self._learned.pop(next(iter(self._learned)))
        return background

    async def _round(self) -> None:
        while self._wanted_of:
            name, scope = next(iter(self._wanted_of.items()))
            try:
                await self.learn(scope)
            finally:
                self._wanted_of.pop(name, None)  # one that fails is asked for again by the next search

    async def _learn(self, scope: Scope, space: ServedSpace, embedder: Embedder) -> Background | None:
        async with self._database.scoped(scope) as connection:
            seen = await vectors.sample(connection, space.id, VECTOR_KIND, SAMPLE)
            if not seen:
                return None
            known = await knowledge.languages(connection, list(seen))
        entries, languages = np.stack(list(seen.values())), [known.get(row) for row in seen]
        if len(seen) < LEAST_ENTRIES:
            entries = np.concatenate([entries, await self._typical_entries(space, embedder)])
            languages += [language for language, told in TYPICAL_ENTRIES.items() for _ in told]
        questions = await self._typical_questions(space, embedder)
        return await asyncio.to_thread(Background.learn, entries, languages, questions)

    async def _typical_questions(self, space: ServedSpace, embedder: Embedder) -> Vector:
        if space.id not in self._questions:
            told = [question for told in TYPICAL_QUESTIONS.values() for question in told]
            self._questions[space.id] = np.stack([await embedder.query(question) for question in told])
        return self._questions[space.id]

    async def _typical_entries(self, space: ServedSpace, embedder: Embedder) -> Vector:
        if space.id not in self._entries:
            told = [entry for told in TYPICAL_ENTRIES.values() for entry in told]
            self._entries[space.id] = await embedder.documents(told)
        return self._entries[space.id]
