"""What `home-assistant-intents` knows of a language: sentences, answers, words. Loaded when first heard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from hassil.intents import Intents, RangeSlotList
from hassil.parse_expression import parse_sentence
from hassil.recognize import is_match
from home_assistant_intents import get_intents, get_languages

from gateway.home.speech.sentences import added

_WORD = re.compile(r"\w+")
_REFERENCE = re.compile(r"[<{][^<>{}]*[>}]")


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """`intents` are the parsed sentences, `responses` the answers by intent and key, `words` every word of both."""

    code: str
    intents: Intents
    responses: Mapping[str, Mapping[str, str]]
    words: frozenset[str]


@lru_cache(maxsize=64)
def known(language: str) -> str | None:
    """The code under which the package has `language` (`en-GB` is `en`, `pt-br` is `pt-BR`), or None."""
    wanted = language.replace("_", "-").casefold()
    codes = {code.casefold(): code for code in get_languages()}
    return codes.get(wanted) or codes.get(wanted.split("-", 1)[0])


@lru_cache(maxsize=16)
def load(code: str) -> Language:
    """The language of that code, as `known` gave it. Takes 10 to 30 ms; its first recognition a few hundred more."""
    data: dict[str, Any] | None = get_intents(code, json_load=lambda file: orjson.loads(file.read()))
    if data is None:
        raise KeyError(code)
    data = added(code, data)
    responses = data.get("responses", {}).get("intents", {})
    return Language(code, Intents.from_dict(data), responses, frozenset(_words(data)))


def warm(code: str) -> None:
    """Parses every sentence of the language and makes its words for numbers, so that no turn waits for it."""
    intents = load(code).intents
    for intent in intents.intents.values():
        for group in intent.data:
            for sentence in group.sentences:
                sentence.get_required_clauses({**intents.expansion_rules, **group.expansion_rules})
    for name, values in intents.slot_lists.items():
        if isinstance(values, RangeSlotList):
            is_match("?", parse_sentence(f"{{{name}}}"), slot_lists=intents.slot_lists, language=intents.language)


def _words(data: Mapping[str, Any]) -> set[str]:
    """Every word that a sentence of the language may hold, with its optional letters and without."""
    templates: list[str] = [*data.get("expansion_rules", {}).values(), *data.get("skip_words", ())]
    for values in data.get("lists", {}).values():
        templates += [str(value["in"] if isinstance(value, dict) else value) for value in values.get("values", ())]
    for intent in data.get("intents", {}).values():
        for group in intent["data"]:
            templates += group["sentences"]
    found: set[str] = set()
    for template in templates:
        bare = _REFERENCE.sub(" ", str(template)).casefold()
        found.update(_WORD.findall(bare))
        found.update(_WORD.findall(re.sub(r"\[[^\]]*\]", "", bare)))
        found.update(_WORD.findall(re.sub(r"[\[\]]", "", bare)))
    return found
