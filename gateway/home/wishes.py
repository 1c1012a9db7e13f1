"""Telling that something at home is asked for, where nothing at home can be reached: better said than pretended.

A small model answers "turn on the light" with "the light is on". For a client that offers no tools and tells of no
things, the wish is recognised by its verb, and the gateway says that it cannot.
"""

from __future__ import annotations

import re

from gateway.home.politeness import plain, tidy

_WISHES = {
    language: re.compile("|".join(verbs), re.IGNORECASE)
    for language, verbs in {
        "en": (
            r"(?:turn|switch) (?:on|off|up|down) \w",
            r"(?:turn|switch) .+ (?:on|off|up|down)$",
            r"(?:dim|brighten|lock|unlock|arm|disarm) (?:the|my|all)\b",
            r"(?:open|close|shut|raise|lower) (?:the|my|all|every)\b",
            r"set (?:the|my) .+ to \w",
        ),
        "fr": (
            r"(?:allumer?|étein(?:s|dre)|tamiser?|baisser?|monter?) (?:le|la|les|l'|tous|toutes|mon|ma|mes)",
            r"(?:ouvr(?:e|ir)|fermer?|(?:dé)?verrouiller?|règle|régler) (?:le|la|les|l'|tous|toutes|mon|ma|mes)",
        ),
        "pl": (
            r"(?:włącz|wyłącz|zapal|zgaś|zaświeć|przyciemnij|rozjaśnij) \w",
            r"(?:otwórz|zamknij|odsłoń|zasłoń|zablokuj|odblokuj|podnieś|opuść) \w",
        ),
    }.items()
}


def asks_to_act(utterance: str, language: str) -> bool:
    """Whether the utterance asks for something at home to be done. Languages without a table: never."""
    wish = _WISHES.get(language)
    if wish is None or utterance.rstrip().endswith("?"):
        return False
    return wish.match(plain(tidy(utterance), language)) is not None
