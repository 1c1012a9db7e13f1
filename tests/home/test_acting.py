"""Acting over a real broker on simulated devices: prompt, slow, dead, lying ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.home.acting import ActionRecord, Actor, Ambiguous, Asker, Outcome, Wanted
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.things import CannotDo, Order
from gateway.shapes import Scope
from tests.home.simulated import (
    Climate,
    Cover,
    Device,
    Fan,
    House,
    Light,
    Lock,
    Media,
    Scene,
    Sensor,
    Switch,
    ZigbeeLight,
    moved_in,
    reachable,
    settled,
    whole_house,
)
from tests.mosquitto_server import Mosquitto

ANNA = Asker(Scope(1), "conversation", "anna", "")
BEN = Asker(Scope(1), "wyoming", "ben", "")
SHORT = 0.2  # seconds that a device which will not answer is waited for


@dataclass
class Lived:
    """A house, what is known of it, and who acts in it."""

    house: House
    registry: Registry
    link: Link
    settings: HomeSettings
    records: list[ActionRecord] = field(default_factory=list)
    later: timedelta = timedelta()
    actor: Actor = field(init=False)

    def __post_init__(self) -> None:
        self.actor = Actor(self.registry, self.link, self.settings, self.now, self.records.extend)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    async def do(
        self, tool: str, arguments: Mapping[str, Any], area: str | None = None, asker: Asker = ANNA
    ) -> Outcome:
        return await self.actor.carry_out(self.actor.wanted(tool, arguments, area), replace(asker, area=area))

    def truth(self, device_id: str) -> str:
        return self.house.devices[device_id].truth.state


@asynccontextmanager
async def living(
    broker: Mosquitto, devices: list[Device], *, seconds: float = 10.0, **settings: Any
) -> AsyncIterator[Lived]:
    registry, link = Registry(), Link(MqttSettings(url=SecretStr(broker.url)), "gateway-acting")
    async with (
        moved_in(registry, link, devices),
        House(broker.port, devices) as house,
        link,
    ):
        lived = Lived(house, registry, link, HomeSettings(confirm_seconds=seconds, **settings))
        async with asyncio.timeout(20):
            await link.listening()
        await settled(registry, devices)
        await reachable(registry, devices)
        yield lived


def lamp(**about: Any) -> Light:
    return Light("light.lamp", "Lamp", "Kitchen", "Ground Floor", **about)


def verdicts(outcome: Outcome | None) -> list[str]:
    assert outcome is not None
    return [result.verdict for result in outcome.results]


async def test_a_lamp_is_switched_on_and_says_so(broker: Mosquitto) -> None:
    async with living(broker, [lamp()]) as lived:
        outcome = await lived.do("HassTurnOn", {"name": "lamp"}, "Kitchen")
        assert verdicts(outcome) == ["done"]
        assert lived.truth("light.lamp") == "on"
        assert outcome.results[0].before.state == "off"
        assert json.loads(outcome.report())["data"]["success"] == [
            {"name": "Lamp", "type": "entity", "id": "light.lamp", "state": "on"}
        ]
        (record,) = lived.records
        assert (record.thing_id, record.action, record.verdict, record.area) == (
            "light.lamp",
            "turn_on",
            "done",
            "Kitchen",
        )
        assert (record.before.state, record.after.state, record.speaker) == ("off", "on", "anna")


async def test_what_is_so_already_is_not_sent(broker: Mosquitto) -> None:
    async with living(broker, [lamp(state={"state": "on"})]) as lived:
        assert verdicts(await lived.do("HassTurnOn", {"name": "light.lamp"})) == ["already"]
        assert lived.house.commands == []


@pytest.mark.parametrize("manner,verdict", [("dead", "no_answer"), ("lying", "no_answer"), ("stubborn", "failed")])
async def test_no_hope_is_told_for_a_fact(broker: Mosquitto, manner: Any, verdict: str) -> None:
    async with living(broker, [lamp(manner=manner)], seconds=SHORT) as lived:
        outcome = await lived.do("HassLightSet", {"name": "Lamp", "brightness": "50%"})
        assert verdicts(outcome) == [verdict]
        assert json.loads(outcome.report())["data"]["failed"][0]["reason"] == verdict


async def test_what_is_unavailable_gets_no_message(broker: Mosquitto) -> None:
    async with living(broker, [lamp()]) as lived:
        await lived.house.available("light.lamp", False)
        await lived.registry.until("light.lamp", lambda now: now.available is False, 10)
        assert verdicts(await lived.do("HassTurnOn", {"name": "Lamp"})) == ["unavailable"]
        assert lived.house.commands == []


async def test_a_slow_one_is_waited_for(broker: Mosquitto) -> None:
    async with living(broker, [lamp(manner="slow")]) as lived:
        doing = asyncio.create_task(lived.do("HassTurnOn", {"name": "Lamp"}))
        await lived.house.until_commanded(1)
        assert not doing.done()
        await lived.house.let("light.lamp")
        assert verdicts(await doing) == ["done"]


async def test_its_word_is_heard_though_the_home_says_more_than_can_be_read(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.home.link.FLOOD", -1)  # of any message there are more than can be read
    async with living(broker, [lamp()]) as lived:
        home = lived.link._home.connection
        assert home is not None
        with monkeypatch.context() as patched:
            patched.setattr(home._client, "loop_read", lambda: None)  # it does not get to its messages
            assert verdicts(await lived.do("HassTurnOn", {"name": "Lamp"})) == ["done"]
        await lived.registry.until("light.lamp", lambda now: now.state == "on", 10)


async def test_two_who_command_one_thing_do_it_one_after_the_other(broker: Mosquitto) -> None:
    async with living(broker, [lamp(manner="slow")]) as lived:
        on = asyncio.create_task(lived.do("HassTurnOn", {"name": "Lamp"}))
        await lived.house.until_commanded(1)
        off = asyncio.create_task(lived.do("HassTurnOff", {"name": "Lamp"}, asker=BEN))
        await lived.house.let("light.lamp")
        assert verdicts(await on) == ["done"]
        await lived.house.until_commanded(2)
        assert not off.done()
        await lived.house.let("light.lamp")
        assert verdicts(await off) == ["done"]
        assert [json.loads(payload)["state"] for _, payload in lived.house.commands] == ["ON", "OFF"]


async def test_a_late_answer_is_not_taken_for_another_orders(broker: Mosquitto) -> None:
    """It did not answer "on", so "off" is no more than what was last heard: it is sent, and the late "on" is not it."""
    async with living(broker, [lamp(manner="slow")], seconds=SHORT) as lived:
        assert verdicts(await lived.do("HassTurnOn", {"name": "Lamp"})) == ["no_answer"]
        off = asyncio.create_task(lived.do("HassTurnOff", {"name": "Lamp"}))
        await lived.house.until_commanded(2)
        assert verdicts(await off) == ["no_answer"]
        await lived.house.let("light.lamp")
        assert lived.truth("light.lamp") == "off"


async def test_all_lights_of_a_room_and_of_a_floor_at_once(broker: Mosquitto) -> None:
    devices = whole_house()
    async with living(broker, devices) as lived:
        outcome = await lived.do("HassTurnOn", {"area": "kitchen", "domain": ["light"]})
        assert verdicts(outcome) == ["done"] * 8
        outcome = await lived.do("HassLightSet", {"floor": "Upstairs", "brightness": 30, "color": "red"})
        assert verdicts(outcome) == ["done"] * 32
        await settled(lived.registry, devices)
        on = {one.id for one in devices if one.truth.state == "on"}
        assert on == {
            one.id for one in devices if one.domain == "light" and (one.area == "Kitchen" or one.floor == "Upstairs")
        }


async def test_everything_in_a_room_is_nothing_that_could_hurt(broker: Mosquitto) -> None:
    devices = whole_house()
    async with living(broker, devices) as lived:
        wanted = lived.actor.wanted("HassTurnOn", {"area": "Garage"}, None)
        assert {one.partition(".")[0] for one in wanted.orders} == {"light", "switch", "fan", "media_player"}
        with pytest.raises(BadRequest):
            lived.actor.wanted("HassTurnOn", {}, "Garage")
        with pytest.raises(BadRequest):
            lived.actor.wanted("HassTurnOn", {"domain": "scene"}, "Garage")


async def test_part_of_a_room_answers(broker: Mosquitto) -> None:
    devices: list[Device] = [
        Light("light.one", "One", "Kitchen"),
        Light("light.two", "Two", "Kitchen", manner="dead"),
        Light("light.three", "Three", "Kitchen", state={"state": "on"}),
    ]
    async with living(broker, devices, seconds=SHORT) as lived:
        outcome = await lived.do("HassTurnOn", {"area": "Kitchen", "domain": ["light"]})
        assert {result.thing_id: result.verdict for result in outcome.results} == {
            "light.one": "done",
            "light.two": "no_answer",
            "light.three": "already",
        }


async def test_each_kind_does_what_its_tool_says(broker: Mosquitto) -> None:
    devices: list[Device] = [
        Switch("switch.pump", "Pump"),
        Cover("cover.blind", "Blind", device_class="blind"),
        Fan("fan.fan", "Fan"),
        Climate("climate.heating", "Heating"),
        Lock("lock.door", "Door"),
        Media("media_player.radio", "Radio"),
        Scene("scene.party", "Party"),
        ZigbeeLight("light.spot", "Spot"),
    ]
    async with living(broker, devices) as lived:
        for tool, arguments, thing_id, state, attribute in (
            ("HassTurnOn", {"name": "Pump"}, "switch.pump", "on", {}),
            ("HassToggle", {"name": "Pump"}, "switch.pump", "off", {}),
            ("HassTurnOn", {"name": "Blind"}, "cover.blind", "open", {"current_position": 100}),
            ("HassSetPosition", {"device_class": ["blind"], "position": 30}, "cover.blind", "open", {}),
            ("HassTurnOff", {"name": "Blind"}, "cover.blind", "closed", {"current_position": 0}),
            ("HassFanSetSpeed", {"name": "Fan", "percentage": "70"}, "fan.fan", "on", {"percentage": 70}),
            ("HassFanSetSpeed", {"name": "Fan", "percentage": 0}, "fan.fan", "off", {}),
            ("HassClimateSetTemperature", {"temperature": 20.5}, "climate.heating", "heat", {"temperature": 20.5}),
            ("HassTurnOff", {"name": "Heating"}, "climate.heating", "off", {}),
            ("intent__HassTurnOff", {"name": "Door"}, "lock.door", "unlocked", {}),
            ("HassTurnOn", {"name": "Door"}, "lock.door", "locked", {}),
            ("HassMediaPause", {}, "media_player.radio", "paused", {}),
            ("HassMediaUnpause", {}, "media_player.radio", "playing", {}),
            ("HassMediaNext", {}, "media_player.radio", "playing", {"media_title": "track 6"}),
            ("HassSetVolume", {"volume_level": 90}, "media_player.radio", "playing", {"volume_level": 0.9}),
            ("HassSetVolumeRelative", {"volume_step": "down"}, "media_player.radio", "playing", {"volume_level": 0.8}),
            ("HassTurnOn", {"name": "Party", "domain": ["scene"]}, "scene.party", "unknown", {"times": 1}),
            ("HassLightSet", {"name": "Spot", "color": "red"}, "light.spot", "on", {"rgb_color": (255, 0, 0)}),
            ("HassLightSet", {"name": "Spot", "temperature": 2700}, "light.spot", "on", {"color_mode": "color_temp"}),
            ("HassLightSet", {"name": "Spot", "brightness": 0}, "light.spot", "off", {}),
        ):
            outcome = await lived.do(tool, arguments)
            assert verdicts(outcome) == ["done"], (tool, arguments, outcome)
            await lived.house.until_commanded(1)
            truth = lived.house.devices[thing_id].truth
            assert truth.state == state, (tool, arguments)
            assert attribute.items() <= truth.attributes.items(), (tool, arguments, truth)


async def test_a_cover_that_moves_is_confirmed_by_its_moving(broker: Mosquitto) -> None:
    async with living(broker, [Cover("cover.gate", "Gate", manner="slow")]) as lived:
        doing = asyncio.create_task(lived.do("HassTurnOn", {"name": "Gate"}))
        await lived.house.until_commanded(1)
        await lived.house.by_hand("cover.gate", state="opening", position=3)
        outcome = await doing
        assert verdicts(outcome) == ["done"]
        assert outcome.results[0].now.state in {"opening", "closed"}


async def test_a_lock_on_its_way_is_waited_for_and_a_jam_told(broker: Mosquitto) -> None:
    async with living(broker, [Lock("lock.door", "Door", manner="slow", state={"state": "unlocked"})]) as lived:
        doing = asyncio.create_task(lived.do("HassTurnOn", {"name": "Door"}))
        await lived.house.until_commanded(1)
        await lived.house.by_hand("lock.door", state="locking")
        await lived.registry.until("lock.door", lambda now: now.state == "locking", 10)
        assert not doing.done()
        await lived.house.by_hand("lock.door", state="jammed")
        assert verdicts(await doing) == ["failed"]


async def test_only_what_is_exposed_is_there(broker: Mosquitto) -> None:
    async with living(broker, [lamp(), Sensor("sensor.lamp", "Lamp")]) as lived:
        assert set(lived.actor.wanted("HassTurnOn", {"name": "Lamp"}, None).orders) == {"light.lamp"}
        thing = lived.registry.things["light.lamp"]
        lived.registry.put(replace(thing, exposed=False))
        with pytest.raises(CannotDo):
            lived.actor.wanted("HassTurnOn", {"name": "Lamp"}, None)
        with pytest.raises(NotFound):
            lived.actor.wanted("HassTurnOn", {"name": "light.lamp"}, None)
        with pytest.raises(NotFound):
            lived.actor.ordered({"light.lamp": Order("turn_on")})
        with pytest.raises(NotFound):
            lived.actor.wanted("HassTurnOn", {"area": "Cellar"}, None)
        with pytest.raises(NotFound):
            lived.actor.wanted("RunAnything", {"name": "Lamp"}, None)


async def test_of_two_of_one_name_the_one_in_the_room_is_meant(broker: Mosquitto) -> None:
    devices: list[Device] = [Light("light.a", "Lamp", "Kitchen"), Light("light.b", "Lamp", "Bedroom")]
    async with living(broker, devices) as lived:
        assert set(lived.actor.wanted("HassTurnOn", {"name": "Lamp"}, "Bedroom").orders) == {"light.b"}
        assert set(lived.actor.wanted("HassTurnOn", {"name": "Lamp", "area": "Kitchen"}, "Bedroom").orders) == {
            "light.a"
        }
        with pytest.raises(Ambiguous, match="Bedroom"):
            lived.actor.wanted("HassTurnOn", {"name": "Lamp"}, "Office")


@pytest.mark.parametrize(
    "tool,arguments",
    [
        ("HassLightSet", {"name": "Lamp", "brightness": 200}),
        ("HassLightSet", {"name": "Lamp", "brightness": float("nan")}),
        ("HassLightSet", {"name": "Lamp", "color": "sort of blue"}),
        ("HassLightSet", {"name": "Lamp", "temperature": "warm"}),
        ("HassLightSet", {"name": "Lamp"}),
    ],
)
async def test_what_makes_no_sense_is_refused(broker: Mosquitto, tool: str, arguments: dict[str, Any]) -> None:
    async with living(broker, [lamp()]) as lived:
        with pytest.raises(BadRequest):
            lived.actor.wanted(tool, arguments, None)


async def test_what_is_guarded(broker: Mosquitto) -> None:
    devices: list[Device] = [lamp(), Lock("lock.door", "Door"), Cover("cover.gate", "Gate"), Scene("scene.s", "Scene")]

    def guarded(lived: Lived, tool: str, name: str) -> tuple[str, ...]:
        return lived.actor.guarded(lived.actor.wanted(tool, {"name": name}, None))

    async with living(broker, devices, allowed=("gate",), confirm=("light",)) as lived:
        assert guarded(lived, "HassTurnOff", "Door") == ("Door",)
        assert guarded(lived, "HassTurnOn", "Gate") == ()
        assert guarded(lived, "HassTurnOn", "Lamp") == ("Lamp",)
        assert guarded(lived, "HassTurnOn", "Scene") == ()
    async with living(broker, devices, allowed=("lock",)) as lived:
        assert guarded(lived, "HassTurnOff", "Door") == ()
        assert guarded(lived, "HassStopMoving", "Gate") == ()
        assert guarded(lived, "HassTurnOn", "Gate") == ("Gate",)


async def test_undo_brings_back_how_it_was(broker: Mosquitto) -> None:
    devices: list[Device] = [
        Light("light.on", "On", "Kitchen", state={"state": "on", "brightness": 200, "rgb_color": (0, 0, 255)}),
        Light("light.off", "Off", "Kitchen"),
        Climate("climate.heating", "Heating"),
    ]
    devices[0].state["color_mode"] = "rgb"
    async with living(broker, devices) as lived:
        await lived.do("HassLightSet", {"area": "Kitchen", "brightness": 20, "color": "red"})
        assert devices[0].truth.attributes["brightness"] == 51
        outcome = await lived.actor.undo(ANNA)
        assert verdicts(outcome) == ["done", "done"]
        assert devices[0].truth.attributes["brightness"] == 200
        assert devices[0].truth.attributes["rgb_color"] == (0, 0, 255)
        assert devices[1].truth.state == "off"
        assert await lived.actor.undo(ANNA) is None  # once

        await lived.do("HassClimateSetTemperature", {"temperature": 25})
        assert await lived.actor.undo(BEN) is None  # it was not Ben who did it
        assert verdicts(await lived.actor.undo(ANNA)) == ["done"]
        assert devices[2].truth.attributes["temperature"] == 21.0


async def test_undo_leaves_alone_what_was_changed_since_and_what_is_long_past(broker: Mosquitto) -> None:
    devices: list[Device] = [Switch("switch.a", "A"), Switch("switch.b", "B")]
    async with living(broker, devices) as lived:
        await lived.do("HassTurnOn", {"domain": ["switch"]})
        await lived.house.by_hand("switch.a", state="off")
        await lived.registry.until("switch.a", lambda now: now.state == "off", 10)
        outcome = await lived.actor.undo(ANNA)
        assert outcome is not None
        assert [(result.thing_id, result.verdict) for result in outcome.results] == [("switch.b", "done")]
        await lived.do("HassTurnOn", {"domain": ["switch"]})
        lived.later = timedelta(minutes=6)
        assert await lived.actor.undo(ANNA) is None


async def test_undo_takes_back_what_came_of_it_where_that_was_something_else(broker: Mosquitto) -> None:
    async with living(broker, [lamp(manner="stubborn")], seconds=SHORT) as lived:
        assert verdicts(await lived.do("HassLightSet", {"name": "Lamp", "brightness": "50%"})) == ["failed"]
        stands = lived.registry.condition("light.lamp")
        assert stands.state == "on"
        wanted = lived.actor.undoing(ANNA)
        assert wanted is not None
        assert wanted.orders == {"light.lamp": Order("turn_off")}


async def test_what_was_so_already_does_not_stand_before_what_can_be_undone(broker: Mosquitto) -> None:
    async with living(broker, [lamp()]) as lived:
        await lived.do("HassTurnOn", {"name": "Lamp"})
        assert verdicts(await lived.do("HassTurnOn", {"name": "Lamp"})) == ["already"]
        assert verdicts(await lived.actor.undo(ANNA)) == ["done"]
        assert lived.truth("light.lamp") == "off"


async def test_undo_opens_nothing_guarded_without_a_yes(broker: Mosquitto) -> None:
    devices: list[Device] = [Lock("lock.door", "Door", state={"state": "unlocked"})]
    async with living(broker, devices) as lived:
        await lived.do("HassTurnOn", {"name": "Door"})
        wanted = lived.actor.undoing(ANNA)
        assert isinstance(wanted, Wanted)
        assert lived.actor.guarded(wanted) == ("Door",)
        assert verdicts(await lived.actor.undo(ANNA)) == ["guarded"]
        assert lived.truth("lock.door") == "locked"
        assert verdicts(await lived.actor.undo(ANNA, wanted.orders)) == ["done"]
        assert lived.truth("lock.door") == "unlocked"


async def test_a_yes_to_one_undo_is_none_to_another(broker: Mosquitto) -> None:
    devices: list[Device] = [
        Lock("lock.door", "Door", state={"state": "unlocked"}),
        Lock("lock.shed", "Shed", state={"state": "unlocked"}),
    ]
    async with living(broker, devices) as lived:
        await lived.do("HassTurnOn", {"name": "Door"})
        agreed = lived.actor.undoing(ANNA)
        assert agreed is not None
        await lived.do("HassTurnOn", {"name": "Shed"})
        assert await lived.actor.undo(ANNA, agreed.orders) is None
        assert (lived.truth("lock.door"), lived.truth("lock.shed")) == ("locked", "locked")


async def test_what_could_not_be_taken_back_may_be_tried_again(broker: Mosquitto) -> None:
    async with living(broker, [lamp()], seconds=SHORT) as lived:
        await lived.do("HassTurnOn", {"name": "Lamp"})
        lived.house.devices["light.lamp"].manner = "dead"
        assert verdicts(await lived.actor.undo(ANNA)) == ["no_answer"]
        lived.house.devices["light.lamp"].manner = "prompt"
        assert verdicts(await lived.actor.undo(ANNA)) == ["done"]
        assert lived.truth("light.lamp") == "off"


async def test_one_member_does_not_take_back_what_another_did(broker: Mosquitto) -> None:
    one, two = (replace(ANNA, scope=Scope(1, number, f"m{number}")) for number in (1, 2))
    async with living(broker, [lamp()]) as lived:
        await lived.do("HassTurnOn", {"name": "Lamp"}, asker=one)
        assert await lived.actor.undo(two) is None
        assert verdicts(await lived.actor.undo(one)) == ["done"]


async def test_a_toggle_goes_the_way_that_was_seen(broker: Mosquitto) -> None:
    devices: list[Device] = [Lock("lock.door", "Door", state={"state": "unlocked"})]
    async with living(broker, devices) as lived:
        assert lived.actor.wanted("HassToggle", {"name": "Door"}, None).orders == {"lock.door": Order("lock")}


async def test_limits_hold_for_who_knows_the_ids_too(broker: Mosquitto) -> None:
    async with living(broker, [lamp()]) as lived:
        thing = lived.registry.things["light.lamp"]
        lived.registry.put(replace(thing, limits={"brightness": (10, 200)}))
        with pytest.raises(CannotDo, match="from 10 to 200"):
            lived.actor.ordered({"light.lamp": Order("turn_on", {"brightness": 250})})
        with pytest.raises(BadRequest, match="no action"):
            lived.actor.ordered({"light.lamp": Order("explode")})


async def test_a_thing_may_be_called_all(broker: Mosquitto) -> None:
    devices: list[Device] = [lamp(), Light("light.all", "All", "Kitchen", "Ground Floor")]
    async with living(broker, devices) as lived:
        assert set(lived.actor.wanted("HassTurnOn", {"name": "all"}, None).orders) == {"light.all"}


async def test_who_goes_away_leaves_a_record_and_a_way_back(broker: Mosquitto) -> None:
    async with living(broker, [lamp(manner="slow")]) as lived:
        doing = asyncio.create_task(lived.do("HassTurnOn", {"name": "Lamp"}))
        await lived.house.until_commanded(1)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing
        assert [record.verdict for record in lived.records] == ["no_answer"]
        await lived.house.let("light.lamp")
        await lived.registry.until("light.lamp", lambda now: now.state == "on", 10)
        lived.house.devices["light.lamp"].manner = "prompt"
        assert verdicts(await lived.actor.undo(ANNA)) == ["done"]
        assert lived.truth("light.lamp") == "off"


async def test_without_the_broker_nothing_is_pretended(broker: Mosquitto) -> None:
    async with living(broker, [lamp()]) as lived:
        wanted = lived.actor.wanted("HassTurnOn", {"name": "Lamp"}, None)
    with pytest.raises(Unavailable):
        await lived.actor.carry_out(wanted, ANNA)
    assert lived.records == []


async def test_what_never_says_anything_is_taken_to_have_done_it(broker: Mosquitto) -> None:
    async with living(broker, [lamp(manner="dead"), Scene("scene.party", "Party")]) as lived:
        before = lived.registry.condition("light.lamp")
        lived.registry.saw("light.lamp", before.told(lived.now(), state="off", assumed_state=True))
        for _ in range(2):  # what is only assumed to be so is sent again
            outcome = await lived.do("HassLightSet", {"name": "Lamp", "brightness": 100})
            assert [(result.verdict, result.assumed) for result in outcome.results] == [("done", True)]
        known = lived.registry.condition("light.lamp")
        assert (known.state, known.attributes["brightness"]) == ("on", 255)
        await lived.do("HassTurnOn", {"name": "Party"})
        assert lived.registry.condition("scene.party").state.startswith("20")
        assert await lived.actor.undo(ANNA) is None  # a scene is not taken back
        await lived.house.until_commanded(3)
