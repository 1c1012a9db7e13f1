"""Acting over MQTT: what a tool call comes to, carrying it out, and telling what came of it from what was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.config import HomeSettings
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.things import Condition, Order
from gateway.shapes import Scope

Verdict = Literal["done", "already", "no_answer", "unavailable", "failed"]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants something done: `speaker` is whoever may take it back (a conversation, a device, an automation)."""

    scope: Scope
    edge: str
    speaker: str
    words: str
    area: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tool call comes to: an order for each thing, by its id. Never empty."""

    tool: str
    arguments: Mapping[str, Any]
    orders: Mapping[str, Order]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one thing's order, from what the thing itself said."""

    thing_id: str
    name: str
    verdict: Verdict
    before: Condition
    now: Condition


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it all."""

    wanted: Wanted
    results: tuple[Result, ...]

    def report(self) -> str:
        """The same as a tool's result, JSON as Home Assistant writes it (see `answers.confirm`)."""
        raise NotImplementedError


class Actor:
    """Carries out what is wanted of things at home, one speaker's last action kept for "undo that"."""

    def __init__(self, registry: Registry, link: Link, settings: HomeSettings, now: Callable[[], datetime]) -> None:
        raise NotImplementedError

    def wanted(self, tool: str, arguments: Mapping[str, Any], area: str | None) -> Wanted:
        """What the call of that tool (HassTurnOn ...) comes to, for somebody in `area`. Raises NotFound where no
        exposed thing is meant, Ambiguous, CannotDo, BadRequest."""
        raise NotImplementedError

    def guarded(self, wanted: Wanted) -> tuple[str, ...]:
        """The names of those things that may be moved with an allowance or a confirmation only, and have none."""
        raise NotImplementedError

    async def carry_out(self, wanted: Wanted, asker: Asker) -> Outcome:
        """Sends the orders and waits for the states that confirm them."""
        raise NotImplementedError

    async def undo(self, asker: Asker) -> Outcome | None:
        """Takes back this speaker's last action; None where there is none of the last five minutes."""
        raise NotImplementedError
