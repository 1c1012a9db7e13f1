"""What the household says of its things in `config/entities.yaml`: their names, where they stand, what is exposed; and
things that no platform tells of, described in the keys of Home Assistant's discovery.

floors:
  Ground floor: [Kitchen, Hall]
entities:
  light.kitchen_desk_lamp: {name: Desk lamp, aliases: [reading light], area: Kitchen}
  "sensor.*_battery": {exposed: false}
things:
  light.workbench: {name: Workbench, command_topic: workshop/lamp/set, state_topic: workshop/lamp}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import SettingsError
from gateway.home.link import Link
from gateway.home.platforms.abbreviations import KEYS
from gateway.home.platforms.components import COMPONENTS
from gateway.home.platforms.discovery import based, described, thing_of
from gateway.home.platforms.drivers import BadDescription
from gateway.home.platforms.following import Following
from gateway.home.registry import Registry
from gateway.home.things import Thing
from gateway.home.yaml_file import NotRead, parsed, text_of

Words = Annotated[str, Field(min_length=1, max_length=255, pattern=r"\S")]
_ID = re.compile(r"[a-z0-9_*?\[\]!-]+(?:\.[a-z0-9_*?\[\]!-]+)?")
_THING = re.compile(r"([a-z_]+)\.[a-z0-9_]+")
# Topics that only Home Assistant reads. Unknown keys of a message are left alone; a slip of the pen in a file is told.
_UNREAD = frozenset({*KEYS.values(), "json_attributes_topic", "direction_command_topic", "send_command_topic"})
# Of which YAML makes true or false where they are written on, off, yes or no, which no device understands.
_TEXTS = re.compile(r"(payload|state)_(?!.*template).*")


class Said(BaseModel):
    """What is said of one thing, or of all that a pattern fits."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: Words | None = None
    aliases: list[Words] = []
    area: Words | None = None
    floor: Words | None = None
    exposed: bool | None = None


@dataclass(frozen=True)
class Overrides:
    """All that is said, by id; what a pattern says goes first, in the order of the file."""

    floors: Mapping[str, str] = field(default_factory=dict)  # of an area, casefolded
    entities: Mapping[str, Said] = field(default_factory=dict)
    patterns: tuple[tuple[str, Said], ...] = ()
    things: Mapping[str, Thing] = field(default_factory=dict)  # of origin "configured"

    def applied(self, thing: Thing) -> Thing:
        """The thing as the household wants it."""
        for said in self._of(thing.id):
            thing = replace(
                thing,
                name=said.name or thing.name,
                # What it was called before it is still called.
                aliases=tuple(
                    dict.fromkeys(
                        (*said.aliases, *thing.aliases, *((thing.name,) if said.name not in (None, thing.name) else ()))
                    )
                ),
                area=said.area or thing.area,
                floor=said.floor or thing.floor,
                exposed=thing.exposed if said.exposed is None else said.exposed,
            )
        if thing.floor is None and thing.area is not None:
            thing = replace(thing, floor=self.floors.get(thing.area.casefold()))
        return thing

    def _of(self, thing_id: str) -> Iterator[Said]:
        for pattern, said in self.patterns:
            if fnmatchcase(thing_id, pattern):
                yield said
        if (said_of_it := self.entities.get(thing_id)) is not None:
            yield said_of_it


class Configured:
    """Keeps a registry's things as the file describes them, and follows their topics."""

    def __init__(self, link: Link, registry: Registry, now: Callable[[], datetime]) -> None:
        """`now` is aware."""
        self._following = Following(link, registry, now)
        self._things: Mapping[str, Thing] = {}

    def take(self, things: Mapping[str, Thing]) -> None:
        """These there are from now on, and no others."""
        before, self._things = self._things, things
        for thing_id in before.keys() - things.keys():
            self._following.forget(thing_id)
        for thing_id, thing in things.items():
            if before.get(thing_id) != thing:
                self._following.follow(thing)

    def close(self) -> None:
        """Ends what waits."""
        self._following.close()


def load(path: Path) -> Overrides:
    """What the file says; nothing where there is none. Raises SettingsError with the line that is wrong."""
    try:
        text = text_of(path)
    except NotRead as error:
        raise SettingsError(f"{path} {error.message}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Overrides:
    """The same of a text; `name` is the file's, for what is said of a mistake."""
    try:
        root, whole = parsed(text, all_named=False)
    except NotRead as error:
        raise SettingsError(
            f"{name}, line {error.line}: {error.message}" if error.line else f"{name} {error.message}"
        ) from error
    if whole is None:
        return Overrides()

    def wrong(place: tuple[str, ...], what: str) -> SettingsError:
        where = ".".join(place) + ": " if place else ""
        return SettingsError(f"{name}, line {_line(root, place)}: {where}{what}")

    if not isinstance(whole, dict):
        raise wrong((), "should have floors:, entities: and things:")
    for key in whole:
        if key not in ("floors", "entities", "things"):
            raise wrong((str(key),), "is not known here; known are floors, entities and things")
    floors: dict[str, str] = {}
    for floor, areas in _mapping(whole, "floors", wrong).items():
        if not isinstance(areas, list) or not all(isinstance(area, str) and area.strip() for area in areas):
            raise wrong(("floors", str(floor)), "should be a list of areas")
        floors |= {area.casefold(): str(floor) for area in areas}
    entities: dict[str, Said] = {}
    for thing_id, said in _mapping(whole, "entities", wrong).items():
        place = ("entities", str(thing_id))
        if not isinstance(thing_id, str) or not _ID.fullmatch(thing_id):
            raise wrong(place, "is no id such as light.kitchen, nor a pattern of ids")
        try:
            entities[thing_id] = Said.model_validate({} if said is None else said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            inner = tuple(str(part) for part in first["loc"])
            what = "is not known here" if first["type"] == "extra_forbidden" else str(first["msg"])
            raise wrong((*place, *inner), what) from None
    return Overrides(
        floors,
        {key: said for key, said in entities.items() if not _is_pattern(key)},
        tuple((key, said) for key, said in entities.items() if _is_pattern(key)),
        {thing_id: _thing(thing_id, told, wrong) for thing_id, told in _mapping(whole, "things", wrong).items()},
    )


def _thing(thing_id: Any, told: Any, wrong: Any) -> Thing:
    """A thing, as it is described under its id."""
    place = ("things", str(thing_id))
    found = _THING.fullmatch(thing_id) if isinstance(thing_id, str) else None
    if found is None:
        raise wrong(place, "is no id such as light.workbench")
    if found[1] not in COMPONENTS:
        raise wrong(place, f"{found[1]} is nothing that can be described; known are {', '.join(sorted(COMPONENTS))}")
    if not isinstance(told, dict):
        raise wrong(place, "should say the topics and payloads by which it is read and commanded")
    told = {"~" if key is None else str(key): value for key, value in told.items()}  # a bare ~ is nothing in YAML
    for key, value in told.items():
        if isinstance(value, bool) and _TEXTS.fullmatch(KEYS.get(key, key)):
            raise wrong((*place, key), "should be in quotes: without them it is no text in YAML")
    name = thing_id.partition(".")[2]
    description = described(found[1], {"name": name.replace("_", " ").capitalize(), **told}, name)
    config = _Config(based(description.config))
    try:
        thing = thing_of(replace(description, config=config), thing_id, "configured")
    except BadDescription as error:
        raise wrong(place, str(error)) from None
    for key in told:
        full = KEYS.get(key, key)
        if full.endswith("topic") and full not in config.read and full not in _UNREAD:
            raise wrong((*place, key), f"no {found[1].replace('_', ' ')} has such a topic")
    return thing


class _Config(dict[str, Any]):
    """A description that notes which of its keys were looked at."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)


def _is_pattern(thing_id: str) -> bool:
    return any(sign in thing_id for sign in "*?[")


def _mapping(whole: Mapping[str, Any], key: str, wrong: Any) -> Mapping[Any, Any]:
    value = whole.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong((key,), "should name things, each with what is said of it")
    return value


def _line(node: yaml.Node | None, place: tuple[str, ...]) -> int:
    """The line (from 1) at which that place of the document stands, or the nearest around it."""
    line = 1
    for part in place:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if str(key.value) == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = (node.value[int(part)], node.value[int(part)])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
