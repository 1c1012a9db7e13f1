"""The registry: every thing at home and how it stands, live in memory, with those who want to hear of changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from gateway.home.things import Condition, Thing
from gateway.shapes import Entity, Things

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """Something was heard of a thing, and how it stood before and stands now (equal but for `seen`: told again).

    `thing` is None where it is gone; `before` is None where it is new, or is described otherwise than before.
    """

    id: str
    thing: Thing | None
    before: Condition | None
    now: Condition


Watcher = Callable[[Change], None]


class Registry:
    """Things by id. Only the loop's own thread changes it, and no change waits for anything."""

    def __init__(self) -> None:
        self._things: dict[str, Thing] = {}
        self._conditions: dict[str, Condition] = {}
        self._watchers: dict[Watcher, frozenset[str] | None] = {}
        self._entities: Things | None = None

    @property
    def things(self) -> Mapping[str, Thing]:
        """Every thing by id, also what is not exposed."""
        return MappingProxyType(self._things)

    def condition(self, thing_id: str) -> Condition:
        """How that thing stands; unknown where nothing was heard of it, or there is none."""
        return self._conditions.get(thing_id, Condition())

    def entities(self) -> Things:
        """What is exposed, as a turn knows it. The very same object until a thing comes, goes or changes its names."""
        if self._entities is None:
            self._entities = Things(
                Entity((*thing.names, thing.id), thing.domain, (thing.area,) if thing.area else (), thing.floor)
                for _, thing in sorted(self._things.items())
                if thing.exposed
            )
        return self._entities

    def put(self, thing: Thing, condition: Condition | None = None) -> None:
        """Takes up a thing, or its new description; how it stood stays known unless `condition` says otherwise."""
        if self._things.get(thing.id) == thing and condition is None:
            return
        self._things[thing.id] = thing
        if condition is not None:
            self._conditions[thing.id] = condition
        self._entities = None
        self._tell(Change(thing.id, thing, None, self.condition(thing.id)))

    def drop(self, thing_id: str) -> None:
        """Forgets a thing that is no longer there."""
        if self._things.pop(thing_id, None) is None:
            return
        before = self._conditions.pop(thing_id, None)
        self._entities = None
        self._tell(Change(thing_id, None, before, Condition()))

    def saw(self, thing_id: str, condition: Condition) -> None:
        """How a thing stands now. Nothing where there is no such thing."""
        thing = self._things.get(thing_id)
        if thing is None:
            return
        before = self.condition(thing_id)
        self._conditions[thing_id] = condition
        self._tell(Change(thing_id, thing, before, condition))

    @contextmanager
    def watching(self, watcher: Watcher, only: frozenset[str] | None = None) -> Iterator[None]:
        """Calls `watcher` at each change, of the things `only` or of all, as long as the block runs. It must be quick
        and must not raise."""
        self._watchers[watcher] = only
        try:
            yield
        finally:
            del self._watchers[watcher]

    async def until(self, thing_id: str, holds: Callable[[Condition], bool], seconds: float) -> Condition | None:
        """Waits until how the thing stands `holds`, and returns it; None where it does not within `seconds`."""
        if holds(self.condition(thing_id)):
            return self.condition(thing_id)
        reached: asyncio.Future[Condition] = asyncio.get_running_loop().create_future()

        def watch(change: Change) -> None:
            if change.thing is not None and not reached.done() and holds(change.now):
                reached.set_result(change.now)

        with self.watching(watch, frozenset({thing_id})):
            try:
                async with asyncio.timeout(seconds):
                    return await reached
            except TimeoutError:
                return None

    def _tell(self, change: Change) -> None:
        for watcher, only in list(self._watchers.items()):
            if only is not None and change.id not in only:
                continue
            try:
                watcher(change)
            except Exception:
                # A boundary: what is wrong with one who listens must not stop the others from hearing.
                log.exception("a watcher of the home failed")
