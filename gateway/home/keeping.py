"""What the registry knows, kept in the table `entities`, so that it is known again before the broker tells.

What was kept is one more source, the last in the order (see `learning`): names and states as they were, each with the
time it was heard; nothing can be moved by it. It is written in batches, and only what changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from gateway.errors import GatewayError
from gateway.home.registry import Change, Registry
from gateway.home.things import Condition, Thing
from gateway.shapes import Scope
from gateway.store import entities as rows
from gateway.store.entities import REFUSED
from gateway.store.pool import Database
from gateway.tasks import running

log = logging.getLogger(__name__)

WRITE_SECONDS = 5.0  # between two batches
BATCH = 1000
AGAIN_AFTER = timedelta(days=1)  # all is written once more: it is told of, though nothing changes
FORGOTTEN_AFTER = timedelta(days=30)  # what no platform told of for so long


class Keeping:
    """Follows a registry. `async with` it, before its sources tell anything; at its end it writes what it has."""

    def __init__(self, registry: Registry, database: Database, scope: Scope, now: Callable[[], datetime]) -> None:
        """`now` is aware."""
        self._registry = registry
        self._database = database
        self._scope = scope
        self._now = now
        self._changed: set[str] = set()
        self._all_at = now()
        self._stack = AsyncExitStack()
        self._away = False

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self._registry.watching(self._heard))
        await self._stack.enter_async_context(running(self._run(), "entities"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        with suppress(GatewayError):  # the broker tells it again
            await self.write()

    async def load(self, into: Registry, configured: Collection[str] | None = None) -> None:
        """Puts what was kept there, and forgets what nothing told of for a long time. `configured` are the ids that the
        household's file describes, where that is known: of its things no other is there. Raises StoreUnavailable."""
        async with self._database.scoped(self._scope) as connection:
            await rows.forget_older(connection, self._now() - FORGOTTEN_AFTER)
            kept = await rows.kept(connection)
            if configured is not None:
                gone = [one.entity_id for one in kept if one.origin == "configured" and one.entity_id not in configured]
                await rows.forget(connection, gone)
                kept = [one for one in kept if one.entity_id not in gone]
        for one in kept:
            thing = Thing(
                one.entity_id,
                one.name,
                "kept",
                one.aliases,
                one.area,
                one.floor,
                one.device_class,
                one.unit,
                one.device,
                exposed=one.exposed,
            )
            into.put(thing, Condition(one.state, dict(one.attributes), None, one.changed_at, one.seen_at))

    async def write(self) -> None:
        """Writes what changed since the last time, but for what cannot be kept. Raises StoreUnavailable; it waits on
        then."""
        if self._now() - self._all_at >= AGAIN_AFTER:
            self._all_at = self._now()
            self._changed.update(self._registry.things)
        # What changes while this writes comes next time: in a flood there would be no end to it.
        changed = sorted(self._changed)
        for batch in (changed[start : start + BATCH] for start in range(0, len(changed), BATCH)):
            try:
                await self._write(batch)
            except REFUSED:
                # What is wrong with one thing must not take the others with it.
                for thing_id in batch:
                    await self._write_alone(thing_id)

    async def _write_alone(self, thing_id: str) -> None:
        try:
            await self._write([thing_id])
        except REFUSED as error:
            log.warning("how %.255s stands cannot be kept: %s", thing_id, error)
            self._changed.discard(thing_id)

    async def _write(self, batch: Collection[str]) -> None:
        things = [self._registry.things[thing_id] for thing_id in batch if thing_id in self._registry.things]
        gone = [thing_id for thing_id in batch if thing_id not in self._registry.things]
        self._changed -= set(batch)
        try:
            told = [_row(thing, self._registry.condition(thing.id)) for thing in things if thing.origin != "kept"]
            async with self._database.scoped(self._scope) as connection:
                await rows.keep(connection, told)
                await rows.forget(connection, gone)
        except BaseException:
            self._changed |= set(batch)
            raise

    def _heard(self, change: Change) -> None:
        now, before = change.now, change.before
        told_again = before is not None and (before.state, before.attributes, before.available) == (
            now.state,
            now.attributes,
            now.available,
        )
        if change.thing is None or not told_again:
            self._changed.add(change.id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
            except GatewayError as error:
                if not self._away:
                    log.warning("what stands at home is not kept at the moment: %s", error.message)
                self._away = True
            except Exception:
                # A task's boundary: a mistake must not end all later batches.
                log.exception("what stands at home could not be kept")
            else:
                self._away = False


def _row(thing: Thing, now: Condition) -> rows.Kept:
    return rows.Kept(
        thing.id,
        thing.name,
        thing.origin,
        thing.aliases,
        thing.area,
        thing.floor,
        thing.device_class,
        thing.unit,
        thing.device,
        tuple(sorted(thing.capabilities)),
        thing.limits,
        thing.options,
        thing.exposed,
        now.state,
        now.attributes,
        now.available,
        now.changed,
        now.seen,
    )
