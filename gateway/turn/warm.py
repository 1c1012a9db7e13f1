"""Warming: the model reads the head of the prompt while nobody waits, so that a turn need not wait for it.

What a model has read stays in its memory until something else is read, or until `keep_alive` runs out. So the head last
seen from each client is read again at the start, when it has changed, and before it would be forgotten. It is work for
the background: a turn that would have to wait for it ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import ModelError, Preempted, Unavailable
from gateway.llm.fleet import Fleet
from gateway.shapes import ChatRequest, Message, Priority
from gateway.tasks import end

log = logging.getLogger(__name__)

HEADS = 4  # clients whose heads are kept; a model keeps few
MOST_SECONDS = 300.0
IDLE_SECONDS = 2.0  # quiet for so long, nobody waits: a conversation's next words are not held up
REST_SECONDS = 30.0  # after a model did not answer
PART_OF_KEEP_ALIVE = 0.8
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Head:
    """What a client's prompts begin with, and for how long the model is to be kept (seconds; None: for ever)."""

    request: ChatRequest
    keep_seconds: float | None

    @property
    def client(self) -> tuple[str, str]:
        """A model and the first line of a prompt: the same client with other entities is the same client."""
        return self.request.model, self.request.messages[0].content.split("\n", 1)[0]


class Warmer:
    """Remembers heads in `file`, and has them read. `start` and `close` bracket its task."""

    def __init__(self, fleet: Fleet, file: Path, keep_alive: str) -> None:
        self._fleet = fleet
        self._file = file
        self._keep_seconds = seconds_of(keep_alive)
        self._heads: OrderedDict[tuple[str, str], Head] = OrderedDict()
        self._read_at: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Event()
        self._last_turn = 0.0
        self._rest_until = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads what was kept, and begins."""
        self._load()
        self._task = asyncio.create_task(self._run(), name="warming")

    async def close(self) -> None:
        """Ends."""
        if self._task is not None:
            await end(self._task)

    async def warm(self) -> None:
        """Has every known head read again now, or where none is known the model loaded. Not while turns are answered:
        those warm it as well."""
        self._rest_until = 0.0
        plain = Head(ChatRequest(messages=(), model=self._fleet.name), None)
        for head in tuple(self._heads.values()) or (plain,):
            await self._read(head)

    def seen(self, request: ChatRequest) -> None:
        """A turn is about to be asked with this prompt: its head is warm from then on, and is remembered."""
        self._last_turn = time.monotonic()
        if not request.messages or request.messages[0].role != "system":
            return
        head = Head(
            replace(request, messages=request.messages[:1], format=None, extra={}),
            seconds_of(request.keep_alive) if request.keep_alive is not None else self._keep_seconds,
        )
        known = self._heads.get(head.client)
        self._heads[head.client] = head
        self._heads.move_to_end(head.client)
        while len(self._heads) > HEADS:
            self._heads.popitem(last=False)
        self._read_at[head.client] = time.monotonic()
        if known != head:
            self._save()

    async def _run(self) -> None:
        while True:
            due = [head for client, head in self._heads.items() if self._is_due(client, head)]
            now = time.monotonic()
            if due and now - self._last_turn >= IDLE_SECONDS and now >= self._rest_until:
                # The one used last is read last: a model with one place keeps no other.
                await self._read(due[0])
            await asyncio.sleep(IDLE_SECONDS / 2)

    def _is_due(self, client: tuple[str, str], head: Head) -> bool:
        read_at = self._read_at.get(client)
        if read_at is None:
            return True
        return head.keep_seconds is not None and time.monotonic() - read_at > head.keep_seconds * PART_OF_KEEP_ALIVE

    async def _read(self, head: Head) -> None:
        """Has the model read the head and say one token."""
        began = time.monotonic()
        request = replace(
            head.request,
            messages=(*head.request.messages, Message("user", "")),
            options={**head.request.options, "num_predict": 1},
            think=False if head.request.think else head.request.think,
        )
        try:
            # No waiting for a place: when one comes free somebody has just been answered, and may go on to speak.
            asked = self._fleet.ask(request, priority=Priority.BACKGROUND, seconds=0)
            async with asyncio.timeout(MOST_SECONDS), aclosing(asked) as deltas:
                async for _ in deltas:
                    pass
        except Preempted:
            self._last_turn = time.monotonic()
        except Unavailable:
            log.debug("a head is not warmed: turns are answered")
        except (ModelError, TimeoutError) as error:
            log.debug("a head was not warmed: %s", error)
            self._rest_until = time.monotonic() + REST_SECONDS
        else:
            log.info("warmed the prompt's head for %s in %.1f s", head.request.model, time.monotonic() - began)
            self._read_at[head.client] = time.monotonic()

    def _save(self) -> None:
        kept = [
            {
                "model": head.request.model,
                "system": head.request.messages[0].content,
                "tools": list(head.request.tools),
                "options": dict(head.request.options),
                "think": head.request.think,
                "keep_alive": head.request.keep_alive,
                "keep_seconds": head.keep_seconds,
            }
            for head in self._heads.values()
        ]
        making = self._file.with_suffix(".new")
        try:
            making.touch(mode=0o600)
            making.write_bytes(orjson.dumps(kept))
            making.replace(self._file)
        except OSError as error:
            log.warning("the prompts' heads were not kept: %s", error)

    def _load(self) -> None:
        try:
            kept: list[dict[str, Any]] = orjson.loads(self._file.read_bytes())
            heads = [
                Head(
                    ChatRequest(
                        messages=(Message("system", one["system"]),),
                        model=one["model"],
                        tools=tuple(one["tools"]),
                        options=one["options"],
                        think=one["think"],
                        keep_alive=one["keep_alive"],
                    ),
                    one["keep_seconds"],
                )
                for one in kept
            ]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("the prompts' heads of the last run are not readable: %s", error)
            return
        self._heads = OrderedDict((head.client, head) for head in heads)


def seconds_of(keep_alive: object) -> float | None:
    """Ollama's keep_alive in seconds: a number, or text such as `5m` or `1h30m`; negative: None, for ever."""
    if isinstance(keep_alive, bool) or keep_alive is None:
        return None
    if isinstance(keep_alive, (int, float)):
        return None if keep_alive < 0 else float(keep_alive)
    text = str(keep_alive).strip()
    if text.startswith("-"):
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None
