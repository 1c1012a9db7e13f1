"""Tries an automation, with nothing sent, asked or kept: what it would do is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiomqtt import Topic

from gateway.automations.engine import about_change, names, unmet_condition
from gateway.automations.messages import Arrival, wanted_change, wanted_message
from gateway.automations.model import Automation, MqttTrigger, StateTrigger
from gateway.automations.run import Run, Trace
from gateway.automations.views import View
from gateway.automations.world import OnTrial
from gateway.errors import BadRequest
from gateway.home.guarding import Guard
from gateway.home.registry import Registry
from gateway.home.things import UNKNOWN, Condition, Thing


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken to have happened, and to be so: a message, or a thing's change, in a home where nothing is known
    but `states`, `topics` (by the names that the automation gives them) and the last question."""

    payload: str = ""
    topic: str | None = None
    before: str | None = None
    to: str | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    question: str | None = None
    answer: str = "(the assistant's answer)"
    language: str | None = None


async def attempt(
    automation: Automation, assumed: Assumed, guard: Guard, now: Callable[[], datetime], tell: Callable[[str], None]
) -> Trace | None:
    """Runs it; None where it would not begin, which is told too. Raises TemplateFailed."""
    registry = Registry()
    for thing_id, state in assumed.states.items():
        registry.put(Thing(thing_id, thing_id, "configured"), Condition().told(now(), state=state))
    view = View(registry, now)
    began = _begins(automation, assumed, view)
    if began is None:
        tell("no trigger would begin a run")
        return None
    place, about = began
    trigger = automation.triggers[place]
    about = {**about, "id": trigger.id or str(place), "idx": str(place), "alias": trigger.alias}
    topics = {name: Arrival.of(name, text.encode()).value for name, text in assumed.topics.items()}
    known = names(view, automation, about, last_question=assumed.question, language=assumed.language, topics=topics)
    run = Run(automation, known, view, OnTrial(tell, guard, assumed.answer))
    if (unmet := unmet_condition(run, automation, view)) is not None:
        tell(unmet)
        return None
    return await run.go()


def _begins(automation: Automation, assumed: Assumed, view: View) -> tuple[int, dict[str, Any]] | None:
    """Which trigger it is, and what the templates know of it."""
    for place, trigger in enumerate(automation.triggers):
        if not trigger.enabled:
            continue
        match trigger:
            case MqttTrigger() if assumed.to is None:
                topic = assumed.topic or trigger.topic
                if "+" in topic or "#" in topic:
                    raise BadRequest(f"{topic} stands for many topics: say which with --topic")
                came = Arrival.of(topic, assumed.payload.encode())
                if Topic(topic).matches(trigger.topic) and wanted_message(trigger, came, view):
                    return place, {"platform": "mqtt", **came.names()}
            case StateTrigger() if assumed.topic is None:
                thing_id = trigger.entity_id[0]
                was, became = (trigger.before or (UNKNOWN,))[0], (trigger.to or (UNKNOWN,))[0]
                before = _standing(trigger, assumed.before or was, view.now())
                now = _standing(trigger, assumed.to or became, view.now())
                if wanted_change(trigger, before, now):
                    return place, about_change(view, thing_id, trigger, before, now)
            case _:
                pass
    return None


def _standing(trigger: StateTrigger, value: str, at: datetime) -> Condition:
    """A thing of which what the trigger looks at is that value."""
    if trigger.attribute is None:
        return Condition().told(at, state=value)
    return Condition(attributes={trigger.attribute: value}, changed=at, seen=at)
