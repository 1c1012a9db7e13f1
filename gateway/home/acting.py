"""Acting over MQTT: what a tool call comes to, carrying it out, and telling what came of it from what was seen."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from weakref import WeakValueDictionary

import orjson

from gateway.config import HomeSettings
from gateway.errors import BadRequest, GatewayError, NotFound, Unavailable
from gateway.home.colors import rgb_of
from gateway.home.guarding import ALWAYS_SAFE, Guard
from gateway.home.link import Link
from gateway.home.orders import (
    Progress,
    already,
    assumed,
    back,
    changed,
    concerned,
    moving,
    progress,
    settle,
    unseen,
)
from gateway.home.registry import Change, Registry
from gateway.home.speech.intents import DOMAINS
from gateway.home.things import ACTIONS, CannotDo, Condition, Order, Publication, Thing
from gateway.home.tools import asked_about, bare, listed
from gateway.shapes import Scope
from gateway.tasks import end

log = logging.getLogger(__name__)

# "guarded": taking it back would need a confirmation, and nothing was sent.
Verdict = Literal["done", "already", "no_answer", "unavailable", "failed", "guarded"]

UNDO = timedelta(minutes=5)
UNSETTLED = timedelta(seconds=30)  # so long a thing that did not answer may still do what it was told
SPEAKERS = 1000  # whose last action is kept
# What "everything in the kitchen" may mean; anything else has to be named, or its kind.
_EVERYTHING = frozenset({"light", "switch", "fan", "media_player", "humidifier"})
_ONE_BY_ONE = frozenset({"scene", "script", "button", "siren", "alarm_control_panel", "number", "select", "text"})
# The words of a tool for what it is to do, where it has no values: on, and off.
_SWITCHED: Mapping[str, tuple[str, str]] = {
    "cover": ("open", "close"),
    "valve": ("open", "close"),
    "lock": ("lock", "unlock"),
    "scene": ("activate", ""),
    "button": ("press", ""),
    "vacuum": ("start", "return_to_base"),
    "lawn_mower": ("mow", "dock"),
}
_PLAIN: Mapping[str, str] = {
    "HassToggle": "toggle",
    "HassStopMoving": "stop",
    "HassMediaPlayerMute": "mute",
    "HassMediaPlayerUnmute": "unmute",
    "HassMediaPause": "pause",
    "HassMediaUnpause": "play",
    "HassMediaNext": "next",
    "HassMediaPrevious": "previous",
    "HassVacuumStart": "start",
    "HassVacuumReturnToBase": "return_to_base",
    "HassLawnMowerStartMowing": "mow",
    "HassLawnMowerDock": "dock",
}
# Of several players the one that can hear is meant.
_HEARS: Mapping[str, frozenset[str]] = {
    "HassMediaPause": frozenset({"playing"}),
    "HassMediaNext": frozenset({"playing"}),
    "HassMediaPrevious": frozenset({"playing"}),
    "HassMediaUnpause": frozenset({"paused"}),
    "HassSetVolume": frozenset({"playing"}),
    "HassSetVolumeRelative": frozenset({"playing"}),
    "HassMediaPlayerMute": frozenset({"playing"}),
    "HassMediaPlayerUnmute": frozenset({"playing"}),
}
_NOT_TAKEN_BACK = frozenset({"stop", "next", "previous", "press", "activate"})
_ONE_AT_A_TIME = frozenset({"climate", "media_player"})  # without a name or a place, one of these is meant


class Ambiguous(GatewayError):
    """The words fit several things, and only one can be meant; the message names them."""

    status = 409
    code = "ambiguous"


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

    orders: Mapping[str, Order]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one thing's order, from what the thing itself said. `assumed`: it is one that never says anything,
    and the broker has the message."""

    thing_id: str
    name: str
    verdict: Verdict
    before: Condition
    now: Condition
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it all."""

    wanted: Wanted
    results: tuple[Result, ...]

    def report(self) -> str:
        """The same as a tool's result, JSON as Home Assistant writes it (see `answers.confirm`). What failed says why,
        in `reason`."""
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for result in self.results:
            told = {"name": result.name, "type": "entity", "id": result.thing_id, "state": result.now.state}
            if result.verdict in {"done", "already"}:
                done.append(told | ({"already": True} if result.verdict == "already" else {}))
            else:
                failed.append(told | {"reason": result.verdict})
        data = {"success": done, "failed": failed}
        return orjson.dumps({"speech": {}, "response_type": "action_done", "data": data}).decode()


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One thing's order, for the list of what was done: who, where, what, and what came of it."""

    at: datetime
    scope: Scope
    edge: str
    speaker: str
    area: str | None
    words: str
    thing_id: str
    action: str
    values: Mapping[str, Any]
    verdict: Verdict
    before: Condition
    after: Condition


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent to a thing, and how it stood before."""

    thing_id: str
    order: Order
    before: Condition


@dataclass(slots=True)
class _Last:
    """A speaker's last action. `partly`: how things stand that did something else, or not all, of what was wanted."""

    at: datetime
    sent: list[_Sent] = field(default_factory=list)
    partly: dict[str, Condition] = field(default_factory=dict)


class Actor:
    """Carries out what is wanted of things at home, one speaker's last action kept for "undo that". `record` is told
    of every order; it must be quick and must not raise."""

    def __init__(
        self,
        registry: Registry,
        link: Link,
        settings: HomeSettings,
        now: Callable[[], datetime],
        record: Callable[[Sequence[ActionRecord]], None] | None = None,
    ) -> None:
        self._registry = registry
        self._link = link
        self._seconds = settings.confirm_seconds
        self._guard = Guard.of(settings)
        self._now = now
        self._record = record
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unsettled: dict[str, datetime] = {}
        self._last: OrderedDict[tuple[Scope, str], _Last] = OrderedDict()

    def wanted(self, tool: str, arguments: Mapping[str, Any], area: str | None) -> Wanted:
        """What the call of that tool (HassTurnOn ...) comes to, for somebody in `area`. Raises NotFound where no
        exposed thing is meant, Ambiguous, CannotDo, BadRequest."""
        name = bare(tool)
        found = self._meant(name, arguments)
        orders: dict[str, Order] = {}
        refused: CannotDo | None = None
        for thing in found:
            try:
                orders[thing.id] = self._possible(thing, _order(name, arguments, thing))
            except CannotDo as error:
                refused = refused or error
        if not orders:
            raise refused or NotFound("nothing that is known here is meant by that")
        return Wanted(self._singled_out(name, arguments, orders, area))

    def ordered(self, orders: Mapping[str, Order]) -> Wanted:
        """Orders for things by their ids, for who knows them. Raises NotFound, CannotDo, BadRequest."""
        possible: dict[str, Order] = {}
        for thing_id, order in orders.items():
            if order.action not in ACTIONS or not set(order.values) <= set(ACTIONS[order.action]):
                raise BadRequest(f"there is no action {order.action} with {', '.join(order.values) or 'no values'}")
            thing = self._registry.things.get(thing_id)
            if thing is None or not thing.exposed:
                raise NotFound(f"there is no {thing_id} that may be touched")
            possible[thing_id] = self._possible(thing, order)
        if not possible:
            raise BadRequest("no thing is named")
        return Wanted(possible)

    def guarded(self, wanted: Wanted) -> tuple[str, ...]:
        """The names of those things that may be moved with an allowance or a confirmation only, and have none."""
        things = (
            self._registry.things.get(thing_id)
            for thing_id, order in wanted.orders.items()
            if order.action != ALWAYS_SAFE
        )
        return tuple(thing.name for thing in things if thing is not None and self._is_guarded(thing))

    async def carry_out(self, wanted: Wanted, asker: Asker) -> Outcome:
        """Sends the orders, to all things at once, and waits for the states that confirm them. Does not ask whether
        they are guarded. Raises Unavailable, with nothing sent, where the broker is away."""
        return await self._carry_out(wanted, asker, keep=True)

    def undoing(self, asker: Asker) -> Wanted | None:
        """What taking back this speaker's last action comes to; None where there is none of the last five minutes.
        What no longer stands as that action made it is left alone."""
        last = self._last.get(_speaker(asker))
        if last is None or self._now() - last.at > UNDO:
            return None
        orders: dict[str, Order] = {}
        for sent in last.sent:
            thing = self._registry.things.get(sent.thing_id)
            now = self._registry.condition(sent.thing_id)
            ours = progress(sent.order, sent.before, now) > Progress.NONE or _alike(last.partly.get(sent.thing_id), now)
            if thing is None or not thing.exposed or not ours:
                continue
            seen = concerned(sent.order, sent.before, now)
            order = back(thing.domain, sent.before, seen) if sent.order.action not in _NOT_TAKEN_BACK else None
            if order is not None:
                try:
                    orders[thing.id] = self._possible(thing, order)
                except CannotDo:
                    continue
        return Wanted(orders) if orders else None

    async def undo(self, asker: Asker, agreed: Mapping[str, Order] | None = None) -> Outcome | None:
        """Takes back this speaker's last action; None where there is none of the last five minutes. Guarded things stay
        as they are and are reported so. With `agreed` only those orders are carried out, guarded or not, that would
        still be given. Raises Unavailable."""
        wanted = self.undoing(asker)
        if wanted is not None and agreed is not None:
            wanted = Wanted({one: order for one, order in wanted.orders.items() if agreed.get(one) == order})
        if wanted is None or not wanted.orders:
            return None
        last = self._last[_speaker(asker)]
        held: list[Result] = []
        if agreed is None:
            for thing_id in wanted.orders:
                thing = self._registry.things[thing_id]
                if self._is_guarded(thing):
                    now = self._registry.condition(thing_id)
                    held.append(Result(thing_id, thing.name, "guarded", now, now))
        kept = {one.thing_id for one in held}
        open_orders = {thing_id: order for thing_id, order in wanted.orders.items() if thing_id not in kept}
        results: tuple[Result, ...] = ()
        if open_orders:
            results = (await self._carry_out(Wanted(open_orders), asker, keep=False)).results
        # Taken back once is enough; what waits for a confirmation, or failed, stays to be taken back.
        gone = {result.thing_id for result in results if result.verdict in {"done", "already"}}
        last.sent = [sent for sent in last.sent if sent.thing_id in wanted.orders.keys() - gone]
        return Outcome(wanted, (*results, *held))

    def _is_guarded(self, thing: Thing) -> bool:
        return self._guard.holds(thing.domain, (*thing.names, thing.id))

    def _meant(self, tool: str, arguments: Mapping[str, Any]) -> list[Thing]:
        """The exposed things that fit what the call says of them."""
        if tool not in _PLAIN and tool not in _VALUES and tool not in {"HassTurnOn", "HassTurnOff"}:
            raise NotFound(f"there is no tool {tool}")
        names, areas, floors, domains, classes = (
            listed(arguments.get(key)) for key in ("name", "area", "floor", "domain", "device_class")
        )
        names = self._said_names(names)
        own = DOMAINS.get(tool, frozenset())
        if not own and not (names or areas or floors or domains or classes):
            raise BadRequest("a name, an area, a floor or a domain is needed", field="name")
        found = [
            thing
            for thing in asked_about(self._registry, {**arguments, "name": names})
            if not own or thing.domain in own
        ]
        if not found:
            raise NotFound("nothing that is known here is meant by that")
        if names:
            return found
        if not own and not domains and not classes:
            found = [thing for thing in found if thing.domain in _EVERYTHING]
        if len(found) > 1 and any(thing.domain in _ONE_BY_ONE for thing in found):
            raise BadRequest("this kind of thing has to be named, one by one", field="name")
        return found

    def _said_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names that were said; "all", unless something is called so, is how Home Assistant says none."""
        if "all" not in names or any(
            thing.exposed and "all" in thing.called for thing in self._registry.things.values()
        ):
            return tuple(names)
        return tuple(name for name in names if name != "all")

    def _singled_out(
        self, tool: str, arguments: Mapping[str, Any], orders: dict[str, Order], area: str | None
    ) -> dict[str, Order]:
        """Of several things that fit, those that are meant: one by its name, or all of a place."""
        named = bool(self._said_names(listed(arguments.get("name"))))
        placed = any(listed(arguments.get(key)) for key in ("area", "floor"))
        if not named and (hears := _HEARS.get(tool)) is not None:
            orders = {one: o for one, o in orders.items() if self._registry.condition(one).state in hears} or orders
        alone = named or (
            not placed and tool in DOMAINS and any(one.partition(".")[0] in _ONE_AT_A_TIME for one in orders)
        )
        if len(orders) < 2 or not alone:
            return orders
        if not placed and area is not None:
            here = area.casefold()
            near = {one: o for one, o in orders.items() if (self._registry.things[one].area or "").casefold() == here}
            orders = near or orders
        if len(orders) > 1:
            told = (
                f"{thing.name} ({thing.area or thing.id})" for thing in map(self._registry.things.__getitem__, orders)
            )
            raise Ambiguous(f"this may mean {', '.join(sorted(told))}")
        return orders

    def _possible(self, thing: Thing, order: Order) -> Order:
        """The order as the thing can carry it out. Raises CannotDo."""
        now = self._registry.condition(thing.id)
        for name, value in order.values.items():
            limits = thing.limits.get(name)
            if limits is not None and isinstance(value, (int, float)) and not limits[0] <= value <= limits[1]:
                raise CannotDo(f"{thing.name} takes a {name} from {limits[0]:g} to {limits[1]:g}")
        if order.action == "set_position" and order.values.get("position") in (0, 100):
            try:
                _publications(thing, order, now)
            except CannotDo:  # what knows no positions can still be opened and closed
                order = Order("open" if order.values["position"] else "close")
        settled = settle(order, now)
        _publications(thing, settled, now)
        # Which way it is toggled is what somebody agrees to; a volume may be changed by others until it is sent.
        return settled if order.action == "toggle" else order

    async def _carry_out(self, wanted: Wanted, asker: Asker, *, keep: bool) -> Outcome:
        if not self._link.connected:
            await self._link.check()
        at = self._now()
        last = _Last(at)
        results: dict[str, Result] = {}
        settled: dict[str, Order] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for thing_id, order in wanted.orders.items():
                    group.create_task(
                        self._carry_one(thing_id, order, last, settled, results), name=f"order {thing_id}"
                    )
        finally:
            # Also where the one who asked has gone: what was sent was sent.
            for sent in last.sent:
                if sent.thing_id not in results:
                    self._unsettled[sent.thing_id] = self._now()
                    now = self._registry.condition(sent.thing_id)
                    name = self._name(sent.thing_id)
                    results[sent.thing_id] = Result(sent.thing_id, name, "no_answer", sent.before, now)
            self._tell(wanted, settled, results, asker, at)
            if keep and last.sent:  # what was so already changed nothing that could be taken back
                self._last[_speaker(asker)] = last
                self._last.move_to_end(_speaker(asker))
                while len(self._last) > SPEAKERS:
                    self._last.popitem(last=False)
        return Outcome(wanted, tuple(results[thing_id] for thing_id in wanted.orders))

    async def _carry_one(
        self, thing_id: str, order: Order, last: _Last, settled: dict[str, Order], results: dict[str, Result]
    ) -> None:
        lock = self._locks.get(thing_id)
        if lock is None:
            lock = self._locks[thing_id] = asyncio.Lock()
        # One order at a time, so that what the thing says next is its answer to this one.
        async with lock:
            thing = self._registry.things.get(thing_id)
            if thing is not None and thing.driver is not None:
                await self._link.hear_now(thing.driver.topics)
                thing = self._registry.things.get(thing_id)
            before = self._registry.condition(thing_id)
            order = settled[thing_id] = settle(order, before)
            if thing is None or before.available is False:
                results[thing_id] = Result(thing_id, self._name(thing_id), "unavailable", before, before)
                return
            pending = self._is_unsettled(thing_id)
            silent = unseen(order, before) or (thing.driver is not None and not thing.driver.topics)
            if not pending and not silent and already(order, before):
                results[thing_id] = Result(thing_id, thing.name, "already", before, before)
                return
            try:
                publications = _publications(thing, order, before)
            except CannotDo:
                results[thing_id] = Result(thing_id, thing.name, "failed", before, before)
                return
            last.sent.append(_Sent(thing_id, order, before))
            verdict = await self._send(thing_id, order, publications, before, silent=silent)
            if verdict == "done":
                self._unsettled.pop(thing_id, None)
            else:
                self._unsettled[thing_id] = self._now()
            now = self._registry.condition(thing_id)
            if verdict == "failed":
                last.partly[thing_id] = now
            results[thing_id] = Result(thing_id, thing.name, verdict, before, now, silent and verdict == "done")

    async def _send(
        self, thing_id: str, order: Order, publications: Sequence[Publication], before: Condition, *, silent: bool
    ) -> Verdict:
        """Sends, and waits for what the thing says: only what is heard from now on counts."""
        heard: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        furthest = Progress.NONE

        def watch(change: Change) -> None:
            nonlocal furthest
            if heard.done():
                return
            if change.thing is None or change.now.available is False:
                heard.set_result("unavailable")
                return
            furthest = progress(order, before, change.now)
            if furthest is Progress.STUCK:
                heard.set_result("failed")
            elif furthest is Progress.REACHED or (furthest is Progress.UNDERWAY and moving(change.now)):
                heard.set_result("done")
            elif furthest is Progress.UNDERWAY and order.action in {"open", "close", "set_position"}:
                heard.set_result("done")  # it tells where it is while it moves, not that it moves

        with self._registry.watching(watch, frozenset({thing_id})):
            # What the thing says may be here before the broker's receipt.
            sending = asyncio.create_task(self._publish(publications), name=f"order {thing_id}: send")
            try:
                await asyncio.wait((sending, heard), return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    try:
                        sending.result()
                    except Unavailable:
                        return "no_answer"
                    if silent:
                        now = self._registry.condition(thing_id)
                        self._registry.saw(thing_id, assumed(order, now, self._now()))
                        return "done"
                async with asyncio.timeout(self._seconds):
                    return await heard
            except TimeoutError:
                pass
            finally:
                await end(sending)
        now = self._registry.condition(thing_id)
        if furthest is Progress.UNDERWAY:
            return "done"
        return "failed" if changed(order, before, now) and not moving(now) else "no_answer"

    async def _publish(self, publications: Sequence[Publication]) -> None:
        for one in publications:
            await self._link.send(one.topic, one.payload, qos=one.qos, retain=one.retain)

    def _is_unsettled(self, thing_id: str) -> bool:
        """Whether the thing may still be about to do what it was told before."""
        since = self._unsettled.get(thing_id)
        if since is not None and self._now() - since > UNSETTLED:
            del self._unsettled[thing_id]
            return False
        return since is not None

    def _name(self, thing_id: str) -> str:
        thing = self._registry.things.get(thing_id)
        return thing_id if thing is None else thing.name

    def _tell(
        self, wanted: Wanted, settled: Mapping[str, Order], results: Mapping[str, Result], asker: Asker, at: datetime
    ) -> None:
        records = []
        for thing_id, result in results.items():
            order = settled.get(thing_id, wanted.orders[thing_id])
            log.log(
                logging.INFO if result.verdict in ("done", "already") else logging.WARNING,
                "home: %s %s%s: %s (asked by %s over %s in %s)",
                thing_id,
                order.action,
                f" {dict(order.values)}" if order.values else "",
                result.verdict.replace("_", " "),
                asker.speaker,
                asker.edge,
                asker.area or "no area",
            )
            records.append(
                ActionRecord(
                    at,
                    asker.scope,
                    asker.edge,
                    asker.speaker,
                    asker.area,
                    asker.words,
                    thing_id,
                    order.action,
                    dict(order.values),
                    result.verdict,
                    result.before,
                    result.now,
                )
            )
        if records and self._record is not None:
            self._record(records)


def _alike(one: Condition | None, other: Condition) -> bool:
    return one is not None and (one.state, one.attributes) == (other.state, other.attributes)


def _speaker(asker: Asker) -> tuple[Scope, str]:
    return asker.scope, asker.speaker


def _publications(thing: Thing, order: Order, now: Condition) -> tuple[Publication, ...]:
    if thing.driver is None:
        raise CannotDo(f"{thing.name} can only be looked at")
    found = thing.driver.command(order, now)
    if not found:
        raise CannotDo(f"{thing.name} cannot do that")
    return found


def _order(tool: str, arguments: Mapping[str, Any], thing: Thing) -> Order:
    """What the tool wants of that thing. Raises BadRequest, CannotDo."""
    if tool in {"HassTurnOn", "HassTurnOff"}:
        on, off = _SWITCHED.get(thing.domain, ("turn_on", "turn_off"))
        action = on if tool == "HassTurnOn" else off
        if not action:
            raise CannotDo(f"{thing.name} cannot be turned off")
        return Order(action)
    if (action := _PLAIN.get(tool, "")) != "":
        return Order(action)
    return _VALUES[tool](arguments)


def _light(arguments: Mapping[str, Any]) -> Order:
    values: dict[str, Any] = {}
    if _given(arguments, "brightness"):
        percent = _percent(arguments, "brightness")
        if percent == 0:
            return Order("turn_off")
        values["brightness"] = max(1, round(percent * 255 / 100))
    if _given(arguments, "color"):
        rgb = rgb_of(arguments["color"])
        if rgb is None:
            raise BadRequest("no such colour is known; say its English name, or #rrggbb", field="color")
        values["rgb_color"] = rgb
    if _given(arguments, "temperature"):
        values["color_temp_kelvin"] = round(_number(arguments, "temperature", 1000, 20000))
    if not values:
        raise BadRequest("a brightness, a color or a temperature is needed", field="brightness")
    return Order("turn_on", values)


def _fan_speed(arguments: Mapping[str, Any]) -> Order:
    percent = _percent(arguments, "percentage")
    return Order("set_speed", {"percentage": percent}) if percent else Order("turn_off")


def _volume_step(arguments: Mapping[str, Any]) -> Order:
    step = arguments.get("volume_step")
    if step in ("up", "down"):
        return Order("change_volume", {"by": 0.1 if step == "up" else -0.1})
    return Order("change_volume", {"by": _number(arguments, "volume_step", -100, 100) / 100})


# What the tools with values want.
_VALUES: Mapping[str, Callable[[Mapping[str, Any]], Order]] = {
    "HassLightSet": _light,
    "HassFanSetSpeed": _fan_speed,
    "HassSetVolumeRelative": _volume_step,
    "HassSetPosition": lambda given: Order("set_position", {"position": _percent(given, "position")}),
    "HassSetVolume": lambda given: Order("set_volume", {"volume_level": _percent(given, "volume_level") / 100}),
    "HassHumidifierSetpoint": lambda given: Order("set_humidity", {"humidity": _percent(given, "humidity")}),
    "HassHumidifierMode": lambda given: Order("set_mode", {"mode": _text(given, "mode")}),
    "HassClimateSetFanMode": lambda given: Order("set_fan_mode", {"mode": _text(given, "fan_mode")}),
    "HassClimateSetTemperature": lambda given: Order(
        "set_temperature", {"temperature": _number(given, "temperature", -50, 500)}
    ),
}


def _given(arguments: Mapping[str, Any], name: str) -> bool:
    return arguments.get(name) not in (None, "")


def _percent(arguments: Mapping[str, Any], name: str) -> int:
    return round(_number(arguments, name, 0, 100))


def _number(arguments: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """A number as models give it: 50, "50", "50%", 50.0."""
    value = arguments.get(name)
    try:
        number = float(value.strip().rstrip("%°") if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool) or not least <= number <= most:
        raise BadRequest(f"{name} is a number from {least:g} to {most:g}", field=name)
    return int(number) if number.is_integer() else number


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{name} is needed", field=name)
    return value.strip()
