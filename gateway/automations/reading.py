"""Reads `config/automations.yaml`. What is wrong in it is told by its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from gateway.automations.model import Automation
from gateway.errors import SettingsError
from gateway.home.yaml_file import NotRead, parsed, text_of

MAX_AUTOMATIONS = 500
MAX_MISTAKES = 20

_ALL: TypeAdapter[tuple[Automation, ...]] = TypeAdapter(tuple[Automation, ...])


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, and in which line of the file (from 1; 0: in the file as a whole)."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


class Mistakes(SettingsError):
    """The file holds no automations that could run."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in mistakes))
        self.mistakes = tuple(mistakes)


def read(path: Path) -> tuple[Automation, ...]:
    """The file's automations; none where there is no file. Raises Mistakes."""
    try:
        text = text_of(path)
    except NotRead as error:
        raise Mistakes(path, [Mistake(error.line, error.message)]) from error
    return parse(text, path)


def parse(text: str, path: Path) -> tuple[Automation, ...]:
    """The automations of a file's text. Raises Mistakes."""
    try:
        node, values = parsed(text, all_named=True)
    except NotRead as error:
        raise Mistakes(path, [Mistake(error.line, error.message)]) from error
    if node is None:
        return ()
    if not isinstance(values, list):
        raise Mistakes(path, [Mistake(1, "should be a list: each automation begins with - id: or - alias:")])
    if len(values) > MAX_AUTOMATIONS:
        raise Mistakes(path, [Mistake(0, f"has {len(values)} automations; allowed: {MAX_AUTOMATIONS}")])
    try:
        found = _ALL.validate_python(values)
    except ValidationError as error:
        mistakes = [_mistake(one, node) for one in error.errors()[:MAX_MISTAKES]]
        raise Mistakes(path, sorted(mistakes, key=lambda mistake: mistake.line)) from None
    seen: dict[str, int] = {}
    for place, automation in enumerate(found):
        line = node.value[place].start_mark.line + 1
        if automation.id in seen:
            raise Mistakes(path, [Mistake(line, f"the id {automation.id} is that of line {seen[automation.id]} too")])
        seen[automation.id] = line
    return found


def _mistake(error: Mapping[str, Any], node: yaml.Node) -> Mistake:
    """One of pydantic's errors, in a sentence, with the line of the innermost part that the file has."""
    line = node.start_mark.line
    where: list[str] = []
    for part in error["loc"]:
        if isinstance(part, str) and part.startswith("("):
            continue  # which of several forms it was taken for
        inner, key_line = _inside(node, part)
        if inner is not None:
            node, line = inner, key_line
        if isinstance(part, str):
            where.append(part)
        elif where:
            where[-1] += f"[{part}]"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not known here"
    elif error["type"] == "missing":
        message = "is missing"
    elif message.startswith(("Input should be ", "String should ")):
        message = f"should {message.split(' should ', 1)[1]}"
    elif error["type"] == "value_error" and where and not message.startswith(("has ", "needs ")):
        message = f"should be {message}"
    name = ".".join(where)
    return Mistake(line + 1, f"{name} {message}".strip())


# What the file may call a part of the model.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "triggers": ("trigger",),
    "conditions": ("condition", "and", "or", "not", "if"),
    "actions": ("action",),
    "trigger": ("platform",),
    "enabled": ("initial_state",),
    "publish": ("data",),
    "values": ("data",),
    "entity_id": ("target",),
    "action": ("service",),
}


def _inside(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        inner = node.value[part]
        return inner, inner.start_mark.line
    if isinstance(node, yaml.MappingNode) and isinstance(part, str):
        for name in (part, *OTHER_NAMES.get(part, ())):
            for key, inner in node.value:
                if key.value == name:
                    return inner, key.start_mark.line
    return None, 0
