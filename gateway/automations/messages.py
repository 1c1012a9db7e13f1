"""Whether a message, or a thing's new state, is what a trigger waits for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.automations.conditions import as_text, value_of
from gateway.automations.model import MqttTrigger, StateTrigger
from gateway.automations.templates import holds, render
from gateway.automations.views import View
from gateway.home.things import Condition

MAX_PAYLOAD = 65_536  # bytes
MISSING: Any = object()
_STEPS = re.compile(r"\[(\d+)\]|\['([^']*)'\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as templates know it. `payload_json` is MISSING where it is no JSON."""

    topic: str
    payload: str
    payload_json: Any
    retained: bool = False

    @classmethod
    def of(cls, topic: str, payload: bytes, *, retained: bool = False) -> Arrival:
        """A message that came."""
        try:
            parsed: Any = orjson.loads(payload)
        except orjson.JSONDecodeError:
            parsed = MISSING
        return cls(topic, payload.decode(errors="replace"), parsed, retained)

    @property
    def value(self) -> Any:
        """What it says: JSON where it is JSON, else its text."""
        return self.payload if self.payload_json is MISSING else self.payload_json

    def names(self) -> dict[str, Any]:
        """What a template knows of it."""
        names: dict[str, Any] = {"topic": self.topic, "payload": self.payload}
        return names if self.payload_json is MISSING else {**names, "payload_json": self.payload_json}


def found_at(value: Any, path: str) -> Any:
    """What stands at `$.a.b[0]` of a JSON value; MISSING where that leads nowhere."""
    for index, quoted, name in _STEPS.findall(path.removeprefix("$")):
        if index:
            if not isinstance(value, list) or int(index) >= len(value):
                return MISSING
            value = value[int(index)]
        else:
            key = quoted or name
            if not isinstance(value, Mapping) or key not in value:
                return MISSING
            value = value[key]
    return value


def wanted_message(trigger: MqttTrigger, came: Arrival, view: View) -> bool:
    """Whether the message, whose topic is the trigger's, is one that it waits for. Raises TemplateFailed."""
    if came.retained and not trigger.retained:
        return False
    names = {**view.names(), **came.names(), "value": came.payload, "trigger": came.names()}
    if came.payload_json is not MISSING:
        names["value_json"] = came.payload_json
    found = came.payload
    if trigger.json_path is not None:
        value = found_at(came.payload_json, trigger.json_path)
        if value is MISSING:
            return False
        found = as_text(value)
    if trigger.payload is None:
        return trigger.value_template is None or holds(trigger.value_template, names)
    if trigger.value_template is not None:
        found = render(trigger.value_template, names)
    return found == render(trigger.payload, names)


def heard_anew(trigger: StateTrigger, before: Condition, now: Condition) -> bool:
    """Whether what the trigger looks at became another."""
    if value_of(before, trigger.attribute) != value_of(now, trigger.attribute):
        return True
    return trigger.attribute is None and not trigger.of_state_alone and dict(before.attributes) != dict(now.attributes)


def wanted_change(trigger: StateTrigger, before: Condition, now: Condition) -> bool:
    """Whether it became what the trigger waits for, from what it waits for."""
    was, became = value_of(before, trigger.attribute), value_of(now, trigger.attribute)
    return (
        (trigger.before is None or was in trigger.before)
        and (trigger.to is None or became in trigger.to)
        and (trigger.not_from is None or was not in trigger.not_from)
        and (trigger.not_to is None or became not in trigger.not_to)
    )
