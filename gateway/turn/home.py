"""The home in a turn whose client brings no tools: what is said is done over MQTT, and answered from what was seen.

What is understood is carried out without the model. What is not may be the model's to do, by the same tools and under
the same rules; its calls are carried out here and never reach the client. How things stand enters a turn only where it
is asked: told at once from the package's own words where they fit, else put before the model as a labelled source.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson

from gateway.cache import law
from gateway.errors import BadRequest, GatewayError, NotFound, Unavailable
from gateway.home import tools
from gateway.home.acting import Actor, Ambiguous, Asker, Outcome, Wanted
from gateway.home.registry import Registry
from gateway.home.speech import answers
from gateway.home.speech.intents import CLOCK, LIVE_CONTEXT, Commands, Understood
from gateway.home.speech.wishes import asks_to_act, asks_to_undo
from gateway.home.things import UNKNOWN, CannotDo, Condition, Order, Thing
from gateway.shapes import CacheControl, ChatRequest, Delta, Entity, Finish, Message, Source, ToolCall, Turn, Usage
from gateway.turn.act import Act, Consents, Speaker
from gateway.turn.answer import Answer
from gateway.turn.phrases import phrase

log = logging.getLogger(__name__)

MAX_ROUNDS: Final = 4  # of tool calls, before the model has to answer in words
NAMED = 4  # things told aloud; more would not be listened to
MOST_SOURCES = 20  # things whose state is put before the model
HERE = "You are in area {area} and all generic commands like 'turn on the lights' should target this area."
UNDO = "home.undo"
# What is asked before something guarded is moved, by the order's action.
_ASKS: Mapping[str, str] = {
    "lock": "ask_lock",
    "unlock": "ask_unlock",
    "open": "ask_open",
    "close": "ask_close",
    "stop": "ask_move",
    "set_position": "ask_move",
    "set_tilt": "ask_move",
    "turn_on": "ask_turn_on",
    "turn_off": "ask_turn_off",
    "activate": "ask_activate",
}
# What is said of things that were not moved, by the verdict on them.
_BAD: Mapping[str, str] = {"no_answer": "no_answer", "unavailable": "unreachable", "failed": "not_done"}
_GOOD = frozenset({"done", "already"})


@dataclass(frozen=True, slots=True)
class Live:
    """How things stand that the utterance asks about, for the model to answer from."""

    intent: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of a tool call: the tool's `result` for the model; and where it was an action, what to say of it."""

    result: str
    text: str = ""
    agreed: Callable[[], Awaitable[Act]] | None = None  # `text` asks whether this should be done
    actions: tuple[Mapping[str, Any], ...] = ()


class Home:
    """What turns do at home. Keeps nothing of a turn but what it asked the speaker (`consents`)."""

    def __init__(
        self,
        registry: Registry,
        actor: Actor,
        commands: Commands,
        consents: Consents,
        *,
        now: Callable[[], datetime],
        model_acts: Callable[[], bool],
        reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        """`commands` leaves nothing guarded to the model, since `actor` guards it; `now` is the household's time;
        `model_acts`: whether the model in use knows tools; `reachable`: whether news of the home come in."""
        self._registry = registry
        self._actor = actor
        self._commands = commands
        self._consents = consents
        self._now = now
        self._model_acts = model_acts
        self._reachable = reachable
        self._overview_of: tuple[Entity, ...] = ()
        self._overview = ""

    @property
    def is_reachable(self) -> bool:
        """Whether news of the home come in."""
        return self._reachable()

    # --- what a turn is given

    def furnished(self, turn: Turn) -> Turn:
        """The turn with what is exposed at home and the tools for it, where its client brings no tools of its own."""
        if turn.tools or turn.task or not turn.acts or turn.continuation or not (entities := self._registry.entities()):
            return turn
        area = turn.area
        if area is not None:
            # As the house spells it, whatever the client does.
            rooms = {one.casefold(): one for entity in entities for one in entity.areas}
            area = rooms.get(area.strip().casefold(), area)
        return replace(turn, entities=entities, tools=tools.TOOLS, area=area)

    def offers(self, turn: Turn) -> bool:
        """Whether the turn's tools are the gateway's own."""
        return turn.tools is tools.TOOLS

    def for_model(self, turn: Turn, language: str, history: tuple[Message, ...]) -> Turn:
        """The turn as the model gets it: without the tools where it cannot use them, or where it is asked what no home
        has to do with, so that such a prompt stays short and its answer may be kept."""
        if not self.offers(turn):
            return turn
        asked = replace(turn, cache_control=CacheControl.DEFAULT)
        if not self._model_acts() or law.why_not_look(asked, language, history) is None:
            return replace(turn, tools=())
        here = (HERE.format(area=turn.area),) if turn.area and not turn.volatile else ()
        return replace(turn, volatile=(*turn.volatile, *here))

    def head(self, head: str) -> str:
        """The system text with what is at home behind it."""
        entities = self._registry.entities()
        if entities is not self._overview_of:
            # Takes tens of milliseconds for a large house, and changes only with what is there.
            self._overview_of, self._overview = entities, tools.context(self._registry)
        return "\n\n".join(filter(None, (head, self._overview)))

    # --- what is understood without the model

    async def understood(
        self, turn: Turn, language: str, aliases: Mapping[str, str], conversation_id: str
    ) -> Act | Live | None:
        """What was done, or how things stand, where the utterance was understood; None: it is the model's."""
        asker = _asker(turn, conversation_id)
        if not turn.continuation and asks_to_undo(turn.utterance, language):
            return await self._undo(asker, language, conversation_id)
        understood = self._commands.understand(turn, language, aliases)
        # Recognition holds the interpreter for some milliseconds: whoever waits for less goes first.
        await asyncio.sleep(0)
        if not isinstance(understood, Understood):
            known = (name for entity in turn.entities for name in (*entity.names, *entity.areas))
            pretends = not self._model_acts() and asks_to_act(turn.utterance, language, known)
            return Act("home.not_understood", language, phrase(language, "not_understood")) if pretends else None
        if understood.intent in CLOCK:
            told = answers.confirm(understood, tools.date_time(self._now()))
            return Act(understood.intent, understood.language, told) if told else None
        if understood.ask_model_after:
            return self._look(understood, turn.area)
        call = ToolCall(understood.tool, understood.arguments)
        came = await self._carry_out(call, asker, understood.language, understood)
        if came.agreed is not None:
            self._ask((conversation_id, asker.scope), understood.language, [came.agreed])
        return Act(understood.intent, understood.language, came.text, actions=came.actions)

    def _look(self, understood: Understood, area: str | None) -> Act | Live | None:
        """The answer to a question about states; where it takes other words than the package's, what it is about."""
        things = self._asked_about(understood, area)
        if not things:
            return None
        language, conditions = understood.language, {one.id: self._registry.condition(one.id) for one in things}
        sources = tuple(self._source(thing) for thing in things[:MOST_SOURCES])
        known = [
            thing for thing in things if conditions[thing.id].available is not False and _state(conditions[thing.id])
        ]
        if not known:
            away = any(conditions[thing.id].available is False for thing in things)
            text = phrase(language, "unreachable" if away else "state_unknown", names=_names(things, language))
            return Act(understood.intent, language, text, sources=sources)
        seen = [
            answers.Seen(
                thing.id,
                thing.name,
                thing.domain,
                conditions[thing.id].state,
                thing.unit or conditions[thing.id].attributes.get("unit_of_measurement"),
                {"device_class": thing.device_class, **conditions[thing.id].attributes},
            )
            for thing in known
        ]
        # While one of them cannot be asked, only "yes, one is" is certain.
        found = any(answers.is_as(one, str(understood.about.get("state", ""))) for one in seen)
        partly = len(known) < len(things) and not (understood.response in {"any", "any_short"} and found)
        words = None if partly else answers.tell(understood, seen)
        if not words:
            return Live(understood.intent, sources)
        if not self.is_reachable:
            words = phrase(language, "last_heard", words=words)
        return Act(understood.intent, language, words, sources=sources)

    def _asked_about(self, understood: Understood, here: str | None) -> list[Thing]:
        """The exposed things that a question means."""
        about = {name: tools.listed(value) for name, value in understood.about.items()}
        if understood.intent == "HassClimateGetTemperature" and not about.get("name"):
            if not about.get("area") and not about.get("floor") and here:
                about["area"] = (here.casefold(),)
            return self._thermometers(about)
        if understood.intent == "HassGetWeather":
            about["domain"] = ("weather",)
        if set(about.get("domain", ())) == {"cover"} and about.get("device_class"):
            about["domain"] = ("cover", "binary_sensor")  # most windows have a contact, and no motor
        return tools.asked_about(self._registry, about)

    def _thermometers(self, about: Mapping[str, Sequence[str]]) -> list[Thing]:
        """What tells the temperature of a room: its thermostat, else its sensors."""
        found = tools.asked_about(self._registry, {"area": about.get("area", ()), "floor": about.get("floor", ())})
        thermostats = [
            thing
            for thing in found
            if thing.domain == "climate" and "current_temperature" in self._registry.condition(thing.id).attributes
        ]
        return thermostats or [
            thing for thing in found if thing.domain == "sensor" and thing.device_class == "temperature"
        ]

    def _source(self, thing: Thing) -> Source:
        condition, now = self._registry.condition(thing.id), self._now()
        told = tools.live(condition, now, thing.unit)
        where = f"{thing.name} ({thing.area})" if thing.area else thing.name
        attributes = ", ".join(f"{name} {value}" for name, value in told.pop("attributes", {}).items())
        state = ", ".join(filter(None, (str(told.pop("state")), attributes)))
        ages = ", ".join(f"{name} {ago}" for name, ago in told.items())
        at = condition.seen.astimezone(now.tzinfo) if condition.seen is not None else None
        return Source("state", 0, f"{where}: {state}" + (f" ({ages})" if ages else ""), at=at, origin="home")

    # --- acting

    async def _carry_out(
        self,
        call: ToolCall,
        asker: Asker,
        language: str,
        understood: Understood | None = None,
        agreed: Wanted | None = None,
    ) -> _Came:
        """Carries a call out; or asks the speaker first, where something guarded is meant that was not `agreed` to."""
        try:
            wanted = self._actor.wanted(tools.bare(call.name), call.arguments, asker.area)
            if agreed is not None and wanted.orders != agreed.orders:
                raise NotFound("what was agreed to is no longer what would be done")
            names = self._actor.guarded(wanted) if agreed is None else ()
            if names:
                text = _question(wanted, names, language)
                go = partial(self._agreed, call, asker, language, understood, wanted)
                return _Came(_error("ConfirmationNeeded", f"Not done. The user was asked: {text}"), text, go)
            outcome = await self._actor.carry_out(wanted, asker)
        except (NotFound, Ambiguous, CannotDo, BadRequest, Unavailable) as error:
            log.info("at home, %s: %s", call.name, error.message)
            return _Came(_error(error.code, error.message), phrase(language, _said_of(error)))
        report = outcome.report()
        words = answers.confirm(understood, report) if understood is not None else None
        return _Came(report, _told(outcome, language, words), actions=_actions(outcome))

    async def _agreed(
        self, call: ToolCall, asker: Asker, language: str, understood: Understood | None, wanted: Wanted
    ) -> Act:
        came = await self._carry_out(call, asker, language, understood, agreed=wanted)
        intent = understood.intent if understood is not None else tools.bare(call.name)
        return Act(intent, language, came.text, actions=came.actions)

    def _ask(self, speaker: Speaker, language: str, agreed: Sequence[Callable[[], Awaitable[Act]]]) -> None:
        """Does all of it after a yes."""

        async def go() -> Act:
            acts = [await one() for one in agreed]
            actions = tuple(action for act in acts for action in act.actions)
            return replace(acts[0], text=" ".join(dict.fromkeys(act.text for act in acts)), actions=actions)

        self._consents.ask(speaker, language, go, _left_alone(language), forgetting=False)

    async def _undo(
        self, asker: Asker, language: str, conversation_id: str, agreed: Mapping[str, Order] | None = None
    ) -> Act:
        try:
            outcome = await self._actor.undo(asker, agreed)
        except Unavailable:
            return Act(UNDO, language, phrase(language, "home_away"))
        if outcome is None:
            return Act(UNDO, language, phrase(language, "nothing_to_undo"))
        names = _names([result for result in outcome.results if result.verdict in _GOOD], language)
        text = _told(outcome, language, phrase(language, "undone", names=names) if names else None, undone=True)
        if guarded := {result.thing_id: result.name for result in outcome.results if result.verdict == "guarded"}:
            orders = {thing_id: order for thing_id, order in outcome.wanted.orders.items() if thing_id in guarded}
            question = _question(Wanted(orders), tuple(guarded.values()), language)
            text = f"{text} {question}" if len(guarded) < len(outcome.results) else question
            again = partial(self._undo, asker, language, conversation_id, orders)
            self._ask((conversation_id, asker.scope), language, [again])
        return Act(UNDO, language, text, actions=_actions(outcome))

    # --- what the model does

    async def conversed(
        self, answer: Answer, request: ChatRequest, ask: Callable[[ChatRequest], AsyncGenerator[Delta, None]]
    ) -> AsyncGenerator[Delta, None]:
        """The model's words. What it calls is carried out in between, and it is asked again with what came of it; where
        the speaker has to agree first, the gateway's question ends the answer."""
        used = Usage()
        for left in range(MAX_ROUNDS, -1, -1):
            said = _Said()
            async with aclosing(ask(request)) as deltas:
                async for delta in deltas:
                    said.take(delta)
                    if delta.content or delta.thinking or delta.queue is not None:
                        yield replace(delta, tool_calls=(), finish=None)
            used = _sum(used, said.finish.usage)
            if not said.calls or not left:
                yield Delta(finish=replace(said.finish, reason=_reason(said.finish), usage=used))
                return
            with answer.step("home"):
                came = [await self._called(answer, call) for call in said.calls]
            if agreed := [one.agreed for one in came if one.agreed is not None]:
                self._ask((answer.conversation_id, answer.turn.scope), answer.language, agreed)
                words = " ".join(one.text for one in sorted(came, key=lambda one: one.agreed is not None) if one.text)
                yield answer.spoken(words)
                yield Delta(finish=Finish("stop", used, said.finish.model))
                return
            request = replace(
                request,
                messages=(
                    *request.messages,
                    Message("assistant", said.text, tool_calls=tuple(said.calls)),
                    *(Message("tool", one.result) for one in came),
                ),
                tools=request.tools if left > 1 else (),
            )

    async def _called(self, answer: Answer, call: ToolCall) -> _Came:
        turn, name = answer.turn, tools.bare(call.name)
        if name == LIVE_CONTEXT:
            answer.live = (*answer.live, *map(self._source, tools.asked_about(self._registry, call.arguments)))[
                :MOST_SOURCES
            ]
            return _Came(tools.live_context(self._registry, call.arguments, self._now()))
        if name not in tools.ACTING:
            return _Came(tools.date_time(self._now()))
        came = await self._carry_out(call, _asker(turn, answer.conversation_id), answer.language)
        answer.actions += came.actions
        answer.refused = answer.refused or not (came.actions or came.agreed)
        if came.actions:
            answer.intent = answer.intent or name
        return came


@dataclass
class _Said:
    """What the model said in one round."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    finish: Finish = field(default_factory=lambda: Finish("stop"))

    def take(self, delta: Delta) -> None:
        self.text += delta.content
        self.calls += delta.tool_calls
        self.finish = delta.finish or self.finish


def _asker(turn: Turn, conversation_id: str) -> Asker:
    # A satellite speaks for whoever stands before it, from one conversation to the next.
    return Asker(turn.scope, turn.edge, turn.device_id or conversation_id, turn.utterance, turn.area)


def _left_alone(language: str) -> Act:
    return Act("home.left_alone", language, phrase(language, "left_alone"))


def _state(condition: Condition) -> bool:
    return condition.state != UNKNOWN or "current_temperature" in condition.attributes


def _names(things: Sequence[Any], language: str) -> str:
    return _listed([one.name for one in things], language)


def _listed(names: Sequence[str], language: str) -> str:
    told = ", ".join(names[:NAMED])
    return phrase(language, "and_more", names=told, more=len(names) - NAMED) if len(names) > NAMED else told


def _question(wanted: Wanted, names: Sequence[str], language: str) -> str:
    actions = {order.action for order in wanted.orders.values()}
    sentence = _ASKS.get(actions.pop(), "ask_change") if len(actions) == 1 else "ask_change"
    return phrase(language, sentence, names=_listed(names, language))


def _said_of(error: GatewayError) -> str:
    if isinstance(error, Unavailable):
        return "home_away"
    return {"not_found": "no_such_thing", "ambiguous": "ambiguous"}.get(error.code, "cannot")


def _error(code: str, text: str) -> str:
    return orjson.dumps({"error": code, "error_text": text}).decode()


def _told(outcome: Outcome, language: str, words: str | None, *, undone: bool = False) -> str:
    """What came of it, from what the things themselves said; `words` where everything is as it should be."""
    good = [result for result in outcome.results if result.verdict in _GOOD]
    bad = [
        phrase(language, sentence, names=_names(ones, language))
        for verdict, sentence in _BAD.items()
        if (ones := [result for result in outcome.results if result.verdict == verdict])
    ]
    if bad:
        return " ".join([phrase(language, "partly"), *bad] if good else bad)
    if not undone and all(result.verdict == "already" for result in good):
        return phrase(language, "already", names=_names(good, language))
    return words or phrase(language, "done")


def _actions(outcome: Outcome) -> tuple[Mapping[str, Any], ...]:
    orders = outcome.wanted.orders
    return tuple(
        {
            "thing": result.thing_id,
            "action": orders[result.thing_id].action if result.thing_id in orders else None,
            "verdict": result.verdict,
        }
        for result in outcome.results
    )


def _reason(finish: Finish) -> Any:
    """How the model ended; a call that is not carried out any more is no reason for anybody."""
    return "stop" if finish.reason == "tool_calls" else finish.reason


def _sum(one: Usage, other: Usage) -> Usage:
    return replace(
        other,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )
