"""The home's past: what its sensors told is taken in, read again in parts of a time, and kept for as long as wanted."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from types import TracebackType
from typing import Literal, Self

from gateway.config import MeasurementSettings
from gateway.errors import StoreUnavailable
from gateway.memory.answers import Answers
from gateway.memory.readings import SKIPPED, from_csv, from_json
from gateway.memory.rounds import Rounds
from gateway.memory.spans import Span, asks_about_past, past_span
from gateway.memory.things import Question, asks_for_words, label, nearness, question, thing
from gateway.shapes import Scope, Source
from gateway.store import measurements as rows
from gateway.store.entities import prune_actions
from gateway.store.measurements import Bucket, Change, Known, Reading
from gateway.store.pool import Database

BATCH = 5000  # rows a transaction
MAX_ERRORS = 1000  # reported; the others are counted
MOST_CHANGES = 500  # of the states of an entity, the newest
MOST_TOLD = 4  # entities that one question is answered with
PRUNE_SECONDS = 3600.0
PRUNE_BATCH = 20_000  # rows a transaction

Format = Literal["csv", "json"]


@dataclass(slots=True)
class TakenIn:
    """How an upload went. `added` are new, `changed` were there with another value, `known` were there as they are;
    `skipped` told nothing (the sensor was away), `refused` rows could not be read (the first MAX_ERRORS told)."""

    added: int = 0
    changed: int = 0
    known: int = 0
    skipped: int = 0
    refused: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, row: int, message: str) -> None:
        """Notes that `row` (counted from 1) was not taken, and why."""
        self.refused += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((row, message))


@dataclass(frozen=True, slots=True)
class Past:
    """What an entity told in a time: its numbers in parts of `width`, and the states that it changed to (the newest
    MOST_CHANGES, oldest first)."""

    buckets: list[Bucket]
    unit: str | None
    changes: list[Change]


class Measurements:
    """Numbers and states of the home's things, of every scope. `async with` keeps them no longer than the settings."""

    def __init__(self, database: Database, settings: MeasurementSettings, household_id: int, zone: tzinfo) -> None:
        """`zone` is of times that do not say theirs."""
        self._database = database
        self._settings = settings
        self._household = Scope(household_id)
        self._zone = zone
        self._next_prune = 0.0
        self._rounds = Rounds("retention", self._prune_now_and_then)

    async def __aenter__(self) -> Self:
        if self._settings.keep_days or self._settings.keep_events_days:
            await self._rounds.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rounds.__aexit__(kind, error, trace)

    async def take_in(
        self,
        scope: Scope,
        pieces: AsyncIterator[bytes],
        written: Format,
        *,
        entity: str | None = None,
        shared: bool = False,
    ) -> TakenIn:
        """Keeps what a file tells, in batches, in bounded memory whatever its length.

        `pieces` are bytes as they come; `entity` is the name where the file tells none; `shared` makes a member's
        upload the household's. The same file again changes nothing. Raises BadRequest for a file that is none; what was
        stored before it, or PostgreSQL, broke off stays.
        """
        report = TakenIn()
        read = from_csv if written == "csv" else from_json
        member_id = None if shared else scope.member_id
        batch: list[Reading] = []
        async for number, row in read(pieces, self._zone, entity):
            if isinstance(row, Reading):
                batch.append(row)
                if len(batch) == BATCH:
                    await self._keep(scope, batch, member_id, report)
                    batch = []
            elif row is SKIPPED:
                report.skipped += 1
            else:
                report.refuse(number, row)
        if batch:
            await self._keep(scope, batch, member_id, report)
        return report

    async def entities(self, scope: Scope) -> list[Known]:
        """Everything of which the scope may see something, by name."""
        async with self._database.scoped(scope) as connection:
            return await rows.entities(connection)

    async def past(self, scope: Scope, entity: str, since: datetime, until: datetime, width: timedelta) -> Past:
        """What `entity` told from `since` to `until`."""
        async with self._database.scoped(scope) as connection:
            buckets, unit = await rows.buckets(connection, entity, since, until, width)
            return Past(buckets, unit, await rows.changes(connection, entity, since, until, MOST_CHANGES))

    async def forget(self, scope: Scope, entity: str, since: datetime | None, until: datetime | None) -> int:
        """Deletes what `entity` told from `since` to `until`, as far as the scope sees it: how many rows."""
        async with self._database.scoped(scope) as connection:
            return await rows.delete(connection, entity, since, until)

    async def recall(
        self,
        scope: Scope,
        utterance: str,
        language: str,
        now: datetime,
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Source]:
        """What the home's past says to a question about it, a line of plain text each, best first; mostly nothing.

        `now` is aware, in the household's zone. `names` are what people call an entity, and its room, by its id.
        """
        if asks_for_words(utterance) or not asks_about_past(utterance, language):
            return []
        span = past_span(utterance, language, now)
        asked = question(_without(utterance, span))
        async with self._database.scoped(scope) as connection:
            chosen = _choose(asked, await rows.entities(connection), names or {})
            answers = Answers(connection, asked, span, now)
            told = [
                await answers.tell(known, label(known.entity, (names or {}).get(known.entity, ())), score)
                for known, score in chosen
            ]
        return [source for source in told if source is not None]

    async def prune(self, now: datetime) -> int:
        """Deletes what is older than the settings say, of every member of the household: how many rows."""
        prunings: tuple[tuple[Callable[..., Awaitable[int]], int], ...] = (
            (partial(rows.prune, kind="measurement"), self._settings.keep_days),
            (partial(rows.prune, kind="event"), self._settings.keep_events_days),
            (prune_actions, self._settings.keep_events_days),
        )
        gone = 0
        for prune, keep in prunings:
            deleted = PRUNE_BATCH if keep else 0
            while deleted == PRUNE_BATCH:
                async with self._database.scoped(self._household) as connection:
                    deleted = await prune(connection, before=now - timedelta(days=keep), most=PRUNE_BATCH)
                gone += deleted
        return gone

    async def _prune_now_and_then(self) -> None:
        if time.monotonic() >= self._next_prune:
            await self.prune(datetime.now(UTC))
            self._next_prune = time.monotonic() + PRUNE_SECONDS

    async def _keep(self, scope: Scope, batch: list[Reading], member_id: int | None, report: TakenIn) -> None:
        try:
            async with self._database.scoped(scope) as connection:
                added, changed = await rows.keep(connection, batch, member_id)
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error.message} The upload stopped; {report.added + report.changed + report.known} rows are stored.",
                retry_after=5,
            ) from error
        report.added += added
        report.changed += changed
        report.known += len(batch) - added - changed


def _without(utterance: str, span: Span | None) -> str:
    """The utterance without the words of its time: "on Monday" turns nothing on."""
    if span is None:
        return utterance
    for word in span.words.split():
        utterance = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", " ", utterance)
    return utterance


def _choose(asked: Question, known: Sequence[Known], names: Mapping[str, Sequence[str]]) -> list[tuple[Known, float]]:
    """The entities that are asked about, nearest first, each with how much of the question it meets (0 to 1).

    A quantity ("how warm") is enough where no room or thing is named that another one is; of those, the ones outside
    come first. Without a quantity the entity itself has to be named.
    """
    near: list[tuple[int, bool, Known]] = []
    for one in known:
        what = thing(one.entity, one.unit, tuple(names.get(one.entity, ())))
        nearest = nearness(asked, what)
        if asked.quantity is not None:
            fits = one.kind == "measurement" and what.quantity == asked.quantity and (nearest or not asked.about)
        else:
            fits = nearest > 0 and (one.kind == "event" or asked.change is None)
        if fits:
            near.append((nearest, "outside" in what.about, one))
    most = max((nearest for nearest, _, _ in near), default=0)
    near = [found for found in near if found[0] == most]
    near.sort(key=lambda found: (not found[1], found[2].entity, found[2].kind))
    said = 1 if asked.quantity or asked.change else 0
    score = min(1.0, (most + said) / (max(len(asked.about), 1) + said))
    return [(one, score) for _, _, one in near[:MOST_TOLD]]
