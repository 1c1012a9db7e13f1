"""What one entity told in a time, in a line of plain text: for a model to read beside the question."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from gateway.memory.spans import DAY, Span
from gateway.memory.things import CHANGES, Question
from gateway.shapes import Source
from gateway.store import measurements as rows
from gateway.store.measurements import Change, Known, Measured

if TYPE_CHECKING:
    import asyncpg

STALE = timedelta(hours=6)  # a sensor that told nothing for so long does not say how it was
MOST_CHANGES = 6  # told of one entity
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
COUNTERS = frozenset({"Wh", "kWh", "MWh", "m³", "L", "ft³", "gal"})  # what only rises: a mean of it says nothing


class Answers:
    """Answers one question for one entity after another. `span` None: no time was named."""

    def __init__(self, connection: asyncpg.Connection, asked: Question, span: Span | None, now: datetime) -> None:
        self._connection = connection
        self._asked = asked
        self._span = span
        self._now = now

    async def tell(self, known: Known, label: str, score: float) -> Source | None:
        """The line about `known`, which is called `label`; None where nothing is known of that time."""
        if known.kind == "measurement":
            if self._span is not None and self._span.at is not None:
                return await self._value_at(known, label, score, self._span.at)
            return await self._summary(known, label, score)
        if self._span is not None:
            return await self._changes(known, label, score, self._span)
        return await self._last_change(known, label, score)

    async def _value_at(self, known: Known, label: str, score: float, at: datetime) -> Source | None:
        found = await rows.measured_at(self._connection, known.entity, at, STALE)
        if found is None:
            return None
        said = f"{label} at {self._when(at)}: {_measured(found)} (measured at {self._when(found.time)})"
        return Source("measurement", found.id, said, score, found.time)

    async def _summary(self, known: Known, label: str, score: float) -> Source | None:
        span = self._span or Span(self._now - DAY, self._now, "the last 24 hours")
        found = await rows.summary(self._connection, known.entity, span.since, span.until)
        if found is None:
            return None
        if found.count == 1:
            said = f"{_measured(found.last)} at {self._when(found.last.time)}"
        elif found.last.unit in COUNTERS and found.lowest.time < found.highest.time:
            rise = _number(found.highest.value - found.lowest.value)
            said = f"{rise} {found.last.unit} (from {_measured(found.lowest)} to {_measured(found.highest)})"
        else:
            lowest, highest = (
                f"{_measured(one)} at {self._when(one.time, span)}" for one in (found.lowest, found.highest)
            )
            mean = Measured(0, found.last.time, round(found.mean, 1), found.last.unit)
            said = f"lowest {lowest}, highest {highest}, mean {_measured(mean)}"
        return Source("measurement", found.last.id, f"{self._head(label, span)}: {said}", score, found.last.time)

    async def _changes(self, known: Known, label: str, score: float, span: Span) -> Source | None:
        before = await rows.state_at(self._connection, known.entity, span.since)
        found = await rows.changes(self._connection, known.entity, span.since, span.until, MOST_CHANGES)
        if before is None and not found:
            return None
        if not found and before is not None:
            said = f"{_state(before)} all the time"
            return Source("event", before.id, f"{self._head(label, span)}: {said}", score, before.time)
        said = ", ".join(f"{_state(change)} at {self._when(change.time, span)}" for change in found)
        if len(found) == MOST_CHANGES:
            said = f"the last {MOST_CHANGES} changes: {said}"
        elif before is not None and before.time < found[0].time:
            said = f"{_state(before)} at the beginning, {said}"
        return Source("event", found[-1].id, f"{self._head(label, span)}: {said}", score, found[-1].time)

    async def _last_change(self, known: Known, label: str, score: float) -> Source | None:
        if self._asked.change is None:
            newest = await rows.changes(self._connection, known.entity, known.first, self._now, 1)
            found = newest[-1] if newest else None
        else:
            _, states = CHANGES[self._asked.change]
            found = await rows.last_change(self._connection, known.entity, states, None, self._now)
        if found is None:
            return None
        said = f"{label}: last {self._asked.change or 'changed'} at {self._when(found.time)} (state: {_state(found)})"
        return Source("event", found.id, said, score, found.time)

    def _head(self, label: str, span: Span) -> str:
        """The thing and the time, in the words that named it and by the calendar."""
        since, until = self._day(span.since), self._day(span.until)
        first, last = span.since.timetz().replace(tzinfo=None), span.until.timetz().replace(tzinfo=None)
        if span.until.date() - span.since.date() == DAY and first == last == time(0):
            return f"{label}, {span.words} ({since})"
        until = f"{last:%H:%M}" if span.since.date() == span.until.date() else f"{until} {last:%H:%M}"
        return f"{label}, {span.words} ({since} {first:%H:%M} to {until})"

    def _when(self, moment: datetime, span: Span | None = None) -> str:
        """Day and time; within a `span` of a day the time alone."""
        local = moment.astimezone(self._now.tzinfo)
        if span is not None and span.until - span.since <= DAY:
            return f"{local:%H:%M}"
        return f"{self._day(local)} {local:%H:%M}"

    def _day(self, moment: datetime) -> str:
        """The weekday alone within the last six days; the year where it is another."""
        if timedelta(0) <= self._now.date() - moment.date() < 7 * DAY:
            return DAYS[moment.weekday()]
        year = "" if moment.year == self._now.year else f" {moment.year}"
        return f"{DAYS[moment.weekday()]} {moment.day} {MONTHS[moment.month - 1]}{year}"


def _state(change: Change) -> str:
    """In one line: a state may be any text."""
    return " ".join(change.state.split())


def _measured(found: Measured) -> str:
    return f"{_number(found.value)} {found.unit}" if found.unit else _number(found.value)


def _number(value: float) -> str:
    """Two decimals at most, and none that say nothing."""
    rounded = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if rounded == "-0" else rounded
