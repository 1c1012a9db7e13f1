"""Jinja2 with the names that Home Assistant gives it, in bounds: for the templates of devices and of automations.

What a template works on may come from anybody who may publish on the broker, and with discovery the template itself
does. So nothing in it reaches Python or changes anything, and nothing goes on: rounds of loops and calls are counted,
and whatever could make a text, a list or a number grow is bounded or left out. Rendering happens on the event loop; it
takes no longer than its limit and the one operation that is under way.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from itertools import islice
from typing import Any

import orjson
from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import UndefinedError
from jinja2.filters import FILTERS as JINJA
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from gateway.errors import GatewayError

MAX_SOURCE = 8_192  # characters of a template
MAX_TEXT = 65_536  # characters of what goes in, of what comes out, and of every text between
MAX_DEPTH = 100  # of lists in lists
MAX_BITS = 4_096  # of a whole number
MAX_DIGITS = 15
MAX_WIDTH = 1_000  # of a formatted or padded number
MAX_SOUGHT = 255  # of what Python looks for in a text letter by letter
MAX_PATTERN = 255
MAX_STEPS = 500_000  # of looking for a regular expression
MANY = 9  # from here on `{n}` counts as a repeat without an end

TRUE, FALSE = frozenset({"true", "yes", "on", "enable", "1"}), frozenset({"false", "no", "off", "disable", "0"})
# What can make nothing grow. The rest of Jinja2's filters is not there, or is ours.
HARMLESS = """
    abs capitalize count d default first items last length list lower map max min reject rejectattr reverse select
    selectattr sort title truncate unique upper
"""
TEXT_METHODS = """
    capitalize count endswith find format index isalnum isalpha isdecimal isdigit isnumeric join ljust lower lstrip
    partition removeprefix removesuffix replace rfind rjust rpartition rsplit rstrip split splitlines startswith strip
    title upper zfill
"""
OF_TEXT = frozenset(TEXT_METHODS.split())
LETTER_BY_LETTER = frozenset({"lstrip", "rfind", "rpartition", "rsplit", "rstrip", "strip", "strftime"})
OF_NUMBERS = frozenset({"is_integer", "real"})
BLOCKS = (
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
MISSING: Any = object()


class TemplateFailed(GatewayError):
    """A template is none, failed, or took too much."""

    code = "template"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may take: seconds, and rounds of all its loops and calls together."""

    seconds: float
    rounds: int


class _Budget:
    """What the rendering that is under way may still use."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rounds = limits.rounds
        self._characters = MAX_TEXT
        self._until = time.monotonic() + limits.seconds

    def rounds(self, count: int = 1) -> None:
        """Takes that many rounds, or none: then it is only looked whether there is time left."""
        self._rounds -= count
        if self._rounds < 0 or time.monotonic() > self._until:
            limits = self._limits
            raise TemplateFailed(
                f"the template goes on for too long (over {limits.rounds} rounds, or {limits.seconds} s)"
            )

    def characters(self, count: int) -> None:
        self._characters -= count
        if self._characters < 0:
            raise _too_much()


_budget: ContextVar[_Budget] = ContextVar("template budget")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, with an end to everything that could go on."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, limits: Limits, *, blocks: bool, **names: Any) -> None:
        """`blocks`: whether a template may have macros and blocks. `names` are known beside Home Assistant's."""
        super().__init__(finalize=_shown, autoescape=False)
        filters: dict[str, Any] = {name: JINJA[name] for name in HARMLESS.split()} | dict(FILTERS)
        self.filters = {name: _bounded(one) for name, one in filters.items()} | dict(OWN)
        tests: dict[str, Any] = self.tests | {"match": _matches, "search": _found, "contains": _contains}
        self.tests = {name: _bounded(one) for name, one in tests.items()}
        self.globals = {**GLOBALS, **names}
        self._limits = limits
        self._blocks = blocks

    def read(self, source: str) -> Template:
        """The template of that text. Raises TemplateFailed where it is none, or one that may not be."""
        if len(source) > MAX_SOURCE:
            raise TemplateFailed(f"a template has at most {MAX_SOURCE} characters, this one {len(source)}")
        try:
            return self.from_string(source)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise TemplateFailed(f"{error.message}" + (f" (its line {line})" if line else "")) from error
        except (RecursionError, SyntaxError, MemoryError, ValueError, OverflowError) as error:
            raise TemplateFailed("the template is nested too deeply, or no template") from error

    def render(self, template: Template, names: Mapping[str, Any]) -> str:
        """What the template says, without the space around it. Raises TemplateFailed."""
        token = _budget.set(_Budget(self._limits))
        try:
            pieces, size = [], 0
            for piece in template.generate(names):
                size += len(piece)
                if size > MAX_TEXT:
                    raise _too_much()
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

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in () if self._blocks else tree.find_all(BLOCKS):
            raise TemplateFailed(f"{type(node).__name__.lower()} is not known here")
        _Bounding().visit(tree)
        tree.set_environment(self)
        return tree

    def getitem(self, obj: Any, argument: Any) -> Any:
        _budget.get().rounds(0)  # filters look up every attribute of every entry here
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        _budget.get().rounds()
        owner = getattr(obj, "__self__", None)
        name = getattr(obj, "__name__", "")
        if name in LETTER_BY_LETTER and any(isinstance(one, str) and len(one) > MAX_SOUGHT for one in args):
            raise _too_much()
        if isinstance(owner, str):
            if any(isinstance(value, int) and abs(value) > MAX_WIDTH for value in args):
                raise _too_much()
            if name == "replace":
                return _replace(owner, *args)
            if name == "join":
                return _together(args[0], owner)
        result = super().call(context, obj, *args, **kwargs)
        return result if isinstance(result, Namespace) else _kept(result)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str):
            return attr in OF_TEXT
        if isinstance(obj, (int, float)):
            return attr in OF_NUMBERS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def formatted(*values: Any, **named: Any) -> str:
            _fit(value.__self__, (values, named))
            return wrapped(*values, **named)

        return formatted

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _budget.get().rounds()
        sized = [side for side in (left, right) if isinstance(side, (str, list, tuple))]
        times = [side for side in (left, right) if isinstance(side, int)]
        if operator == "%" and isinstance(left, str):
            _fit(left, right)
        if operator == "*" and sized and times and _weigh(sized[0]) * times[0] > MAX_TEXT:
            raise _too_much()
        if len(times) == 2:
            grown = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            if operator in "**" and grown > MAX_BITS:
                raise TemplateFailed("the number is too great")
        return _kept(super().call_binop(context, operator, left, right))


class _Bounding(NodeTransformer):
    """Puts a bound on what in a template could make something grow, or go on, without a filter or a call."""

    def visit(self, node: nodes.Node, *args: Any, **named: Any) -> nodes.Node:
        node = self.generic_visit(node, *args, **named)
        match node:
            case nodes.For(recursive=True):
                raise TemplateFailed("a loop may not call itself")
            case nodes.Name(name="varargs" | "kwargs"):  # lists that nobody wrote
                raise TemplateFailed(f"{node.name} is not known here")
            case nodes.For():
                node.iter = _through("_counted", node.iter)
            case nodes.Compare():
                node.expr = _through("_timed", node.expr)
            case nodes.Concat():
                return _through("_together", nodes.List(node.nodes, lineno=node.lineno))
            case nodes.List() | nodes.Dict() | nodes.Tuple(ctx="load"):
                return _through("_kept", node)
        return node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _too_much() -> TemplateFailed:
    return TemplateFailed(f"the template makes too much (over {MAX_TEXT} characters or entries)")


def _fit(pattern: str, values: Any) -> None:
    """Raises where putting the values into that pattern could make an endless text."""
    signs = pattern.count("%") + pattern.count("{")
    if re.search(r"\d{4,}|\*|\{[^{}]*\{", pattern) or signs * (_weigh(values) + MAX_WIDTH) > MAX_TEXT:
        raise _too_much()


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter or test, as long as there is time, and with an end to what it makes."""

    @wraps(function)
    def bounded(*args: Any, **named: Any) -> Any:
        _budget.get().rounds(0)
        if any(isinstance(value, Namespace) for value in args):
            raise _no_value()
        return _kept(function(*args, **named))

    return bounded


def _kept(value: Any) -> Any:
    """The value, where it is not too much. Every list that a template makes comes by here: so there is never one that
    is too long to be shown, compared or looked through, however often one list stands in another."""
    _timed(value)
    if isinstance(value, Iterator):
        value = list(islice(value, MAX_TEXT + 1))
    _weigh(value)
    return value


def _timed(value: Any) -> Any:
    _budget.get().rounds(0)
    return value


def _no_value() -> TemplateFailed:
    return TemplateFailed("a namespace is no value: only what is in it is")


def _counted(value: Any) -> Any:
    if hasattr(value, "__len__"):
        _budget.get().rounds(len(value))
        return value
    some = list(islice(value, MAX_TEXT))
    _budget.get().rounds(len(some))
    return some


def _text(value: Any) -> str:
    """As text, where it is not too much of it."""
    if isinstance(value, str):
        return value
    _weigh(value)
    return str(value)


def _weigh(value: Any) -> int:
    """How many characters and entries that is. A list that stands in another many times counts each time. Raises where
    it is too much."""
    weight, level = 0, [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            weight += 1
            if isinstance(one, str):
                weight += max(0, len(one) - 1)
            elif isinstance(one, (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)):
                inner += one
            elif isinstance(one, Mapping):
                inner += one.keys()
                inner += one.values()
            elif isinstance(one, Namespace):  # it may still grow
                raise _no_value()
            if weight + len(inner) > MAX_TEXT:
                raise _too_much()
        if not inner:
            return weight
        level = inner
    raise TemplateFailed("lists are nested too deeply")


def _shown(value: Any) -> str:
    text = _text(value)
    _budget.get().characters(len(text))
    return text


def _together(parts: Iterable[Any], between: str = "") -> str:
    _timed(parts)
    texts, size = [], 0
    for part in parts:
        text = _text(part)
        size += len(text) + len(between)
        if size > MAX_TEXT:
            raise _too_much()
        texts.append(text)
    return between.join(texts)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = [one.get(attribute, "") if isinstance(one, Mapping) else getattr(one, attribute, "") for one in value]
    return _together(value, _text(d))


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = _text(value)
    if len(text) + text.count(old) * len(new) > MAX_TEXT:
        raise _too_much()
    return text.replace(old, new, count)


def _trim(value: Any, chars: str | None = None) -> str:
    if len(chars or "") > MAX_SOUGHT:
        raise _too_much()
    return _text(value).strip(chars)


def _format(pattern: Any, *values: Any, **named: Any) -> str:
    pattern = _text(pattern)
    _fit(pattern, (values, named))
    return str(pattern % (named or values))


def _instead(value: Any, default: Any, wanted: str) -> Any:
    if default is MISSING:
        raise TemplateFailed(f"{_text(value)[:40]!r} is not {wanted}, and no default is given")
    return default


def _float(value: Any, default: Any = MISSING) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, UndefinedError):
        return _instead(value, default, "a number")


def _int(value: Any, default: Any = MISSING, base: int = 10) -> Any:
    try:
        return int(value, base) if isinstance(value, str) and base != 10 else int(float(value))
    except (TypeError, ValueError, OverflowError, UndefinedError):
        return _instead(value, default, "a whole number")


def _round(value: Any, precision: int = 0, method: str = "common", default: Any = MISSING) -> Any:
    number = _float(value, MISSING if default is MISSING else None)
    if number is None:
        return default
    precision = max(-MAX_DIGITS, min(MAX_DIGITS, precision))
    if method in ("ceil", "floor"):
        up: Callable[[float], int] = math.ceil if method == "ceil" else math.floor
        rounded = up(number * 10.0**precision) / 10.0**precision
    elif method == "half":
        return round(number * 2) / 2
    else:
        rounded = round(number, precision)
    return int(rounded) if precision == 0 else rounded


def _sum(value: Iterable[Any], attribute: str | None = None, start: float = 0) -> float:
    total = float(start)
    for one in value:
        total += float(one[attribute] if attribute is not None else one)
    return int(total) if total.is_integer() else total


def _is_defined(value: Any, default: Any = MISSING) -> Any:
    if not isinstance(value, Undefined):
        return value
    if default is MISSING:
        raise TemplateFailed("what the template needs was not told")
    return default


def _is_number(value: Any) -> bool:
    return math.isfinite(_float(value, math.nan))


def _bool(value: Any, default: Any = MISSING) -> Any:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    word = _text(value).strip().lower()
    return word in TRUE if word in TRUE | FALSE else _instead(value, default, "true or false")


def _iif(value: Any, if_true: Any = True, if_false: Any = False, if_none: Any = MISSING) -> Any:
    if value is None and if_none is not MISSING:
        return if_none
    return if_true if value else if_false


def _from_json(value: Any, default: Any = MISSING) -> Any:
    try:
        return orjson.loads(_text(value))
    except orjson.JSONDecodeError:
        return _instead(value, default, "JSON")


def to_json(value: Any, **_options: Any) -> str:
    """A value as JSON; what JSON has no word for as text. Raises TemplateFailed where it is too much."""
    _weigh(value)
    return orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS).decode()


def _as_text(value: Any) -> str:
    if isinstance(value, Undefined):
        raise TemplateFailed("what the template needs was not told")
    return str(value)


def _as_datetime(value: Any, default: Any = MISSING) -> Any:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC).astimezone()
        return datetime.fromisoformat(_text(value))
    except (ValueError, OverflowError, OSError, UndefinedError):
        return _instead(value, default, "a time")


def _as_timestamp(value: Any, default: Any = MISSING) -> Any:
    if isinstance(value, (int, float)):
        return float(value)
    at = _as_datetime(value, None if default is not MISSING else MISSING)
    return default if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _timestamp_custom(value: Any, form: str = "%Y-%m-%d %H:%M:%S", local: bool = True, default: Any = MISSING) -> Any:
    at = _as_datetime(_float(value, None), default)
    if not isinstance(at, datetime):
        return at
    return (at.astimezone() if local else at.astimezone(UTC)).strftime(form[:100])


# What a regular expression may be made of. Only single characters are repeated, a group may at most be missing: so the
# ways through one can be counted. No flags but the first, and nothing that looks back at what was found.
_IGNORING_CASE = "(?i)"
_PART = re.compile(
    r"""
    (?P<open>\((?:\?(?::|P<[A-Za-z_]\w*>|(?P<around><?[=!])))?)
    | (?P<close>\))(?P<optional>\?[?+]?)?
    | (?P<branch>\|)
    | [\^$] | \\[AZbB]
    | (?P<single>\[\^?\]?(?:\\.|[^\]\\])*\] | \\(?:[dDwWsSnrtfv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^A-Za-z0-9])
        | \{(?!(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\}) | [^\\()\[*+?|{])
      (?:(?P<repeat>[*+?]|\{(?P<least>[0-9]*)(?P<to>,(?P<most>[0-9]*))?\})[?+]?)?
    """,
    re.VERBOSE | re.DOTALL,
)


def _steps(pattern: str, length: int, *, everywhere: bool) -> int:
    """How many steps it takes at most to match that pattern, from one place in a text or from everywhere in it."""
    ways, repeats, singles, around = 1, 0, 0, False
    branches, place = [1], 0
    while place < len(pattern):
        part = _PART.match(pattern, place)
        if part is None or (part["close"] and len(branches) == 1):
            raise TemplateFailed("the regular expression is none, or has something in it that may not be")
        place = part.end()
        if part["open"]:
            branches.append(1)
            around = around or part["around"] is not None
        elif part["close"]:
            ways *= branches.pop() * (2 if part["optional"] else 1)
        elif part["branch"]:
            branches[-1] += 1
        elif part["single"]:
            least, most = _times(part)
            singles += most or 1
            repeats += most is None
            ways *= 1 if most is None else most - least + 1
    ways *= branches[0] * (1 + singles // 8)
    # Each part of the text is one repeat's or another's, but what looks around sees the same part again.
    repeats += everywhere and not (pattern.startswith(("^", "\\A")) and branches[0] == 1)
    return ways * ((length + 1) ** repeats if around else math.comb(length + repeats, repeats))


def _times(part: re.Match[str]) -> tuple[int, int | None]:
    """How often a single character stands there, at least and at most (None: without an end)."""
    repeat = part["repeat"]
    if repeat is None:
        return 1, 1
    if repeat in ("*", "+"):
        return 0, None
    if repeat == "?":
        return 0, 1
    least = int(part["least"][:MANY] or 0)
    most = int(part["most"][:MANY] or MANY) if part["to"] else least
    return (least, most) if least <= most < MANY else (0, None)


def _expression(pattern: Any, text: Any, ignorecase: bool = False, *, everywhere: bool = True) -> re.Pattern[str]:
    """A regular expression that ends in time over that text."""
    pattern, text = _text(pattern), _text(text)
    if pattern.startswith(_IGNORING_CASE):
        pattern, ignorecase = pattern.removeprefix(_IGNORING_CASE), True
    # Without case, every letter of a range has to be looked up.
    wide = len(re.findall(r"-(?:[^\x00-\x7f]|\\[xuUN])", pattern)) if ignorecase else 0
    if len(pattern) > MAX_PATTERN or wide > 1 or _steps(pattern, len(text), everywhere=everywhere) > MAX_STEPS:
        raise TemplateFailed("the regular expression, or what it is to be found in, goes too far")
    return re.compile(pattern, re.IGNORECASE if ignorecase else 0)


def _regex_replace(text: Any, find: str = "", replace: str = "", ignorecase: bool = False) -> str:
    text, find, replace = _text(text), _text(find), _text(replace)
    # What looks around finds the same part many times over.
    grows = "\\" in replace and re.search(r"\(\?<?[=!]", find)
    if len(replace) > MAX_WIDTH or (len(text) + 1) * (len(replace) + 1) > MAX_TEXT * 4 or grows:
        raise _too_much()
    return _expression(find, text, ignorecase).sub(replace, text)


def _regex_findall(text: Any, find: str = "", ignorecase: bool = False) -> list[Any]:
    return _expression(find, text, ignorecase).findall(_text(text))


def _regex_findall_index(text: Any, find: str = "", index: int = 0, ignorecase: bool = False) -> Any:
    return _regex_findall(text, find, ignorecase)[index]


def _matches(text: Any, find: str = "", ignorecase: bool = False) -> bool:
    return _expression(find, text, ignorecase, everywhere=False).match(_text(text)) is not None


def _found(text: Any, find: str = "", ignorecase: bool = False) -> bool:
    return _expression(find, text, ignorecase).search(_text(text)) is not None


def _contains(values: Any, value: Any) -> bool:
    return value in values


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_TEXT:
        raise TemplateFailed(f"range has {len(numbers)} numbers; allowed: {MAX_TEXT}")
    return numbers


def _greatest(*values: Any) -> Any:
    return max(*values)


def _least(*values: Any) -> Any:
    return min(*values)


OWN: Mapping[str, Callable[..., Any]] = {
    "_counted": _counted,
    "_kept": _kept,
    "_timed": _timed,
    "_together": _together,
}
FILTERS: Mapping[str, Callable[..., Any]] = {
    "add": lambda value, amount: _float(value) + _float(amount),
    "as_datetime": _as_datetime,
    "as_timestamp": _as_timestamp,
    "bitwise_and": lambda one, other: int(one) & int(other),
    "bitwise_or": lambda one, other: int(one) | int(other),
    "bool": _bool,
    "contains": _contains,
    "float": _float,
    "format": _format,
    "from_json": _from_json,
    "iif": _iif,
    "int": _int,
    "is_defined": _is_defined,
    "is_number": _is_number,
    "join": _join,
    "multiply": lambda value, amount: _float(value) * _float(amount),
    "regex_findall": _regex_findall,
    "regex_findall_index": _regex_findall_index,
    "regex_match": _matches,
    "regex_replace": _regex_replace,
    "regex_search": _found,
    "replace": _replace,
    "round": _round,
    "string": _text,
    "sum": _sum,
    "timestamp_custom": _timestamp_custom,
    "timestamp_local": lambda value: _as_datetime(_float(value)).astimezone().isoformat(),
    "timestamp_utc": lambda value: _as_datetime(_float(value)).astimezone(UTC).isoformat(),
    "to_json": to_json,
    "tojson": to_json,
    "trim": _trim,
}
GLOBALS: Mapping[str, Callable[..., Any]] = {
    "as_datetime": _as_datetime,
    "as_timestamp": _as_timestamp,
    "bool": _bool,
    "float": _float,
    "iif": _iif,
    "int": _int,
    "is_number": _is_number,
    "max": _greatest,
    "min": _least,
    "range": _range,
}
