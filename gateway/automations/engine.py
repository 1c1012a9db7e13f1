"""The automations that run: their triggers heard, their runs started, kept apart and ended, their file watched."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.automations.conditions import met, value_of
from gateway.automations.messages import MAX_PAYLOAD, Arrival, heard_anew, wanted_change, wanted_message
from gateway.automations.model import Automation, MqttTrigger, StateTrigger
from gateway.automations.reading import Mistake, Mistakes, read
from gateway.automations.run import Run, described
from gateway.automations.traces import Traces
from gateway.automations.views import View
from gateway.automations.world import Assistant, InEarnest
from gateway.errors import GatewayError, NotFound
from gateway.home.line import Message
from gateway.home.registry import Change
from gateway.home.sandbox import TemplateFailed
from gateway.home.things import Condition
from gateway.tasks import end

log = logging.getLogger(__name__)

RELOAD_TOPIC = "ai-gateway/automations/reload"
WATCH_SECONDS = 1.0
MAX_RUNS = 32  # at once, of all automations
MAX_A_MINUTE = 60  # runs of one automation: one that triggers itself must not go on for ever
MINUTE = 60.0  # seconds

Subscription = tuple[str, Callable[[Message], None]]


@dataclass(frozen=True, slots=True)
class Standing:
    """An automation, and how it does. `skipped`: why it was last triggered without a run, and when."""

    automation: Automation
    running: bool
    waiting: int
    last_run: datetime | None
    last_outcome: str | None
    skipped: tuple[datetime, str] | None


@dataclass(eq=False, slots=True)
class _Live:
    """An automation in the set that runs."""

    automation: Automation
    last_run: datetime | None = None
    started: deque[datetime] = field(default_factory=lambda: deque(maxlen=MAX_A_MINUTE))
    task: asyncio.Task[None] | None = None
    waiting: deque[Run] = field(default_factory=deque)
    # By a trigger's place and the thing: what has to stay as it is, and when it has.
    timers: dict[tuple[int, str], tuple[str | None, asyncio.TimerHandle]] = field(default_factory=dict)
    skipped: tuple[datetime, str] | None = None
    topics: dict[str, Any] = field(default_factory=dict)
    # What was last heard, by a trigger's place and the topic: only of triggers that what the broker kept may fire.
    heard: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def is_known(self, place: int, message: Message) -> bool:
        """Whether the broker tells that trigger again what it has heard, as it does at each connection."""
        heard = (place, message.topic)
        known = message.retained and self.heard.get(heard) == message.payload
        self.heard[heard] = message.payload
        return known

    def stop(self) -> None:
        """Nothing of it begins any more; what runs is told to end."""
        self.waiting.clear()
        for _, timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        if self.task is not None:
            self.task.cancel()


class Automations:
    """The household's automations. `async with` runs them."""

    def __init__(
        self, path: Path, folder: Path, assistant: Assistant, now: Callable[[], datetime], language: str | None = None
    ) -> None:
        """`path` is their file, `folder` where their traces are kept; `now` the time at home; `language` the one that
        templates know as the household's."""
        self._path = path
        self._assistant = assistant
        self._view = View(assistant.registry, now)
        self._language = language
        self._traces = Traces(folder)
        self._lives: dict[str, _Live] = {}
        self._mistakes: tuple[Mistake, ...] = ()
        self._subscriptions: dict[tuple[Any, ...], Subscription] = {}
        self._watched = ExitStack()
        self._by_entity: dict[str, list[tuple[_Live, int, StateTrigger]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._asked_to_reload = asyncio.Event()
        self._signature: tuple[int, ...] | None = None

    async def __aenter__(self) -> Self:
        await self._traces.__aenter__()
        await self.reload()
        self._assistant.link.subscribe(RELOAD_TOPIC, self._told_to_reload)
        self._hold(asyncio.create_task(self._watch_file(), name="automations-file"))
        self._hold(asyncio.create_task(self._reload_when_told(), name="automations-reload"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._assistant.link.unsubscribe(RELOAD_TOPIC, self._told_to_reload)
        self._listen({})
        self._watched.close()
        for live in self._lives.values():
            live.stop()
        await end(*self._tasks)
        await self._traces.__aexit__(kind, error, trace)

    @property
    def path(self) -> Path:
        """Their file."""
        return self._path

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong with the file as it is now; the set that runs is then the one before."""
        return self._mistakes

    def standings(self) -> tuple[Standing, ...]:
        """Every automation of the set that runs, in the file's order."""
        return tuple(self._standing(live) for live in self._lives.values())

    def traces(self, automation_id: str) -> tuple[Mapping[str, Any], ...]:
        """Its last runs, newest first. Raises NotFound."""
        if automation_id not in self._lives:
            raise NotFound(f"There is no automation {automation_id}.", field="automation")
        return self._traces.of(automation_id)

    async def reload(self) -> None:
        """Reads the file anew. What is as before goes on undisturbed; with a mistake everything does."""
        async with self._loading:
            signature = await asyncio.to_thread(_signature, self._path)
            try:
                found = await asyncio.to_thread(read, self._path)
            except Mistakes as error:
                self._signature = signature
                self._mistakes = error.mistakes
                for mistake in error.mistakes:
                    log.error("%s: %s", self._path, mistake)
                if self._lives:
                    log.error("%s: what was right before goes on", self._path)
                return
            self._mistakes = ()
            self._take_up(found)
            # Not before: what was not taken up, as who asked for it went away, would never be.
            self._signature = signature
            enabled = sum(automation.enabled for automation in found)
            log.info("automations: %d, %d of them enabled", len(found), enabled)

    def _standing(self, live: _Live) -> Standing:
        runs = self._traces.of(live.automation.id)
        outcome = runs[0].get("outcome") if runs else None
        return Standing(
            live.automation,
            live.task is not None,
            len(live.waiting),
            live.last_run,
            str(outcome) if outcome else None,
            live.skipped,
        )

    # --- what is heard

    def _take_up(self, found: Sequence[Automation]) -> None:
        before, self._lives = self._lives, {}
        for automation in found:
            known = before.get(automation.id)
            if known is not None and known.automation == automation:
                self._lives[automation.id] = before.pop(automation.id)
            else:
                self._lives[automation.id] = _Live(automation, last_run=self._last_run(automation.id))
        for gone in before.values():
            gone.stop()
        if found:  # a file that is away, or was emptied, may come back
            self._traces.keep_only(self._lives)
        self._hear()

    def _last_run(self, automation_id: str) -> datetime | None:
        runs = self._traces.of(automation_id)
        try:
            return datetime.fromisoformat(runs[0]["started"]) if runs else None
        except (KeyError, TypeError, ValueError):
            return None

    def _hear(self) -> None:
        self._watched.close()
        self._by_entity.clear()
        wanted: dict[tuple[Any, ...], Subscription] = {}
        by_topic: dict[str, list[tuple[_Live, int, MqttTrigger]]] = {}
        for live in self._lives.values():
            if not live.automation.enabled:
                continue
            for name, topic in live.automation.topics.items():
                wanted[live, name] = topic, partial(self._keep, live, name)
            for place, trigger in enumerate(live.automation.triggers):
                if not trigger.enabled:
                    continue
                if isinstance(trigger, MqttTrigger):
                    by_topic.setdefault(trigger.topic, []).append((live, place, trigger))
                else:
                    for thing_id in trigger.entity_id:
                        self._by_entity.setdefault(thing_id, []).append((live, place, trigger))
        for topic, those in by_topic.items():
            wanted[topic, *((live, place) for live, place, _ in those)] = topic, partial(self._came, tuple(those))
        self._listen(wanted)
        if self._by_entity:
            only = frozenset(self._by_entity)
            self._watched.enter_context(self._assistant.registry.watching(self._changed, only))

    def _listen(self, wanted: dict[tuple[Any, ...], Subscription]) -> None:
        """Subscribes to what is new and ends what is over; the keys say who listens. To subscribe anew to what is as
        before would bring all that the broker kept once more."""
        link, before = self._assistant.link, self._subscriptions
        self._subscriptions = {key: before.get(key, subscription) for key, subscription in wanted.items()}
        for key in wanted.keys() - before.keys():
            link.subscribe(*wanted[key])
        for key in before.keys() - wanted.keys():
            link.unsubscribe(*before[key])

    @staticmethod
    def _keep(live: _Live, name: str, message: Message) -> None:
        live.topics.pop(name, None)
        if 0 < len(message.payload) <= MAX_PAYLOAD:
            live.topics[name] = Arrival.of(message.topic, message.payload).value

    def _came(self, those: Sequence[tuple[_Live, int, MqttTrigger]], message: Message) -> None:
        if len(message.payload) > MAX_PAYLOAD:
            for live, _, _ in those:
                self._skip(live, f"a message of {len(message.payload)} bytes; allowed: {MAX_PAYLOAD}")
            return
        came = Arrival.of(message.topic, message.payload, retained=message.retained)
        for live, place, trigger in those:
            if trigger.retained and live.is_known(place, message):
                continue
            try:
                if wanted_message(trigger, came, self._view):
                    self._fire(live, place, {"platform": "mqtt", **came.names()})
            except TemplateFailed as error:
                self._skip(live, f"triggers[{place}]: {error.message}")

    def _changed(self, change: Change) -> None:
        for live, place, trigger in self._by_entity.get(change.id, ()):
            timer = (place, change.id)
            if change.thing is None:
                self._cancel(live, timer)
                continue
            before, became = change.before, value_of(change.now, trigger.attribute)
            # What is described anew may stand otherwise, though nothing tells how it stood.
            if (waiting := live.timers.get(timer)) is not None and waiting[0] != became:
                self._cancel(live, timer)
            # What is heard of a thing for the first time is how it stands, not that it changed.
            if before is None or before.seen is None or not heard_anew(trigger, before, change.now):
                continue
            self._cancel(live, timer)
            if not wanted_change(trigger, before, change.now):
                continue
            about = about_change(self._view, change.id, trigger, before, change.now)
            if trigger.stays:
                stayed = asyncio.get_running_loop().call_later(trigger.stays, self._stayed, live, timer, about)
                live.timers[timer] = became, stayed
            else:
                self._fire(live, place, about)

    def _stayed(self, live: _Live, timer: tuple[int, str], about: Mapping[str, Any]) -> None:
        live.timers.pop(timer, None)
        self._fire(live, timer[0], about)

    @staticmethod
    def _cancel(live: _Live, timer: tuple[int, str]) -> None:
        if (running := live.timers.pop(timer, None)) is not None:
            running[1].cancel()

    # --- what is done

    def _fire(self, live: _Live, place: int, about: Mapping[str, Any]) -> None:
        """Starts a run, or says why not."""
        automation = live.automation
        if (soon := self._too_soon(live)) is not None:
            self._skip(live, soon)
            return
        trigger = automation.triggers[place]
        about = {**about, "id": trigger.id or str(place), "idx": str(place), "alias": trigger.alias}
        run = Run(
            automation,
            names(
                self._view,
                automation,
                about,
                last_run=live.last_run,
                last_question=self._assistant.last_question(),
                language=self._language,
                topics=dict(live.topics),
            ),
            self._view,
            InEarnest(self._assistant, automation.id),
        )
        try:
            if (unmet := unmet_condition(run, automation, self._view)) is not None:
                self._skip(live, unmet)
                return
        except GatewayError as error:
            self._skip(live, error.message)
            return
        if live.task is None:
            if sum(other.task is not None for other in self._lives.values()) >= MAX_RUNS:
                self._skip(live, f"over {MAX_RUNS} runs at once")
                return
            self._start(live, run)
        elif automation.mode == "single":
            self._skip(live, "it is running")
        elif automation.mode == "restart":
            live.waiting.clear()
            live.waiting.append(run)
            if not live.task.cancelling():  # else it is ending already, and would be torn from what it does for that
                live.task.cancel()
        elif len(live.waiting) < automation.max:
            live.waiting.append(run)
        else:
            self._skip(live, f"{automation.max} runs wait already")

    def _too_soon(self, live: _Live) -> str | None:
        """Why no run may start now, after those that did; None where one may."""
        if self._ago(live.last_run, live.automation.cooldown):
            return "within its cooldown"
        if len(live.started) == MAX_A_MINUTE and self._ago(live.started[0], MINUTE):
            return f"over {MAX_A_MINUTE} runs a minute"
        return None

    def _ago(self, then: datetime | None, seconds: float) -> bool:
        """Whether then is less than so long ago. A time to come is not: a clock that was wrong must not stop a run."""
        return then is not None and 0 <= self._view.since(then) < seconds

    def _start(self, live: _Live, run: Run) -> None:
        live.last_run = self._view.now()
        live.started.append(live.last_run)
        live.task = asyncio.create_task(self._carry_out(live, run), name=f"automation:{live.automation.id}")
        self._hold(live.task)
        live.task.add_done_callback(lambda _: self._ended(live))

    def _ended(self, live: _Live) -> None:
        live.task = None
        while live.waiting and live.task is None:
            run = live.waiting.popleft()
            if (soon := self._too_soon(live)) is not None:
                self._skip(live, soon)
            else:
                self._start(live, run)

    async def _carry_out(self, live: _Live, run: Run) -> None:
        automation = live.automation
        try:
            await run.go()
        except Exception:
            # The boundary: whatever one automation comes to, the others go on.
            log.exception("the automation %s failed", automation.id)
            run.trace.outcome, run.trace.error = "failed", "something went wrong; see the log"
        finally:
            trace = run.trace
            if automation.id in self._lives:
                self._traces.add(automation.id, trace)
            level = logging.WARNING if trace.outcome == "failed" else logging.INFO
            log.log(level, "automation %s: %s%s", automation.id, trace.outcome, f", {trace.error}" * bool(trace.error))

    def _skip(self, live: _Live, why: str) -> None:
        live.skipped = (self._view.now(), why)
        log.debug("automation %s does not run: %s", live.automation.id, why)

    # --- its file

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told_to_reload(self, message: Message) -> None:
        if not message.retained:
            self._asked_to_reload.set()

    async def _reload_when_told(self) -> None:
        while True:
            await self._asked_to_reload.wait()
            self._asked_to_reload.clear()
            await self.reload()

    async def _watch_file(self) -> None:
        seen = self._signature
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            seen = await self._look(seen)

    async def _look(self, before: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """Looks at the file, and takes it up once it is another and still as it was `before`, when it was last looked
        at: there are editors that empty a file, or take it away, before they write it."""
        found = await asyncio.to_thread(_signature, self._path)
        if self._signature != found == before:
            await self.reload()
        return found


def about_change(view: View, thing_id: str, trigger: StateTrigger, before: Condition, now: Condition) -> dict[str, Any]:
    """What templates know of a change that triggered a run."""
    return {
        "platform": "state",
        "entity_id": thing_id,
        "from_state": view.of(thing_id, before),
        "to_state": view.of(thing_id, now),
        "attribute": trigger.attribute,
        "for": timedelta(seconds=trigger.stays) if trigger.stays else None,
    }


def names(
    view: View,
    automation: Automation,
    trigger: Mapping[str, Any],
    *,
    last_run: datetime | None = None,
    last_question: str | None = None,
    language: str | None = None,
    topics: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a run's templates know before its first step."""
    return {
        **view.names(),
        **{name: trigger[name] for name in ("topic", "payload", "payload_json") if name in trigger},
        "trigger": trigger,
        "this": {
            "entity_id": f"automation.{automation.id}",
            "state": "on",
            "attributes": {"id": automation.id, "friendly_name": automation.name, "last_triggered": last_run},
        },
        "last_question": last_question,
        "language": language,
        "topics": topics or {},
    }


def unmet_condition(run: Run, automation: Automation, view: View) -> str | None:
    """Gives the run its variables; the first of the conditions that does not hold, in words, or None. Raises
    TemplateFailed."""
    run.set(automation.variables)
    for place, condition in enumerate(automation.conditions):
        if not met(condition, run.names, view):
            return f"conditions[{place}] does not hold: {described(condition)}"
        run.trace.conditions.append(described(condition))
    return None


def _signature(path: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
