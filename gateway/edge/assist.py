"""Taking Home Assistant's system prompt apart: the head that stays the same, and what differs by room, by minute and by
conversation (an extra system prompt).

Two layouts are known: until 2026.10 the area stands before the list of entities, from 2026.11 on behind it. The lines
are found by their wording, wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from gateway.shapes import Entity, Things

# Home Assistant's AI tasks hand over data to be worked on; their system prompt begins so.
AI_TASK = "You are a Home Assistant expert and help users with their tasks."
CONTROL = "When controlling Home Assistant always call the intent tools."
STATIC_CONTEXT = "Static Context: An overview of the areas and the devices in this smart home:"

_AREA = re.compile(
    r"^You are in area (?P<area>.+?)(?: \(floor (?P<floor>.+)\))? and all generic commands .*should target this area\.$"
)
_VOLATILE = (
    _AREA,
    re.compile(r"^When a user asks to turn on all devices of a specific type, ask (?:the )?user to specify an area.*$"),
    re.compile(r"^This device is not able to start timers\.$"),
)
# One line that a household may put into its instructions: Home Assistant fills in who speaks, where and how.
_SAID_BY = re.compile(r"^\[gw((?: (?:device|user|lang|area)=[^\]=]*)+)\]$")
_SAID_FIELD = re.compile(r"(device|user|lang|area)=(.*?)(?= (?:device|user|lang|area)=|$)")
_UNKNOWN = frozenset({"", "None", "none", "unknown"})  # what a template writes for what it does not know
_CLOCK = re.compile(r"^(?:Current time is \d{1,2}:\d{2}(?::\d{2})?\.?|Today's date is \d{4}-\d{2}-\d{2}\.?|[ ])+$")


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A system prompt taken apart. `assist`: Home Assistant's assistant wrote it; `task`: one of its AI tasks did.

    `said_by` holds `device`, `user`, `lang` and `area` of a line `[gw device=... user=... lang=... area=...]`."""

    head: str
    volatile: tuple[str, ...]
    clock: tuple[str, ...]
    area: str | None
    floor: str | None
    entities: Things
    assist: bool
    task: bool
    said_by: Mapping[str, str]


@lru_cache(maxsize=32)
def dissect(system: str) -> SystemPrompt:
    """The parts of `system`. Text without such lines comes back whole as the head."""
    head: list[str] = []
    volatile: list[str] = []
    clock: list[str] = []
    area = floor = None
    said_by: dict[str, str] = {}
    last_volatile = 0
    for line in system.split("\n"):
        if match := _SAID_BY.match(line):
            said = {name: value.strip() for name, value in _SAID_FIELD.findall(match[1])}
            said_by |= {name: value for name, value in said.items() if value not in _UNKNOWN}
        elif line and _CLOCK.match(line):
            clock.append(line)
        elif any(pattern.match(line) for pattern in _VOLATILE):
            volatile.append(line)
            last_volatile = len(head)
            if match := _AREA.match(line):
                area, floor = match["area"], match["floor"]
        else:
            head.append(line)
    extra = _take_extra(head, last_volatile)
    kept = "\n".join(head)
    return SystemPrompt(
        head=kept,
        volatile=(*volatile, *extra),
        clock=tuple(clock),
        area=area or said_by.get("area"),
        floor=floor,
        entities=_entities(kept),
        assist=STATIC_CONTEXT in kept,
        task=kept.startswith(AI_TASK),
        said_by=said_by,
    )


def _take_extra(head: list[str], last_volatile: int) -> list[str]:
    """Takes the extra system prompt out of `head` and returns its lines.

    Home Assistant puts it behind all else in an assistant's prompt: behind the list of entities, and behind the lines
    of the room (the last of which stood at `last_volatile`) where these come after the list.
    """
    if STATIC_CONTEXT not in head:
        return []
    end = head.index(STATIC_CONTEXT) + 1
    while end < len(head) and head[end].startswith(("- ", "  ")):
        end += 1
    end = max(end, last_volatile)
    if last_volatile < end and any(line.startswith(CONTROL) for line in head[end:]):
        return []  # the newer layout, its lines of the room worded in a way that is not known
    extra = [line for line in head[end:] if line.strip()]
    if extra:
        del head[end:]
    return extra


def _entities(head: str) -> Things:
    """Exposed entities: a YAML list of `names`, `domain`, `areas` behind the heading, up to the first other line."""
    _, heading, rest = head.partition(STATIC_CONTEXT + "\n")
    if not heading:
        return Things()
    block: list[str] = []
    for line in rest.split("\n"):
        if not line.startswith(("- ", "  ")):
            break
        block.append(line)
    try:
        listed: Any = yaml.load("\n".join(block), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (safe)
    except yaml.YAMLError:
        return Things()
    if not isinstance(listed, list):
        return Things()
    return Things(
        Entity(_split(item.get("names")), str(item.get("domain", "")), _split(item.get("areas")))
        for item in listed
        if isinstance(item, dict) and item.get("names")
    )


def _split(value: object) -> tuple[str, ...]:
    """Names and areas come as one string, parted by commas."""
    return tuple(part.strip() for part in str(value).split(",") if part.strip()) if value is not None else ()
