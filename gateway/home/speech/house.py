"""The house as the client states it, made ready for recognition: every name in every form it is said in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hassil.intents import TextSlotList

from gateway.home.speech.inflection import forms
from gateway.shapes import Entity

_WORD = re.compile(r"\w+")
_ARTICLE = re.compile(
    r"^(?:the|a|an|my|our|this|le|la|les|mon|ma|mes|notre|nos|cet|cette|ce|mój|moja|moje|moją)\s+|^l'", re.IGNORECASE
)
# Only asked about: forms of their names would be made for nothing, and there are many of these.
_ASKED_ABOUT = frozenset({"sensor", "binary_sensor", "weather", "person", "sun", "zone", "calendar", "event", "image"})
SHORTEST_MISHEARD = 5  # letters: of shorter words too many are one letter from another word that is meant


@dataclass(frozen=True, slots=True)
class Said:
    """A thing that the matched words may mean: the entity's place in the house, and the name to call it by."""

    place: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """`lists` go to the recogniser; its name slots have a `Said` as value, its areas the name the client gave."""

    entities: tuple[Entity, ...]
    lists: dict[str, TextSlotList]
    areas: frozenset[str]
    words: frozenset[str]
    near: dict[str, frozenset[str]] = field(repr=False)

    def at(self, area: str, place: int) -> bool:
        """Whether the entity stands in the area of that name."""
        wanted = area.casefold()
        return any(name.casefold() == wanted for name in self.entities[place].areas)

    def called(self, name: str) -> list[int]:
        """Where the entities are to which Home Assistant would take `name`: it compares without case."""
        wanted = name.casefold()
        return [
            place
            for place, entity in enumerate(self.entities)
            if any(known.casefold() == wanted for known in entity.names)
        ]

    def heard_for(self, word: str) -> frozenset[str]:
        """The words of the house's names that are one letter from `word`."""
        found: set[str] = set()
        for key in _one_less(word):
            found |= self.near.get(key, frozenset())
        return frozenset(known for known in found if _one_apart(known, word))


def house(
    entities: tuple[Entity, ...],
    aliases: Sequence[tuple[str, str]],
    area: str | None,
    floor: str | None,
    language: str,
) -> House:
    """The house in `language`. `aliases` are pairs of what is said and whose name it stands for; one whose name no
    single entity has is left out."""
    said: dict[str, set[Said]] = defaultdict(set)
    exact: dict[str, set[Said]] = defaultdict(set)
    for place, entity in enumerate(entities):
        for name in entity.names:
            exact[_key(name)].add(Said(place, name))
    for place, entity in enumerate(entities):
        for name in entity.names:
            for form in forms(name, language) if entity.domain not in _ASKED_ABOUT else (name,):
                # What is exactly the name of one thing is not also a form of another's.
                if _key(form) not in exact or Said(place, name) in exact[_key(form)]:
                    said[form].add(Said(place, name))
    for alias, name in aliases:
        meant = {one.place: one for one in exact.get(_key(name), ())}
        if len(meant) != 1:
            continue
        (one,) = meant.values()
        bare = _ARTICLE.sub("", alias)
        for spoken in dict.fromkeys((alias, bare, *forms(bare, language))):
            said[spoken].add(one)

    areas: dict[str, str] = {}
    for group in {entity.areas: None for entity in entities}:
        for name in group:
            areas.setdefault(name, name)
    if area is not None:
        areas.setdefault(area, area)
    spoken_areas = [(form, name) for name in areas for form in forms(name, language)]
    names = [
        (form, one, {"domain": entities[one.place].domain})
        for form, ones in said.items()
        for one in sorted(ones, key=lambda one: (one.place, one.name))
    ]
    floors = dict.fromkeys(filter(None, (floor, *(entity.floor for entity in entities))))
    spoken_floors = [(form, name) for name in floors for form in forms(name, language)]
    places = (form for form, _ in (*spoken_areas, *spoken_floors))
    words = frozenset(word for text in (*said, *places) for word in _WORD.findall(text.casefold()))
    near: dict[str, set[str]] = defaultdict(set)
    for word in words:
        if len(word) >= SHORTEST_MISHEARD and word.isalpha():
            for key in _one_less(word):
                near[key].add(word)
    return House(
        entities,
        {
            "name": TextSlotList.from_tuples(names, name="name", allow_template=False),
            "area": TextSlotList.from_tuples(spoken_areas, name="area", allow_template=False),
            "floor": TextSlotList.from_tuples(spoken_floors, name="floor", allow_template=False),
        },
        frozenset(_key(form) for form, _ in spoken_areas),
        words,
        {key: frozenset(found) for key, found in near.items()},
    )


def _key(text: str) -> str:
    return " ".join(text.replace("’", "'").split()).casefold()


def _one_less(word: str) -> Iterable[str]:
    """The word, and the word without each of its letters: two words one letter apart have one of these in common."""
    yield word
    for place in range(len(word)):
        yield word[:place] + word[place + 1 :]


def _one_apart(one: str, other: str) -> bool:
    """One letter changed, left out, put in, or two neighbours swapped."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    if len(one) == len(other):
        return one[start + 1 :] == other[start + 1 :] or (
            one[start + 2 :] == other[start + 2 :] and one[start : start + 2] == other[start : start + 2][::-1]
        )
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer[start + 1 :] == shorter[start:]
