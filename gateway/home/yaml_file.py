"""Reads the YAML that the household writes, and tells what is wrong in it by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1_048_576
MAX_NODES = 100_000  # what an alias stands for counts each time
DEPTH = 40


class NotRead(Exception):
    """The file holds nothing that could be read. `line` is the one that is wrong (from 1; 0: the file as a whole)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def text_of(path: Path) -> str:
    """The file's text; none where there is no file. Raises NotRead."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise NotRead(0, f"is over {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise NotRead(0, f"cannot be read ({error})") from error


def parsed(text: str, *, all_named: bool) -> tuple[yaml.Node | None, Any]:
    """What a text holds: its nodes, which know their lines, and its values. Both are None where there is nothing.
    `all_named`: whether only text may be a key. Raises NotRead."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None, None
        _look_over(node, all_named=all_named)
        return node, yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or error
        raise NotRead(mark.line + 1 if mark else 0, f"is not YAML ({' '.join(str(problem).split())})") from error
    except RecursionError as error:
        raise NotRead(0, "is not YAML (it is nested too deeply)") from error


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which knows the line also of a value that is not what its tag says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # PyYAML lets through whatever Python says: KeyError, AttributeError, ValueError
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"this is no {kind}", node.start_mark) from error


def _look_over(node: yaml.Node, *, all_named: bool) -> None:
    """Raises NotRead for what PyYAML would take without a word: a key twice, and what never ends."""
    rest: list[tuple[yaml.Node, int]] = [(node, 0)]
    count = 0
    while rest:
        one, depth = rest.pop()
        count += 1
        if count > MAX_NODES or depth > DEPTH:
            raise NotRead(one.start_mark.line + 1, "holds too much")
        if isinstance(one, yaml.SequenceNode):
            rest += [(inner, depth + 1) for inner in one.value]
        elif isinstance(one, yaml.MappingNode):
            keys: set[str] = set()
            for key, inner in one.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode) or (all_named and not key.tag.endswith((":str", ":merge"))):
                    raise NotRead(line, f"{key.value} is no name: put it in quotes")
                if key.value in keys:
                    raise NotRead(line, f"{key.value} stands here twice")
                keys.add(key.value)
                rest.append((inner, depth + 1))
