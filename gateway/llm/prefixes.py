"""What a model server has read lately: a prompt that begins the same need not be read again there.

A prompt is a chain of rolling digests, one of the model alone, one with the tools and the first message, one with each
further message. Two prompts share as much as their chains have in common from the beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from gateway.shapes import ChatRequest, Message

Chain = tuple[bytes, ...]


def chained(request: ChatRequest, model: str) -> Chain:
    """The prompt's digests, from the model to the last message."""
    rolling = hashlib.blake2b(model.encode(), digest_size=16)
    digests = [rolling.digest()]
    rolling.update(_bytes([dict(tool) for tool in request.tools]))
    for message in request.messages:
        rolling.update(_bytes(_said(message)))
        digests.append(rolling.digest())
    return tuple(digests)


def shared(one: Chain, other: Chain) -> int:
    """How many digests two chains have in common from the beginning."""
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count


class WarmPrompts:
    """The last prompts that a server read, as many as it keeps at once."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._chains: list[Chain] = []  # the one read last at the end

    def shared(self, prompt: Chain) -> int:
        """How much of this prompt need not be read again."""
        return max((shared(prompt, warm) for warm in self._chains), default=0)

    def read(self, prompt: Chain) -> None:
        """The server has read this prompt, and let go of the one that began like it, or of the oldest.

        So do llama.cpp's slots, which Ollama builds on: the one that shares most goes on, else the one longest unused.
        """
        nearest = max(self._chains, key=lambda warm: shared(prompt, warm), default=None)
        if nearest is not None and shared(prompt, nearest) > 1:  # more than the model
            self._chains.remove(nearest)
        elif len(self._chains) >= self._kept:
            self._chains.pop(0)
        self._chains.append(prompt)

    def forget(self) -> None:
        """The server is gone, and what it had read with it."""
        self._chains.clear()


def _said(message: Message) -> Sequence[object]:
    calls = [[call.name, dict(call.arguments)] for call in message.tool_calls]
    return [message.role, message.content, message.thinking, calls, list(message.images)]


def _bytes(value: object) -> bytes:
    # What JSON cannot hold the model server will refuse; that is not to be found out here.
    return orjson.dumps(value, default=repr, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
