"""What the gateway does itself, and what it first asks for: a yes in the speaker's next words, and nothing else."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.memory import commands
from gateway.shapes import Scope, Source, ToolCall

ANSWER_SECONDS = 120.0  # for a yes, after it was asked for
MAX_ASKED = 256

Speaker = tuple[str, Scope]
"""Who was asked, and in which conversation."""


@dataclass(frozen=True, slots=True)
class Act:
    """What was done, and how to say so, in `language`; or the tool calls by which the client is to do it.

    `actions`: what became of each thing at home, `sources`: what the answer was read from.
    """

    intent: str
    language: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    actions: tuple[Mapping[str, Any], ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    language: str
    agreed: Callable[[], Awaitable[Act]]
    refused: Act
    forgetting: bool
    until: float  # monotonic


class Consents:
    """What waits for a yes, one for each speaker. A restart forgets it: then it is asked anew."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Speaker, _Asked] = OrderedDict()

    def ask(
        self, speaker: Speaker, language: str, agreed: Callable[[], Awaitable[Act]], refused: Act, *, forgetting: bool
    ) -> None:
        """Awaits `agreed` if the speaker's next words, within ANSWER_SECONDS, are a yes in `language`. `forgetting`:
        "forget it" is one, too."""
        self._asked[speaker] = _Asked(language, agreed, refused, forgetting, time.monotonic() + ANSWER_SECONDS)
        while len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)

    async def heard(self, speaker: Speaker, utterance: str) -> Act | None:
        """What the speaker's words decide; None where nothing was asked, or they are about something else. In any case
        it is no longer waited for."""
        asked = self._asked.pop(speaker, None)
        if asked is None or time.monotonic() >= asked.until:
            return None
        agreed = commands.consents(utterance, asked.language, forgetting=asked.forgetting)
        if agreed is None:
            return None
        return await asked.agreed() if agreed else asked.refused
