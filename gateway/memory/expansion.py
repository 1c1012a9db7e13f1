"""Query expansion: what else a question could have been asked with. No model is asked.

"is the sun lamp dimmable"     and where the household calls the office's main light so: "Office main light", "office"
"and upstairs?"                the question before it
"the 2 grey cables"            "two", "gray"
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from unicode_rbnf import RbnfEngine

from gateway.shapes import Entity

MOST_NAMES = 6  # that are added
MOST_CALLED_ALIKE = 2  # things: what more than these are called names none of them
LONGEST_BEFORE = 300  # characters of the question before
MAX_NUMBER = 100
NUMBER_WORDS = 3  # "vingt et un"
LANGUAGES = ("en", "fr", "pl")

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_HYPHENED = re.compile(r"\w+(?:-\w+)+")
# What leans on the question before it: begins as if that went on, or has a pronoun where its subject should be.
_GOES_ON = {
    "en": r"(?:and|or|but|so|then|also|what about|how about|and what about|what of)\b",
    "fr": r"(?:et|ou|mais|alors|puis|aussi|qu'en est-il|quid)\b",
    "pl": r"(?:a|i|albo|ale|oraz|no to|a co z|co z)\b",
}
_PRONOUN = {
    "en": r"\b(?:it|he|she|they|them|him|her|there|those|that one|this one|these|its|their|his|the other one|one)\b",
    "fr": r"\b(?:il|elle|ils|elles|celui-l[àa]|celle-l[àa]|celui-ci|celle-ci|[çc]a|cela|lui|leur|y|l'autre)\b",
    "pl": r"\b(?:on|ona|ono|oni|one|jego|jej|ich|jemu|nim|ni[ąa]|niej|nimi|go|tam|ten|tamten|tamta|tego|tej|ta|to)\b",
}
_LEANS = {
    language: re.compile(rf"^(?:{'|'.join(_GOES_ON.values())})|{pronoun}", re.IGNORECASE)
    for language, pronoun in _PRONOUN.items()
}
MOST_LEANING_WORDS = 8  # a longer question says what it is about

# One word, spelt in two ways: in Britain and in America, and as it is said.
_SPELLINGS = (
    (re.compile(r"(?<=\w{2})our(?=s?$|ed$|ing$|ful$|ite$|ites$)"), "or"),
    (re.compile(r"(?<=\w{3})is(?=e$|es$|ed$|er$|ers$|ing$|ation$|ations$)"), "iz"),
    (re.compile(r"(?<=\w{3})iz(?=e$|es$|ed$|er$|ers$|ing$|ation$|ations$)"), "is"),
    (re.compile(r"(?<=\w[^e])re$"), "er"),
)
_PAIRS = MappingProxyType(
    dict(
        pair
        for one, other in (
            ("grey", "gray"),
            ("tyre", "tire"),
            ("tyres", "tires"),
            ("programme", "program"),
            ("cheque", "check"),
            ("aluminium", "aluminum"),
            ("mum", "mom"),
            ("mould", "mold"),
            ("plough", "plow"),
            ("pyjamas", "pajamas"),
            ("centre", "center"),
            ("litre", "liter"),
            ("metre", "meter"),
            ("fibre", "fiber"),
            ("colour", "color"),
            ("fridge", "refrigerator"),
            ("phone", "telephone"),
            ("télé", "télévision"),
            ("frigo", "réfrigérateur"),
            ("ordi", "ordinateur"),
            ("lodówka", "chłodziarka"),
        )
        for pair in ((one, other), (other, one))
    )
)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A question made ready for search.

    `meaning` is what is embedded. `also` are words to be looked for beside the question's own; that an entry lacks them
    is not held against it. `added` says what was added and why: by `name`, `before`, `number`, `spelling`.
    """

    question: str
    meaning: str
    also: tuple[str, ...] = ()
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def expand(
    question: str, *, language: str | None = None, things: Sequence[Entity] = (), before: str | None = None
) -> Expansion:
    """What to search for. `things` are those of the home, what the household calls them among their names; `before` is
    what the same speaker said last in this conversation. Without a `language` numbers are known in each."""
    added: dict[str, tuple[str, ...]] = {}
    meaning = question
    asked = question
    if before and leans(question, language or "en"):
        earlier = before.strip()[:LONGEST_BEFORE]
        added["before"] = (earlier,)
        meaning = f"{earlier} {meaning}"
        asked = meaning
    words = _words(asked)
    if others := _other_names(words, tuple(things)):
        added["name"] = others
        meaning = f"{meaning} ({', '.join(others)})"
    if numbers := _numbers(words, LANGUAGES if language is None else (language,)):
        added["number"] = numbers
    if spellings := _spellings(asked, words):
        added["spelling"] = spellings
    return Expansion(question, meaning, tuple(text for texts in added.values() for text in texts), added)


@lru_cache(512)
def leans(question: str, language: str) -> bool:
    """Whether `question` is not to be understood without the one before it. In whatever language it goes on; a pronoun
    counts in its own alone ("on" is one in Polish)."""
    text = unicodedata.normalize("NFC", question).strip().replace("’", "'")
    return (
        len(_WORD.findall(text)) <= MOST_LEANING_WORDS and _LEANS.get(language, _LEANS["en"]).search(text) is not None
    )


def _other_names(words: Sequence[str], things: tuple[Entity, ...]) -> tuple[str, ...]:
    """The other names of the things that `words` name, and their areas; those of the longest name said first."""
    if not things:
        return ()
    index, longest = _index(things)
    found: dict[str, None] = {}
    for size in range(min(longest, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            for thing in index.get(tuple(words[start : start + size]), ()):
                found |= dict.fromkeys((*thing.names, *thing.areas))
    said = f" {' '.join(words)} "
    others = [name for name in found if f" {' '.join(_words(name))} " not in said]
    return tuple(others[:MOST_NAMES])


@lru_cache(16)
def _index(things: tuple[Entity, ...]) -> tuple[dict[tuple[str, ...], list[Entity]], int]:
    """The things by the words of each of their names, and how many words the longest has. What half the house is called
    names nothing."""
    index: dict[tuple[str, ...], list[Entity]] = {}
    for thing in things:
        for words in {tuple(_words(name)) for name in thing.names} - {()}:
            index.setdefault(words, []).append(thing)
    telling = {words: named for words, named in index.items() if len(named) <= MOST_CALLED_ALIKE}
    return telling, max(map(len, telling), default=0)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def _numbers(words: Sequence[str], languages: Sequence[str]) -> tuple[str, ...]:
    """Digits for numbers in words, and words for digits."""
    found: dict[str, None] = {}
    for language in languages:
        spoken, written = _number_words(language if language in LANGUAGES else "en")
        taken: set[int] = set()
        for size in range(NUMBER_WORDS, 0, -1):
            for start in range(len(words) - size + 1):
                places = set(range(start, start + size))
                value = spoken.get(" ".join(words[start : start + size]))
                if value is not None and not places & taken:
                    taken |= places
                    found[str(value)] = None
        for word in words:
            if word.isdecimal() and word.isascii() and len(word) <= len(str(MAX_NUMBER)) and int(word) <= MAX_NUMBER:
                found[written[int(word)]] = None
    return tuple(found)


@lru_cache(len(LANGUAGES))
def _number_words(language: str) -> tuple[dict[str, int], list[str]]:
    engine = RbnfEngine.for_language(language)
    written = [" ".join(_WORD.findall(engine.format_number(number).text)) for number in range(MAX_NUMBER + 1)]
    spoken = {words: number for number, words in enumerate(written)}
    # "One" is an article and a pronoun far more often than a number.
    for article in ("one", "un", "jeden"):
        spoken.pop(article, None)
    return spoken, written


def _spellings(asked: str, words: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word in words:
        if other := _PAIRS.get(word):
            found[other] = None
        for pattern, replacement in _SPELLINGS:
            if (respelt := pattern.sub(replacement, word)) != word:
                found[respelt] = None
    for hyphened in _HYPHENED.findall(asked):
        found[hyphened.replace("-", "").casefold()] = None
    return tuple(word for word in found if word not in words)
