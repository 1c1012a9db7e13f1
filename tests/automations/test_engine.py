"""Automations at work over a real broker: what begins a run, what a run does, and what ends it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.automations import engine
from gateway.automations.engine import Automations, Standing
from gateway.automations.model import Automation
from gateway.automations.reading import read
from gateway.automations.run import Trace
from gateway.automations.traces import Traces
from gateway.errors import ModelUnavailable
from gateway.home.line import Message
from gateway.home.things import Condition, Thing
from gateway.shapes import Reply, Turn
from tests.automations.household import Home, ready
from tests.mosquitto_server import Mosquitto

AT = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
BUTTON = """
- id: {id}
  {more}
  triggers:
    - trigger: mqtt
      topic: button
  actions:
    - ask: "{{{{ payload }}}}"
    - announce: "{{{{ payload }}}}: {{{{ answer }}}}"
"""


def button(more: str = "mode: single", identity: str = "a") -> str:
    return BUTTON.format(id=identity, more=more)


def acting(step: str) -> str:
    head = "- id: a\n  triggers: [{trigger: mqtt, topic: button}]\n"
    return f"{head}  actions:\n    - {step}\n    - announce: done\n"


def standing(automations: Automations, automation_id: str = "a") -> Standing:
    return next(one for one in automations.standings() if one.automation.id == automation_id)


async def outcome(automations: Automations, runs: int = 1) -> list[str]:
    """The outcomes of the automation's runs, newest first, once there are so many."""
    async with asyncio.timeout(20):
        while len(automations.traces("a")) < runs:
            await asyncio.sleep(0)
    return [str(trace["outcome"]) for trace in automations.traces("a")]


async def test_single_runs_one_at_a_time(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button()) as automations:
        await ready(home)
        await home.send("button", "one")
        assert await home.began.get() == "one"
        await home.send("button", "two")
        await home.through()
        assert standing(automations).running
        skipped = standing(automations).skipped
        assert skipped is not None
        assert skipped[1] == "it is running"
        home.held.set()
        assert (await home.next())[1] == {"text": "one: Well then."}
        assert await outcome(automations) == ["done"]
    assert len(home.asked) == 1


async def test_restart_ends_the_run_before(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button("mode: restart")) as automations:
        await ready(home)
        await home.send("button", "one")
        assert await home.began.get() == "one"
        await home.send("button", "two")
        assert await home.began.get() == "two"
        home.held.set()
        assert (await home.next())[1] == {"text": "two: Well then."}
        assert await outcome(automations, 2) == ["done", "cancelled"]


async def test_restart_lets_a_run_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does for that, though it is to be restarted once more meanwhile."""
    ending, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ask = home.ask

    async def slow(turn: Turn) -> Reply:
        if turn.utterance != "one":
            return await ask(turn)
        home.began.put_nowait("one")
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()
            ended.set()
        raise AssertionError

    monkeypatch.setattr(home, "ask", slow)
    async with home.automations(button("mode: restart")):
        await ready(home)
        await home.send("button", "one")
        assert await home.began.get() == "one"
        await home.send("button", "two")
        await ending.wait()
        await home.send("button", "three")
        await home.through()
        assert not ended.is_set()
        may_end.set()
        assert (await home.next())[1] == {"text": "three: Well then."}
        assert ended.is_set()


async def test_queued_runs_in_order_and_bounded(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button("mode: queued\n  max: 2")) as automations:
        await ready(home)
        for word in ("one", "two", "three", "four"):
            await home.send("button", word)
        await home.through()
        assert standing(automations).waiting == 2
        home.held.set()
        assert [(await home.next())[1]["text"][:3] for _ in range(3)] == ["one", "two", "thr"]
        assert await outcome(automations, 3) == ["done"] * 3


async def test_one_that_triggers_itself_is_stopped(home: Home) -> None:
    text = acting("publish: {topic: button, payload: again}").replace("  triggers", "  mode: queued\n  triggers")
    async with home.automations(text) as automations:
        await ready(home)
        await home.send("button", "go")
        async with asyncio.timeout(20):
            while (skipped := standing(automations).skipped) is None:
                await home.next()
        assert skipped[1] == "over 60 runs a minute"


async def test_what_waits_within_the_cooldown_is_dropped(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button("mode: queued\n  cooldown: 60")) as automations:
        await ready(home)
        await home.send("button", "one")
        assert await home.began.get() == "one"
        home.later(seconds=61)
        for word in ("two", "three", "four"):
            await home.send("button", word)
        await home.through()
        assert standing(automations).waiting == 3
        home.held.set()
        assert await outcome(automations, 2) == ["done", "done"]
        async with asyncio.timeout(20):
            while standing(automations).waiting or standing(automations).running:
                await asyncio.sleep(0)
        assert standing(automations).skipped == (home.now(), "within its cooldown")
    assert [turn.utterance for turn in home.asked] == ["one", "two"]


@pytest.mark.parametrize("back", [{"minutes": 1}, {"hours": -3}])
async def test_a_clock_set_back_stops_nothing(home: Home, back: dict[str, float]) -> None:
    """At the end of summer time, or because it was wrong."""
    home.time = datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC).astimezone(zone := ZoneInfo("Europe/Warsaw"))
    async with home.automations(button("cooldown: 30")) as automations:
        await ready(home)
        await home.send("button", "one")
        await home.next()
        await outcome(automations)
        home.time = (home.time.astimezone(UTC) + timedelta(**back)).astimezone(zone)
        await home.send("button", "two")
        assert (await home.next())[1]["text"].startswith("two")
        await home.send("button", "three")
        await home.through()
    assert [turn.utterance for turn in home.asked] == ["one", "two"]


async def test_a_failure_ends_the_run_and_is_told(home: Home) -> None:
    home.fails = ModelUnavailable("the model is away")
    async with home.automations(button()) as automations:
        await ready(home)
        await home.send("button", "one")
        assert await outcome(automations) == ["failed"]
        (trace,) = automations.traces("a")
        assert (trace["error"], trace["steps"][0]["error"]) == ("the model is away", "the model is away")
        assert (trace["trigger"]["topic"], trace["trigger"]["payload"]) == ("button", "one")
        home.fails = None
        await home.send("button", "two")
        assert (await home.next())[1]["text"].startswith("two")
        assert await outcome(automations, 2) == ["done", "failed"]
        assert automations.traces("a")[0]["answer"] == "Well then."


async def test_things_are_commanded(home: Home) -> None:
    for name in ("light.a", "light.b", "lock.door"):
        home.told(name, "off")
    home.registry.put(Thing("light.secret", "Secret", "configured", exposed=False))
    home.actor.locked = ("lock.door",)
    steps = [
        ('command: {entity_id: "{{ payload }}", action: turn_on, values: {brightness: "{{ 100 + 28 }}"}}', "done"),
        ("command: {entity_id: [light.a, light.b], action: toggle}", "done"),
        ("command: {entity_id: light.secret, action: toggle}", "failed"),
        ("{action: light.turn_on, target: {entity_id: light.b}, data: {brightness_pct: '{{ 40 }}'}}", "done"),
        ("command: {entity_id: light.none, action: toggle}", "failed"),
        ("command: {entity_id: lock.door, action: unlock}", "failed"),
        ("command: {entity_id: light.none, action: toggle}\n      continue_on_error: true", "done"),
        ("command: Turn on the lights", "done"),
        ("stop: enough", "stopped"),
        ("{stop: enough, error: true}", "failed"),
        ("\"{{ payload == 'other' }}\"", "stopped"),
        ("{condition: state, entity_id: light.a, state: 'off'}", "done"),
        ("{condition: state, entity_id: light.a, state: 'on'}", "stopped"),
    ]
    async with home.automations("") as automations:
        await ready(home)
        for runs, (step, ends) in enumerate(steps, 1):
            home.write(acting(step))
            await automations.reload()
            assert automations.mistakes == ()
            await ready(home)
            await home.send("button", "light.a")
            assert (await outcome(automations, runs))[0] == ends, (step, automations.traces("a")[0])
        home.actor.verdict = "no_answer"
        home.write(acting(steps[1][0]))
        await automations.reload()
        await ready(home)
        await home.send("button", "x")
        assert (await outcome(automations, len(steps) + 1))[0] == "failed"
        assert automations.traces("a")[0]["error"] == "light.a: no_answer, light.b: no_answer"
    first, second, third, _ = home.actor.carried
    assert {name: dict(order.values) for name, order in third[0].orders.items()} == {"light.b": {"brightness": 102}}
    assert {name: (order.action, dict(order.values)) for name, order in first[0].orders.items()} == {
        "light.a": ("turn_on", {"brightness": 128})
    }
    assert (list(second[0].orders), second[1].speaker, second[1].edge) == (
        ["light.a", "light.b"],
        "automation:a",
        "automation",
    )
    assert [(turn.utterance, turn.acts) for turn in home.asked] == [("Turn on the lights", True)]


async def test_memory_preferences_variables_and_branches(home: Home) -> None:
    home.told("sensor.a", "21.5", unit_of_measurement="°C")
    text = """
- id: a
  variables: {first: "{{ payload_json.n | int }}"}
  triggers: [{trigger: mqtt, topic: button, id: pressed}]
  conditions:
    - and:
        - {condition: numeric_state, entity_id: sensor.a, above: 21, below: 22}
        - {condition: trigger, id: pressed}
        - not: [{condition: state, entity_id: sensor.a, state: "5"}]
  actions:
    - remember: {content: "n is {{ first }}", tags: [n]}
    - set_preference: {key: k, value: ["{{ first }}", 2]}
    - variables: {second: "{{ first | int + 1 }}"}
    - delay: 0.01
    - choose:
        - conditions: "{{ second == '3' }}"
          sequence: {ask: three, response_variable: said}
        - conditions: ["{{ true }}"]
          sequence: {ask: other, response_variable: said}
    - publish: {topic: "out/{{ second }}", payload: {said: "{{ said }}", "on": true}, qos: 0}
    - action: mqtt.publish
      data: {topic: out/last, payload: "{{ steps | length }} {{ state_attr('sensor.a', 'unit_of_measurement') }}"}
"""
    async with home.automations(text, hears=["out/#"]) as automations:
        await ready(home)
        await home.send("button", {"n": 2})
        assert await home.next() == ("out/3", {"said": "Well then.", "on": True})
        assert await home.next() == ("out/last", "7 °C")
        assert await outcome(automations) == ["done"]
        assert [step["path"] for step in automations.traces("a")[0]["steps"]][4:6] == [
            "actions[4]",
            "actions[4].choose[0].sequence[0]",
        ]
    assert (home.kept, home.preferred) == ([("n is 2", ("n",))], {"k": ["2", 2]})
    assert home.asked[0].utterance == "three"


async def test_states_and_what_is_no_change(home: Home) -> None:
    text = """
- id: a
  triggers:
    - {trigger: state, entity_id: light.a, to: "on"}
    - {trigger: state, entity_id: light.b, attribute: brightness, to: "7"}
    - {trigger: state, entity_id: light.c}
  mode: queued
  actions:
    - publish:
        topic: out
        payload: "{{ trigger.entity_id }} {{ trigger.from_state.state }} {{ trigger.to_state.state }}"
"""
    async with home.automations(text, hears=["out"]) as automations:
        home.told("light.a", "on")  # for the first time: no change
        home.told("light.a", "on", brightness=3)
        home.told("light.a", "off")
        home.told("light.a", "on")
        assert await home.next() == ("out", "light.a off on")
        home.told("light.b", "on", brightness=3)
        home.told("light.b", "on", brightness=7)
        assert await home.next() == ("out", "light.b on on")
        home.told("light.c", "on")
        home.told("light.c", "on", brightness=3)
        assert await home.next() == ("out", "light.c on on")
        home.registry.drop("light.c")
        await home.through()
        assert len(automations.traces("a")) == 3


async def test_what_does_not_stay_so_begins_nothing(home: Home) -> None:
    text = acting("publish: {topic: out, payload: x}").replace(
        "{trigger: mqtt, topic: button}", '{trigger: state, entity_id: light.a, to: "on", for: "01:00:00"}'
    )
    async with home.automations(text) as automations:
        timers = automations._lives["a"].timers
        home.told("light.a", "off")
        home.told("light.a", "on")
        ((_, timer),) = timers.values()
        home.told("light.a", "on", brightness=3)
        assert list(timers.values()) == [("on", timer)]  # it is on, as it was
        home.registry.put(Thing("light.a", "Lamp", "configured"))
        assert list(timers.values()) == [("on", timer)]  # called otherwise, but as it was
        home.registry.put(Thing("light.a", "Lamp", "configured"), Condition().told(home.now(), state="off"))
        assert timer.cancelled()
        assert not timers
        home.told("light.a", "on")
        ((_, timer),) = timers.values()
        home.told("light.a", "off")
        assert timer.cancelled()
        assert not timers
        home.told("light.a", "on")
        ((_, timer),) = timers.values()
        home.registry.drop("light.a")
        assert timer.cancelled()
        assert not timers


async def test_what_is_away_is_unavailable(home: Home) -> None:
    text = """
- id: a
  triggers:
    - {trigger: state, entity_id: light.a, to: "on", for: 3600}
    - {trigger: state, entity_id: light.a, to: unavailable}
  actions:
    - publish: {topic: out, payload: "{{ trigger.from_state.state }} {{ trigger.to_state.state }}"}
    - choose:
        - {conditions: {condition: state, entity_id: light.a, state: "on"}, sequence: {stop: it is on}}
        - {conditions: {condition: state, entity_id: light.a, state: unavailable, for: 1}, sequence: {stop: long away}}
        - {conditions: {condition: state, entity_id: light.a, state: unavailable}, sequence: {stop: it is away}}
"""
    async with home.automations(text, hears=["out"]) as automations:
        home.told("light.a", "off")
        home.told("light.a", "on")
        ((_, timer),) = automations._lives["a"].timers.values()
        home.later(seconds=5)
        away = replace(home.registry.condition("light.a"), available=False, seen=home.now())
        home.registry.saw("light.a", away)
        assert timer.cancelled()
        assert await home.next() == ("out", "on unavailable")
        await outcome(automations)
        assert automations.traces("a")[0]["error"] == "it is away"


async def test_what_is_switched_off_does_not_run(home: Home) -> None:
    off = button("enabled: false") + button("enabled: false", "c").replace(
        "trigger: mqtt\n      topic: button", 'trigger: state\n      entity_id: light.a\n      to: "on"'
    )
    async with home.automations(off + button(identity="b")) as automations:
        await ready(home)
        home.told("light.a", "off")
        home.told("light.a", "on")
        await home.send("button", "one")
        assert (await home.next())[1]["text"] == "one: Well then."
        assert [one.automation.enabled for one in automations.standings()] == [False, False, True]
    assert [turn.utterance for turn in home.asked] == ["one"]


async def test_no_more_run_at_once_than_so_many(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_RUNS", 1)
    home.held = asyncio.Event()
    async with home.automations(button() + button(identity="b")) as automations:
        await ready(home)
        await home.send("button", "one")
        await home.began.get()
        await home.through()
        skipped = standing(automations, "b").skipped
        assert skipped is not None
        assert skipped[1] == "over 1 runs at once"
        home.held.set()
        assert await outcome(automations) == ["done"]


async def test_a_kept_word_to_reload_is_not_heeded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be at each connection."""
    monkeypatch.setattr(engine, "WATCH_SECONDS", 3600.0)
    reads: list[Path] = []
    monkeypatch.setattr(engine, "read", lambda path: reads.append(path) or read(path))
    await home.send("ai-gateway/automations/reload", "now", retain=True)
    heard: list[Message] = []
    async with home.automations(button()):
        home.link.subscribe("ai-gateway/automations/reload", heard.append)
        await ready(home)
        assert any(message.retained for message in heard)
        await home.send("button", "one")
        assert (await home.next())[1]["text"] == "one: Well then."
        assert len(reads) == 1
        await home.send("ai-gateway/automations/reload", "")
        async with asyncio.timeout(20):
            while len(reads) < 2:
                await asyncio.sleep(0)


async def test_a_mistake_leaves_the_set_that_runs(home: Home) -> None:
    async with home.automations(button()) as automations:
        await ready(home)
        home.write(button().replace("announce", "anounce"))
        await automations.reload()
        assert [mistake.line for mistake in automations.mistakes] == [9]
        await home.send("button", "one")
        assert (await home.next())[1]["text"] == "one: Well then."
        home.write(button("cooldown: 60"))
        await home.send("ai-gateway/automations/reload", "")
        async with asyncio.timeout(20):
            while automations.mistakes:
                await asyncio.sleep(0)
        assert standing(automations).automation.cooldown == 60
        await ready(home)
        await home.send("button", "two")
        await home.through()
        assert len(home.asked) == 1  # within its cooldown: the last run is known from its trace


async def test_who_gives_up_reloading_loses_no_change(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WATCH_SECONDS", 0.05)
    async with home.automations(button()) as automations:
        reading, may_read = threading.Event(), threading.Event()

        def slow(path: Path) -> tuple[Automation, ...]:
            reading.set()
            may_read.wait(20)
            return read(path)

        monkeypatch.setattr(engine, "read", slow)
        asked = asyncio.create_task(automations.reload())
        home.write(button("cooldown: 60"))
        await asyncio.to_thread(reading.wait, 20)
        asked.cancel()
        await asyncio.wait([asked])
        may_read.set()
        async with asyncio.timeout(20):
            while standing(automations).automation.cooldown != 60:
                await asyncio.sleep(0.01)


async def test_a_file_that_is_being_written_is_not_taken_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor empties it, takes it away, or writes it in parts, before all of it is there."""
    monkeypatch.setattr(engine, "WATCH_SECONDS", 3600.0)
    async with home.automations(button()) as automations:
        seen = await automations._look(automations._signature)
        for text in ("", None, "- id: a\n"):
            home.path.unlink()
            if text is not None:
                home.path.write_text(text)
            seen = await automations._look(seen)
            home.write(button())
            seen = await automations._look(seen)
            assert (len(automations.standings()), automations.mistakes) == (1, ())
        home.write(button("cooldown: 60"))
        seen = await automations._look(seen)
        assert standing(automations).automation.cooldown == 0
        await automations._look(seen)
        assert standing(automations).automation.cooldown == 60


async def test_a_changed_file_is_taken_up_and_what_is_as_before_goes_on(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button() + button(identity="b")) as automations:
        await ready(home)
        await home.send("button", "one")
        await home.began.get()
        await home.began.get()
        home.write(button())  # b is gone, and its run ends
        async with asyncio.timeout(20):
            while len(automations.standings()) == 2:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            while any(task.get_name() == "automation:b" for task in asyncio.all_tasks()):
                await asyncio.sleep(0)
        home.held.set()
        assert (await home.next())[1]["text"] == "one: Well then."
        assert await outcome(automations) == ["done"]
        await home.through()
        home.path.unlink()
        await automations.reload()
        assert automations.standings() == ()


async def test_what_is_retained_begins_nothing_unless_wanted(home: Home) -> None:
    await home.send("button", "old", retain=True)
    async with home.automations(button()):
        await ready(home)
        assert home.asked == []
    async with home.automations(button().replace("topic: button", "topic: button\n      retained: true")):
        assert (await home.next())[1]["text"] == "old: Well then."


async def test_what_is_retained_is_heard_once(home: Home) -> None:
    """Also when the file changes elsewhere, another listens there too, or the broker is asked for it once more."""
    await home.send("button", "old", retain=True)
    kept = button().replace("topic: button", "topic: button\n      retained: true")
    async with home.automations(kept, hears=["out"]) as automations:
        assert (await home.next())[1]["text"] == "old: Well then."
        for other in (button(identity="b"), kept.replace("id: a", "id: b").replace("topic: button", "topic: other")):
            home.write(kept + other)
            await automations.reload()
            await ready(home)
        home.link._home.ask_again()
        await ready(home)
        assert len(automations.traces("a")) == 1
        await home.send("button", "new", retain=True)
        assert (await home.next())[1]["text"] == "new: Well then."
        home.link._home.ask_again()
        await ready(home)
        home.write(kept + kept.replace("id: a", "id: b"))
        await automations.reload()
        assert (await home.next())[1]["text"] == "new: Well then."  # b's first
        await home.through()
        assert [len(automations.traces(one)) for one in ("a", "b")] == [2, 1]


async def test_traces_are_kept_over_a_restart(home: Home, tmp_path: Path) -> None:
    async with home.automations(button("mode: queued\n  max: 50")) as automations:
        await ready(home)
        for number in range(25):
            await home.send("button", str(number))
        for _ in range(25):
            await home.next()
        async with asyncio.timeout(20):
            while standing(automations).running:
                await asyncio.sleep(0)
    (tmp_path / "traces" / "broken.json").write_text("{")
    async with home.automations() as automations:
        traces = automations.traces("a")
        assert [trace["trigger"]["payload"] for trace in traces] == [str(number) for number in range(24, 4, -1)]
        assert standing(automations).last_run == home.time


async def test_the_runs_of_what_is_gone_are_forgotten(home: Home) -> None:
    home.held = asyncio.Event()
    async with home.automations(button() + button(identity="b")) as automations:
        await ready(home)
        home.held.set()
        await home.send("button", "one")
        await outcome(automations)
        home.held.clear()
        home.began = asyncio.Queue()
        await home.send("button", "two")
        for _ in "ab":
            await home.began.get()
        home.write("")
        await automations.reload()
        home.write(button())
        await automations.reload()
        assert len(automations.traces("a")) == 1
    assert [path.name for path in home.folder.iterdir()] == ["a.json"]


async def test_the_end_ends_every_run(home: Home, broker: Mosquitto) -> None:
    home.held = asyncio.Event()
    async with home.automations(button()) as automations:
        await ready(home)
        await home.send("button", "one")
        await home.began.get()
        await broker.stop()
    assert await outcome(automations) == ["cancelled"]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("automation")]


async def test_the_last_runs_are_kept_though_others_are_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow, and the end comes while it writes what was before."""
    began, later, save = asyncio.Event(), threading.Event(), Traces._save
    loop = asyncio.get_running_loop()

    def slow(self: Traces, changed: dict[str, list[dict[str, Any]]]) -> None:
        if len(changed["a"]) == 1:
            loop.call_soon_threadsafe(began.set)
            later.wait(0.3)  # for who would overtake it; nobody should
        save(self, changed)
        later.set()

    monkeypatch.setattr(Traces, "_save", slow)
    async with Traces(tmp_path) as traces:
        traces.add("a", Trace("1", AT, {"payload": "one"}))
        await began.wait()
        traces.add("a", Trace("2", AT, {"payload": "two"}))
    async with Traces(tmp_path) as traces:
        assert [run["trigger"]["payload"] for run in traces.of("a")] == ["two", "one"]
