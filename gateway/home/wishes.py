"""Telling that something at home is asked for, where nothing at home can be reached: better said than pretended.

A small model answers "turn on the light" with "the light is on". For a client that offers no tools and tells of no
things, the wish is recognised by its verb, and the gateway says that it cannot.
"""

from __future__ import annotations

import re

from gateway.home.politeness import plain, tidy

# "Raise the number to a power" wants nothing done at home: verbs of many meanings need a thing of a home behind them.
_THINGS = {
    "en": r"(?:lights?|lamps?|doors?|windows?|blinds?|curtains?|shutters?|shades?|garage|gate|heating|thermostat|temperature|"
    r"fan|tv|television|radio|speakers?|music|volume|brightness|alarm|valve|locks?)\b",
    "fr": r"(?:lumières?|lampes?|portes?|portail|fenêtres?|volets?|stores?|rideaux?|garage|chauffage|thermostat|température|"
    r"ventilateur|télé|télévision|radio|musique|volume|luminosité|alarme|vanne)\b",
    "pl": r"(?:świat|lamp|drzwi|okn|rolet|zasłon|żaluzj|bram|garaż|ogrzewani|termostat|temperatur|wentylator|telewizor|radi|"
    r"muzyk|głośność|jasność|alarm|zawór)",
}
_VERBS = {
    "en": r"(?:turn|switch) .*\b(?:on|off|up|down)\b|(?:dim|brighten|lock|unlock|arm|disarm|open|close|shut|raise|lower|set)\b",
    "fr": r"(?:allumer?|étein(?:s|dre)|tamiser?|baisser?|monter?|ouvr(?:e|ir)|fermer?|(?:dé)?verrouiller?|règle|régler)\b",
    "pl": r"(?:włącz|wyłącz|zapal|zgaś|zaświeć|przyciemnij|rozjaśnij|otwórz|zamknij|odsłoń|zasłoń|zablokuj|odblokuj|podnieś|"
    r"opuść|ustaw)\b",
}
_WISHES = {
    language: re.compile(rf"(?={verbs}).*\b{_THINGS[language]}", re.IGNORECASE) for language, verbs in _VERBS.items()
}


def asks_to_act(utterance: str, language: str) -> bool:
    """Whether the utterance asks for something at home to be done. Languages without a table: never."""
    wish = _WISHES.get(language)
    if wish is None or utterance.rstrip().endswith("?"):
        return False
    return wish.match(plain(tidy(utterance), language)) is not None
