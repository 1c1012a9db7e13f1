"""Sentences that `home-assistant-intents` does not have, in its own template language, with its own rules and answers.

Mostly the whole house ("every light everywhere"), another order of words, and Polish cases. `requires_context: nowhere`
marks what only holds where the speaker's room is not known: with a room, the same words would mean that room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HERE: Mapping[str, Any] = {"area": {"slot": True}}
_NOWHERE: Mapping[str, Any] = {"nowhere": True}


def _group(
    *sentences: str,
    slots: Mapping[str, Any] | None = None,
    requires: Mapping[str, Any] | None = None,
    response: str = "default",
) -> dict[str, Any]:
    group: dict[str, Any] = {"sentences": list(sentences), "response": response}
    if slots:
        group["slots"] = dict(slots)
    if requires:
        group["requires_context"] = dict(requires)
    return group


_LIGHT, _FAN = {"domain": "light"}, {"domain": "fan"}
_LAMPS: Mapping[str, Any] = {"domain": ["light"]}
_THINGS: Mapping[str, Any] = {"domain": ["light", "switch", "fan", "media_player", "input_boolean", "climate"]}
_PLAYERS: Mapping[str, Any] = {"domain": ["media_player"]}
_VACUUMS: Mapping[str, Any] = {"domain": ["vacuum"]}
_CLIMATES: Mapping[str, Any] = {"domain": ["climate"]}

RULES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "gw_each": "(all [of]|every [single]|each [and every])",
        "gw_house": "(everywhere|all over|all over <gw_the_house>|(in|across|throughout) <gw_the_house>|"
        "(in|across|throughout) <gw_each> [<the>] (room[s]|area[s]))",
        "gw_the_house": "[<the>] [(whole|entire)] (house|home|apartment|flat)",
        "gw_on": "(<turn>|put) on|activate",
        "gw_off": "(<turn>|put) off|deactivate|kill",
    },
    "fr": {
        "gw_maison": "([de] partout|[(dans|de)] [toute] (la maison|le logement)|[(dans|de)] [tout] l'appartement|"
        "[dans] toutes les pièces)",
        "gw_lumieres": "[<tous>] [<le>]<lumiere>",
    },
    "pl": {
        "gw_on": "(włącz|uruchom|zapal|oświeć|zaświeć|aktywuj)",
        "gw_off": "(wyłącz|zgaś|zatrzymaj)",
        "gw_every": "(wszystkie|całe|każd(e|ą|y))",
        "gw_lights": "(świat(ło|ła)|lamp(y|ę)|oświetlenie|żarów(ki|kę))",
        "gw_of_lights": "(świat(ła|eł)|lamp[y]|oświetlenia|żarów(ki|ek))",
        "gw_fans": "(wentylator[y]|wiatrak[i])",
        "gw_here": "(tutaj|tu|w tym (pokoju|miejscu|pomieszczeniu))",
        "gw_house": "(wszędzie|we wszystkich pokojach|w każdym pokoju|w [całym] (domu|mieszkaniu|apartamencie))",
        "gw_song": "(piosenk(a|ę|i)|utw(ór|oru)|element[u]|ścieżk(a|ę|i)|muzyk(a|ę|i))",
        "gw_next": "(następn(a|ą|y|ej|ego)|kolejn(a|ą|y|ej|ego))",
        "gw_previous": "(poprzedni[a|ą|ej|ego]|wcześniejsz(a|ą|y|ej|ego))",
        "gw_skip": "[prze]skocz do",
        "gw_pause": "(zatrzymaj|zastopuj|wstrzymaj) [odtwarzanie] <gw_song>|przestań (grać|odtwarzać) <gw_song>",
        "gw_resume": "(wznów|przywróć) [odtwarzanie] <gw_song>",
        "gw_on_it": "(w|na|przez)",
        "gw_base": "(do bazy|do stacji)",
        "gw_return": "(zawróć|wróć|odeślij)",
        "gw_timers": "(minutnik[i]|timer[y]|tajmer[y]|stoper[y]|licznik[i]|czasomierz[e]|zegar[y])",
        "gw_most": "(maksymalną|najwyższą|największą)",
        "gw_least": "(minimalną|najniższą|najmniejszą)",
    },
}


def _polish_switching(verb: str) -> list[dict[str, Any]]:
    """What is turned on and off is said in the same words, but for the verb."""
    return [
        _group(f"{verb} [<gw_every> ]<gw_lights> <gw_house>", slots=_LIGHT, response="lights_all"),
        _group(f"{verb} <gw_every> <gw_lights>", slots=_LIGHT, requires=_NOWHERE, response="lights_all"),
        _group(f"{verb} <gw_every> <gw_fans>", slots=_FAN, requires=_NOWHERE, response="fans_area"),
        _group(
            f"{verb} [<gw_every> ]<gw_lights> <gw_here>",
            f"{verb} <gw_here> [<gw_every> ]<gw_lights>",
            slots=_LIGHT,
            requires=_HERE,
            response="lights_area",
        ),
        _group(
            f"{verb} [<gw_every> ]<gw_fans> <gw_here>",
            f"{verb} <gw_here> [<gw_every> ]<gw_fans>",
            slots=_FAN,
            requires=_HERE,
            response="fans_area",
        ),
        _group(f"{verb} <area> {{name}}", requires=_THINGS),
    ]


SENTENCES: Mapping[str, Mapping[str, list[dict[str, Any]]]] = {
    "en": {
        "HassTurnOn": [
            _group(
                "<gw_on> [<gw_each>] [<the>] [house] <light> <gw_house>",
                "<turn> [<gw_each>] [<the>] <light> on <gw_house>",
                "(light up|illuminate) [<gw_each>] [<the>] (room[s]|area[s]) (in|of) <gw_the_house>",
                "(light up|illuminate) (the|my|our) [(whole|entire)] (house|home|apartment|flat)",
                slots=_LIGHT,
                response="light_all",
            ),
            _group(
                "<gw_on> <gw_each> [<the>] <light>",
                "<turn> <gw_each> [<the>] <light> on",
                "make sure <gw_each> [<the>] <light> (is|are) on",
                slots=_LIGHT,
                requires=_NOWHERE,
                response="light_all",
            ),
            _group(
                "<gw_on> [<gw_each>] [<the>] fan[s] <gw_house>",
                "<turn> [<gw_each>] [<the>] fan[s] on <gw_house>",
                slots=_FAN,
                response="fan_all",
            ),
            _group(
                "<gw_on> <gw_each> [<the>] fan[s]",
                "<turn> <gw_each> [<the>] fan[s] on",
                slots=_FAN,
                requires=_NOWHERE,
                response="fan_all",
            ),
        ],
        "HassTurnOff": [
            _group(
                "<gw_off> [<gw_each>] [<the>] [house] <light> <gw_house>",
                "<turn> [<gw_each>] [<the>] <light> (off|out) <gw_house>",
                slots=_LIGHT,
                response="light_all",
            ),
            _group(
                "<gw_off> <gw_each> [<the>] <light>",
                "make sure <gw_each> [<the>] <light> (is|are) (off|out)",
                slots=_LIGHT,
                requires=_NOWHERE,
                response="light_all",
            ),
            _group(
                "<gw_off> [<gw_each>] [<the>] fan[s] <gw_house>",
                "<turn> [<gw_each>] [<the>] fan[s] off <gw_house>",
                slots=_FAN,
                response="fan_all",
            ),
            _group(
                "<gw_off> <gw_each> [<the>] fan[s]",
                "<turn> <gw_each> [<the>] fan[s] off",
                slots=_FAN,
                requires=_NOWHERE,
                response="fan_all",
            ),
        ],
        "HassLightSet": [
            _group(
                "(dim|brighten) [<the>] {name} [<light>] to {brightness}[([ ]%)| percent]",
                requires=_LAMPS,
                response="brightness",
            ),
            _group(
                "(dim|brighten) [<the>] {area} [<light>] to {brightness}[([ ]%)| percent]",
                "(dim|brighten) [(<all>|<the>)] <light> <in> [<the>] {area} to {brightness}[([ ]%)| percent]",
                slots=_LIGHT,
                response="brightness",
            ),
            _group(
                "(dim|brighten) [(<all>|<the>)] <light> [<here>] to {brightness}[([ ]%)| percent]",
                slots=_LIGHT,
                requires=_HERE,
                response="brightness",
            ),
        ],
        "HassClimateSetTemperature": [
            _group("(<numeric_value_set>|adjust) [the] <temp> to {temperature}[([ ]°)|( degree[s])]", requires=_NOWHERE)
        ],
    },
    "fr": {
        "HassTurnOn": [
            _group(
                "<allume> [<completement>] <gw_lumieres> <gw_maison>",
                "<eclaire> [<completement>] (toute la maison|la maison|tout l'appartement|toutes les pièces|partout)",
                slots=_LIGHT,
            ),
            _group("<allume> <tous> [<le>]<lumiere>", slots=_LIGHT, requires=_NOWHERE),
        ],
        "HassTurnOff": [
            _group("<eteins> [<completement>] <gw_lumieres> <gw_maison>", slots=_LIGHT),
            _group("<eteins> <tous> [<le>]<lumiere>", slots=_LIGHT, requires=_NOWHERE),
        ],
        "HassLightSet": [
            _group(
                "(<regle>|<augmente>|<diminue>) [la] luminosité [<de>] [<le>]{name} [<dans>] [<le>]{area}"
                " [à] {brightness}<pourcent>",
                "(<allume>|<regle>|<augmente>|<diminue>) [<le>]{name} [<dans>] [<le>]{area}"
                " [à] {brightness}<pourcent> [[de] luminosité]",
                "[la] luminosité [<de>] [<le>]{name} [<dans>] [<le>]{area} [à] {brightness}<pourcent>",
                "[<le>]{name} [<dans>] [<le>]{area} [luminosité] [à] {brightness}<pourcent> [[de] luminosité]",
                requires=_LAMPS,
                response="brightness",
            ),
            _group(
                "<regle> la couleur [<de>] [<le>]{name} [<dans>] [<le>]{area} [en] {color}",
                "(<regle>|<allume>) [<le>]{name} [<dans>] [<le>]{area} [avec la couleur | de couleur | en] {color}",
                requires=_LAMPS,
                response="color",
            ),
        ],
        "HassClimateSetTemperature": [
            _group("<regle> [la] température [(à|sur)] {temperature}<degres>", requires=_NOWHERE)
        ],
        "HassCancelAllTimers": [_group("(<supprime>|<eteins>) <tous> [(les|mes)] <minuteurs> <ici>", requires=_HERE)],
    },
    "pl": {
        "HassTurnOn": _polish_switching("<gw_on>"),
        "HassTurnOff": _polish_switching("<gw_off>"),
        "HassLightSet": [
            _group(
                "<numeric_value_set> jasność [<gw_every> ][<gw_of_lights> ]<gw_here> na <brightness>",
                "<numeric_value_set> jasność [<gw_every> ][<gw_of_lights> ]<gw_here> na {brightness_level:brightness}",
                slots=_LIGHT,
                requires=_HERE,
                response="brightness",
            ),
            _group(
                "<numeric_value_set> jasność na (maksa|maksimum|maksymalną) <gw_here>",
                "<numeric_value_set> [<gw_here> ]<gw_most> jasność [<gw_of_lights> ]",
                "<numeric_value_set> <gw_here> jasność na (maksa|maksimum)",
                "<numeric_value_set> jasność <gw_here> na (maksa|maksimum)",
                slots={"domain": "light", "brightness": 100},
                requires=_HERE,
                response="brightness",
            ),
            _group(
                "<numeric_value_set> jasność <gw_here> na minimum",
                "<numeric_value_set> <gw_here> jasność na minimum",
                slots={"domain": "light", "brightness": 1},
                requires=_HERE,
                response="brightness",
            ),
            _group(
                "<numeric_value_set> jasność na (maksa|maksimum) <area>",
                "<numeric_value_set> <gw_most> jasność [<gw_every> ][<gw_of_lights> ]<area>",
                "<numeric_value_set> <area> <gw_most> jasność",
                slots={"domain": "light", "brightness": 100},
                response="brightness",
            ),
            _group(
                "<numeric_value_set> jasność na minimum <area>",
                "<numeric_value_set> <gw_least> jasność [<gw_every> ][<gw_of_lights> ]<area>",
                "<numeric_value_set> <area> <gw_least> jasność",
                "ustaw najciemniej [<gw_every> ][<gw_lights> ]<area>",
                slots={"domain": "light", "brightness": 1},
                response="brightness",
            ),
            _group(
                "<numeric_value_set> jasność na (maksa|maksimum) {name}",
                slots={"brightness": 100},
                requires=_LAMPS,
                response="brightness",
            ),
            _group("ustaw najciemniej {name}", slots={"brightness": 1}, requires=_LAMPS, response="brightness"),
            _group(
                "<set> kolor[y] [<gw_every> ][<gw_of_lights> ]<gw_here> na {color}",
                slots=_LIGHT,
                requires=_HERE,
                response="color",
            ),
            _group(
                "<set> kolor[y] [wszystkich ][<gw_of_lights> ]<area> na {color}",
                "<set> wszystkie kolory [<gw_of_lights> ]<area> na {color}",
                "<set> [<gw_every> ]<gw_lights> <area> na {color} [kolor]",
                slots=_LIGHT,
                response="color",
            ),
        ],
        "HassClimateSetTemperature": [
            _group(
                "(<numeric_value_set>|wyreguluj|reguluj) [<temp>] na <temperature>",
                requires=_NOWHERE,
            ),
            _group("(<numeric_value_set>|wyreguluj|reguluj) temperaturę na <temperature> <area>"),
        ],
        "HassMediaNext": [
            _group("[<gw_skip>] <gw_next> <gw_song> <area>", "<area> [<gw_skip>] <gw_next> <gw_song>"),
            _group("[<gw_skip>] <gw_next> <gw_song>", requires=_HERE),
            _group("[<gw_skip>] <gw_next> <gw_song> <gw_on_it> {name}", requires=_PLAYERS),
        ],
        "HassMediaPrevious": [
            _group("[<gw_skip>] <gw_previous> <gw_song> <area>", "<area> [<gw_skip>] <gw_previous> <gw_song>"),
            _group("[<gw_skip>] <gw_previous> <gw_song>", requires=_HERE),
            _group("[<gw_skip>] <gw_previous> <gw_song> <gw_on_it> {name}", requires=_PLAYERS),
        ],
        "HassMediaPause": [
            _group("(<gw_pause>) <area>", "<area> (<gw_pause>)"),
            _group("(<gw_pause>)", requires=_HERE),
            _group("(<gw_pause>) <gw_on_it> {name}", requires=_PLAYERS),
        ],
        "HassMediaUnpause": [
            _group("<gw_resume> <area>", "<area> <gw_resume>", "(wznów|przywróć) <area> [odtwarzanie] <gw_song>"),
            _group("<gw_resume>", requires=_HERE),
            _group("<gw_resume> <gw_on_it> {name}", requires=_PLAYERS),
        ],
        "HassVacuumReturnToBase": [
            _group(
                "<gw_return> {name} z {area} [<gw_base>]",
                "<gw_return> z {area} {name} [<gw_base>]",
                "z {area} <gw_return> [<gw_base>] {name}",
                "z {area} <gw_return> {name} [<gw_base>]",
                requires=_VACUUMS,
            )
        ],
        "HassCancelAllTimers": [
            _group("<timer_cancel> wszystkie [moje] <gw_timers>"),
            _group("<timer_cancel> <area> wszystkie [moje] <gw_timers>", response="area"),
            _group(
                "<timer_cancel> <gw_here> wszystkie [moje] <gw_timers>",
                "<timer_cancel> wszystkie [moje] <gw_timers> <gw_here>",
                requires=_HERE,
            ),
        ],
    },
}


def added(language: str, data: dict[str, Any]) -> dict[str, Any]:
    """The package's `data` of a language with our sentences among its own. `data` itself is changed."""
    data.setdefault("expansion_rules", {}).update(RULES.get(language, {}))
    for intent, groups in SENTENCES.get(language, {}).items():
        data["intents"].setdefault(intent, {"data": []})["data"].extend(groups)
    return data
