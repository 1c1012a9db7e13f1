"""An answer's name: SHA-256 over everything that could make the model answer differently."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

import orjson

from gateway.shapes import Message, Turn

# Fields of a request that change how an answer is delivered, not what it says. Every other field is in the key.
NEUTRAL = frozenset({"stream", "keep_alive"})

# Typographic variants that speech-to-text engines and keyboards write for the same words.
_VARIANTS = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "\u00a0": " ", "\u202f": " "}
)
# No dash: it may be a minus.
_ENDS = " \t\r\n.,;:!?…\"'¿¡"


def normalise(utterance: str) -> str:
    """The utterance without what cannot change its meaning: case, spaces, quotes' shapes, punctuation at its ends.

    Unicode is composed (NFC), not folded by compatibility: that would make `5²` the same as `52`.
    """
    text = unicodedata.normalize("NFC", utterance).translate(_VARIANTS).casefold()
    return " ".join(text.split()).strip(_ENDS)


def cache_key(
    turn: Turn, *, model: str, language: str, local_date: date, head: str, history: tuple[Message, ...]
) -> str:
    """64 hexadecimal digits. `head` and `history` are what the model is given (the client's, or the gateway's own)."""
    canonical = {
        "household": turn.scope.household_id,
        "member": turn.scope.member_id,
        "utterance": normalise(turn.utterance),
        "language": language,
        "voice": turn.voice,
        "date": local_date.isoformat(),
        "area": turn.area,
        "floor": turn.floor,
        "volatile": turn.volatile,
        "model": model,
        "head": head,
        "history": [_message(message) for message in history],
        "tools": turn.tools,
        "images": turn.images,
        "request": _without_neutral(turn.request),
    }
    return hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS, default=_mapping)).hexdigest()


def _without_neutral(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in NEUTRAL}


def _message(message: Message) -> dict[str, Any]:
    return {
        "role": message.role,
        "content": message.content,
        "thinking": message.thinking,
        "tool_calls": [[call.name, call.arguments] for call in message.tool_calls],
        "images": message.images,
        "extra": message.extra,
    }


def _mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)
