"""Histories of commands, hands on switches and devices that fail, on a real broker: what is known is how the devices
stand in the end, nothing else was commanded, and nothing was confirmed that did not happen."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.home.acting import Outcome
from gateway.home.orders import already
from gateway.home.things import Condition, Order
from tests.home.simulated import Cover, Device, Light, Lock, Switch, ZigbeeLight, settled
from tests.home.test_acting import ANNA, BEN, Lived, living
from tests.mosquitto_server import Mosquitto, find_mosquitto

IDS = ("light.one", "light.two", "switch.three", "cover.four", "lock.five")
ASKERS = (ANNA, BEN)
_COMMANDS = st.one_of(
    st.tuples(st.just("HassTurnOn"), st.fixed_dictionaries({"name": st.sampled_from(IDS)})),
    st.tuples(st.just("HassTurnOff"), st.fixed_dictionaries({"name": st.sampled_from(IDS)})),
    st.tuples(st.just("HassToggle"), st.fixed_dictionaries({"name": st.sampled_from(IDS)})),
    st.tuples(
        st.just("HassLightSet"), st.fixed_dictionaries({"area": st.just("Kitchen"), "brightness": st.integers(0, 100)})
    ),
    st.tuples(
        st.just("HassSetPosition"),
        st.fixed_dictionaries({"name": st.just("cover.four"), "position": st.integers(0, 100)}),
    ),
)
STEPS = st.one_of(
    # At once, by one or several: their orders for one thing meet.
    st.tuples(st.just("say"), st.lists(st.tuples(st.integers(0, 1), _COMMANDS), min_size=1, max_size=3)),
    st.tuples(st.just("hand"), st.sampled_from(IDS[:3]), st.sampled_from(("on", "off"))),
    st.tuples(st.just("manner"), st.sampled_from(IDS), st.sampled_from(("prompt", "prompt", "lying", "dead"))),
    st.tuples(st.just("stubborn"), st.sampled_from(IDS[:2])),
    st.tuples(st.just("there"), st.sampled_from(IDS), st.booleans()),
    st.tuples(st.just("undo"), st.integers(0, 1)),
)


def devices() -> list[Device]:
    return [
        Light(IDS[0], "One", "Kitchen"),
        ZigbeeLight(IDS[1], "Two", "Kitchen"),
        Switch(IDS[2], "Three", "Kitchen"),
        Cover(IDS[3], "Four", "Bedroom"),
        Lock(IDS[4], "Five"),
    ]


def stands(order: Order, condition: Condition) -> bool:
    """Whether a device that stands so did what it was told (one that is toggled does so either way)."""
    return order.action == "toggle" or already(order, condition)


async def check(lived: Lived, outcome: Outcome, since: int) -> Counter[str]:
    """Nothing is told that the devices did not do. Returns what may have been sent, by thing."""
    sent: Counter[str] = Counter()
    for result in outcome.results:
        order = outcome.wanted.orders[result.thing_id]
        stood = [truth for thing_id, truth in lived.house.stood[since:] if thing_id == result.thing_id]
        if result.verdict == "done":
            assert any(stands(order, truth) for truth in stood), (order, result, stood)
        if result.verdict == "already":
            earlier = [truth for thing_id, truth in lived.house.stood[:since] if thing_id == result.thing_id]
            assert any(stands(order, truth) for truth in [*earlier[-1:], *stood]), (order, result, stood)
        # One that was heard to leave while it was waited for had been sent its order.
        left = result.verdict == "unavailable" and result.before.available is not False
        if left or result.verdict in {"done", "no_answer", "failed"}:
            sent[result.thing_id] += 1
    return sent


async def live(history: list[Any]) -> None:
    program = find_mosquitto()
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Mosquitto(program, Path(folder) / "mosquitto") as broker,
            living(broker, devices(), seconds=0.1) as lived,
        ):
            ordered: Counter[str] = Counter()
            for step in history:
                match step:
                    case ("say", sayings):
                        since = len(lived.house.stood)
                        outcomes = await asyncio.gather(
                            *(lived.do(tool, told, asker=ASKERS[who]) for who, (tool, told) in sayings)
                        )
                        for outcome in outcomes:
                            ordered += await check(lived, outcome, since)
                    case ("undo", who):
                        since = len(lived.house.stood)
                        undone = await lived.actor.undo(ASKERS[who])
                        if undone is not None:
                            ordered += await check(lived, undone, since)
                    case ("hand", thing_id, state):
                        await lived.house.by_hand(thing_id, state=state)
                        await settled(lived.registry, [lived.house.devices[thing_id]])
                    case ("manner", thing_id, manner):
                        lived.house.devices[thing_id].manner = manner
                    case ("stubborn", thing_id):
                        lived.house.devices[thing_id].manner = "stubborn"
                    case ("there", thing_id, there):
                        await lived.house.available(thing_id, there)
            await settled(lived.registry, lived.house.devices.values())
            commanded = Counter(thing_id for thing_id, _ in lived.house.commands)
            assert commanded <= ordered


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=2, max_size=8))
def test_what_is_known_is_how_it_is(history: list[Any]) -> None:
    if find_mosquitto() is None:
        pytest.skip("no MQTT broker here: sudo apt install mosquitto")
    asyncio.run(live(history))
