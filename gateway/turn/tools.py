"""The model's tool calls, held to what the client offered.

A small model writes a call into its text, gives its arguments as a string of JSON, `"50"` where a number is wanted, or
the name of a tool that nobody offered. `mended` turns the first into a call, repairs what can only mean one thing, and
leaves the last out:

    Delta('{"name": "HassTurnOn", "parameters": {"name": "lamp"}}')  ->  Delta(tool_calls=(ToolCall("HassTurnOn", ...),))

Text is held back only from where a call may have begun (a brace, a bracket, `<tool_call>`, a fence) and as long as
what follows may still become one.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson

from gateway.shapes import Delta, ToolCall

log = logging.getLogger(__name__)

# A call longer than this is none.
LONGEST_CALL = 16_384
DEEPEST = 32

# What models were trained to put around a call, each in its own dialect.
_OPENINGS = (
    "<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>", "<functioncall>", "<tools>", "<tool>",
    "<|tool_call|>", "<|tool_calls|>", "<|tool_call_start|>", "<|tool_call_begin|>", "<|tool_calls_begin|>",
    "<|python_tag|>", "[TOOL_CALLS]", "[TOOL_CALL]", "[TOOL_REQUEST]", "functools",
)  # fmt: skip
_CLOSINGS = (
    "</tool_call>", "</tool_calls>", "</function_call>", "</function_calls>", "</functioncall>", "</tools>", "</tool>",
    "<|/tool_call|>", "<|/tool_calls|>", "<|tool_call_end|>", "<|tool_calls_end|>", "<|eom_id|>", "<|eot_id|>",
    "[/TOOL_CALLS]", "[/TOOL_CALL]", "[END_TOOL_REQUEST]", "```", ";", ",",
)  # fmt: skip
_FENCE = re.compile(r"```[A-Za-z_]{0,20}\s*")
_BLANK = re.compile(r"\s*")
_KEY = re.compile(r"""\{\s*(?:(?P<quote>["'])(?P<key>[^"'\\]*)(?P<end>["'])?)?""")

_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "action_input", "tool_input")
_BESIDE = frozenset({"type", "id", "call_id", "index"})  # what else a call may say
_FIRST_KEYS = frozenset({*_NAMES, *_ARGUMENTS, *_BESIDE, "tool_calls"})

Written = tuple[str, Any]
"""A call as the model wrote it: a name and whatever stands for its arguments."""


class OfferedTools:
    """The tools of a turn, by name."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._by_suffix: dict[str, list[str]] = {}
        for tool in tools:
            function = tool.get("function")
            name = function.get("name") if isinstance(function, Mapping) else None
            if isinstance(function, Mapping) and isinstance(name, str):
                schema = function.get("parameters")
                self._schemas[name] = schema if isinstance(schema, Mapping) else {}
                self._by_suffix.setdefault(_suffix(name), []).append(name)

    def __bool__(self) -> bool:
        return bool(self._schemas)

    def name(self, written: str) -> str | None:
        """The offered name that `written` can only mean, or None.

        Home Assistant's tools lost or gained a prefix between its versions, and models guess at one.
        """
        if written in self._schemas:
            return written
        alike = self._by_suffix.get(_suffix(written), [])
        return alike[0] if len(alike) == 1 else None

    def call(self, written: str, arguments: Any) -> ToolCall | None:
        """The call that is meant, with its arguments as the tool's schema wants them where that is certain.

        None where the tool was not offered, or the arguments are nothing of the sort.
        """
        name = self.name(written)
        if name is None:
            return None
        held = _object(arguments)
        return None if held is None else ToolCall(name, _fitted(held, self._schemas[name]))


async def mended(
    deltas: AsyncGenerator[Delta, None],
    tools: Sequence[Mapping[str, Any]],
    *,
    in_text: bool = True,
    voice: bool = False,
) -> AsyncGenerator[Delta, None]:
    """The same answer with no tool call but offered ones, repaired; closes `deltas`.

    `in_text`: calls may stand in the text (no client that asked for JSON wants its answer read as one). `voice`: what
    looks like a call and was not offered is left out rather than read aloud, and so is what a model says after a call
    that it wrote, which is before it can know what came of it.
    """
    offered = OfferedTools(tools)
    text = _CallsInText(offered, voice=voice) if in_text and offered else None
    called = False
    async with aclosing(deltas):
        async for delta in deltas:
            content, calls = delta.content, [*_kept(offered, delta.tool_calls)]
            if text is not None:
                content, found = text.feed(delta.content)
                if calls or delta.finish is not None:
                    rest, more = text.end(whole=delta.finish is not None and delta.finish.reason == "stop")
                    content, found = content + rest, [*found, *more]
                calls = [*found, *calls]
            called = called or bool(calls)
            finish = delta.finish
            if finish is not None and (called or finish.reason == "tool_calls"):
                finish = replace(finish, reason="tool_calls" if called else "stop")
            mend = replace(delta, content=content, tool_calls=tuple(calls), finish=finish)
            if mend.content or mend.thinking or mend.tool_calls or mend.finish is not None:
                yield mend


def _kept(offered: OfferedTools, calls: Sequence[ToolCall]) -> Iterator[ToolCall]:
    for call in calls:
        mend = offered.call(call.name, call.arguments)
        if mend is not None:
            yield mend
        else:
            log.warning("the model called a tool that was not offered: left out")


# --- calls in text ------------------------------------------------------------------------------------------------


class _CallsInText:
    """Finds calls in text that streams. What may be part of one is held back."""

    def __init__(self, offered: OfferedTools, *, voice: bool) -> None:
        self._offered = offered
        self._voice = voice
        self._held = ""
        self._behind_call = False
        self._called = False

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """What of the text so far is text, and the calls that ended in it."""
        self._held += text
        return self._take(at_end=False)

    def end(self, *, whole: bool) -> tuple[str, list[ToolCall]]:
        """What was held back. `whole`: the model ended by itself, so that brackets it forgot may be closed."""
        said, calls = self._take(at_end=False)
        if self._held and whole and (read := _read(self._held, closing=True)) and read.call_end:
            more = self._calls(read)
            if more:
                self._held = self._held[read.call_end :]
                calls += more
        rest, more = self._take(at_end=True)
        return said + rest, calls + more

    def _take(self, *, at_end: bool) -> tuple[str, list[ToolCall]]:
        said: list[str] = []
        calls: list[ToolCall] = []
        while self._held:
            if self._behind_call and self._skip_closing(at_end=at_end):
                break
            start = _beginning(self._held)
            self._say(self._held[:start], said)
            self._held = self._held[start:]
            if not self._held:
                break
            read = _read(self._held)
            if read is None:
                self._say(self._held[0], said)
                self._held = self._held[1:]
            elif read.call_end:
                self._end_call(read, said, calls)
            elif at_end:
                self._say(self._held, said)
                self._held = ""
            else:
                break
        return "".join(said), calls

    def _say(self, text: str, said: list[str]) -> None:
        if text and not (self._called and self._voice):
            said.append(text)
            self._behind_call = False

    def _end_call(self, read: _Read, said: list[str], calls: list[ToolCall]) -> None:
        written, self._held = self._held[: read.call_end], self._held[read.call_end :]
        found = self._calls(read)
        if found or (self._voice and read.certain):
            calls += found
            self._called = self._called or bool(found)
            self._behind_call = True
            if not found:
                log.warning("the model wrote a call of a tool that was not offered: left out")
        else:
            self._say(written, said)

    def _calls(self, read: _Read) -> list[ToolCall]:
        """The calls meant; none unless every one of them was offered."""
        calls = [self._offered.call(name, arguments) for name, arguments in read.calls]
        if read.bare is not None and len(read.bare) == 1:
            ((name, arguments),) = read.bare.items()
            if isinstance(arguments, Mapping):
                calls = [self._offered.call(name, arguments)]
        return [call for call in calls if call is not None] if None not in calls else []

    def _skip_closing(self, *, at_end: bool) -> bool:
        """Leaves out what closes a call; True where more is needed to know."""
        rest = self._held.lstrip()
        for closing in _CLOSINGS:
            if rest.startswith(closing):
                self._held = rest[len(closing) :]
                return not self._held or self._skip_closing(at_end=at_end)
        if not at_end and any(closing.startswith(rest) for closing in _CLOSINGS):
            return True
        if not rest:
            self._held = ""
        return not rest


class _Read:
    """What stands at the beginning of a text: perhaps a call (`call_end` is 0), or one that ends at `call_end`.

    `certain`: marked as a call, or of a shape that nothing else has. `bare` is an object that is no call by its keys.
    """

    __slots__ = ("bare", "call_end", "calls", "certain")

    def __init__(
        self,
        call_end: int = 0,
        calls: Sequence[Written] = (),
        *,
        certain: bool = False,
        bare: Mapping[str, Any] | None = None,
    ) -> None:
        self.call_end = call_end
        self.calls = calls
        self.certain = certain
        self.bare = bare


_PERHAPS = _Read()


def _beginning(text: str) -> int:
    """Where in `text` a call may begin; its length where none does."""
    for at, letter in enumerate(text):
        if letter in "{[<`" or (letter == "f" and _begins("functools[", text[at:])):
            return at
    return len(text)


def _begins(whole: str, text: str) -> bool:
    return whole.startswith(text) or text.startswith(whole)


def _read(text: str, *, closing: bool = False) -> _Read | None:
    """What stands at the beginning of `text`; None where no call can. `closing` adds brackets that are missing."""
    at, marked = 0, False
    while True:
        rest = text[at:]
        opening = next((one for one in _OPENINGS if rest.startswith(one)), None)
        if opening is not None:
            at, marked = at + len(opening), True
        elif (fence := _FENCE.match(rest)) is not None:
            at += fence.end()
        elif rest and (any(one.startswith(rest) for one in _OPENINGS) or "```".startswith(rest)):
            return _PERHAPS
        else:
            break
        at += _blank(text, at)
    if at == len(text):
        return _PERHAPS
    if text[at] not in "{[" or len(text) > LONGEST_CALL:
        return None
    if not (marked or _may_be_call(text[at:])):
        return None
    end = _balanced(text, at)
    if end is None:
        return None
    value = (
        _parsed(text[at:end] if not isinstance(end, str) else text[at:] + end)
        if end and (not isinstance(end, str) or closing)
        else None
    )
    if isinstance(end, str):
        if not closing:
            return _PERHAPS
        end = len(text)
    if value is None:
        return None
    calls = _written(value)
    if calls is None:
        return _Read(end, bare=value, certain=marked) if isinstance(value, Mapping) else None
    return _Read(end, calls, certain=marked or _is_call_and_no_more(value))
