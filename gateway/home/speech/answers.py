"""Telling what was done: what Home Assistant reports, in the words of `home-assistant-intents`; never from hope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway.home.speech import languages
from gateway.home.speech.intents import CLOCK, DOMAINS, Understood
from gateway.shapes import Message

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
# These have to have done something to something; others (a broadcast, a list) may report no target.
_TOLD = frozenset({"HassGetState", "HassClimateGetTemperature"})
_OF_ONE = frozenset({"default", "one", "one_yesno"})
_OF_SEVERAL = frozenset({"any", "any_short", "all", "which", "how_many"})
_TARGETED = frozenset({"HassTurnOn", "HassTurnOff", *DOMAINS})


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of the first thing that was acted on. Not its new state: a template that tells it is not used."""

    entity_id: str
    name: str
    domain: str


def results(understood: Understood, continuation: Sequence[Message]) -> str | None:
    """What the tool answered, where `continuation` is that very call and its result; None where it is anything else."""
    if len(continuation) != 2:
        return None
    asked, answered = continuation
    if asked.role != "assistant" or answered.role != "tool" or len(asked.tool_calls) != 1:
        return None
    call = asked.tool_calls[0]
    if call.name != understood.tool or dict(call.arguments) != dict(understood.arguments):
        return None
    return answered.content


def confirm(understood: Understood, result: str) -> str | None:
    """The sentence that tells what the tool did, from its result as the client sent it, in either of its layouts.

    None where the model should tell it: an error, something that failed, nothing done, a question, no words for it.
    """
    if understood.ask_model_after:
        return None
    try:
        reported: Any = orjson.loads(result)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(reported, dict) or reported.get("error") or reported.get("success") is False:
        return None
    if "error" in reported and isinstance(reported.get("data"), dict):
        reported = reported["data"]  # the newer layout has it one level down
        if reported.get("error") or reported.get("success") is False:
            return None
    if understood.intent in CLOCK:
        return _tell_time(understood, reported)
    data = reported.get("data")
    if reported.get("response_type") != "action_done" or not isinstance(data, dict) or data.get("failed"):
        return None
    done = [target for target in data.get("success") or () if isinstance(target, dict)]
    if not done and understood.intent in _TARGETED:
        return None
    state = next(_states(done), None)
    return _say(understood, dict(understood.slots), state) or _done(understood.language)


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing as the package's templates for questions know it. `state` is Home Assistant's word."""

    entity_id: str
    name: str
    domain: str
    state: str
    unit: str | None
    attributes: Mapping[str, Any]

    @property
    def hass_state(self) -> str:
        return self.state

    @property
    def state_with_unit(self) -> str:
        return f"{self.state} {self.unit}" if self.unit else self.state


@dataclass(frozen=True, slots=True)
class _Query:
    matched: tuple[Seen, ...]
    unmatched: tuple[Seen, ...]


def tell(understood: Understood, seen: Sequence[Seen]) -> str | None:
    """The answer to a question about those things, all of whose states are known; None where the model should word it.

    `seen` is what the question is about; which of them are as it asks is found here.
    """
    wanted = understood.about.get("state")
    if not seen or understood.intent not in _TOLD:
        return None
    if understood.intent == "HassGetState":
        if understood.response in _OF_ONE:
            if len(seen) != 1 or (understood.response != "one_yesno" and not _sayable(seen[0], understood.language)):
                return None
        elif understood.response not in _OF_SEVERAL or wanted is None:
            return None
    elif len(seen) != 1 or not _is_number(seen[0].attributes.get("current_temperature", seen[0].state)):
        return None
    matched = tuple(one for one in seen if wanted is not None and is_as(one, str(wanted)))
    unmatched = tuple(one for one in seen if one not in matched)
    attributes = {one.entity_id: one.attributes for one in seen}
    return _say(
        understood,
        dict(understood.slots),
        (matched or seen)[0],
        query=_Query(matched, unmatched),
        state_attr=lambda entity_id, name: attributes.get(entity_id, {}).get(name),
    )


def is_as(seen: Seen, wanted: str) -> bool:
    """Whether the thing is in that state. A contact sensor that is on is an open door, and the other way round."""
    state = seen.state.casefold()
    if seen.domain == "binary_sensor":
        wanted = {"open": "on", "closed": "off"}.get(wanted, wanted)
    return state == wanted.casefold()


def _sayable(seen: Seen, language: str) -> bool:
    """Whether the state can be said as it is: it is a number, or the language has a word for it. Home Assistant's words
    are English, and French would need to know the thing's gender."""
    known = language == "en" or (language == "pl" and seen.state in {"on", "off", "open", "closed"})
    return known or _is_number(seen.state)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _tell_time(understood: Understood, reported: Mapping[str, Any]) -> str | None:
    now = reported["result"] if isinstance(reported.get("result"), dict) else reported
    try:
        slots = {"date": date.fromisoformat(str(now["date"])), "time": time.fromisoformat(str(now["time"]))}
    except (KeyError, ValueError):
        return None
    return _say(understood, slots, None)


def _states(done: Sequence[Mapping[str, Any]]) -> Iterator[_State]:
    for target in done:
        ident = str(target.get("id", ""))
        if target.get("type") == "entity" and "." in ident:
            yield _State(ident, str(target.get("name", "")), ident.split(".", 1)[0])


def _say(understood: Understood, slots: Mapping[str, Any], state: _State | Seen | None, **more: Any) -> str | None:
    """The intent's template, or None where it needs what is not known."""
    answers = languages.load(understood.language).responses.get(understood.intent, {})
    source = answers.get(understood.response) or answers.get("default")
    if not source:
        return None
    try:
        said = " ".join(_template(source).render(slots=slots, state=state, **more).split())
    except (TemplateError, TypeError, ValueError, AttributeError, LookupError):
        return None  # a template may do with its values whatever Python can, and fail as Python does
    # A template that looks up a word it does not have for this kind of thing says so.
    return said if said and "None" not in said.split() else None


def _done(language: str) -> str | None:
    """The package's plainest word for it: what it says when a message was broadcast."""
    return languages.load(language).responses.get("HassBroadcast", {}).get("default") or None


@lru_cache(maxsize=256)
def _template(source: str) -> Template:
    return _JINJA.from_string(source)
