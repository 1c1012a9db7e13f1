"""The templates of devices' descriptions, in narrower bounds than automations have: whoever may publish on the broker
may describe a device. They have no macros, blocks, includes or namespaces, and one that fails tells nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import jinja2
import orjson

from gateway.home.sandbox import MAX_SOURCE, MAX_TEXT, Limits, Sandbox, TemplateFailed

SANDBOX = Sandbox(Limits(seconds=0.05, rounds=1000), blocks=False)
# {{ value_json.a.b }} and {{ value_json['a'] }}: what most descriptions ask for.
PATH = re.compile(r"""\{\{-?\s*value_json((?:\.[A-Za-z_]\w*|\[(?:'[^'\\]*'|"[^"\\]*")\])+)\s*-?\}\}""")
STEP = re.compile(r"""\.(\w+)|\['([^']*)'\]|\["([^"]*)"\]""")


class BadTemplate(ValueError):
    """It is no template, or one that may not be."""


class Template:
    """One template. Compiled at its first use, and once for all that read alike."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise BadTemplate(f"the template is longer than {MAX_SOURCE} characters")
        self.source = source
        whole = PATH.fullmatch(source.strip())
        self._path = None if whole is None else tuple("".join(found) for found in STEP.findall(whole[1]))
        self._json = "value_json" in source
        if self._path is None:
            _compiled(source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def value(self, payload: str, **names: Any) -> str | None:
        """What the template makes of a message (`value`, `value_json`), as text; None where it fails."""
        if len(payload) > MAX_TEXT:
            return None
        if self._path is not None:
            return _followed(self._path, payload)
        if self._json:
            parsed = _parsed(payload)
            if parsed is not UNPARSED:
                names["value_json"] = parsed
        return self._rendered({"value": payload, **names})

    def command(self, value: Any, **names: Any) -> str | None:
        """What the template makes of something wanted (`value` and other names), as text; None where it fails."""
        return self._rendered({"value": value, **names})

    def _rendered(self, names: dict[str, Any]) -> str | None:
        try:
            return SANDBOX.render(_compiled(self.source), names)
        except (TemplateFailed, BadTemplate):
            return None


UNPARSED = object()


@lru_cache(maxsize=4)  # a device with many entities tells them all in one message
def _parsed(payload: str) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return UNPARSED


def _followed(path: tuple[str, ...], payload: str) -> str | None:
    """As the sandbox would render it: nothing for what is not there, failing at what is inside of that."""
    found = _parsed(payload)
    if found is UNPARSED:
        return None
    for index, name in enumerate(path):
        if not isinstance(found, dict):
            return None
        if name not in found:
            return "" if index == len(path) - 1 else None
        found = found[name]
    return str(found).strip()


@lru_cache(maxsize=4096)
def _compiled(source: str) -> jinja2.Template:
    try:
        return SANDBOX.read(source)
    except TemplateFailed as error:
        raise BadTemplate(error.message) from error
