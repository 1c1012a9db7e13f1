"""Telling that something at home is asked for, where nothing at home can be reached: better said than pretended.

A small model answers "turn on the light" with "the light is on". For a client that offers no tools and tells of no
things, the wish is recognised by its verb, and the gateway says that it cannot. Where a model without tools is in use it
says that it has not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.home.speech.politeness import plain, tidy

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
# Of these verbs nothing else can be meant, whatever stands behind them.
_SWITCHES = {
    "en": r"(?:turn|switch) (?:on|off) (?:the|my|our|all|every\w*)\b|(?:turn|switch) (?:the|my|our|all|every\w*)\b.* (?:on|off)(?: in (?:the )?\w+)?$",
    "fr": r"(?:allumer?|étein(?:s|dre))\b",
    "pl": r"(?:włącz|wyłącz|zgaś|zapal|zaświeć)\b",
}
# Of a thing or a room that is known by its name, these are said as well.
_MORE_VERBS = {
    "en": r"(?:turn|switch|toggle|stop|start|make|put|activate|run|pause|resume)\b",
    "fr": r"(?:arrêter?|démarrer?|mettre|mets|activer?|lancer?)\b",
    "pl": r"(?:zatrzymaj|uruchom|zrób|aktywuj|wstrzymaj)\b",
}
_WISHES = {
    language: re.compile(rf"(?={verbs}).*\b{_THINGS[language]}|{_SWITCHES[language]}", re.IGNORECASE)
    for language, verbs in _VERBS.items()
}
_OF_KNOWN = {
    language: re.compile(rf"{verbs}|{_MORE_VERBS[language]}", re.IGNORECASE) for language, verbs in _VERBS.items()
}
_WORD = re.compile(r"\w+")


def asks_to_act(utterance: str, language: str, known: Iterable[str] = ()) -> bool:
    """Whether the utterance asks for something at home to be done; `known` are names of things and rooms there.
    Languages without a table: never."""
    wish = _WISHES.get(language)
    if wish is None or utterance.rstrip().endswith("?"):
        return False
    said = plain(tidy(utterance), language)
    if wish.match(said):
        return True
    if not _OF_KNOWN[language].match(said):
        return False
    words = _words(said)
    return any(_words(name) in words for name in known)


def _words(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "


_IT = {
    "en": r"(?:it|that|this|them|everything|what you (?:just )?did|the last (?:one|command|action))",
    "fr": r"(?:[çc]a|cela|tout|tout [çc]a|la derni[èe]re (?:action|commande)|ce que tu (?:as|viens de) (?:fait|faire))",
    "pl": r"(?:to|go|j[ąa]|je|wszystko|ostatni(?:ą|e) (?:akcj[ęe]|polecenie)|to,? co zrobi[łl][eaę][śs])",
}
_UNDO = {
    "en": rf"(?:undo|revert|reverse)(?: {_IT['en']})?|(?:take|turn|put|change|switch|set) {_IT['en']} back(?: (?:again|as it was|how it was|to how it was|the way it was))?|"
    rf"(?:put|set) {_IT['en']} (?:as|how|the way) (?:it was|they were)(?: before)?",
    "fr": rf"(?:annuler?|d[ée]fais|d[ée]faire)(?: {_IT['fr']})?|(?:reviens|revenir) en arri[èe]re|"
    rf"(?:remets|remettre|rem[èe]ts?)(?: {_IT['fr']}|-l[ea]s?)?(?: comme (?:avant|c'[ée]tait(?: avant)?)| dans l'[ée]tat d'avant)",
    "pl": rf"(?:cofnij|wycofaj|przywr[óo][ćc]|odwr[óo][ćc]|cofn[ąa][ćc])(?: {_IT['pl']})?|(?:zmie[ńn]|przestaw|ustaw|prze[łl][ąa]cz) {_IT['pl']} z powrotem|"
    rf"zr[óo]b {_IT['pl']},? jak by[łl]o",
}
_BEFORE_UNDO = {
    "en": r"(?:(?:oh|oops|no|sorry|wait|ok|okay|actually|never ?mind|please)[,.!]* )*",
    "fr": r"(?:(?:oh|oups|non|pardon|attends|ok|en fait|finalement|laisse tomber|s'il te pla[iî]t)[,.!]* )*",
    "pl": r"(?:(?:oj|ojej|nie|przepraszam|czekaj|ok|jednak|niewa[żz]ne|prosz[ęe])[,.!]* )*",
}
_BEHIND_UNDO = {
    "en": r"(?:,? (?:please|again|now))*",
    "fr": r"(?:,? (?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp))*",
    "pl": r"(?:,? (?:prosz[ęe]|teraz))*",
}
_TAKES_BACK = {
    language: re.compile(rf"{_BEFORE_UNDO[language]}(?:{undo}){_BEHIND_UNDO[language]}", re.IGNORECASE)
    for language, undo in _UNDO.items()
}


def asks_to_undo(utterance: str, language: str) -> bool:
    """Whether the utterance, as a whole, takes back what was done last. Languages without a table: never."""
    pattern = _TAKES_BACK.get(language)
    text = tidy(utterance)
    said = {text.strip(" .!"), plain(text, language).strip(" .!")}
    return pattern is not None and not text.endswith("?") and any(pattern.fullmatch(one) for one in said)
