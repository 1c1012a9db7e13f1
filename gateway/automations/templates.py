"""Automations' templates: the home's sandbox, with what Home Assistant's users write in theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from jinja2 import Template, Undefined
from jinja2.utils import Namespace

from gateway.home.sandbox import TRUE, Limits, Sandbox

SANDBOX = Sandbox(Limits(seconds=0.25, rounds=10_000), blocks=True, dict=dict, namespace=Namespace, timedelta=timedelta)


@lru_cache(2048)
def compiled(source: str) -> Template:
    """The template of that text. Raises TemplateFailed where it is none."""
    return SANDBOX.read(source)


def render(source: str, names: Mapping[str, Any]) -> str:
    """What the template says, without the space around it. Raises TemplateFailed."""
    return SANDBOX.render(compiled(source), names)


def holds(source: str, names: Mapping[str, Any]) -> bool:
    """Whether the template comes to something true, as Home Assistant sees it: true, yes, on, enable, or a number that
    is not 0. Raises TemplateFailed."""
    said = render(source, names).lower()
    if said in TRUE:
        return True
    try:
        return float(said) != 0
    except ValueError:
        return False


def render_all(value: Any, names: Mapping[str, Any]) -> Any:
    """The same value with every text in it rendered. Raises TemplateFailed."""
    if isinstance(value, str):
        return render(value, names)
    if isinstance(value, Mapping):
        return {key: render_all(inner, names) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [render_all(inner, names) for inner in value]
    return value


def defined(value: Any) -> Any:
    """None in place of what a template left undefined."""
    return None if isinstance(value, Undefined) else value
