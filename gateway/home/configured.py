"""What the household says of its things in `config/entities.yaml`: their names, where they stand, what is exposed.

floors:
  Ground floor: [Kitchen, Hall]
entities:
  light.kitchen_desk_lamp: {name: Desk lamp, aliases: [reading light], area: Kitchen}
  "sensor.*_battery": {exposed: false}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import SettingsError
from gateway.home.things import Thing

Words = Annotated[str, Field(min_length=1, max_length=255, pattern=r"\S")]
_ID = re.compile(r"[a-z0-9_*?\[\]!-]+(?:\.[a-z0-9_*?\[\]!-]+)?")


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


def load(path: Path) -> Overrides:
    """What the file says; nothing where there is none. Raises SettingsError with the line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Overrides()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Overrides:
    """The same of a text; `name` is the file's, for what is said of a mistake."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        whole = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise SettingsError(f"{name}, line {line}: {error.problem or error.context or 'this is not YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{name}: this is not YAML: {error}") from None
    if whole is None:
        return Overrides()

    def wrong(place: tuple[str, ...], what: str) -> SettingsError:
        where = ".".join(place) + ": " if place else ""
        return SettingsError(f"{name}, line {_line(root, place)}: {where}{what}")

    if not isinstance(whole, dict):
        raise wrong((), "should have floors: and entities:")
    for key in whole:
        if key not in ("floors", "entities"):
            raise wrong((str(key),), "is not known here; known are floors and entities")
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
    )


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
