"""What templates and conditions see of the home, by the names that Home Assistant gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from gateway.home.registry import Registry
from gateway.home.sandbox import TemplateFailed
from gateway.home.things import UNKNOWN, Condition

UNAVAILABLE = "unavailable"


def state_of(condition: Condition) -> str:
    """Its state as Home Assistant sees it: what is away has no other, though its last one is known."""
    return UNAVAILABLE if condition.available is False else condition.state


@dataclass(frozen=True, slots=True)
class StateView:
    """A thing as it stood, as `trigger.to_state` and its kin show it."""

    entity_id: str
    name: str
    state: str
    attributes: Mapping[str, Any]
    last_changed: datetime | None

    def __str__(self) -> str:
        return self.state


class View:
    """The home's states, and the time."""

    def __init__(self, registry: Registry, now: Callable[[], datetime]) -> None:
        """`now`: the time at home, with its zone."""
        self.registry = registry
        self.now = now

    def since(self, then: datetime) -> float:
        """The seconds since then; below 0 where that is still to come. Not by the wall's clock, which is what two times
        of the same zone are subtracted by: it is set back once a year."""
        return (self.now().astimezone(UTC) - then.astimezone(UTC)).total_seconds()

    def condition(self, thing_id: str) -> Condition | None:
        """How that thing stands; None where there is no such thing."""
        return self.registry.condition(thing_id) if thing_id in self.registry.things else None

    def names(self) -> dict[str, Any]:
        """The functions that a template may call."""
        return {
            "states": self._states,
            "state_attr": self._state_attr,
            "is_state": self._is_state,
            "is_state_attr": lambda thing_id, name, value: self._state_attr(thing_id, name) == value,
            "has_value": lambda thing_id: self._states(thing_id) not in (UNKNOWN, UNAVAILABLE),
            "now": self.now,
            "utcnow": lambda: self.now().astimezone(UTC),
            "today_at": self._today_at,
        }

    def of(self, thing_id: str, condition: Condition) -> StateView:
        """A thing as it stood then."""
        thing = self.registry.things.get(thing_id)
        return StateView(
            thing_id,
            thing.name if thing is not None else thing_id,
            state_of(condition),
            MappingProxyType(dict(condition.attributes)),
            condition.changed,
        )

    def _states(self, thing_id: str) -> str:
        condition = self.condition(thing_id)
        return UNKNOWN if condition is None else state_of(condition)

    def _state_attr(self, thing_id: str, name: str) -> Any:
        condition = self.condition(thing_id)
        return None if condition is None else condition.attributes.get(name)

    def _is_state(self, thing_id: str, state: Any) -> bool:
        return self._states(thing_id) in (state if isinstance(state, (list, tuple)) else [state])

    def _today_at(self, at: str = "00:00") -> datetime:
        try:
            hour, minute, *second = (int(part) for part in at.split(":"))
            return self.now().replace(hour=hour, minute=minute, second=second[0] if second else 0, microsecond=0)
        except ValueError as error:
            raise TemplateFailed("today_at takes a time of day, such as 07:30") from error
