"""What an automation is, as its file states it. Home Assistant's words where it has them, in singular and plural."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.automations.templates import compiled
from gateway.home.sandbox import TemplateFailed
from gateway.home.things import ACTIONS

LONGEST = 7 * 86_400  # seconds
MAX_QUEUED = 100
MAX_STEPS = 100
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ID = re.compile(r"[a-z0-9_-]{1,64}")
ENTITY = re.compile(r"[a-z_]+\.[a-z0-9_]+")
JSON_PATH = re.compile(r"\$?((^|\.)[^.\[\]]+|\[\d+\]|\['[^']*'\])*")
MAX_TOPIC_BYTES = 65_535

# Home Assistant's names of what is done with a thing, where ours are others.
THEIR_ACTIONS: Mapping[str, str] = {
    "open_cover": "open",
    "close_cover": "close",
    "stop_cover": "stop",
    "set_cover_position": "set_position",
    "set_cover_tilt_position": "set_tilt",
    "open_valve": "open",
    "close_valve": "close",
    "stop_valve": "stop",
    "set_valve_position": "set_position",
    "set_hvac_mode": "set_mode",
    "set_percentage": "set_speed",
    "volume_set": "set_volume",
    "media_play": "play",
    "media_pause": "pause",
    "media_next_track": "next",
    "media_previous_track": "previous",
    "select_option": "select",
    "start_mowing": "mow",
}
# What Home Assistant calls the values of an action.
THEIR_VALUES: Mapping[tuple[str, str], str] = {
    ("turn_on", "color_name"): "color",
    ("set_tilt", "tilt_position"): "position",
    ("set_mode", "hvac_mode"): "mode",
    ("set_fan_mode", "fan_mode"): "mode",
}
TEXTS = ("mode", "hvac_mode", "option", "effect")  # values that are one of some words, such as off
PERCENT = "brightness_pct"  # taken beside `brightness`, as Home Assistant does


class Part(BaseModel):
    """A part of the file: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _template(text: str) -> str:
    try:
        compiled(text)
    except TemplateFailed as error:
        raise ValueError(f"a template: {error.message}") from error
    return text


def _as_text(value: Any) -> Any:
    """YAML reads on, off, yes and no as true and false, and 1 as a number; a state is text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, (int, float)) else value


def _quoted(value: Any) -> Any:
    """What is compared with what others wrote, `ON` or `true`, must be as they write it."""
    if isinstance(value, bool):
        raise ValueError("in quotes: YAML reads on, off, yes, no, true and false as something else")  # noqa: TRY004
    return value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _quoted_of_attribute(value: Any, known: ValidationInfo) -> Any:
    """A state is on or off, whatever YAML made of it; an attribute may be true as well."""
    if known.data.get("attribute") is not None:
        for one in _as_list(value):
            _quoted(one)
    return value


def _none_or_list(value: Any) -> Any:
    return None if value is None else _as_list(value)


def _seconds(value: Any) -> Any:
    if isinstance(value, dict):
        units = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1, "milliseconds": 0.001}
        if value and value.keys() <= units.keys() and all(isinstance(n, (int, float)) for n in value.values()):
            with suppress(OverflowError):
                return sum(number * units[unit] for unit, number in value.items())
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(:[0-5]?\d){1,2}", value):
        hours, minutes, *rest = map(int, value.split(":"))
        return hours * 3600 + minutes * 60 + (rest[0] if rest else 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError('a time: seconds, "HH:MM:SS", or days, hours, minutes, seconds')  # noqa: TRY004 (for pydantic)
    return value


def _time_of_day(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value):
        raise ValueError('a time of day, in quotes: "07:30"')
    return time.fromisoformat(value.zfill(len(value) + (value[1] == ":")))


def _entity(value: str) -> str:
    if not ENTITY.fullmatch(value):
        raise ValueError("an entity's id, such as light.kitchen")
    return value


def _topic(value: str) -> str:
    if not value or "\x00" in value or len(value.encode()) > MAX_TOPIC_BYTES:
        raise ValueError("a topic")
    return value


def _filter(value: str) -> str:
    levels = _topic(value).split("/")
    for place, level in enumerate(levels):
        if ("#" in level and (level != "#" or place < len(levels) - 1)) or ("+" in level and level != "+"):
            raise ValueError("a topic; + stands for a whole level, # for all the last ones")
    return value


def _one_topic(value: str) -> str:
    if "+" in value or "#" in value:
        raise ValueError("one topic, without + and #")
    return _topic(value)


def _json_path(value: str) -> str:
    if not JSON_PATH.fullmatch(value):
        raise ValueError("a path into JSON, such as $.after.label or $.list[0]")
    return value


def _action_name(value: str) -> str:
    value = THEIR_ACTIONS.get(value, value)
    if value not in ACTIONS:
        raise ValueError(f"one of {', '.join(ACTIONS)}")
    return value


def _weekday(value: str) -> str:
    if value not in WEEKDAYS:
        raise ValueError(f"one of {', '.join(WEEKDAYS)}")
    return value


Template = Annotated[str, BeforeValidator(_as_text), AfterValidator(_template)]
Quoted = Annotated[Template, BeforeValidator(_quoted)]
State = Annotated[str, BeforeValidator(_as_text)]
States = Annotated[tuple[State, ...] | None, BeforeValidator(_none_or_list)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=LONGEST)]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
Entity = Annotated[str, AfterValidator(_entity)]
Entities = Annotated[tuple[Entity, ...], BeforeValidator(_as_list), Field(min_length=1)]
TopicFilter = Annotated[str, AfterValidator(_filter)]
Topic = Annotated[str, AfterValidator(_one_topic)]
JsonPath = Annotated[str, AfterValidator(_json_path)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


# --- what begins a run


class Trigger(Part):
    """What all triggers have. `id` is what the conditions and templates know it by."""

    id: Annotated[str, BeforeValidator(_as_text)] | None = None
    alias: str | None = None
    enabled: bool = True


class MqttTrigger(Trigger):
    """A message. With `json_path` or `value_template` it is what these find in it that is compared with `payload`;
    without a `payload` to compare with, a template must hold and a path must lead somewhere. What the broker kept from
    before (`retained`) counts only where that is said."""

    trigger: Literal["mqtt"]
    topic: TopicFilter
    payload: Quoted | None = None
    value_template: Template | None = None
    json_path: JsonPath | None = None
    retained: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> MqttTrigger:
        if self.json_path is not None and self.value_template is not None:
            raise ValueError("has json_path and value_template; allowed: one of them")
        return self


class StateTrigger(Trigger):
    """A thing's state, or one of its attributes, that becomes another; with `for`, once it stayed so for as long."""

    trigger: Literal["state"]
    entity_id: Entities
    attribute: str | None = None
    before: States = Field(default=None, alias="from")
    to: States = None
    not_from: States = None
    not_to: States = None
    stays: Seconds = Field(default=0, alias="for")

    _unlike_states = field_validator("before", "to", "not_from", "not_to", mode="before")(_quoted_of_attribute)

    @property
    def of_state_alone(self) -> bool:
        """Whether only another state counts, as Home Assistant sees it: not where neither end is named."""
        return bool(self.model_fields_set & {"before", "to", "not_from", "not_to"})


# --- what must hold


class Condition(Part):
    """What all conditions have."""

    alias: str | None = None
    enabled: bool = True


class StateCondition(Condition):
    condition: Literal["state"]
    entity_id: Entities
    attribute: str | None = None
    state: Annotated[tuple[State, ...], BeforeValidator(_as_list), Field(min_length=1)]
    stays: Seconds = Field(default=0, alias="for")
    match: Literal["all", "any"] = "all"

    _unlike_states = field_validator("state", mode="before")(_quoted_of_attribute)


class NumericCondition(Condition):
    condition: Literal["numeric_state"]
    entity_id: Entities
    above: float | None = None
    below: float | None = None
    attribute: str | None = None
    value_template: Template | None = None

    @model_validator(mode="after")
    def _some(self) -> NumericCondition:
        if self.above is None and self.below is None:
            raise ValueError("needs above or below")
        return self


class TemplateCondition(Condition):
    condition: Literal["template"]
    value_template: Template


class TimeCondition(Condition):
    condition: Literal["time"]
    after: TimeOfDay | None = None
    before: TimeOfDay | None = None
    weekday: Annotated[tuple[Annotated[str, AfterValidator(_weekday)], ...] | None, BeforeValidator(_none_or_list)] = (
        None
    )


class TriggerCondition(Condition):
    condition: Literal["trigger"]
    id: Annotated[tuple[State, ...], BeforeValidator(_as_list)]


class Conditions(Condition):
    condition: Literal["and", "or", "not"]
    conditions: Annotated[tuple[AnyCondition, ...], BeforeValidator(_as_list), Field(min_length=1)]


# --- what is done


class Step(Part):
    """What all steps have."""

    alias: str | None = None
    enabled: bool = True
    continue_on_error: bool = False


class Question(Part):
    prompt: Template
    conversation_id: Template | None = None
    language: Template | None = None
    area: Template | None = None


class Ask(Step):
    """Asks the assistant; its words are `answer` for the next steps, and what `response_variable` names."""

    ask: Annotated[Question, BeforeValidator(lambda value: {"prompt": value} if isinstance(value, str) else value)]
    response_variable: Name | None = None


class Letter(Part):
    topic: Annotated[Template, AfterValidator(_topic)]
    payload: Any = ""
    retain: bool = False
    qos: Literal[0, 1, 2] = 1

    @model_validator(mode="after")
    def _templates(self) -> Letter:
        _all_templates(self.payload)
        return self


class Publish(Step):
    publish: Letter


class Wish(Part):
    """An action on things, or a sentence as somebody would say it."""

    entity_id: Annotated[tuple[Template, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    action: Annotated[str, AfterValidator(_action_name)] | None = None
    values: Mapping[str, Any] = Field(default_factory=dict)
    sentence: Template | None = None
    language: Template | None = None
    area: Template | None = None

    @model_validator(mode="before")
    @classmethod
    def _their_values(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(values := given.get("values"), dict):
            return given
        action = THEIR_ACTIONS.get(action := str(given.get("action")), action)
        values = {THEIR_VALUES.get((action, name), name): value for name, value in values.items()}
        return {**given, "values": {name: _as_text(one) if name in TEXTS else one for name, one in values.items()}}

    @model_validator(mode="after")
    def _one_way(self) -> Wish:
        if (self.sentence is None) == (self.entity_id is None) or (self.entity_id is None) != (self.action is None):
            raise ValueError("needs entity_id and action, or a sentence")
        if self.sentence is None and (self.language or self.area):
            raise ValueError("has language or area, which belong to a sentence")
        if self.action is not None:
            known = ACTIONS[self.action]
            known = (*known, PERCENT) if "brightness" in known else known
            for name in self.values:
                if name not in known:
                    raise ValueError(f"has the value {name!r}; {self.action} takes {', '.join(known) or 'none'}")
        elif self.values:
            raise ValueError("has values, which belong to an action")
        _all_templates(dict(self.values))
        return self


class Command(Step):
    command: Annotated[Wish, BeforeValidator(lambda value: {"sentence": value} if isinstance(value, str) else value)]


class Note(Part):
    content: Template
    tags: tuple[str, ...] = ()


class Remember(Step):
    remember: Annotated[Note, BeforeValidator(lambda value: {"content": value} if isinstance(value, str) else value)]


class Preference(Part):
    key: Annotated[str, Field(min_length=1, max_length=200)]
    value: Any

    @model_validator(mode="after")
    def _templates(self) -> Preference:
        _all_templates(self.value)
        return self


class SetPreference(Step):
    set_preference: Preference


class Announcement(Part):
    text: Template
    area: Template | None = None
    language: Template | None = None


class Announce(Step):
    announce: Annotated[
        Announcement, BeforeValidator(lambda value: {"text": value} if isinstance(value, str) else value)
    ]


class Delay(Step):
    delay: Seconds


class Stop(Step):
    stop: Template
    error: bool = False


class Variables(Step):
    variables: Mapping[Name, Any]

    @model_validator(mode="after")
    def _templates(self) -> Variables:
        _all_templates(dict(self.variables))
        return self


class Must(Step):
    """A condition among the steps: where it does not hold the run ends."""

    must: AnyCondition


class If(Step):
    condition: Annotated[tuple[AnyCondition, ...], BeforeValidator(_as_list)] = Field(alias="if")
    then: Steps
    otherwise: Steps = Field(default=(), alias="else")


class Choice(Part):
    alias: str | None = None
    conditions: Annotated[tuple[AnyCondition, ...], BeforeValidator(_as_list)]
    sequence: Steps


class Choose(Step):
    choose: Annotated[tuple[Choice, ...], BeforeValidator(_as_list)]
    default: Steps = ()


STEPS = (
    *("ask", "publish", "command", "remember", "set_preference", "announce", "delay", "stop", "variables", "must"),
    *("if", "choose"),
)


def _kind_of_trigger(value: Any) -> str | None:
    kind = value.get("trigger") if isinstance(value, dict) else getattr(value, "trigger", None)
    return f"({kind})" if isinstance(kind, str) else None


def _kind_of_condition(value: Any) -> str | None:
    kind = value.get("condition") if isinstance(value, dict) else getattr(value, "condition", None)
    kind = "and" if kind in ("or", "not") else kind
    return f"({kind})" if isinstance(kind, str) else None


def _kind_of_step(value: Any) -> str | None:
    kinds = [kind for kind in STEPS if isinstance(value, dict) and kind in value]
    return f"({kinds[0]})" if kinds else None


def _their_trigger(value: Any) -> Any:
    if isinstance(value, dict) and "platform" in value and "trigger" not in value:
        value = {"trigger" if key == "platform" else key: inner for key, inner in value.items()}
    return value


def _their_condition(value: Any) -> Any:
    if isinstance(value, str):
        return {"condition": "template", "value_template": value}
    if isinstance(value, dict) and "condition" not in value:
        for kind in ("and", "or", "not"):
            if kind in value:
                rest = {key: inner for key, inner in value.items() if key != kind}
                return {**rest, "condition": kind, "conditions": value[kind]}
    return value


def _their_step(value: Any) -> Any:
    """Home Assistant's `action: domain.name` with target and data; and a condition as a step."""
    if isinstance(value, str):
        return {"must": value}
    if not isinstance(value, dict):
        return value
    if any(kind in value for kind in ("condition", "and", "or", "not")) and "if" not in value:
        common = {key: value[key] for key in ("alias", "enabled") if key in value}
        return {**common, "must": {key: inner for key, inner in value.items() if key not in common}}
    name = value.get("action", value.get("service"))
    if isinstance(name, str) and "." in name:
        rest = {key: inner for key, inner in value.items() if key not in ("action", "service", "target", "data")}
        values = value.get("data")
        values = dict(values) if isinstance(values, dict) else {}
        if name == "mqtt.publish":
            return {**rest, "publish": values}
        target = value.get("target")
        entity = (target if isinstance(target, dict) else values).get("entity_id")
        entity = rest.pop("entity_id", None) if entity is None else entity
        values.pop("entity_id", None)
        return {**rest, "command": {"entity_id": entity, "action": name.split(".", 1)[1], "values": values}}
    return value


def _all_templates(value: Any) -> None:
    if isinstance(value, str):
        _template(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            _all_templates(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _all_templates(inner)


AnyTrigger = Annotated[
    Annotated[MqttTrigger, Tag("(mqtt)")] | Annotated[StateTrigger, Tag("(state)")],
    Discriminator(
        _kind_of_trigger,
        custom_error_type="trigger",
        custom_error_message="is no trigger; allowed: trigger: mqtt, trigger: state",
    ),
    BeforeValidator(_their_trigger),
]
AnyCondition = Annotated[
    Annotated[StateCondition, Tag("(state)")]
    | Annotated[NumericCondition, Tag("(numeric_state)")]
    | Annotated[TemplateCondition, Tag("(template)")]
    | Annotated[TimeCondition, Tag("(time)")]
    | Annotated[TriggerCondition, Tag("(trigger)")]
    | Annotated[Conditions, Tag("(and)")],
    Discriminator(
        _kind_of_condition,
        custom_error_type="condition",
        custom_error_message="is no condition; allowed: state, numeric_state, template, time, trigger, and, or, not",
    ),
    BeforeValidator(_their_condition),
]
AnyStep = Annotated[
    Annotated[Ask, Tag("(ask)")]
    | Annotated[Publish, Tag("(publish)")]
    | Annotated[Command, Tag("(command)")]
    | Annotated[Remember, Tag("(remember)")]
    | Annotated[SetPreference, Tag("(set_preference)")]
    | Annotated[Announce, Tag("(announce)")]
    | Annotated[Delay, Tag("(delay)")]
    | Annotated[Stop, Tag("(stop)")]
    | Annotated[Variables, Tag("(variables)")]
    | Annotated[Must, Tag("(must)")]
    | Annotated[If, Tag("(if)")]
    | Annotated[Choose, Tag("(choose)")],
    Discriminator(
        _kind_of_step,
        custom_error_type="step",
        custom_error_message=(
            "is no action; allowed: ask, publish, command, remember, set_preference, announce, delay, stop, variables, "
            "a condition, if, choose, or Home Assistant's action: domain.name"
        ),
    ),
    BeforeValidator(_their_step),
]
Steps = Annotated[tuple[AnyStep, ...], BeforeValidator(_as_list), Field(max_length=MAX_STEPS)]

for _part in (Conditions, Must, If, Choice, Choose):
    _part.model_rebuild()

PLURALS = {"trigger": "triggers", "condition": "conditions", "action": "actions", "initial_state": "enabled"}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64]


class Automation(Part):
    """One automation. `max` is how many runs may wait where the mode is queued; of `topics` the last message is kept,
    for its templates to know."""

    id: Annotated[str, BeforeValidator(_as_text)]
    alias: str = ""
    description: str = ""
    enabled: bool = True
    mode: Literal["single", "restart", "queued"] = "single"
    max: Annotated[int, Field(ge=1, le=MAX_QUEUED)] = 10
    cooldown: Seconds = 0
    topics: Mapping[Name, Topic] = Field(default_factory=dict)
    variables: Mapping[Name, Any] = Field(default_factory=dict)
    triggers: Annotated[tuple[AnyTrigger, ...], BeforeValidator(_as_list), Field(min_length=1)]
    conditions: Annotated[tuple[AnyCondition, ...], BeforeValidator(_as_list)] = ()
    actions: Annotated[Steps, Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _their_words(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        both = [name for name in PLURALS if name in value and PLURALS[name] in value]
        if both:
            raise ValueError(f"has {both[0]} and {PLURALS[both[0]]}; allowed: one of them")
        value = {PLURALS.get(key, key): inner for key, inner in value.items()}
        if value.get("id") is None and isinstance(value.get("alias"), str):
            value["id"] = _slug(value["alias"])
        return value

    @model_validator(mode="after")
    def _usable(self) -> Automation:
        if not ID.fullmatch(self.id):
            raise ValueError(f"has the id {self.id!r}; allowed: up to 64 of a-z, 0-9, _ and -")
        _all_templates(dict(self.variables))
        return self

    @property
    def name(self) -> str:
        """What it is called."""
        return self.alias or self.id
