"""An answer's name: SHA-256 over everything that could make the model answer differently."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Any

import orjson

from gateway.cache.courtesies import bare, plain
from gateway.shapes import Message, Turn

# Fields of a request that change how an answer is delivered, not what it says. Every other field is in the key.
NEUTRAL = frozenset({"stream", "keep_alive"})

# Typographic variants that speech-to-text engines and keyboards write for the same words.
_VARIANTS = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "\u00a0": " ", "\u202f": " "}
)
# What holds one of these is an address, an identifier or code, and is kept as it is written.
_CODE = re.compile(r"[`_{}<>=\\|@^~\[\]()]|://|^www\.|^/|\w\.\w")
# Other words with a capital: a country and a bird, a month and a verb, a company and a fruit.
_NAMES = re.compile(r"(?:turkey|china|polish|march|may|august|mercury|apple|windows|word)$")
# Of these the small one is so much commoner that a capital tells nothing at the beginning, or among capitals.
_COMMON = re.compile(r"(?:march|may|word)$")
# Other words all in capitals, unless the whole sentence is.
_ACRONYMS = re.compile(r"(?:US|IT|WHO|AIDS|LED|PIN|RAM|ICE|SAT|ACT|UN)$")
# Milliwatt and megawatt, megabit and megabyte, metre and mega.
_UNIT = re.compile(r"^[\d.,]*(?:[mM](?:[wWaAvVgGlLjJ]|[hH][zZ]|[pP][aA])h?|[kKmMgGtT]i?[bB](?:ps)?|[a-zA-Z])$")


# A longer text is hardly asked twice and is never stored; looking through it takes time.
MAX_CHARACTERS = 800
_REMEMBERED = 2048  # utterances, so that what is asked often costs nothing


def folded(utterance: str) -> str:
    """The utterance in composed small letters, on one line, without the shapes of quotes and punctuation at its ends.

    Unicode is composed (NFC), not folded by compatibility: that would make `5²` the same as `52`.
    """
    return _folded(utterance) if len(utterance) <= MAX_CHARACTERS else _folded.__wrapped__(utterance)


@lru_cache(_REMEMBERED)
def _folded(utterance: str) -> str:
    return bare(_composed(_composed(utterance).translate(_VARIANTS).casefold()))


def normalise(utterance: str) -> str:
    """What an answer is stored by: the utterance without what cannot change its meaning.

    Gone are case, spaces, quotes' shapes, punctuation at the ends, courtesy and hesitation. Case stays where it tells:
    in code, addresses, units, and words that are others with a capital (`Turkey`, `US`). A text of several lines stays
    as it is: it may be a program or a poem. So does one over `MAX_CHARACTERS`.
    """
    return _normalised(utterance) if len(utterance) <= MAX_CHARACTERS else unicodedata.normalize("NFC", utterance)


@lru_cache(_REMEMBERED)
def _normalised(utterance: str) -> str:
    lines = unicodedata.normalize("NFC", utterance).strip()
    if "\n" in lines:
        return lines
    text = _composed(lines).translate(_VARIANTS)
    shouted = text.upper() == text
    words = (_cased(word, before, shouted=shouted) for before, word in pairwise(("", *text.split())))
    return plain(bare(_composed(" ".join(words))))


def _cased(word: str, before: str, *, shouted: bool) -> str:
    """`word` in small letters, or as it is written where that tells it from another."""
    small = word.casefold()
    core = word.strip(".,;:!?…\"'")
    if word == small or not core:
        return small
    first = not before or before[-1] in ".?!…"
    name = core.casefold()
    if _CODE.search(core) or (_NAMES.match(name) and not ((first or shouted) and _COMMON.match(name))):
        return word
    if _ACRONYMS.match(core) and not shouted:
        return word
    if _UNIT.match(core) and (
        core[0].isdigit() or before[-1:].isdigit() or (len(core) > 1 and not first and not shouted)
    ):
        return word
    return small


def _composed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


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
