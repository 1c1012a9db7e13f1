"""What a question about the home is about: which room or thing, what is measured of it, what became of it.

The tables hold words of English, French and Polish as `fold` leaves them, side by side: entity ids are English in a
French home as often as not, and "sypialnia" has to find `sensor.bedroom_temperature`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.memory.spans import fold

# Rooms and things, each by the beginnings of the words that name it.
_NAMED: Mapping[str, str] = {
    "attic": "attic|loft|grenier|strych",
    "balcony": "balcon|balkon|terrace|terrasse|patio|taras",
    "bathroom": "bathroom|bath room|salle de bain|salle d'eau|lazien",
    "bedroom": "bedroom|chambre|sypialni",
    "boiler": "boiler|chauffe-eau|ballon d'eau|bojler|podgrzewacz",
    "cellar": "cellar|basement|cave|sous-sol|piwnic",
    "children": "child|kids|nursery|enfant|dziec",
    "dishwasher": "dishwasher|dish washer|lave-vaisselle|lave vaisselle|zmywark",
    "door": "door|porte|drzwi",
    "dryer": "dryer|tumble|seche-linge|seche linge|suszark",
    "freezer": "freezer|congelateur|zamrazar",
    "fridge": "fridge|refrigerator|frigo|refrigerateur|lodow",
    "garage": "garage|garaz",
    "garden": "garden|yard|jardin|ogrod",
    "gate": "gate|portail|bram",
    "hall": "hall|corridor|couloir|korytarz|przedpok",
    "heating": "heating|heater|radiator|chauffage|radiateur|ogrzewani|grzejnik|kaloryfer",
    "kitchen": "kitchen|cuisine|kuchni|kuchen",
    "lamp": "light|lamp|lumiere|eclairage|swiatl",
    "living room": "living room|livingroom|living|lounge|sitting room|salon|sejour",
    "office": "office|study|bureau|biur|gabinet",
    "outside": "outside|outdoor|dehors|exterieur|na zewnatrz|zewnetrzn|na dworze|na polu",
    "oven": "oven|four|piekarnik",
    "shutter": "shutter|blind|volet|store|rolet|zaluzj",
    "television": "television|tv|tele|telewiz",
    "washing machine": "washing machine|washer|washing|lave-linge|lave linge|machine a laver|pralk",
    "window": "window|fenetre|okn|okien",
}


@dataclass(frozen=True)
class Quantity:
    """What can be measured: how it is asked for, how an entity's name tells it, and its units."""

    asked: str
    named: str
    units: frozenset[str] = frozenset()


QUANTITIES: Mapping[str, Quantity] = {
    "temperature": Quantity(
        "warm|hot|cold|cool|temperature|temp|degree|chaud|froid|degre|faisait|cieplo|ciepla|ciepl|zimn|gorac|stopni",
        "temperature|temp|temperatur|thermo",
        frozenset({"°C", "°F", "K"}),
    ),
    "humidity": Quantity("humid|damp|wilgotn", "humid|wilgotn"),
    "energy": Quantity(
        "energy|electric|consum|kwh|energi|electricit|consomm|prad|zuzy",
        "energy|consumption|energi|consommation|zuzyci",
        frozenset({"Wh", "kWh", "MWh"}),
    ),
    "power": Quantity("power|watt|puissance|moc", "power|puissance|moc", frozenset({"W", "kW", "VA"})),
    "carbon dioxide": Quantity("co2|air quality|qualite de l'air|jakosc powietrza", "co2|carbon", frozenset({"ppm"})),
    "pressure": Quantity("pressure|pression|cisnieni", "pressure|pression|cisnieni", frozenset({"hPa", "mbar", "bar"})),
    "brightness": Quantity("bright|lux|luminosit|jasn", "illuminance|lux|luminosit|jasnosc", frozenset({"lx"})),
    "wind": Quantity("wind|vent|wiatr|wial", "wind|vent|wiatr"),
    "rain": Quantity("rain|pluie|plu|pleuvait|deszcz|pada", "rain|precipitation|pluie|deszcz|opad"),
    "battery": Quantity("battery|batteri|bateri", "battery|batteri|bateri"),
}
# What may become of a thing: how it is asked for, and the states that say so (in lower case).
CHANGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "unlocked": ("unlock|deverrouill|odblokow", ("unlocked",)),
    "locked": ("lock|verrouill|zablokow", ("locked",)),
    "opened": ("open|ouvert|ouvr|otworz|otwar|otwier", ("open", "opening", "on")),
    "closed": ("clos|shut|ferm|zamk|zamyk|domk", ("closed", "closing", "off")),
    "finished": (
        "finish|done|end|ended|complet|stop|fini|termin|arret|skoncz|zakoncz|zatrzym",
        ("off", "idle", "finished", "finish", "done", "complete", "completed", "end", "ended", "ready", "standby",
         "stopped", "stop"),
    ),
    "started": (
        "start|begin|began|begun|commenc|demarr|zacz|rozpocz|uruchom",
        ("on", "running", "run", "started", "active", "in_progress", "washing", "drying", "heating", "cleaning"),
    ),
    "turned off": ("off|etein|eteint|wylacz|zgas", ("off",)),
    "turned on": ("on|allum|wlacz|zapal", ("on", "heat", "cool", "auto", "playing")),
    "came home": ("home|arriv|rentr|wroc|przysz|przyjech", ("home", "on")),
    "left": ("leave|left|go out|went out|parti|sorti|wyszed|wyszl|wyjech", ("not_home", "away")),
    "moved": ("motion|mov|mouvement|boug|ruch|rusz", ("on", "detected")),
    "rang": ("ring|rang|rung|doorbell|sonn|dzwon", ("on", "pressed", "ring", "ringing")),
}  # fmt: skip
# "What did I say about the dishwasher?" asks for words, not for what it did.
_SAYING = "say|said|tell|told|mention|dit|dire|raconte|parle|mowi|powiedz|wspomin"
_DOMAINS_THAT_NAME_NOTHING = ("sensor", "binary_sensor", "input_boolean", "input_number", "input_select", "switch")
_EXACT = frozenset(
    {"on", "off", "end", "four", "hot", "tv", "tele", "store", "plu", "moc", "vent", "temp", "cave", "gate", "living"}
)
_LEAST_SHARED = 4  # letters that two forms of a word have in common


def _words(begun: str) -> re.Pattern[str]:
    forms = (re.escape(word) + ("" if word in _EXACT else r"\w*") for word in begun.split("|"))
    return re.compile(rf"(?<![a-z])(?:{'|'.join(forms)})(?![a-z])")


_NAMED_WORDS = {name: _words(begun) for name, begun in _NAMED.items()}
_ASKED_WORDS = {name: _words(quantity.asked) for name, quantity in QUANTITIES.items()}
_QUANTITY_WORDS = {name: _words(quantity.named) for name, quantity in QUANTITIES.items()}
_SAYING_WORDS = _words(_SAYING)
_CHANGE_WORDS = {name: _words(begun) for name, (begun, _) in CHANGES.items()}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: rooms and things by their names here, the quantity, the change, and the words beside them."""

    about: frozenset[str]
    quantity: str | None
    change: str | None
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Thing:
    """What an entity's id and names say of it."""

    about: frozenset[str]
    quantity: str | None
    words: frozenset[str]


def asks_for_words(text: str) -> bool:
    """Whether it asks for what somebody said."""
    return _SAYING_WORDS.search(fold(text)) is not None


def question(text: str) -> Question:
    """What `text`, from which the words of its time are taken out, asks for."""
    folded = fold(text)
    about, rest = _named_in(folded)
    quantity = next((name for name, words in _ASKED_WORDS.items() if words.search(rest)), None)
    change = next((name for name, words in _CHANGE_WORDS.items() if words.search(rest)), None)
    for words in (*_ASKED_WORDS.values(), *_CHANGE_WORDS.values()):
        rest = words.sub(" ", rest)
    return Question(about, quantity, None if quantity else change, _plain(rest))


@lru_cache(maxsize=2048)  # a house's, twice over: its entities are the same from question to question
def thing(entity: str, unit: str | None, names: tuple[str, ...]) -> Thing:
    """What `sensor.bedroom_temperature` is, from its id, the unit it told, and what people call it and its room."""
    domain, _, own = entity.rpartition(".")
    parts = [own, *names] if domain in _DOMAINS_THAT_NAME_NOTHING else [domain, own, *names]
    about, rest = _named_in(fold(" ".join(parts).replace("_", " ")))
    quantity = next((name for name, one in QUANTITIES.items() if unit in one.units), None) or next(
        (name for name, words in _QUANTITY_WORDS.items() if words.search(rest)), None
    )
    for words in _QUANTITY_WORDS.values():
        rest = words.sub(" ", rest)
    return Thing(about, quantity, _plain(rest))


def label(entity: str, names: Sequence[str]) -> str:
    """How the entity is called: by its first name, else by its id's words."""
    own = names[0] if names else entity.rpartition(".")[2].replace("_", " ").strip() or entity
    own = " ".join(own.split())
    return own[:1].upper() + own[1:]


def nearness(asked: Question, found: Thing) -> int:
    """How many of the rooms, things and words that are asked for are the entity's."""
    words = sum(any(_akin(word, own) for own in found.words) for word in asked.words)
    return len(asked.about & found.about) + words


def _named_in(folded: str) -> tuple[frozenset[str], str]:
    about = set()
    for name, words in _NAMED_WORDS.items():
        folded, times = words.subn(" ", folded)
        if times:
            about.add(name)
    return frozenset(about), folded


def _plain(text: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"[^\W_]+", text) if len(word) >= 3)


def _akin(one: str, other: str) -> bool:
    """Whether they are forms of one word: the same, or alike but for the ending."""
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    shared = next((at for at, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    return shared >= _LEAST_SHARED and len(longer) - shared <= 3 and len(shorter) - shared <= 2
