"""The past of what stands at home, kept by rule: numbers to `measurements`, states to `events`.

The first rule that fits a thing holds; after the household's own come those of `DEFAULTS`. It is written in batches,
and waits, bounded, while PostgreSQL is away.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Self

from gateway.config import HistoryRule
from gateway.errors import GatewayError
from gateway.home.registry import Change, Registry
from gateway.home.things import UNKNOWN, Thing
from gateway.shapes import Scope
from gateway.store import measurements
from gateway.store.entities import REFUSED
from gateway.store.measurements import Reading
from gateway.store.pool import Database
from gateway.tasks import running

log = logging.getLogger(__name__)

WRITE_SECONDS = 2.0  # between two batches
BATCH = 1000
MOST_WAITING = 50_000  # readings kept while PostgreSQL is away
LONGEST_STATE = 255
NOTHING_TOLD = frozenset({"", UNKNOWN, "unavailable", "none"})

DEFAULTS = (
    HistoryRule(of=("sensor", "number"), to="measurements"),
    HistoryRule(
        of=(
            "alarm_control_panel", "binary_sensor", "climate", "cover", "device_tracker", "event", "fan", "humidifier",
            "input_boolean", "input_select", "lawn_mower", "light", "lock", "media_player", "person", "select", "siren",
            "switch", "vacuum", "valve", "water_heater",
        ),
        to="events",
        every=0,
    ),
)  # fmt: skip


def fits(rule: HistoryRule, thing_id: str) -> bool:
    """Whether the rule is of that thing."""
    domain = thing_id.partition(".")[0]
    return any(fnmatchcase(thing_id, one) if "." in one else fnmatchcase(domain, one) for one in rule.of)


def _number(state: str) -> float | None:
    try:
        value = float(state)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(slots=True)
class _Last:
    """What of a thing was taken last, and what came since then, too soon to be taken."""

    at: datetime
    value: float | str
    held: Reading | None = None


class History:
    """Follows a registry. `async with` it; at its end it writes what it has."""

    def __init__(
        self,
        registry: Registry,
        database: Database,
        scope: Scope,
        rules: Sequence[HistoryRule],
        now: Callable[[], datetime],
    ) -> None:
        """`rules` are the household's own. `now` is aware."""
        self._registry = registry
        self._database = database
        self._scope = scope
        self._rules = (*rules, *DEFAULTS)
        self._now = now
        self._rule_of: dict[str, HistoryRule | None] = {}
        self._last: dict[str, _Last] = {}
        self._waiting: deque[Reading] = deque()
        self._dropped = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self._registry.watching(self.heard))
        await self._stack.enter_async_context(running(self._run(), "history of the home"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for last in self._last.values():
            self._take(last)
        with suppress(GatewayError):  # what PostgreSQL does not take now is lost: it is no more than a batch's time
            await self.write()

    def heard(self, change: Change) -> None:
        """Takes a change in, as far as a rule wants it."""
        thing, now = change.thing, change.now
        if thing is None or now.seen is None or now.state.lower() in NOTHING_TOLD:
            return
        if change.before is not None and change.before.state == now.state:
            return
        rule = self._rule(change.id)
        if rule is None or rule.to == "nothing":
            return
        # The state of an event is its time; what happened is an attribute, which a stream tells only later.
        at_once = thing.domain == "event" and thing.origin != "statestream"
        kind = now.attributes.get("event_type") if at_once else None
        reading = _reading(thing, now.state if kind is None else str(kind), now.changed or now.seen, rule)
        last = self._last.get(change.id)
        if last is None:
            self._last[change.id] = last = _Last(reading.time, reading.value)
            self._keep(reading)
            return
        last.held = None
        if (reading.value == last.value and kind is None) or _near(reading.value, last.value, rule.change):
            return
        last.held = reading
        # A state that was left soon again is no less true: only numbers are thinned out.
        if isinstance(reading.value, str) or reading.time - last.at >= timedelta(seconds=rule.every):
            self._take(last)

    async def write(self) -> None:
        """Writes what waits, but for what cannot be kept. Raises StoreUnavailable; it waits on then."""
        now = self._now()
        for thing_id, last in self._last.items():
            rule = self._rule(thing_id)
            if rule is not None and now - last.at >= timedelta(seconds=rule.every):
                self._take(last)
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
            dropped = self._dropped
            try:
                await self._write(batch)
            except REFUSED:
                # What is wrong with one reading must not take the others with it.
                for reading in batch:
                    await self._write_alone(reading)
            # What was dropped meanwhile, being the oldest, was of this batch.
            for _ in range(max(0, len(batch) - (self._dropped - dropped))):
                self._waiting.popleft()

    async def _write(self, batch: Sequence[Reading]) -> None:
        async with self._database.scoped(self._scope) as connection:
            await measurements.keep(connection, batch, None)

    async def _write_alone(self, reading: Reading) -> None:
        try:
            await self._write([reading])
        except REFUSED as error:
            log.warning("the home's history: what %.255s told cannot be kept: %s", reading.entity, error)

    def _rule(self, thing_id: str) -> HistoryRule | None:
        if thing_id not in self._rule_of:
            self._rule_of[thing_id] = next((rule for rule in self._rules if fits(rule, thing_id)), None)
        return self._rule_of[thing_id]

    def _take(self, last: _Last) -> None:
        if last.held is not None:
            self._keep(last.held)
            last.at, last.value, last.held = last.held.time, last.held.value, None

    def _keep(self, reading: Reading) -> None:
        if len(self._waiting) == MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(reading)

    async def _run(self) -> None:
        away = False
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
            except GatewayError as error:
                if not away:
                    log.warning("the home's history waits: %s", error.message)
                away = True
            except Exception:
                # A task's boundary: a mistake must not end all later batches.
                log.exception("the home's history could not be written")
            else:
                if away and self._dropped:
                    log.warning("the home's history: the oldest %d readings were dropped meanwhile", self._dropped)
                away = False


def _reading(thing: Thing, state: str, at: datetime, rule: HistoryRule) -> Reading:
    """A number where one is to be kept and it is one, else the state."""
    number = _number(state) if rule.to == "measurements" else None
    if number is not None:
        return Reading(thing.id, at, number, thing.unit[:50] if thing.unit else None)
    return Reading(thing.id, at, state[:LONGEST_STATE].replace("\x00", ""))


def _near(one: float | str, other: float | str, change: float) -> bool:
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) < change
