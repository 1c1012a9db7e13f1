"""The model's tool calls, held to what the client offered.

A small model writes a call into its text, gives its arguments as a string of JSON, `"50"` where a number is wanted, or
the name of a tool that nobody offered. `mended` turns the first into a call, repairs what can only mean one thing, and
leaves the last out:

    Delta('{"name": "HassTurnOn", "parameters": {"name": "lamp"}}')  ->  Delta(tool_calls=(ToolCall(...),))

Text is held back only from where a call may have begun (a brace, a bracket, `<tool_call>`, a fence) and as long as
what follows may still become one.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.shapes import Delta, ToolCall

log = logging.getLogger(__name__)

# A call longer than this is none.
LONGEST_CALL = 8192

# What models were trained to put around a call, each in its own dialect.
_OPENINGS = (
    "<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>", "<functioncall>", "<tools>", "<tool>",
    "<|tool_call|>", "<|tool_calls|>", "<|tool_call_start|>", "<|tool_call_begin|>", "<|tool_calls_begin|>",
    "<|python_tag|>", "[TOOL_CALLS]", "[TOOL_CALL]", "[TOOL_REQUEST]",
)  # fmt: skip
_CLOSINGS = (
    "</tool_call>", "</tool_calls>", "</function_call>", "</function_calls>", "</functioncall>", "</tools>", "</tool>",
    "<|/tool_call|>", "<|/tool_calls|>", "<|tool_call_end|>", "<|tool_calls_end|>", "<|eom_id|>", "<|eot_id|>",
    "[/TOOL_CALLS]", "[/TOOL_CALL]", "[END_TOOL_REQUEST]", "```", ";", ",",
)  # fmt: skip
_FENCE = re.compile(r"```[A-Za-z_]{0,20}\s*")
_START = re.compile(r"""(?:\[\s*)?(?:\{\s*(?:(?P<quote>["'])(?P<key>[^"'\\]*)(?P<end>(?P=quote))?)?)?""")
_CLOSES = {"{": "}", "[": "]"}

_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "action_input", "tool_input")
_BESIDE = frozenset({"type", "id", "call_id", "index"})  # what else a call may say
_KEYS = frozenset({*_NAMES, *_ARGUMENTS, *_BESIDE, "tool_calls"})

Written = tuple[str, Any]
"""A call as the model wrote it: a name, and whatever stands for its arguments."""


class OfferedTools:
    """The tools of a turn, by name."""

    def __init__(self, tools: Iterable[Mapping[str, Any]]) -> None:
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._alike: dict[str, list[str]] = {}
        for tool in tools:
            function = tool.get("function")
            name = function.get("name") if isinstance(function, Mapping) else None
            if isinstance(function, Mapping) and isinstance(name, str):
                schema = function.get("parameters")
                self._schemas[name] = schema if isinstance(schema, Mapping) else {}
                self._alike.setdefault(_suffix(name), []).append(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def name(self, written: str) -> str | None:
        """The offered name that `written` can only mean, or None.

        Home Assistant's tools gained a prefix between its versions, and models guess at one.
        """
        if written in self._schemas:
            return written
        alike = self._alike.get(_suffix(written), [])
        return alike[0] if len(alike) == 1 else None

    def call(self, written: str, arguments: Any) -> ToolCall | None:
        """The call that is meant, with its arguments as the tool's schema wants them where that is certain.

        None where the tool was not offered, or the arguments are nothing of the sort.
        """
        name, held = self.name(written), _object(arguments)
        if name is None or held is None:
            log.warning("left out: the model called %.64s, which was not offered so", written)
            return None
        return ToolCall(name, _fitted(held, self._schemas[name]))


async def mended(
    deltas: AsyncGenerator[Delta, None],
    tools: Sequence[Mapping[str, Any]],
    *,
    in_text: bool = True,
    voice: bool = False,
) -> AsyncGenerator[Delta, None]:
    """The same answer with no tool call but offered ones, repaired; closes `deltas`.

    `in_text`: calls may stand in the text (a client that asked for JSON does not want its answer read as one).
    `voice`: what looks like a call and was not offered is left out rather than read aloud, and so is what a model says
    behind a call that it wrote, which is before it can know what came of it.
    """
    offered = OfferedTools(tools)
    text = _CallsInText(offered, voice=voice) if in_text and tools else None
    called = False
    async with aclosing(deltas):
        async for delta in deltas:
            if delta.queue is not None:
                yield delta
                continue
            content = delta.content
            calls = [call for one in delta.tool_calls if (call := offered.call(one.name, one.arguments)) is not None]
            if text is not None:
                content, found = text.feed(content)
                if delta.tool_calls or delta.finish is not None:
                    rest, more = text.end(whole=delta.finish is not None and delta.finish.reason == "stop")
                    content, found = content + rest, found + more
                calls = found + calls
            called = called or bool(calls)
            finish = delta.finish
            if finish is not None and (called or finish.reason == "tool_calls"):
                finish = replace(finish, reason="tool_calls" if called else "stop")
            if content or delta.thinking or calls or finish is not None:
                yield replace(delta, content=content, tool_calls=tuple(calls), finish=finish)


def failed(result: str) -> bool:
    """Whether a tool's result, as Home Assistant gives it (in both of its layouts), tells of a failure."""
    try:
        told = orjson.loads(result)
    except orjson.JSONDecodeError:
        return False
    while isinstance(told, dict):
        if told.get("error") or told.get("failed") or told.get("success") is False:
            return True
        told = told.get("data")
    return False


# --- calls in text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What may be a call at the beginning of a text: its JSON from `start` to `end`, None while it is not closed.

    `missing` would close it (None inside a string). `marked`: a sign that only calls have stands before it.
    """

    start: int = 0
    end: int | None = None
    missing: str | None = None
    marked: bool = False


class _CallsInText:
    """Finds calls in text that streams. What may be part of one is held back."""

    def __init__(self, offered: OfferedTools, *, voice: bool) -> None:
        self._offered = offered
        self._keys = _KEYS.union(offered)
        self._voice = voice
        self._held = ""
        self._behind_call = False
        self._called = False

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """Takes the next piece; returns what of all that came is text, and the calls that ended."""
        self._held += text
        return self._take(at_end=False, whole=False)

    def end(self, *, whole: bool) -> tuple[str, list[ToolCall]]:
        """What was held back. `whole`: the model ended by itself, and brackets that it forgot may be closed; one that
        was cut short may have had more to say about the lamp that is meant."""
        return self._take(at_end=True, whole=whole)

    def _take(self, *, at_end: bool, whole: bool) -> tuple[str, list[ToolCall]]:
        said: list[str] = []
        calls: list[ToolCall] = []
        while self._held:
            if self._behind_call:
                if self._skip_closings(at_end=at_end):
                    break
                self._behind_call = False
                continue
            self._say(_beginning(self._held), said)
            candidate = self._candidate()
            if candidate is None:
                self._say(1, said)
            elif candidate.end is not None:
                self._end_candidate(candidate, self._held[candidate.start : candidate.end], said, calls)
            elif not at_end:
                break
            elif whole and candidate.missing:
                closed = replace(candidate, end=len(self._held))
                self._end_candidate(closed, self._held[candidate.start :] + candidate.missing, said, calls)
            else:
                self._say(1, said)
        return "".join(said), calls

    def _say(self, length: int, said: list[str]) -> None:
        text, self._held = self._held[:length], self._held[length:]
        if not (self._called and self._voice):
            said.append(text)

    def _end_candidate(self, candidate: _Candidate, json: str, said: list[str], calls: list[ToolCall]) -> None:
        value = _parsed(json)
        written = _written(value, self._offered)
        found = [call for one in written if (call := self._offered.call(*one)) is not None]
        if found or (self._voice and (candidate.marked or _is_nothing_but_call(value))):
            calls += found
            self._called = self._called or bool(found)
            self._held = self._held[candidate.end :]
            self._behind_call = True
        else:
            self._say(candidate.end or 1, said)

    def _candidate(self) -> _Candidate | None:
        """What the text held begins with; None where that is no call."""
        text, at, marked = self._held, 0, False
        while rest := text[at:].lstrip():
            at = len(text) - len(rest)
            opening = next((one for one in _OPENINGS if rest.startswith(one)), None)
            if opening is not None:
                at, marked = at + len(opening), True
            elif fence := _FENCE.match(rest):
                at += fence.end()
            else:
                break
        if not rest or "```".startswith(rest) or any(one.startswith(rest) for one in _OPENINGS):
            return _Candidate(marked=marked) if len(text) <= LONGEST_CALL else None
        if rest[0] not in _CLOSES or not (marked or self._may_be_call(rest)):
            return None
        length, missing = _balance(rest)
        if length is None:
            return _Candidate(at, None, missing, marked) if len(text) <= LONGEST_CALL else None
        return _Candidate(at, at + length, "", marked)

    def _may_be_call(self, text: str) -> bool:
        """Whether a call's object, or a list of them, may begin so: what matters is the first key."""
        start = _START.match(text)
        if start is None or start["key"] is None or not start["end"]:
            key = start["key"] if start and start["key"] is not None else ""
            return start is not None and start.end() == len(text) and any(one.startswith(key) for one in self._keys)
        return start["key"] in self._keys

    def _skip_closings(self, *, at_end: bool) -> bool:
        """Leaves out what closes a call; True where it takes more text to know."""
        while True:
            rest = self._held.lstrip()
            closing = next((one for one in _CLOSINGS if rest.startswith(one)), None)
            if closing is None:
                break
            self._held = rest[len(closing) :]
        if at_end and not rest:
            self._held = ""
        return not at_end and any(one.startswith(rest) for one in _CLOSINGS)


def _beginning(text: str) -> int:
    """Where in `text` a call may begin; its length where none does."""
    return next((at for at, letter in enumerate(text) if letter in "{[<`"), len(text))


def _balance(text: str) -> tuple[int | None, str | None]:
    """How long the object or list is that `text` begins with, or None and what would close it (None in a string)."""
    open_: list[str] = []
    quote = ""
    escaped = False
    for at, letter in enumerate(text):
        if quote:
            if escaped or letter == "\\":
                escaped = not escaped
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in _CLOSES:
            open_.append(_CLOSES[letter])
        elif letter in "}]":
            open_.pop()
            if not open_:
                return at + 1, ""
    return None, None if quote else "".join(reversed(open_))


def _parsed(text: str) -> Any:
    """JSON, or the same as Python writes it; None where it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # Python would print what it thinks of a model's backslashes
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _written(value: Any, offered: OfferedTools) -> list[Written]:
    """The calls that a value is; none where it is something else."""
    if isinstance(value, list):
        each = [_written(one, offered) for one in value]
        return [call for calls in each for call in calls] if all(each) else []
    if not isinstance(value, Mapping):
        return []
    if isinstance(value.get("tool_calls"), list):
        return _written(value["tool_calls"], offered)
    if isinstance(value.get("function"), Mapping):
        return _written(value["function"], offered)
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    if name is None:
        return [(key, held) for key, held in value.items() if key in [*offered] and isinstance(held, Mapping)][
            : len(value)
        ]
    for key in _ARGUMENTS:
        if key in value:
            return [(name, value[key])]
    return [(name, {})] if not set(value) - _BESIDE - set(_NAMES) else []


def _is_nothing_but_call(value: Any) -> bool:
    """Whether the value has the shape that calls have and hardly anything else: a name and arguments, no more."""
    if isinstance(value, list):
        return bool(value) and all(_is_nothing_but_call(one) for one in value)
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("function"), Mapping):
        return _is_nothing_but_call(value["function"])
    keys = set(value) - _BESIDE
    arguments = keys.intersection(_ARGUMENTS)
    return len(keys) == 2 and len(arguments) == 1 and len(keys.intersection(_NAMES)) == 1


# --- arguments ----------------------------------------------------------------------------------------------------


def _suffix(name: str) -> str:
    """What two versions' names of a tool have in common: `intent__HassTurnOn` and `HassTurnOn`."""
    return re.split(r"__|[.:/]", name.strip())[-1].casefold()


def _object(arguments: Any) -> dict[str, Any] | None:
    """The arguments as an object; None where they can't be read as one."""
    for _ in range(2):  # a string of JSON may hold another
        if not isinstance(arguments, str):
            break
        arguments = _parsed(arguments) if arguments.strip() not in ("", "null", "None") else {}
        if arguments is None:
            return None
    match arguments:
        case Mapping():
            return {str(name): value for name, value in arguments.items()}
        case None | []:
            return {}
        case [Mapping() as only]:
            return dict(only)
        case _:
            return None


def _fitted(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with each value as the schema wants it; what it does not name stays."""
    properties = schema.get("properties")
    required = schema.get("required")
    fitted: dict[str, Any] = {}
    for name, value in arguments.items():
        wanted = properties.get(name) if isinstance(properties, Mapping) else None
        if not isinstance(wanted, Mapping):
            fitted[name] = value
            continue
        fit = _fit(value, wanted)
        optional = not isinstance(required, list) or name not in required
        # "Nothing" said for what need not be said. An empty text may be meant where text is wanted.
        if optional and fit in (None, "") and not _has_type(fit, _types(wanted)):
            continue
        fitted[name] = fit
    return fitted


def _fit(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value in the type that the schema wants, where that is certain; else as it is."""
    choices = schema.get("enum")
    if isinstance(choices, list) and isinstance(value, str) and value not in choices:
        alike = [one for one in choices if isinstance(one, str) and one.casefold() == value.strip().casefold()]
        return alike[0] if len(alike) == 1 else value
    types = _types(schema)
    if types and not _has_type(value, types):
        wanted = [one for one in types if one != "null"]
        value = _converted(value, wanted[0]) if len(wanted) == 1 else value
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_fit(one, schema["items"]) for one in value]
    if isinstance(value, Mapping) and isinstance(schema.get("properties"), Mapping):
        return _fitted(value, schema)
    return value


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type")
    return [types] if isinstance(types, str) else [one for one in types or () if isinstance(one, str)]


def _has_type(value: Any, types: Sequence[str]) -> bool:
    match value:
        case None:
            return "null" in types
        case bool():
            return "boolean" in types
        case int():
            return "integer" in types or "number" in types
        case float():
            return "number" in types
        case str():
            return "string" in types
        case list():
            return "array" in types
        case _:
            return "object" in types


def _converted(value: Any, wanted: str) -> Any:
    match wanted, value:
        case "integer", float() if value.is_integer():
            return int(value)
        case "integer", str() if number := re.fullmatch(r"\s*([+-]?\d{1,15})(?:\.0+)?\s*%?\s*", value):
            return int(number[1])
        case "number", str() if number := re.fullmatch(r"\s*([+-]?\d{1,15}(?:\.\d{1,15})?)\s*%?\s*", value):
            return float(number[1]) if "." in number[1] else int(number[1])
        case "boolean", str() if value.strip().casefold() in ("true", "false"):
            return value.strip().casefold() == "true"
        case "string", int() | float() if not isinstance(value, bool):
            return str(value)
        case "string", [str() as only]:
            return only
        case "array", str() if value.lstrip().startswith("["):
            listed = _parsed(value.strip())
            return listed if isinstance(listed, list) else value
        case "array", str() | int() | float() | Mapping() if value != "":
            return [value]
        case "object", str():
            held = _parsed(value.strip())
            return held if isinstance(held, Mapping) else value
        case _:
            return value
