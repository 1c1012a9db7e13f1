"""How the registry comes to know what stands at home: from several sources, and from what the household says.

Each source keeps a registry of its own; here they become one. Of a thing that several tell of, the first of them in
their order describes it and says how it is moved; the others add what it does not tell. What zigbee2mqtt tells of a
device that is described by discovery as well (its messages are read for that) is left to discovery.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.config import HomeSettings
from gateway.errors import GatewayError, SettingsError
from gateway.home.configured import Configured, Overrides, load
from gateway.home.keeping import Keeping
from gateway.home.link import Link
from gateway.home.platforms import given_ids
from gateway.home.platforms.discovery import Discovery
from gateway.home.platforms.statestream import Statestream
from gateway.home.platforms.zigbee2mqtt import Zigbee2Mqtt
from gateway.home.registry import Change, Registry
from gateway.home.things import UNKNOWN, Condition, Thing
from gateway.metrics import Metrics
from gateway.tasks import running

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at whether the file has changed


class Merging:
    """Several registries, the one that counts first, as one."""

    def __init__(self, sources: Sequence[Registry], registry: Registry) -> None:
        """`registry` is what comes of them. Call `watch` before any of them knows a thing."""
        self._sources = sources
        self._registry = registry
        self._overrides = Overrides()
        self._topics: Counter[str] = Counter()  # that what discovery describes reads
        self._read: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, set[str]] = {}  # ids of zigbee2mqtt's things by their device's topic

    def watch(self, stack: ExitStack) -> None:
        """Follows the sources until `stack` is closed."""
        for source in self._sources:
            stack.enter_context(source.watching(self._changed))

    def override(self, overrides: Overrides) -> None:
        """What the household says from now on."""
        self._overrides = overrides
        for thing_id in {thing_id for source in self._sources for thing_id in source.things}:
            self._describe(thing_id)

    def _changed(self, change: Change) -> None:
        if change.thing is None or change.before is None:
            self._read_by_discovery(change)
            self._describe(change.id)
        elif change.id in self._registry.things:
            self._registry.saw(change.id, self._condition(change.id))

    def _read_by_discovery(self, change: Change) -> None:
        """Notes which topics discovery's description of a thing reads, and looks at zigbee2mqtt's of them anew."""
        thing = change.thing
        if thing is not None and thing.origin == "zigbee2mqtt" and thing.driver is not None:
            for topic in thing.driver.topics[:1]:
                self._waiting.setdefault(topic, set()).add(thing.id)
        discovered = thing is not None and thing.origin == "discovery" and thing.driver is not None
        if not discovered and change.id not in self._read:
            return
        before = self._read.pop(change.id, ())
        after = self._described_topics(change.id)
        self._topics.subtract(before)
        self._topics.update(after)
        if after:
            self._read[change.id] = after
        for topic in {*before, *after}:
            for thing_id in self._waiting.get(topic, ()):
                if thing_id != change.id:
                    self._describe(thing_id)

    def _described_topics(self, thing_id: str) -> tuple[str, ...]:
        return tuple(
            topic
            for source in self._sources
            if (thing := source.things.get(thing_id)) is not None
            and thing.origin == "discovery"
            and thing.driver is not None
            for topic in thing.driver.topics
        )

    def _tell_of(self, thing_id: str) -> list[tuple[Thing, Condition]]:
        """What the sources tell of a thing, in their order."""
        told = []
        for source in self._sources:
            thing = source.things.get(thing_id)
            if thing is not None and not self._left_to_discovery(thing):
                told.append((thing, source.condition(thing_id)))
        return told

    def _left_to_discovery(self, thing: Thing) -> bool:
        if thing.origin != "zigbee2mqtt" or thing.driver is None:
            return False
        return any(self._topics[topic] > 0 for topic in thing.driver.topics[:1])

    def _describe(self, thing_id: str) -> None:
        told = self._tell_of(thing_id)
        if not told:
            self._registry.drop(thing_id)
            return
        thing = told[0][0]
        for other, _ in told[1:]:
            if other.origin == "kept":
                continue  # what it was once is not what it is
            names = dict.fromkeys((*thing.aliases, *(name for name in other.names if name != thing.name)))
            thing = replace(
                thing,
                aliases=tuple(names),
                area=thing.area or other.area,
                floor=thing.floor or other.floor,
                device_class=thing.device_class or other.device_class,
                unit=thing.unit or other.unit,
            )
        thing, condition = self._overrides.applied(thing), self._condition(thing_id)
        if self._registry.things.get(thing_id) != thing:
            self._registry.put(thing, condition)
        elif self._registry.condition(thing_id) != condition:
            self._registry.saw(thing_id, condition)

    def _condition(self, thing_id: str) -> Condition:
        """How it stands: as the first says that knows a state, with what the others know beside it."""
        those = self._tell_of(thing_id)
        told = [condition for thing, condition in those if thing.origin != "kept"]
        if all(one.state == UNKNOWN for one in told):
            told = [condition for _, condition in those]  # how it stood before the start, until it is told anew
        if len(those) < 2:
            return told[0] if told else Condition()
        first = next((one for one in told if one.state != UNKNOWN), told[0])
        attributes = {key: value for one in (*reversed(told), first) for key, value in one.attributes.items()}
        available = next((one.available for one in told if one.available is not None), None)
        seen = max((one.seen for one in told if one.seen is not None), default=None)
        # A source that is told a state for the first time takes it for new; the one before the start may have been so.
        before, changed = self._registry.condition(thing_id), first.changed
        if before.state == first.state and before.changed is not None and changed is not None:
            changed = min(before.changed, changed)
        return replace(first, attributes=attributes, available=available, changed=changed, seen=seen)


class Learning:
    """Keeps a registry. `async with` it, once the link is there."""

    def __init__(
        self,
        link: Link,
        registry: Registry,
        settings: HomeSettings,
        now: Callable[[], datetime],
        keeping: Keeping | None = None,
        *,
        ids: Path | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`now` is aware. `keeping` knows what stood at home before the start. `ids` is the file in which the ids are
        kept that discovery gave."""
        self._keeping = keeping
        self._kept = Registry()
        self._file = settings.entities_file
        self._stack = ExitStack()
        self._following = AsyncExitStack()
        registries = [Registry(), Registry()]
        self._configured = Configured(link, registries[0], now)
        self._ids_file = ids
        discovery = Discovery(link, registries[1], now, ids=given_ids.load(ids) if ids else None, metrics=metrics)
        self._saved = discovery.gave
        self._saving: asyncio.Task[None] | None = None
        self._unsaved = False  # whether it was said that they could not be saved
        sources: list[Discovery | Zigbee2Mqtt | Statestream] = [discovery]
        for base in dict.fromkeys(settings.zigbee2mqtt_topics):
            registries.append(Registry())
            sources.append(Zigbee2Mqtt(link, registries[-1], base, now))
        registries.append(Registry())
        sources.append(Statestream(link, registries[-1], settings.statestream_topic, now))
        self._sources = sources
        self._discovery = discovery
        self._told = tuple(registries)
        self._merging = Merging([*registries, self._kept], registry)
        self._registry = registry
        self._counted: tuple[Counter[str], int] | None = None
        self._said: tuple[Counter[str], int] | None = None
        self.error: str | None = None  # what is wrong with the file, where something is

    async def __aenter__(self) -> Self:
        self._merging.watch(self._stack)
        for told in self._told:
            self._stack.enter_context(told.watching(self._gone))
        await self.read()
        if self._keeping is not None:
            configured = None if self.error else self._told[0].things.keys()
            try:
                await self._keeping.load(self._kept, configured)
            except GatewayError as error:
                log.warning("what stood at home is not known before the broker tells: %s", error.message)
        for source in self._sources:
            source.open()
        await self._following.enter_async_context(running(self._follow(), "entities file"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._following.aclose()
        if self._saving is not None:
            await self._saving
        await self._save_ids()
        self._discovery.close()
        self._configured.close()
        self._stack.close()

    def _gone(self, change: Change) -> None:
        """What a source says is gone is not remembered either, unless another still tells of it."""
        if change.thing is None and not any(change.id in told.things for told in self._told):
            self._kept.drop(change.id)

    async def read(self) -> None:
        """Reads the file anew; a mistake is told, and what was read before stays."""
        try:
            overrides = await asyncio.to_thread(load, self._file)
        except SettingsError as error:
            self.error = error.message
            log.error("%s; what was read before stays", error.message)
            return
        self.error = None
        self._merging.override(overrides)
        self._configured.take(overrides.things)

    def _say(self) -> None:
        """Says what stands at home, once that has held still for a moment: the log tells whether a thing is known."""
        things = self._registry.things.values()
        counted = Counter(thing.origin for thing in things), sum(thing.exposed for thing in things)
        if counted == self._counted and counted != self._said:
            self._said = counted
            if not things:
                log.info("things at home: none are known so far")
            else:
                told = ", ".join(f"{origin} {count}" for origin, count in sorted(counted[0].items()))
                log.info("things at home: %d (%s), %d of them exposed", len(things), told, counted[1])
        self._counted = counted

    async def _follow(self) -> None:
        known = await asyncio.to_thread(_stamp, self._file)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._say()
            if self._ids_file is not None and self._discovery.gave != self._saved:
                # A task of its own: it is not broken off in the middle.
                self._saving = asyncio.create_task(self._save_ids(), name="ids of the home's things")
                await asyncio.shield(self._saving)
            stamp = await asyncio.to_thread(_stamp, self._file)
            if stamp != known:
                known = stamp
                await self.read()

    async def _save_ids(self) -> None:
        """Keeps the ids that discovery gave, where it gave another."""
        gave = self._discovery.gave
        if self._ids_file is None or gave == self._saved:
            return
        try:
            await asyncio.to_thread(given_ids.save, self._ids_file, self._discovery.given)
        except OSError as error:
            if not self._unsaved:
                log.warning("the ids of the home's things cannot be kept in %s: %s", self._ids_file, error)
            self._unsaved = True
        else:
            self._saved, self._unsaved = gave, False


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
