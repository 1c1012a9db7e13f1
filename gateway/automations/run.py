"""One run of an automation: its steps in order, each with what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, assert_never

from gateway.automations import model
from gateway.automations.conditions import met
from gateway.automations.model import AnyCondition, AnyStep, Automation
from gateway.automations.templates import render, render_all
from gateway.automations.views import View
from gateway.errors import BadRequest, GatewayError
from gateway.home.sandbox import to_json
from gateway.home.things import Order
from gateway.shapes import new_turn_id

RunOutcome = Literal["done", "stopped", "failed", "cancelled", "running"]

UNSET = datetime.min.replace(tzinfo=UTC)
MAX_SHOWN = 2000  # characters of a value in a trace
MAX_THINGS = 50  # commanded by one step
NUMBERS = frozenset(
    {
        "brightness",
        model.PERCENT,
        "by",
        "color_temp_kelvin",
        "humidity",
        "percentage",
        "position",
        "temperature",
        "volume_level",
    }
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the assistant said, and in which conversation."""

    text: str
    conversation_id: str | None = None


class World(Protocol):
    """What a run does outside of itself. Each raises GatewayError where it cannot be done."""

    async def ask(
        self, prompt: str, *, conversation_id: str | None, language: str | None, area: str | None
    ) -> Answered:
        """Asks the assistant. Nothing in the prompt is carried out: it may hold anybody's words."""
        ...

    async def say(self, sentence: str, *, language: str | None, area: str | None) -> Answered:
        """Says a sentence to the assistant that is to be carried out."""
        ...

    async def act(self, orders: Mapping[str, Order]) -> str:
        """Commands things by their ids; what came of it, in words."""
        ...

    async def publish(self, topic: str, payload: str, *, qos: int, retain: bool) -> None:
        """Sends a message."""
        ...

    async def announce(self, text: str, *, area: str | None, language: str | None) -> None:
        """Has something said aloud."""
        ...

    async def remember(self, content: str, tags: Sequence[str]) -> None:
        """Keeps something in the household's memory."""
        ...

    async def prefer(self, key: str, value: Any) -> None:
        """Sets a preference of the household's."""
        ...

    async def wait(self, seconds: float) -> None:
        """Lets time pass."""
        ...


@dataclass(slots=True)
class StepTrace:
    """A step: where it stands (`actions[0].then[1]`), what it did in words, what came of it."""

    path: str
    kind: str
    what: str = ""
    result: str | None = None
    error: str | None = None
    milliseconds: float = 0


@dataclass(slots=True)
class Trace:
    """A run, as it is looked at afterwards."""

    run: str
    started: datetime
    trigger: Mapping[str, Any]
    finished: datetime | None = None
    outcome: RunOutcome = "running"
    conditions: list[str] = field(default_factory=list)
    steps: list[StepTrace] = field(default_factory=list)
    answer: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept and shown."""
        # The times as text: a copy of one whose zone was read from a file cannot be made.
        times = {"started": self.started.isoformat(), "finished": self.finished and self.finished.isoformat()}
        return asdict(replace(self, started=UNSET, finished=None)) | times


class _Stopped(Exception):
    """The run ends here, as it should."""


class _Failed(GatewayError):
    """The run ends here, and its automation calls that a failure."""

    code = "stopped"


class Run:
    """A run that is under way. `names` is what its templates know: the trigger, the variables, the home."""

    def __init__(self, automation: Automation, names: Mapping[str, Any], view: View, world: World) -> None:
        self._automation = automation
        self._names = dict(names)
        self._names.setdefault("answer", "")
        self._results: list[Any] = []
        self._names["steps"] = self._results
        self._view = view
        self._world = world
        trigger = self._names.get("trigger")
        self.trace = Trace(new_turn_id(), view.now(), shown_trigger(trigger if isinstance(trigger, Mapping) else {}))

    @property
    def names(self) -> Mapping[str, Any]:
        """What its templates know."""
        return self._names

    async def go(self) -> Trace:
        """Carries the steps out. A failure ends it and stands in the trace; being cancelled too, and goes on."""
        trace = self.trace
        try:
            await self._all(self._automation.actions, "actions")
            trace.outcome = "done"
        except _Stopped as stopped:
            trace.outcome, trace.error = "stopped", str(stopped) or None
        except GatewayError as error:
            trace.outcome, trace.error = "failed", error.message
        except asyncio.CancelledError:
            trace.outcome = "cancelled"
            raise
        finally:
            trace.finished = self._view.now()
        return trace

    async def _all(self, steps: Sequence[AnyStep], path: str) -> None:
        for place, step in enumerate(steps):
            if not step.enabled:
                continue
            told = StepTrace(f"{path}[{place}]", type(step).__name__.lower(), step.alias or "")
            self.trace.steps.append(told)
            began = time.perf_counter()
            try:
                result = await self._one(step, told)
            except _Stopped:
                raise
            except GatewayError as error:
                told.error = error.message
                if not step.continue_on_error or isinstance(error, _Failed):
                    raise
                result = None
            finally:
                told.milliseconds = round((time.perf_counter() - began) * 1000, 2)
            told.result = None if result is None else shown(result)
            self._results.append(result)

    async def _one(self, step: AnyStep, told: StepTrace) -> Any:
        world, names = self._world, self._names
        match step:
            case model.Ask(ask=question):
                prompt = self._words(question.prompt)
                told.what = shown(prompt)
                answered = await world.ask(
                    prompt,
                    conversation_id=self._maybe(question.conversation_id) or None,
                    language=self._maybe(question.language) or None,
                    area=self._maybe(question.area) or None,
                )
                return self._heard(answered, step.response_variable)
            case model.Command(command=wish) if wish.sentence is not None:
                sentence = self._words(wish.sentence)
                told.what = shown(sentence)
                answered = await world.say(
                    sentence, language=self._maybe(wish.language) or None, area=self._maybe(wish.area) or None
                )
                return self._heard(answered, None)
            case model.Command(command=wish):
                orders = self._orders(wish)
                told.what = shown({thing_id: [order.action, order.values] for thing_id, order in orders.items()})
                return await world.act(orders)
            case model.Publish(publish=letter):
                topic = render(letter.topic, names)
                if not topic or any(sign in topic for sign in "+#\x00"):
                    raise BadRequest(f"{topic[:100]!r} is no topic to publish to")
                payload = self._payload(letter.payload)
                told.what = shown(f"{topic} {payload}")
                await world.publish(topic, payload, qos=letter.qos, retain=letter.retain)
            case model.Announce(announce=said):
                text = self._words(said.text)
                told.what = shown(text)
                await world.announce(
                    text, area=self._maybe(said.area) or None, language=self._maybe(said.language) or None
                )
            case model.Remember(remember=note):
                content = self._words(note.content)
                told.what = shown(content)
                await world.remember(content, note.tags)
            case model.SetPreference(set_preference=preference):
                value = render_all(preference.value, names)
                told.what = shown(f"{preference.key}: {value}")
                await world.prefer(preference.key, value)
            case model.Delay():
                told.what = f"{step.delay:g} s"
                await world.wait(step.delay)
            case model.Stop():
                why = render(step.stop, names)
                told.what = shown(why)
                raise _Failed(why) if step.error else _Stopped(why)
            case model.Variables():
                self.set(step.variables)
                told.what = ", ".join(step.variables)
            case model.Must():
                told.what = described(step.must)
                if not met(step.must, names, self._view):
                    raise _Stopped(f"{told.path} does not hold: {told.what}")
            case model.If():
                holds = all(met(condition, names, self._view) for condition in step.condition)
                told.what = "then" if holds else "else"
                steps, branch = (step.then, "then") if holds else (step.otherwise, "else")
                await self._all(steps, f"{told.path}.{branch}")
            case model.Choose():
                await self._chosen(step, told)
            case _:
                assert_never(step)
        return None

    async def _chosen(self, step: model.Choose, told: StepTrace) -> None:
        for place, choice in enumerate(step.choose):
            if all(met(condition, self._names, self._view) for condition in choice.conditions):
                told.what = choice.alias or f"choice {place + 1}"
                await self._all(choice.sequence, f"{told.path}.choose[{place}].sequence")
                return
        told.what = "default"
        await self._all(step.default, f"{told.path}.default")

    def set(self, variables: Mapping[str, Any]) -> None:
        """Gives names to what is rendered, one after the other. Raises TemplateFailed."""
        for name, value in variables.items():
            self._names[name] = render_all(value, self._names)

    def _heard(self, answered: Answered, variable: str | None) -> str:
        self.trace.answer = shown(answered.text)
        self._names |= {"answer": answered.text, "conversation_id": answered.conversation_id}
        if variable is not None:
            self._names[variable] = answered.text
        return answered.text

    def _words(self, source: str) -> str:
        words = render(source, self._names)
        if not words:
            raise BadRequest("the template came to nothing")
        return words

    def _maybe(self, source: str | None) -> str:
        return "" if source is None else render(source, self._names)

    def _payload(self, value: Any) -> str:
        value = render_all(value, self._names)
        if isinstance(value, str):
            return value
        return "" if value is None else to_json(value)

    def _orders(self, wish: model.Wish) -> dict[str, Order]:
        rendered = ",".join(render(entity, self._names) for entity in wish.entity_id or ())
        ids = [thing_id.strip() for thing_id in rendered.strip("[]").split(",") if thing_id.strip(" '\"")]
        if not ids or len(ids) > MAX_THINGS:
            raise BadRequest(f"names {len(ids)} things; allowed: 1 to {MAX_THINGS}")
        values = {name: self._value(name, value) for name, value in wish.values.items()}
        if model.PERCENT in values:
            values["brightness"] = round(min(max(values.pop(model.PERCENT), 0), 100) * 255 / 100)
        order = Order(wish.action or "", values)
        return {thing_id.strip("'\""): order for thing_id in ids}

    def _value(self, name: str, value: Any) -> Any:
        value = render_all(value, self._names)
        if name not in NUMBERS or isinstance(value, (int, float)):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise BadRequest(f"{name} is {str(value)[:40]!r}; allowed: a number") from None
        return int(number) if number.is_integer() else number


def described(condition: AnyCondition) -> str:
    """A condition in a few words."""
    if condition.alias:
        return condition.alias
    said = condition.model_dump(exclude_defaults=True, by_alias=True, mode="json")
    return shown(" ".join(f"{name}: {value}" for name, value in said.items()))


def shown(value: Any) -> str:
    """A value as a trace shows it, cut where it is long."""
    text = value if isinstance(value, str) else to_json(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def shown_trigger(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """What began a run, without what a trace has no room for."""
    return {
        name: shown(str(value) if name in ("from_state", "to_state", "for") else value)
        for name, value in trigger.items()
        if name != "payload_json" and value is not None
    }
