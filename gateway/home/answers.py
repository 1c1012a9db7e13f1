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

from gateway.home import languages
from gateway.home.intents import CLOCK, DOMAINS, Understood
from gateway.shapes import Message

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
# These have to have done something to something; others (a broadcast, a list) may report no target.
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


def _say(understood: Understood, slots: Mapping[str, Any], state: _State | None) -> str | None:
    """The intent's template, or None where it needs what is not known."""
    answers = languages.load(understood.language).responses.get(understood.intent, {})
    source = answers.get(understood.response) or answers.get("default")
    if not source:
        return None
    try:
        said = " ".join(_template(source).render(slots=slots, state=state).split())
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
