"""Whether an automation's conditions hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from gateway.automations.model import (
    WEEKDAYS,
    AnyCondition,
    Conditions,
    NumericCondition,
    StateCondition,
    TemplateCondition,
    TimeCondition,
    TriggerCondition,
)
from gateway.automations.templates import holds, render
from gateway.automations.views import View, state_of
from gateway.home.things import Condition


def met(condition: AnyCondition, names: Mapping[str, Any], view: View) -> bool:
    """Whether it holds now. Raises TemplateFailed."""
    if not condition.enabled:
        return True
    match condition:
        case StateCondition():
            stand = [_state(condition, view, thing_id) for thing_id in condition.entity_id]
            return any(stand) if condition.match == "any" else all(stand)
        case NumericCondition():
            return all(_number(condition, names, view, thing_id) for thing_id in condition.entity_id)
        case TemplateCondition():
            return holds(condition.value_template, names)
        case TimeCondition():
            return _time(condition, view)
        case TriggerCondition():
            trigger = names.get("trigger")
            return isinstance(trigger, Mapping) and trigger.get("id") in condition.id
        case Conditions():
            each = (met(inner, names, view) for inner in condition.conditions)
            if condition.condition == "and":
                return all(each)
            return any(each) if condition.condition == "or" else not any(each)
    assert_never(condition)


def value_of(stands: Condition, attribute: str | None) -> str | None:
    """The state, or the attribute, as the text that a state is compared with."""
    if attribute is None:
        return state_of(stands)
    value = stands.attributes.get(attribute)
    return None if value is None else as_text(value)


def as_text(value: Any) -> str:
    """A JSON value as it is compared with text: true and false as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _state(condition: StateCondition, view: View, thing_id: str) -> bool:
    stands = view.condition(thing_id)
    if stands is None or value_of(stands, condition.attribute) not in condition.state:
        return False
    if not condition.stays:
        return True
    # Since when it is away nothing tells, but that it was heard of last.
    since = stands.seen if stands.available is False else stands.changed
    return since is not None and view.since(since) >= condition.stays


def _number(condition: NumericCondition, names: Mapping[str, Any], view: View, thing_id: str) -> bool:
    stands = view.condition(thing_id)
    if stands is None:
        return False
    if condition.value_template is not None:
        found: str | None = render(condition.value_template, {**names, "state": view.of(thing_id, stands)})
    else:
        found = value_of(stands, condition.attribute)
    try:
        number = float(found) if found is not None else None
    except ValueError:
        number = None
    if number is None:
        return False
    return (condition.above is None or number > condition.above) and (
        condition.below is None or number < condition.below
    )


def _time(condition: TimeCondition, view: View) -> bool:
    now = view.now()
    if condition.weekday is not None and WEEKDAYS[now.weekday()] not in condition.weekday:
        return False
    at, after, before = now.time(), condition.after, condition.before
    if after is not None and before is not None and after > before:
        return at >= after or at < before  # over midnight
    return (after is None or at >= after) and (before is None or at < before)
