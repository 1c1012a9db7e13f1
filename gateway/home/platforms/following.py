"""Following things: their topics are subscribed to, and the registry hears what their drivers read there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.drivers import Driver
from gateway.home.registry import Registry
from gateway.home.things import Thing

MAX_KEPT = 16 * 1024  # bytes of a message that is kept for things that come later


class Following:
    """The things of one origin, and the topics that tell how they stand. A thing's last messages are kept, as a broker
    sends what it kept once for each topic, and another thing may be told by the same."""

    def __init__(self, link: Link, registry: Registry, now: Callable[[], datetime]) -> None:
        self._link = link
        self._registry = registry
        self._now = now
        self._things: dict[str, Thing] = {}
        self._followers: dict[str, dict[str, None]] = {}
        self._last: dict[str, Message] = {}
        self._lapsing: dict[str, list[asyncio.TimerHandle]] = {}

    def follow(self, thing: Thing) -> None:
        """Takes a thing up into the registry, or its new description, and follows its topics from now on."""
        before = self._things.get(thing.id)
        same = before is not None and before.driver == thing.driver
        if before is not None and same:
            thing = replace(thing, driver=before.driver)  # it knows what was heard of the thing's availability
        self._things[thing.id] = thing
        self._registry.put(thing)
        if same:
            return
        if thing.id in self._lapsing:
            self._lapse_later(thing)  # in its new time, where it has one
        if thing.driver is None:
            return
        kept = set(thing.driver.topics)
        if before is not None and before.driver is not None:
            self._leave(thing.id, set(before.driver.topics) - kept)
        if isinstance(thing.driver, Driver):
            now = self._registry.condition(thing.id)
            begun = thing.driver.begun(now)
            if begun is not now:
                self._registry.saw(thing.id, begun)
        for topic in thing.driver.topics:
            followers = self._followers.setdefault(topic, {})
            followers[thing.id] = None
            if topic in self._last:
                self._tell(thing, self._last[topic], again=True)
            elif len(followers) == 1:
                self._link.subscribe(topic, self._heard)

    def forget(self, thing_id: str) -> None:
        """Takes a thing out of the registry, and leaves its topics to the others."""
        thing = self._things.pop(thing_id, None)
        if thing is None:
            return
        if thing.driver is not None:
            self._leave(thing_id, set(thing.driver.topics))
        self._stop(thing_id)
        self._registry.drop(thing_id)

    def close(self) -> None:
        """Ends what waits for its time."""
        for thing_id in list(self._lapsing):
            self._stop(thing_id)

    def _leave(self, thing_id: str, topics: set[str]) -> None:
        for topic in topics:
            followers = self._followers.get(topic, {})
            followers.pop(thing_id, None)
            if not followers and self._followers.pop(topic, None) is not None:
                self._last.pop(topic, None)
                self._link.unsubscribe(topic, self._heard)

    def _heard(self, message: Message) -> None:
        followers = self._followers.get(message.topic)
        if not followers:
            return
        if len(message.payload) <= MAX_KEPT:
            self._last[message.topic] = message
        for thing_id in list(followers):
            self._tell(self._things[thing_id], message)

    def _tell(self, thing: Thing, message: Message, *, again: bool = False) -> None:
        if thing.driver is None or (thing.domain == "event" and (again or message.retained)):
            return  # what was kept of an event is no event
        before = self._registry.condition(thing.id)
        told = thing.driver.heard.told if isinstance(thing.driver, Driver) else 0
        now = thing.driver.read(message.topic, message.payload, before, self._now())
        if now is before:
            return
        self._registry.saw(thing.id, now)
        if isinstance(thing.driver, Driver) and thing.driver.heard.told > told:
            self._lapse_later(thing)

    def _lapse_later(self, thing: Thing) -> None:
        self._stop(thing.id)
        if isinstance(thing.driver, Driver) and thing.driver.lapses:
            later = asyncio.get_running_loop().call_later
            self._lapsing[thing.id] = [
                later(seconds, self._lapse, thing.id, lapse) for lapse, seconds in thing.driver.lapses.items()
            ]

    def _lapse(self, thing_id: str, lapse: str) -> None:
        thing = self._things.get(thing_id)
        if thing is not None and isinstance(thing.driver, Driver):
            self._registry.saw(thing_id, thing.driver.lapsed(lapse, self._registry.condition(thing_id), self._now()))

    def _stop(self, thing_id: str) -> None:
        for timer in self._lapsing.pop(thing_id, ()):
            timer.cancel()
