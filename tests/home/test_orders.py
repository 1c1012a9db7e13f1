"""How far an order got, from what a thing says; and what takes it back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.home.colors import rgb_of
from gateway.home.orders import Progress, already, assumed, back, changed, concerned, progress, settle, unseen
from gateway.home.things import ACTIONS, Condition, Order


def stood(state: str, **attributes: Any) -> Condition:
    return Condition(state, attributes)


@pytest.mark.parametrize(
    "order,before,now,far",
    [
        (Order("turn_on", {"brightness": 128}), stood("off"), stood("on", brightness=126), Progress.REACHED),
        (Order("turn_on", {"brightness": 128}), stood("off"), stood("on", brightness=120), Progress.NONE),
        (Order("turn_on", {"brightness": 128}), stood("off"), stood("on"), Progress.NONE),
        (
            Order("turn_on", {"rgb_color": (255, 0, 0)}),
            stood("on"),
            stood("on", hs_color=(356.0, 95.0)),
            Progress.REACHED,
        ),
        (Order("turn_on", {"rgb_color": (255, 0, 0)}), stood("on"), stood("on", color="#00ff00"), Progress.NONE),
        (Order("turn_on", {"color": "blue"}), stood("on"), stood("on", rgb_color=[0, 0, 250]), Progress.REACHED),
        (
            Order("turn_on", {"color_temp_kelvin": 2700}),
            stood("on"),
            stood("on", color_temp_kelvin=2703),
            Progress.REACHED,
        ),
        (Order("turn_on"), stood("off"), stood("heat"), Progress.REACHED),
        (
            Order("set_speed", {"percentage": 50}),
            stood("on"),
            stood("on", percentage=66, percentage_step=33.3),
            Progress.REACHED,
        ),
        (Order("set_speed", {"percentage": 50}), stood("on"), stood("on", percentage=66), Progress.NONE),
        (Order("open"), stood("closed"), stood("opening"), Progress.UNDERWAY),
        (Order("open"), stood("opening"), stood("opening", current_position=4), Progress.NONE),
        (
            Order("close"),
            stood("open", current_position=50),
            stood("open", current_position=40),
            Progress.UNDERWAY,
        ),
        (
            Order("set_position", {"position": 30}),
            stood("open", current_position=0),
            stood("open", current_position=31),
            Progress.REACHED,
        ),
        (
            Order("set_position", {"position": 30}),
            stood("open", current_position=20),
            stood("open", current_position=10),
            Progress.NONE,
        ),
        (Order("lock"), stood("unlocked"), stood("locking"), Progress.UNDERWAY),
        (Order("lock"), stood("unlocked"), stood("jammed"), Progress.STUCK),
        (
            Order("set_temperature", {"temperature": 20.5}),
            stood("heat"),
            stood("heat", temperature=20.55),
            Progress.REACHED,
        ),
        (Order("set_temperature", {"temperature": 20.5}), stood("heat"), stood("heat"), Progress.NONE),
        (Order("set_mode", {"mode": "Cool"}), stood("heat"), stood("cool"), Progress.REACHED),
        (Order("stop"), stood("opening"), stood("open"), Progress.REACHED),
        (Order("next"), stood("playing", media_title="a"), stood("playing", media_title="b"), Progress.REACHED),
        (Order("set_value", {"value": 5}), stood("4"), stood("5.0"), Progress.REACHED),
        (Order("select", {"option": "eco"}), stood("a"), stood("eco"), Progress.REACHED),
    ],
)
def test_how_far_an_order_got(order: Order, before: Condition, now: Condition, far: Progress) -> None:
    assert progress(order, before, now) is far


@pytest.mark.parametrize(
    "domain,before,now,order",
    [
        ("light", stood("off"), stood("on", brightness=9), Order("turn_off")),
        ("light", stood("on", brightness=9), stood("off"), Order("turn_on", {"brightness": 9})),
        (
            "light",
            stood("on", brightness=9, color_mode="color_temp", color_temp_kelvin=3000, rgb_color=(1, 2, 3)),
            stood("on", brightness=200),
            Order("turn_on", {"brightness": 9, "color_temp_kelvin": 3000}),
        ),
        ("light", stood("unknown"), stood("on"), None),
        (
            "cover",
            stood("open", current_position=40),
            stood("closed", current_position=0),
            Order("set_position", {"position": 40}),
        ),
        ("cover", stood("closed"), stood("opening"), Order("close")),
        ("climate", stood("heat", temperature=20), stood("off", temperature=20), Order("set_mode", {"mode": "heat"})),
        (
            "climate",
            stood("heat", temperature=20),
            stood("cool", temperature=25),
            Order("set_temperature", {"temperature": 20, "hvac_mode": "heat"}),
        ),
        ("climate", stood("off"), stood("heat"), Order("turn_off")),
        ("fan", stood("on", percentage=30), stood("off"), Order("turn_on", {"percentage": 30})),
        (
            "media_player",
            stood("playing", volume_level=0.2),
            stood("playing", volume_level=0.9),
            Order("set_volume", {"volume_level": 0.2}),
        ),
        ("media_player", stood("playing"), stood("paused"), Order("play")),
        ("lock", stood("locked"), stood("unlocked"), Order("lock")),
        ("switch", stood("on"), stood("off"), Order("turn_on")),
        ("switch", stood("on"), stood("on"), None),
        ("vacuum", stood("docked"), stood("cleaning"), Order("return_to_base")),
        ("select", stood("eco"), stood("boost"), Order("select", {"option": "eco"})),
    ],
)
def test_what_takes_it_back(domain: str, before: Condition, now: Condition, order: Order | None) -> None:
    assert back(domain, before, now) == order


def test_what_is_toggled_or_changed_is_settled_when_it_is_sent() -> None:
    assert settle(Order("toggle"), stood("on")) == Order("turn_off")
    assert settle(Order("toggle"), stood("closed")) == Order("open")
    assert settle(Order("toggle"), stood("unknown")) == Order("toggle")
    louder = settle(Order("change_volume", {"by": 0.3}), stood("playing", volume_level=0.9))
    assert louder == Order("set_volume", {"volume_level": 1.0})
    assert settle(Order("turn_on", {"color": "red"}), stood("off")) == Order("turn_on", {"rgb_color": (255, 0, 0)})


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text("ab#1.-", max_size=8))
_VALUES = st.one_of(_SCALARS, st.lists(_SCALARS, max_size=3))
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        (
            *("brightness", "rgb_color", "hs_color", "color", "color_temp_kelvin", "current_position", "percentage"),
            *("temperature", "volume_level", "media_title", "percentage_step", "assumed_state", "color_mode"),
        )
    ),
    _VALUES,
    max_size=5,
)
_CONDITIONS = st.builds(Condition, st.sampled_from(("on", "off", "open", "closing", "unknown", "", "21")), _ATTRIBUTES)


@given(st.sampled_from(sorted(ACTIONS)), st.data(), _CONDITIONS, _CONDITIONS)
def test_whatever_things_say_it_is_read(action: str, data: st.DataObject, before: Condition, now: Condition) -> None:

    values = data.draw(st.dictionaries(st.sampled_from(ACTIONS[action]), _VALUES) if ACTIONS[action] else st.just({}))
    order = settle(Order(action, values), before)
    progress(order, before, now)
    already(order, now)
    changed(order, before, now)
    if unseen(order, now):
        assumed(order, now, datetime(2026, 1, 1, tzinfo=UTC))
    for domain in ("light", "cover", "climate", "media_player", "lock", "fan", "switch", "vacuum", "humidifier"):
        back(domain, before, now)


def test_colours() -> None:
    assert rgb_of("Sky Blue") == (135, 206, 235)
    assert rgb_of("#0a0B0c") == (10, 11, 12)
    assert rgb_of([1, 2.4, 3]) == (1, 2, 3)
    assert rgb_of("sort of blue") is None
    assert rgb_of([1, 2, 300]) is None
    assert rgb_of([1, 2, float("nan")]) is None


@pytest.mark.parametrize(
    "order,domain,before,now,taken_back",
    [
        (
            Order("pause"),
            "media_player",
            stood("playing", volume_level=0.3),
            stood("paused", volume_level=0.5),
            Order("play"),
        ),
        (
            Order("set_volume", {"volume_level": 0.5}),
            "media_player",
            stood("playing", volume_level=0.3),
            stood("paused", volume_level=0.5),
            Order("set_volume", {"volume_level": 0.3}),
        ),
        (
            Order("set_fan_mode", {"mode": "high"}),
            "climate",
            stood("heat", temperature=20, fan_mode="low"),
            stood("off", temperature=23, fan_mode="high"),
            Order("set_fan_mode", {"mode": "low"}),
        ),
        (
            Order("set_temperature", {"temperature": 22}),
            "climate",
            stood("off", temperature=20, fan_mode="low"),
            stood("heat", temperature=22, fan_mode="high"),
            Order("turn_off"),
        ),
    ],
)
def test_what_others_turned_is_left_alone(
    order: Order, domain: str, before: Condition, now: Condition, taken_back: Order
) -> None:
    assert back(domain, before, concerned(order, before, now)) == taken_back


def test_of_what_was_unknown_any_word_is_the_answer() -> None:
    toggle, louder = Order("toggle"), Order("change_volume", {"by": 0.1})
    assert progress(toggle, stood("unknown"), stood("on")) is Progress.REACHED
    assert progress(toggle, stood("unknown"), stood("unknown")) is Progress.NONE
    assert progress(louder, stood("on"), stood("on", volume_level=0.4)) is Progress.REACHED
    assert progress(louder, stood("on"), stood("on")) is Progress.NONE
