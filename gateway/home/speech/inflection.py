"""How the name of a thing or a room is said inside a sentence: inflected in Polish, elided and contracted in French.

A form too many does no harm: nobody says it, and one that two things share names neither. So the rules here make every
form that a word's ending allows, and do not ask whether it is a noun or an adjective.
"""

from __future__ import annotations

import re
from itertools import islice, product

MOST_FORMS = 60  # of one name; a longer name has fewer forms in use than its words would allow
_PREPOSITIONS = frozenset({"w", "we", "na", "do", "od", "z", "ze", "dla", "nad", "pod", "przy", "u", "i", "po", "za"})
_CASES = ("genitive", "locative", "accusative", "instrumental")

_A = (  # feminine nouns by their ending: what replaces it in the genitive, and in the locative
    ("ka", "ki", "ce"),
    ("ga", "gi", "dze"),
    ("cha", "chy", "sze"),
    ("ra", "ry", "rze"),
    ("ta", "ty", "cie"),
    ("da", "dy", "dzie"),
    ("ła", "ły", "le"),
    ("ia", "i", "i"),
    ("ja", "ji", "ji"),
    ("la", "li", "li"),
    ("cza", "czy", "czy"),
    ("sza", "szy", "szy"),
    ("rza", "rzy", "rzy"),
    ("ża", "ży", "ży"),
    ("ca", "cy", "cy"),
    ("a", "y", "ie"),
)
_CONSONANT = (  # masculine nouns: the stem's ending in the oblique cases, and the locative's
    ("ój", "oj", "oju"),
    ("ód", "od", "odzie"),
    ("azd", "azd", "eździe"),
    ("ek", "k", "ku"),
    ("iec", "c", "cu"),
    ("ec", "c", "cu"),
    ("ień", "ni", "niu"),
    ("eń", "ni", "niu"),
    ("ń", "ni", "niu"),
    ("t", "t", "cie"),
    ("d", "d", "dzie"),
    ("ł", "ł", "le"),
    ("r", "r", "rze"),
    ("k", "k", "ku"),
    ("g", "g", "gu"),
    ("ch", "ch", "chu"),
    ("sz", "sz", "szu"),
    ("cz", "cz", "czu"),
    ("rz", "rz", "rzu"),
    ("ż", "ż", "żu"),
    ("c", "c", "cu"),
    ("l", "l", "lu"),
    ("j", "j", "ju"),
    ("", "", "ie"),
)
_FRENCH_LINK = re.compile(r"\s+(?:de la |de l'|du |des |de |d')", re.IGNORECASE)
_CAPITAL_INSIDE = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_VOWEL = re.compile(r"^[aeiouyhàâéèêëîïôûœ]", re.IGNORECASE)


def forms(name: str, language: str) -> tuple[str, ...]:
    """`name` as it may stand in a sentence of `language`, itself first; in other languages nearly alone."""
    name = " ".join(name.replace("’", "'").split())
    if language == "pl":
        return tuple(dict.fromkeys((name, *_polish(name))))
    if language == "fr":
        return tuple(dict.fromkeys((name, *_french(name))))
    # "HeatPump" is said in two words.
    return tuple(dict.fromkeys((name, _CAPITAL_INSIDE.sub(" ", name))))


def place(name: str, language: str) -> str:
    """The name of a room as it stands behind "in"."""
    if language != "pl":
        return name
    return " ".join(_polish_word(word)["locative"][0] for word in name.split(" "))


def _polish(name: str) -> list[str]:
    words = name.split(" ")
    # What follows a preposition stays as it is: "drzwi od garażu".
    end = next((at for at, word in enumerate(words) if at and word.casefold() in _PREPOSITIONS), len(words))
    by_case = [_polish_word(word) for word in words[:end]]
    made: list[str] = []
    # The first words agree with each other; behind them may stand a genitive that stays: "klapa bagażnika".
    for declined in range(end, 0, -1):
        for case in _CASES:
            choices = [by_case[at][case] for at in range(declined)]
            made += [" ".join((*chosen, *words[declined:])) for chosen in islice(product(*choices), 12)]
    return made[:MOST_FORMS]


def _polish_word(word: str) -> dict[str, list[str]]:
    """The word's forms by case, a noun's before an adjective's."""
    low = word.casefold()
    found: dict[str, list[str]] = {case: [] for case in _CASES}

    def add(case: str, *endings: str, cut: int) -> None:
        made = (word[: len(word) - cut] + ending for ending in endings)
        found[case] += [form for form in dict.fromkeys(made) if form not in found[case]]

    if not low.isalpha() or len(low) < 3:
        for case in _CASES:
            found[case].append(word)
    elif low.endswith("a"):
        ending, genitive, locative = next(row for row in _A if low.endswith(row[0]))
        add("genitive", genitive, cut=len(ending))
        add("locative", locative, cut=len(ending))
        add("accusative", "ę", "ą", cut=1)
        add("instrumental", "ą", cut=1)
        adjective = "iej" if low.endswith(("ka", "ga")) else "ej"
        add("genitive", adjective, cut=1)
        add("locative", adjective, cut=1)
    elif low.endswith(("y", "i")):
        add("accusative", low[-1], cut=1)
        y = low[-1]
        middle = "ie" if y == "i" else "e"
        add("genitive", f"{middle}go", "ów", "", cut=1)
        add("locative", f"{y}m", f"{y}ch", "ach", cut=1)
        add("instrumental", f"{y}m", f"{y}mi", "ami", cut=1)
        add("accusative", f"{middle}go", cut=1)
    elif low.endswith("e"):
        add("accusative", "e", cut=1)
        add("genitive", "a", "ego", "", "ych", cut=1)
        add("locative", "u", "ym", "im", "ach", "ych", cut=1)
        add("instrumental", "m", cut=0)
        add("instrumental", "ym", "ami", cut=1)
    elif low.endswith("o"):
        add("accusative", "o", cut=1)
        add("genitive", "a", cut=1)
        _, _, locative = next(row for row in _CONSONANT if low[:-1].endswith(row[0]))
        cut = next(len(row[0]) for row in _CONSONANT if low[:-1].endswith(row[0])) + 1
        add("locative", locative, cut=cut)
        add("instrumental", "em", "iem", cut=1)
    elif low[-1] in "ęąóu":
        for case in _CASES:
            found[case].append(word)
    else:
        ending, stem, locative = next(row for row in _CONSONANT if low.endswith(row[0]))
        cut = len(ending)
        add("genitive", stem + "u", stem + "a", cut=cut)
        add("locative", locative, stem + "u", cut=cut)
        add("accusative", ending, stem + "a", cut=cut)
        add("instrumental", stem + "em", stem + "iem", cut=cut)
    return found


def _french(name: str) -> list[str]:
    made: list[str] = []
    # "interrupteur de la cuisine" is also said "interrupteur cuisine".
    short = _FRENCH_LINK.sub(" ", name)
    made.append(short)
    for said in (name, short):
        made += [f"l'{said}", f"d'{said}", f"de l'{said}"] if _VOWEL.match(said) else [f"du {said}", f"de la {said}"]
    return made
