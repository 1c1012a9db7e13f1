"""The templates of devices' descriptions: Jinja2 with the names that Home Assistant gives them, in narrow bounds.

Whoever may publish on the broker may describe a device, so nothing in a template is trusted. It is sandboxed; it has
few filters; it has no macros, blocks, includes or namespaces; its loops, its numbers, its texts and its regular
expressions are bounded. What goes beyond that fails, and a template that fails tells nothing.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import nodes
from jinja2.environment import Template as Compiled
from jinja2.exceptions import SecurityError, TemplateError, UndefinedError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SOURCE = 8 * 1024  # characters of a template
MAX_TEXT = 64 * 1024  # characters of what goes in, what comes out, and of every text between
MAX_STEPS = 1000  # rounds of all its loops together
MAX_INTEGER = 2**128
MAX_WIDTH = 1000  # of a formatted or padded number
SECONDS = 0.05
# A regular expression without repeats over groups takes at worst its text's length to the power of its repeats.
MAX_MATCHED = {0: MAX_TEXT, 1: 4096, 2: 255}

FORBIDDEN = (
    nodes.Macro,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.AssignBlock,
    nodes.Block,
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.ScopedEvalContextModifier,
)
FILTER_NAMES = """
    abs capitalize count d default first int items last length list lower map max min reject rejectattr select
    selectattr sort string sum title trim unique upper
"""
METHOD_NAMES = """
    capitalize count endswith find format index isalnum isalpha isdecimal isdigit isnumeric join ljust lower lstrip
    partition removeprefix removesuffix replace rfind rjust rpartition rsplit rstrip split startswith strip title upper
    zfill
"""
PLAIN_FILTERS, TEXT_METHODS = frozenset(FILTER_NAMES.split()), frozenset(METHOD_NAMES.split())
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
            compiled = _compiled(self.source)
            SANDBOX.begin()
            pieces, length = [], 0
            for piece in compiled.generate(names):
                length += len(piece)
                if length > MAX_TEXT:
                    return None
                pieces.append(piece)
        except Exception:  # noqa: BLE001 (a boundary: what a stranger's template raises is anybody's guess)
            return None
        return "".join(pieces).strip()


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


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, with an end to everything that could go on."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(autoescape=False)
        kept = {name: self.filters[name] for name in PLAIN_FILTERS}
        self.filters.clear()
        self.filters.update({**kept, **FILTERS})
        self.globals.clear()
        self.globals.update(GLOBALS)
        self.tests.update({"match": _matches, "search": _found, "contains": _contains})
        self._steps = 0
        self._until = math.inf

    def begin(self) -> None:
        """A template begins: its steps and its time count from here."""
        self._steps = MAX_STEPS
        self._until = time.monotonic() + SECONDS

    def bounded(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values that a loop goes through, as long as the template may go on."""
        for value in values:
            self._steps -= 1
            if self._steps < 0 or time.monotonic() > self._until:
                raise SecurityError("the template goes on for too long")
            yield value

    def read(self, source: str) -> Compiled:
        """Compiles a template. Raises BadTemplate."""
        try:
            tree = self.parse(source)
            for node in tree.find_all(FORBIDDEN):
                raise BadTemplate(f"{type(node).__name__.lower()} is not known here")
            for loop in list(tree.find_all(nodes.For)):
                if loop.recursive:
                    raise BadTemplate("a loop may not call itself")
                loop.iter = nodes.Filter(loop.iter, "_bounded", [], [], None, None, lineno=loop.lineno)
            for both in list(tree.find_all(nodes.Concat)):
                both.nodes = [nodes.Filter(nodes.List(both.nodes), "_joined", [], [], None, None, lineno=both.lineno)]
            tree.set_environment(self)
            return Compiled.from_code(self, self.compile(tree), self.globals)
        except (TemplateError, RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
            raise BadTemplate(f"the template cannot be read ({error})") from error

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            return left % right if _fits(left) else _refuse()
        if operator == "**" and (abs(right) > 64 or abs(left) > 1e6):
            return _refuse()
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, (str, list, tuple)) and len(one) * max(int(other), 1) > MAX_TEXT:
                    return _refuse()
                if isinstance(one, int) and abs(one) > MAX_INTEGER:
                    return _refuse()
        if operator == "+" and isinstance(left, (str, list, tuple)) and len(left) + len(right) > MAX_TEXT:
            return _refuse()
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and not _fits(value.__self__):
            return _refuse
        return wrapped

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as above it)
        owner = getattr(__obj, "__self__", None)
        if any(isinstance(value, int) and abs(value) > MAX_WIDTH for value in args) and owner is not None:
            return _refuse()
        if isinstance(owner, str):
            if __obj.__name__ not in TEXT_METHODS:
                return _refuse()
            if __obj.__name__ == "replace":
                return _replace(owner, *args)
            if __obj.__name__ == "join":
                return _join(args[0], owner)
        return super().call(__context, __obj, *args, **kwargs)


def _refuse(*_values: Any, **_named: Any) -> Any:
    raise SecurityError("the template goes too far")


def _fits(pattern: str) -> bool:
    """Whether formatting by it makes no endless text."""
    return not re.search(r"\d{4,}|\*|\{[^{}]*\{", pattern)


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    text = str(text)
    if len(text) + text.count(old) * len(new) > MAX_TEXT:
        return str(_refuse())
    return str(text.replace(old, new, count))


def _join(values: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    pieces, length = [], 0
    for value in values:
        piece = str(value if attribute is None else value.get(attribute, ""))
        length += len(piece) + len(between)
        if length > MAX_TEXT:
            return str(_refuse())
        pieces.append(piece)
    return str(between).join(pieces)


def _format(pattern: Any, *values: Any, **named: Any) -> str:
    pattern = str(pattern)
    return str(pattern % (named or values)) if _fits(pattern) else str(_refuse())


NOTHING: Any = object()


def _number(value: Any, default: Any = NOTHING) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, UndefinedError):
        if default is NOTHING:
            raise
        return default


def _whole(value: Any, default: Any = NOTHING, base: int = 10) -> Any:
    try:
        return int(value, base) if isinstance(value, str) and base != 10 else int(float(value))
    except (TypeError, ValueError, OverflowError, UndefinedError):
        if default is NOTHING:
            raise
        return default


def _round(value: Any, precision: int = 0, method: str = "common", default: Any = NOTHING) -> Any:
    try:
        number, precision = float(value), max(-30, min(30, int(precision)))
        if method in {"floor", "ceil"}:
            up: Callable[[float], int] = math.floor if method == "floor" else math.ceil
            return float(up(number * 10**precision) / 10**precision)
        if method == "half":
            return round(number * 2) / 2
        return round(number) if precision == 0 else round(number, precision)
    except (TypeError, ValueError, OverflowError, UndefinedError):
        if default is NOTHING:
            raise
        return default


def _is_defined(value: Any, default: Any = NOTHING) -> Any:
    if not isinstance(value, Undefined):
        return value
    if default is NOTHING:
        raise UndefinedError("what the template needs was not told")
    return default


def _iif(value: Any, if_true: Any = True, if_false: Any = False, if_none: Any = NOTHING) -> Any:
    if value is None and if_none is not NOTHING:
        return if_none
    return if_true if value else if_false


def _truth(value: Any, default: Any = NOTHING) -> Any:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on", "enable"}:
        return True
    if word in {"0", "false", "no", "off", "disable"}:
        return False
    if default is NOTHING:
        raise ValueError(word)
    return default


def _from_json(text: Any, default: Any = NOTHING) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        if default is NOTHING:
            raise
        return default


def _to_json(value: Any, **_options: Any) -> str:
    return str(orjson.dumps(value), "utf-8")


def _timestamp(value: Any, default: Any = NOTHING) -> Any:
    try:
        if isinstance(value, (int, float)):
            return float(value)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        if default is NOTHING:
            raise
        return default


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(_timestamp(value), UTC)


def _timestamp_custom(value: Any, pattern: str = "%Y-%m-%d %H:%M:%S", local: bool = True) -> str:
    moment = _moment(value)
    return (moment.astimezone() if local else moment).strftime(pattern[:100])


def _expression(pattern: Any, text: Any, ignorecase: bool = False) -> re.Pattern[str]:
    """A regular expression that ends in time over that text: repeats over single characters only, and few of them."""
    pattern, text = str(pattern), str(text)
    bare = re.sub(r"\\.", "x", pattern)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    repeats = len(re.findall(r"[*+{]", bare))
    within = MAX_MATCHED.get(repeats, 0)
    if len(pattern) > 255 or re.search(r"\)[*+{]|\(\?P=", bare) or re.search(r"\\[1-9]", pattern) or len(text) > within:
        _refuse()
    return re.compile(pattern, re.IGNORECASE if ignorecase else 0)


def _regex_replace(text: Any, find: str = "", replace: str = "", ignorecase: bool = False) -> str:
    if len(str(text)) * (len(replace) + 1) > MAX_TEXT * 4:
        _refuse()
    return _expression(find, text, ignorecase).sub(replace, str(text))


def _regex_findall(text: Any, find: str = "", ignorecase: bool = False) -> list[Any]:
    return _expression(find, text, ignorecase).findall(str(text))


def _regex_findall_index(text: Any, find: str = "", index: int = 0, ignorecase: bool = False) -> Any:
    return _regex_findall(text, find, ignorecase)[index]


def _matches(text: Any, find: str = "", ignorecase: bool = False) -> bool:
    return _expression(find, text, ignorecase).match(str(text)) is not None


def _found(text: Any, find: str = "", ignorecase: bool = False) -> bool:
    return _expression(find, text, ignorecase).search(str(text)) is not None


def _contains(values: Any, value: Any) -> bool:
    return value in values


def _range(*bounds: int) -> range:
    counted = range(*bounds)
    return counted if len(counted) <= MAX_STEPS else _refuse()


def _most(*values: Any) -> Any:
    return max(*values)


def _least(*values: Any) -> Any:
    return min(*values)


def _bitwise_and(one: int, other: int) -> int:
    return int(one) & int(other)


def _bitwise_or(one: int, other: int) -> int:
    return int(one) | int(other)


def _is_number(value: Any) -> bool:
    return math.isfinite(_number(value, math.nan))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "as_datetime": _moment,
    "as_timestamp": _timestamp,
    "bitwise_and": _bitwise_and,
    "bitwise_or": _bitwise_or,
    "bool": _truth,
    "contains": _contains,
    "float": _number,
    "format": _format,
    "from_json": _from_json,
    "iif": _iif,
    "int": _whole,
    "is_defined": _is_defined,
    "is_number": _is_number,
    "join": _join,
    "add": lambda value, amount: _number(value) + _number(amount),
    "multiply": lambda value, amount: _number(value) * _number(amount),
    "regex_findall": _regex_findall,
    "regex_findall_index": _regex_findall_index,
    "regex_match": _matches,
    "regex_replace": _regex_replace,
    "regex_search": _found,
    "replace": _replace,
    "round": _round,
    "timestamp_custom": _timestamp_custom,
    "timestamp_local": lambda value: _moment(value).astimezone().isoformat(),
    "timestamp_utc": lambda value: _moment(value).isoformat(),
    "to_json": _to_json,
}
GLOBALS: Mapping[str, Callable[..., Any]] = {
    "as_datetime": _moment,
    "as_timestamp": _timestamp,
    "bool": _truth,
    "float": _number,
    "iif": _iif,
    "int": _whole,
    "is_number": _is_number,
    "max": _most,
    "min": _least,
    "range": _range,
}

SANDBOX = Sandbox()
SANDBOX.filters["_bounded"] = SANDBOX.bounded
SANDBOX.filters["_joined"] = _join


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Compiled:
    return SANDBOX.read(source)
