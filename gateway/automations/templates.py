"""Automations' templates: Jinja2 with the names that Home Assistant's users know, bounded in work, memory and output.

A template is written by the household, but what it works on may come from anybody. So nothing in it can reach Python,
change anything, or go on for long: rounds of loops and calls are counted, and whatever could make a text, a list or a
number grow is bounded or left out. Rendering happens on the event loop, and none takes longer than `SECONDS` and the
one operation that is under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jinja2 import Template, TemplateError, Undefined, nodes
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from gateway.errors import GatewayError

SECONDS = 0.25
MAX_ROUNDS = 10_000  # of all its loops and calls together
MAX_SOURCE = 8_192  # characters
MAX_OUTPUT = 65_536  # characters
MAX_BITS = 4_096  # of a whole number
MAX_DIGITS = 15
TRUE = frozenset({"true", "yes", "on", "enable", "1"})

# What can make nothing grow. The rest of Jinja2's filters is not there.
HARMLESS = (
    *("abs", "capitalize", "count", "d", "default", "first", "items", "last", "length", "list", "lower", "map", "max"),
    *("min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title", "trim", "truncate", "unique"),
    "upper",
)
OF_TEXT = frozenset(
    {"capitalize", "count", "endswith", "find", "isalpha", "isdecimal", "isdigit", "isnumeric", "lower", "lstrip"}
    | {"removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"}
)
OF_NUMBERS = frozenset({"is_integer", "real"})
MISSING: Any = object()


class TemplateFailed(GatewayError):
    """A template is none, failed, or took too much."""

    code = "template"


class _Budget:
    """What one rendering may still use."""

    def __init__(self) -> None:
        self._rounds = MAX_ROUNDS
        self._characters = MAX_OUTPUT
        self._until = time.monotonic() + SECONDS

    def rounds(self, count: int = 1) -> None:
        self._rounds -= count
        if self._rounds < 0 or time.monotonic() > self._until:
            raise TemplateFailed(f"the template goes on for too long (over {MAX_ROUNDS} rounds, or {SECONDS} s)")

    def characters(self, count: int) -> None:
        self._characters -= count
        if self._characters < 0:
            raise _too_long()


_budget: ContextVar[_Budget] = ContextVar("template budget")


def _too_long() -> TemplateFailed:
    return TemplateFailed(f"the template makes too much (over {MAX_OUTPUT} characters or entries)")


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
        _bound_concatenations(tree)
        tree.set_environment(self)
        return tree

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        _budget.get().rounds()
        return super().call(context, obj, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str):
            return attr in OF_TEXT
        if isinstance(obj, (int, float)):
            return attr in OF_NUMBERS
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _budget.get().rounds()
        sized = [len(side) for side in (left, right) if isinstance(side, (str, list, tuple))]
        if operator == "+" and sum(sized) > MAX_OUTPUT:
            raise _too_long()
        if operator == "%" and isinstance(left, str):
            raise TemplateFailed("text with % is not formatted here; use ~")
        if operator == "*":
            times = [side for side in (left, right) if isinstance(side, int)]
            if sized and times and sized[0] * times[0] > MAX_OUTPUT:
                raise _too_long()
        whole = isinstance(left, int) and isinstance(right, int)
        if whole and operator == "*" and left.bit_length() + right.bit_length() > MAX_BITS:
            raise TemplateFailed("the number is too great")
        if whole and operator == "**" and left.bit_length() * abs(right) > MAX_BITS:
            raise TemplateFailed("the number is too great")
        return super().call_binop(context, operator, left, right)


def _bound_concatenations(node: nodes.Node) -> None:
    """Makes each a ~ b a filter that looks at what comes of it."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            _bound_concatenations(value)
            setattr(node, name, _bounded(value))
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                if isinstance(inner, nodes.Node):
                    _bound_concatenations(inner)
                    value[place] = _bounded(inner)


def _bounded(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Concat):
        return node
    parts = nodes.List(node.nodes, lineno=node.lineno)
    return nodes.Filter(parts, "_together", [], [], None, None, lineno=node.lineno)


def _counted(value: Any) -> Any:
    if hasattr(value, "__len__"):
        _budget.get().rounds(len(value))
        return value
    some = list(islice(value, MAX_ROUNDS + 1))
    _budget.get().rounds(len(some))
    return some


def _text(value: Any) -> str:
    """As text, where it is not too much of it."""
    if isinstance(value, str):
        return value
    _weigh(value)
    return str(value)


def _weigh(value: Any) -> None:
    """Raises where a list of lists comes to more than may be shown (one list may stand in another many times)."""
    weight, rest = 0, [value]
    while rest:
        one = rest.pop()
        weight += len(one) if isinstance(one, str) else 1
        if weight > MAX_OUTPUT or len(rest) > MAX_OUTPUT:
            raise _too_long()
        if isinstance(one, Mapping):
            rest += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            rest += one


def _shown(value: Any) -> str:
    text = _text(value)
    _budget.get().characters(len(text))
    return text


def _together(parts: Iterable[Any], between: str = "") -> str:
    texts, size = [], 0
    for part in parts:
        text = _text(part)
        size += len(text) + len(between)
        if size > MAX_OUTPUT:
            raise _too_long()
        texts.append(text)
    return between.join(texts)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = [one.get(attribute, "") if isinstance(one, Mapping) else getattr(one, attribute, "") for one in value]
    return _together(value, _text(d))


def _replace(value: Any, old: str, new: str) -> str:
    text = _text(value)
    if len(text) + text.count(old) * len(new) > MAX_OUTPUT:
        raise _too_long()
    return text.replace(old, new)


def _float(value: Any, default: Any = MISSING) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return _instead(value, default, "a number")


def _int(value: Any, default: Any = MISSING, base: int = 10) -> Any:
    try:
        return int(value, base) if isinstance(value, str) and base != 10 else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return _instead(value, default, "a whole number")


def _round(value: Any, precision: int = 0, method: str = "common", default: Any = MISSING) -> Any:
    import math

    number = _float(value, MISSING if default is MISSING else None)
    if number is None:
        return default
    precision = max(-MAX_DIGITS, min(MAX_DIGITS, precision))
    if method in ("ceil", "floor"):
        rounded: float = getattr(math, method)(number * 10.0**precision) / 10.0**precision
    else:
        rounded = round(number, precision)
    return int(rounded) if precision <= 0 else rounded


def _instead(value: Any, default: Any, wanted: str) -> Any:
    if default is MISSING:
        raise TemplateFailed(f"{str(value)[:40]!r} is not {wanted}, and no default is given")
    return default


def _sum(value: Iterable[Any], attribute: str | None = None, start: float = 0) -> float:
    total = float(start)
    for one in value:
        total += float(one[attribute] if attribute is not None else one)
    return int(total) if total.is_integer() else total


def _from_json(value: Any, default: Any = MISSING) -> Any:
    try:
        return orjson.loads(_text(value))
    except orjson.JSONDecodeError:
        return _instead(value, default, "JSON")


def to_json(value: Any) -> str:
    """A value as JSON; what JSON has no word for as text."""
    _weigh(value)
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _as_datetime(value: Any, default: Any = MISSING) -> Any:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value).astimezone()
        return datetime.fromisoformat(_text(value))
    except (ValueError, OverflowError, OSError):
        return _instead(value, default, "a time")


def _as_timestamp(value: Any, default: Any = MISSING) -> Any:
    at = _as_datetime(value, None if default is not MISSING else MISSING)
    return default if at is None else at.timestamp()


def _timestamp_custom(value: Any, form: str = "%Y-%m-%d %H:%M:%S", local: bool = True, default: Any = MISSING) -> Any:
    at = _as_datetime(_float(value, None), default)
    if not isinstance(at, datetime):
        return at
    from datetime import UTC

    return (at.astimezone() if local else at.astimezone(UTC)).strftime(form[:200])


def _iif(value: Any, if_true: Any = True, if_false: Any = False, if_none: Any = MISSING) -> Any:
    if value is None and if_none is not MISSING:
        return if_none
    return if_true if value else if_false


def _bool(value: Any, default: Any = MISSING) -> Any:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    text = _text(value).strip().lower()
    if text in TRUE:
        return True
    if text in ("false", "no", "off", "disable", "0"):
        return False
    return _instead(value, default, "true or false")


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_ROUNDS:
        raise TemplateFailed(f"range has {len(numbers)} numbers; allowed: {MAX_ROUNDS}")
    return numbers


def _environment() -> _Sandbox:
    made = _Sandbox(finalize=_shown, autoescape=False, keep_trailing_newline=False)
    made.filters = {name: FILTERS[name] for name in HARMLESS}
    ours: Mapping[str, Callable[..., Any]] = {
        "_counted": _counted,
        "_together": _together,
        "as_datetime": _as_datetime,
        "as_timestamp": _as_timestamp,
        "bool": _bool,
        "float": _float,
        "from_json": _from_json,
        "iif": _iif,
        "int": _int,
        "is_number": lambda value: _float(value, None) is not None,
        "join": _join,
        "replace": _replace,
        "round": _round,
        "string": _text,
        "sum": _sum,
        "timestamp_custom": _timestamp_custom,
        "to_json": to_json,
        "tojson": to_json,
    }
    made.filters.update(ours)
    made.globals = {
        "as_datetime": _as_datetime,
        "as_timestamp": _as_timestamp,
        "bool": _bool,
        "dict": dict,
        "float": _float,
        "iif": _iif,
        "int": _int,
        "is_number": lambda value: _float(value, None) is not None,
        "max": _greatest,
        "min": _least,
        "namespace": Namespace,
        "range": _range,
        "timedelta": timedelta,
    }
    return made


def _greatest(*values: Any) -> Any:
    return max(*values)


def _least(*values: Any) -> Any:
    return min(*values)


ENVIRONMENT = _environment()


@lru_cache(2048)
def compiled(source: str) -> Template:
    """The template of that text. Raises TemplateFailed where it is none."""
    if len(source) > MAX_SOURCE:
        raise TemplateFailed(f"a template has at most {MAX_SOURCE} characters, this one {len(source)}")
    try:
        return ENVIRONMENT.from_string(source)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise TemplateFailed(f"{error.message}" + (f" (its line {line})" if line else "")) from error
    except (RecursionError, SyntaxError, MemoryError, ValueError) as error:
        raise TemplateFailed("the template is nested too deeply, or no template") from error


def render(source: str, names: Mapping[str, Any]) -> str:
    """What the template says, without the space around it. Raises TemplateFailed."""
    template = compiled(source)
    token = _budget.set(_Budget())
    try:
        pieces, size = [], 0
        for piece in template.generate(names):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise _too_long()
            pieces.append(piece)
    except TemplateFailed:
        raise
    except (RecursionError, MemoryError) as error:
        raise TemplateFailed("the template is nested too deeply") from error
    except Exception as error:  # a boundary: whatever a template does, it is the template that failed
        raise TemplateFailed(f"{type(error).__name__}: {str(error)[:200]}") from error
    finally:
        _budget.reset(token)
    return "".join(pieces).strip()


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
