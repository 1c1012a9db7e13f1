"""What is known of the things at home: what they are, how they stand, what may be wanted of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from gateway.errors import GatewayError

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a thing stands, in Home Assistant's words and units, whatever platform told it.

    `state`: on, off, open, opening, closed, closing, locked, unlocked, playing, paused, idle, heat, cleaning, 21.5 ...;
    "unknown" until something was told. `attributes`, where told: brightness (0 to 255), color (name or #rrggbb),
    rgb_color, hs_color, color_temp_kelvin, effect, current_position (0 closed to 100 open), current_tilt_position,
    percentage (0 to 100), preset_mode, temperature (wanted), current_temperature, humidity, hvac_mode, volume_level
    (0 to 1), is_volume_muted, media_title, source, fan_mode, unit_of_measurement, event_type. `available` is None until
    something was told of it. `changed` is when `state` last became another, `seen` when anything was last heard.
    """

    state: str = UNKNOWN
    attributes: Mapping[str, Any] = field(default_factory=dict)
    available: bool | None = None
    changed: datetime | None = None
    seen: datetime | None = None

    def told(self, at: datetime, *, state: str | None = None, **attributes: Any) -> Condition:
        """This condition after `at`, when that was told. What was not told is as before; None takes one away."""
        kept = {**self.attributes, **attributes}
        kept = {name: value for name, value in kept.items() if value is not None}
        state = self.state if state is None else state
        changed = at if state != self.state else self.changed
        return replace(self, state=state, attributes=kept, changed=changed, seen=at)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of one thing.

    `action` is one of ACTIONS; `values` what it takes, in the units of `Condition.attributes`.
    """

    action: str
    values: Mapping[str, Any] = field(default_factory=dict)


# What may be wanted, and the values that go with it.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "turn_on": ("brightness", "color", "rgb_color", "color_temp_kelvin", "percentage", "effect"),
    "turn_off": (),
    "toggle": (),
    "open": (),
    "close": (),
    "stop": (),
    "set_position": ("position",),
    "set_tilt": ("position",),
    "set_temperature": ("temperature", "hvac_mode"),
    "set_mode": ("mode",),
    "set_fan_mode": ("mode",),
    "set_speed": ("percentage",),
    "set_humidity": ("humidity",),
    "set_volume": ("volume_level",),
    "change_volume": ("by",),
    "mute": (),
    "unmute": (),
    "play": (),
    "pause": (),
    "next": (),
    "previous": (),
    "activate": (),
    "press": (),
    "lock": (),
    "unlock": (),
    "start": (),
    "return_to_base": (),
    "mow": (),
    "dock": (),
    "set_value": ("value",),
    "select": ("option",),
}


@dataclass(frozen=True, slots=True)
class Publication:
    """A message that makes a thing do something."""

    topic: str
    payload: str
    qos: int = 1
    retain: bool = False


class CannotDo(GatewayError):
    """The thing has no such ability; the message says which."""

    code = "cannot_do"


class Driver(Protocol):
    """How one thing is read and commanded: what a platform's description of it came to. Pure: no I/O, no clock."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics whose messages `read` understands."""
        ...

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        """How the thing stands after that message, which came at `at` (aware). What cannot be understood changes
        nothing."""
        ...

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        """The messages that carry `order` out, for a thing that stands as in `now`. Raises CannotDo."""
        ...


@dataclass(frozen=True)
class Thing:
    """Something at home.

    `id` is Home Assistant's kind of id, unique in the household: its domain, a dot, a name of a-z0-9_. `name` is what
    it is called first, `aliases` what else. `capabilities` names the attributes and actions that it has (of Condition
    and ACTIONS). `limits`: the least and greatest value of an attribute, where told. `options`: the values of one that
    has but a few. `origin`: discovery, zigbee2mqtt, statestream, configured. Not `exposed`, it is neither told of nor
    touched. Without a driver, or one that commands nothing, it is only looked at.
    """

    id: str
    name: str
    origin: str
    aliases: tuple[str, ...] = ()
    area: str | None = None
    floor: str | None = None
    device_class: str | None = None
    unit: str | None = None
    device: str | None = None
    capabilities: frozenset[str] = frozenset()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exposed: bool = True
    driver: Driver | None = None

    # Looked at for every thing at home with every command, so each is found out once.

    @cached_property
    def domain(self) -> str:
        """What kind of thing it is: light, switch, cover ..."""
        return self.id.partition(".")[0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Everything that it is called, its first name first."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))

    @cached_property
    def called(self) -> frozenset[str]:
        """Its names and its id in small letters, to be found by."""
        return frozenset(name.casefold() for name in (*self.names, self.id))
