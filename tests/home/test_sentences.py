"""Home Assistant's own English test sentences, said in a simulated house and carried out over MQTT: what counts is how
the devices stand in the end, every one of them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import GatewayError
from gateway.home.acting import Asker
from gateway.home.colors import rgb_of
from gateway.home.platforms.discovery import slug_of
from gateway.home.speech.intents import DOMAINS, GATED, QUESTIONS, SEARCHES, Commands, Left
from gateway.home.things import Condition
from gateway.home.tools import TOOLS
from gateway.shapes import Scope, Turn
from tests.benchmarks.intents import Case, cases, listed, stated
from tests.home.simulated import KINDS, Cover, Device, Light, settled
from tests.home.test_acting import living
from tests.mosquitto_server import Mosquitto

SENTENCES = Path(__file__).parents[3] / "shared" / "data" / "intents"
KINDS_SAID = ("light", "fan", "cover", "climate", "media_player", "scene")
FOLDERS = ("HassLightSet", "HassTurnOn", "HassTurnOff")  # the newer tests, one folder an intent
PARAMETERS = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in TOOLS}


def furnished(fixture: Mapping[str, Any]) -> list[Device]:
    """The fixture's house as devices, and in it what the sentences speak of that the fixture has not."""
    floors = {floor["id"]: floor["name"] for floor in fixture["floors"]}
    areas = {area["id"]: (area["name"], floors.get(area.get("floor"))) for area in fixture["areas"]}
    devices: dict[str, Device] = {}
    for entity in fixture["entities"]:
        domain, _, rest = entity["id"].partition(".")
        kind = KINDS.get(domain)
        if kind is None:
            continue
        thing_id = f"{domain}.{slug_of(rest)}"
        area, floor = areas.get(entity.get("area", ""), (None, None))
        device_class = (entity.get("attributes") or {}).get("device_class")
        (name, *_) = stated(entity["name"])
        devices[thing_id] = kind(thing_id, name, area, floor, device_class)
    for device in (
        Cover("cover.kitchen_window", "Kitchen Window", "Kitchen", "First Floor", "window"),
        Cover("cover.kitchen_blind", "Kitchen Blind", "Kitchen", "First Floor", "blind"),
        Light("light.overhead", "Overhead Light"),
        Cover("cover.sliding_door", "Sliding Door", None, None, "door"),
    ):
        devices[device.id] = device
    return list(devices.values())


def meant(case: Case, devices: list[Device]) -> list[Device] | None:
    """The devices that the sentence means, as its test reads it; None where nobody could tell which."""
    slots, own = case.slots, DOMAINS.get(case.intent, frozenset())
    found = [
        device
        for device in devices
        if device.domain in (*KINDS_SAID, "switch", "lock")
        and (not own or device.domain in own)
        and ("name" not in slots or device.name.casefold() in listed(slots["name"]))
        and ("area" not in slots or (device.area or "").casefold() in listed(slots["area"]))
        and ("floor" not in slots or (device.floor or "").casefold() in listed(slots["floor"]))
        and ("domain" not in slots or device.domain in listed(slots["domain"]))
        and ("device_class" not in slots or device.device_class in listed(slots["device_class"]))
    ]
    if len(found) > 1 and not {"name", "area", "floor"} & slots.keys() and own & {"climate", "media_player"}:
        return None
    return found


def wanted_of(case: Case, device: Device, before: Condition) -> Condition:
    """How the device should stand afterwards."""
    slots, told = case.slots, dict(before.attributes)
    state = before.state
    match case.intent, device.domain:
        case "HassTurnOn", "cover":
            state, told["current_position"] = "open", 100
        case "HassTurnOff", "cover":
            state, told["current_position"] = "closed", 0
        case "HassTurnOn", "scene":
            told["times"] += 1
        case "HassTurnOn", _:
            state = "on"
        case "HassTurnOff", _:
            state = "off"
        case "HassSetPosition", _:
            told["current_position"] = slots["position"]
            state = "closed" if slots["position"] == 0 else "open"
        case "HassLightSet", _:
            state = "on"
            if "brightness" in slots:
                told["brightness"] = round(slots["brightness"] * 2.55)
            if "color" in slots:
                told["rgb_color"], told["color_mode"] = rgb_of(slots["color"]), "rgb"
            if "temperature" in slots:
                told["color_temp_kelvin"], told["color_mode"] = slots["temperature"], "color_temp"
        case "HassClimateSetTemperature", _:
            told["temperature"] = float(slots["temperature"])
        case "HassFanSetSpeed", _:
            state, told["percentage"] = "on", slots["percentage"]
        case "HassSetVolume", _:
            told["volume_level"] = slots["volume_level"] / 100
        case "HassMediaPause", _:
            state = "paused"
        case "HassMediaUnpause", _:
            state = "playing"
        case "HassMediaNext" | "HassMediaPrevious", _:
            step = 1 if case.intent == "HassMediaNext" else -1
            told["media_title"] = f"track {int(told['media_title'].split()[1]) + step}"
        case _:
            raise AssertionError(case)
    return Condition(state, told)


# How each kind stands before it is spoken to, so that what is asked for makes a difference.
OTHERWISE: Mapping[tuple[str, str], dict[str, Any]] = {
    ("HassTurnOn", "cover"): {"position": 0},
    ("HassTurnOff", "cover"): {"position": 100},
    ("HassTurnOn", "scene"): {},
    ("HassTurnOn", ""): {"state": "off"},
    ("HassTurnOff", ""): {"state": "on"},
    ("HassSetPosition", ""): {"position": 77},
    ("HassLightSet", ""): {"state": "off", "brightness": 33, "color_mode": "rgb", "rgb_color": (9, 9, 9)},
    ("HassClimateSetTemperature", ""): {"temperature": 7.5},
    ("HassFanSetSpeed", ""): {"state": "off", "percentage": 11},
    ("HassSetVolume", ""): {"state": "playing", "volume_level": 0.11},
    ("HassMediaPause", ""): {"state": "playing"},
    ("HassMediaUnpause", ""): {"state": "paused"},
    ("HassMediaNext", ""): {"state": "playing"},
    ("HassMediaPrevious", ""): {"state": "playing"},
}


def excluded(case: Case, devices: list[Device]) -> str | None:
    """Why the sentence does not count for right, or None: as `tests.benchmarks.intents` has it, but covers and scenes
    count here."""
    if case.intent in QUESTIONS:
        return "a question"
    if case.intent in SEARCHES:
        return "left to the model on purpose"
    if case.intent not in PARAMETERS:
        return "not offered as a tool"
    if set(case.slots) - set(PARAMETERS[case.intent]):
        return "no parameter for it"
    things = meant(case, devices)
    if things is None:
        return "one of several, and no room said"
    if not things:
        return "nothing of the kind in the house"
    return None


def same(one: Condition, other: Condition) -> bool:
    return one.state == other.state and all(
        abs(value - other.attributes.get(name, -99)) <= max(1, 0.01 * abs(value))
        if isinstance(value, (int, float))
        else value == other.attributes.get(name)
        for name, value in one.attributes.items()
    )


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """The sentences of the kinds that count here, in a folder of their own."""
    if not SENTENCES.is_dir():
        pytest.skip("Home Assistant's sentences are not here (../shared/data/intents)")
    folder = tmp_path / "intents"
    source = SENTENCES / "en"
    files = [source / "_fixtures.yaml"]
    files += [path for path in source.glob("*.yaml") if path.name.startswith(tuple(f"{one}_" for one in KINDS_SAID))]
    files += [path for name in FOLDERS for path in (source / name).glob("*.yaml")]
    for path in files:
        target = folder / "en" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


async def test_the_house_stands_as_it_was_told(broker: Mosquitto, sentences: Path) -> None:
    fixture = yaml.safe_load((sentences / "en" / "_fixtures.yaml").read_text(encoding="utf-8"))
    devices = furnished(fixture)
    floors = {device.area: device.floor for device in devices}
    commands = Commands(allowed=GATED)
    right, left, why_not = 0, [], Counter[str]()
    wrong: list[str] = []
    async with living(broker, devices) as lived:
        for case in dict.fromkeys(_hashable(case) for case in cases(sentences, "en")):
            why = excluded(case, devices)
            things = [] if why is not None else meant(case, devices) or []
            for device in things:
                otherwise = OTHERWISE.get((case.intent, device.domain)) or OTHERWISE.get((case.intent, ""), {})
                if any(device.state.get(name) != value for name, value in otherwise.items()):
                    await lived.house.by_hand(device.id, **otherwise)
            await settled(lived.registry, devices)
            before = {device.id: device.truth for device in devices}
            should = before | {device.id: wanted_of(case, device, before[device.id]) for device in things}
            turn = Turn(
                Scope(1),
                case.text,
                "conversation",
                entities=lived.registry.entities(),
                area=case.area,
                floor=floors.get(case.area),
                tools=TOOLS,
            )
            understood = commands.understand(turn, "en")
            reason = understood.reason if isinstance(understood, Left) else ""
            if not isinstance(understood, Left) and not understood.ask_model_after:
                try:
                    wanted = lived.actor.wanted(understood.tool, understood.arguments, case.area)
                    sent = len(lived.house.commands)
                    await lived.actor.carry_out(wanted, Asker(Scope(1), "conversation", "test", case.text, case.area))
                    if any(one.startswith("scene.") for one in wanted.orders):
                        await lived.house.until_commanded(sent + 1)
                except GatewayError as error:
                    reason = error.message
            after = {device.id: device.truth for device in devices}
            if why is None and all(same(should[one], after[one]) for one in should):
                right += 1
            elif all(same(before[one], after[one]) for one in before):
                if why is None:
                    left.append(f"{case.text!r}: {reason}")
                else:
                    why_not[why] += 1
            else:
                moved = {one: after[one] for one in after if not same(before[one], after[one])}
                wrong.append(f"{case.text!r} ({case.intent} {dict(case.slots)}, {why}): {moved}")
    counted = right + len(left)
    print(
        f"right {right} of {counted} ({100 * right / counted:.1f} %), wrong {len(wrong)}, not counted {dict(why_not)}"
    )
    print(*left, *wrong, sep="\n")
    assert wrong == []
    assert right >= 0.95 * counted


class _Slots(dict[str, Any]):
    """A case's slots, so that the same case is met but once."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted((name, str(value)) for name, value in self.items())))


def _hashable(case: Case) -> Case:
    return Case(case.language, case.text, case.intent, _Slots(case.slots), _NO_HOME, case.area, _Slots())


_NO_HOME: Any = None
