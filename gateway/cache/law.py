"""What may be answered from the cache and what may be stored. When in doubt: not.

The words below err on the side of asking the model: a question they catch needlessly costs time, one they miss could
cost the truth. They are kept for the languages that were reviewed; an utterance in another language is not cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.cache.key import normalise
from gateway.shapes import CacheControl, Entity, Message, Reply, Turn

_EN = {
    "action": r"^(?:(?:please|could you|can you|would you|will you|i want you to|i'd like you to|let's|hey|ok(?:ay)?),? )*(?:please )?"
    r"(?:turn|switch|set|make|put|change|dim|brighten|raise|lower|increase|decrease|open|close|shut|lock|unlock|arm|disarm|start|"
    r"stop|pause|resume|play|skip|mute|unmute|shuffle|run|activate|deactivate|enable|disable|trigger|launch|cancel|add|remove|"
    r"delete|clear|buy|order|send|write to|call|phone|ring|announce|broadcast|remind|wake|remember|note|save|store|forget|"
    r"learn|update|vacuum|clean|heat|cool|warm|water|book|schedule|do|go)\b|\b(?:remind me|wake me|for me to remember)\b",
    "freshness": r"\b(?:now|currently|current|at the moment|today|tonight|tomorrow|yesterday|this (?:morning|afternoon|evening|week|"
    r"weekend|month|year)|next|last|latest|recent(?:ly)?|lately|so far|just|already|still|yet|again|soon|ago|time|clock|hour|date|"
    r"what day|which day|weekday|weather|forecast|temperatures?|rain(?:ing|y)?|snow(?:ing|y)?|sunny|sunset|sunrise|wind(?:y)?|"
    r"humid(?:ity)?|warm|cold|hot|degrees|news|headlines?|prices?|stocks?|scores?|traffic|delays?|calendar|appointments?|agenda|"
    r"schedule|events?|meetings?|timers?|alarms?|reminders?|shopping list|to-?do|happen(?:ed|ing)?|did|refresh|check)\b",
    "state": r"\b(?:turned|switched) (?:on|off)\b|\b(?:is|are|was|were|isn't|aren't|has|have|did)\b.*\b(?:on|off|open(?:ed)?|closed|"
    r"shut|locked|unlocked|running|playing|paused|charging|home|away|armed|finished|done|ready|empty|full|connected|detected|occupied|"
    r"moving|there|here|awake|asleep|working)\b|\b(?:left|remaining|status|state|battery|consumption|usage|level|position|brightness|"
    r"volume|playing)\b|\b(?:where|who)(?:'s| is| are| am)\b.*\b(?:i|me|my|we|our|home|here|everyone|anybody|anyone|kids?|children)\b|"
    r"\bwho(?:'s| is) (?:home|here|at|in)\b|\bhow (?:much|many)\b.*\b(?:on|off|open|closed)\b",
    "novelty": r"\b(?:jokes?|story|stories|tale|poem|rhyme|riddles?|fun fact|random(?:ly)?|pick|choose|roll|dice|coin|flip|surprise|"
    r"guess|another|different|else|new|more|other|quote|sing|song|recommend(?:ation)?s?|suggest(?:ion)?s?|ideas?|inspire|game|quiz|"
    r"compose|invent|imagine)\b|\bnumber between\b",
}
_FR = {
    "action": r"^(?:(?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu peux|est-ce que tu peux|"
    r"j'aimerais que tu|je veux que tu|je voudrais que tu),? )*(?:s'il te pla[iî]t |s'il vous pla[iî]t )?(?:allum|[ée]tein|mets|met|mett|"
    r"r[èée]gl|baiss|mont|augment|diminu|r[ée]dui|tamis|ouvr|ferm|verrouill|d[ée]verrouill|arm|d[ée]sarm|d[ée]marr|lanc|arr[êe]t|stopp|"
    r"paus|repren|jou|pass|coup|activ|d[ée]sactiv|ajout|enl[èe]v|supprim|effac|ach[èe]t|commande|envoi|envoy|appel|annonc|diffus|rappel|"
    r"r[ée]veill|retien|retenir|souviens|note|noter|m[ée]moris|enregistr|oubli|n'oubli|appren|nettoi|aspir|chauff|refroidi|arros|r[ée]serv|"
    r"programm|annul|lis|fais|faire|va|monte|descend|chang|renomm)",
    "freshness": r"\b(?:maintenant|actuel(?:le)?(?:ment|s)?|en ce moment|aujourd'hui|ce (?:matin|soir|midi|mois|week-end)|cette (?:nuit|semaine|"
    r"ann[ée]e|apr[èe]s-midi)|demain|hier|prochaine?s?|derni[èe]re?s?|r[ée]cent(?:e|es|s|ment)?|d[ée]j[àa]|encore|toujours|bient[ôo]t|tout "
    r"[àa] l'heure|il y a|heures?|date|jour|m[ée]t[ée]o|temps|temp[ée]ratures?|pluie|pleut|pleuvoir|neige|soleil|vent|humidit[ée]|chaud|froid|"
    r"fait-il|degr[ée]s|nouvelles|actualit[ée]s|infos|prix|cours|score|trafic|bouchons|agenda|calendrier|rendez-vous|[ée]v[ée]nements?|"
    r"r[ée]unions?|minuteurs?|alarmes?|rappels?|liste de courses|s'est pass[ée]|se passe|v[ée]rifie)\b",
    "state": r"\b(?:allum[ée]e?s?|[ée]teinte?s?|ouverte?s?|ferm[ée]e?s?|verrouill[ée]e?s?|d[ée]verrouill[ée]e?s?|en marche|en route|en charge|"
    r"en cours|termin[ée]e?s?|fini(?:e|es|s)?|pr[êe]te?s?|vide|plein(?:e)?|connect[ée]e?s?|[àa] la maison|absente?s?|pr[ée]sente?s?|arm[ée]e?|"
    r"[ée]tat|statut|niveau|batterie|piles?|consommation|position|luminosit[ée]|volume|joue|reste)\b|\bo[ùu] (?:est|sont|suis)\b|"
    r"\bqui est (?:l[àa]|ici|[àa])\b",
    "novelty": r"\b(?:blagues?|histoires?|conte|po[èe]me|devinettes?|hasard|al[ée]atoire|choisis|tire|lance|pi[èe]ce|surpren|devine|autre|"
    r"diff[ée]rente?|nouvelle|nouveau|plus|citation|chante|chanson|recommand\w*|sugg[èe]r\w*|propos\w*|id[ée]es?|inspire|jeu|quiz|invente|"
    r"imagine)\b",
}
_PL = {
    "action": r"^(?:(?:prosz[ęe]|czy mo[żz]esz|czy m[óo]g[łl]by[śs]|czy mog[łl]aby[śs]|mo[żz]esz|m[óo]g[łl]by[śs]|chc[ęe],? [żz]eby[śs]),? )*(?:prosz[ęe],? )?"
    r"(?:w[łl][ąa]cz|wy[łl][ąa]cz|za[śs]wie[ćc]|zapal|zga[śs]|ustaw|zmie[ńn]|zmniejsz|zwi[ęe]ksz|podnie[śs]|opu[śs][ćc]|przyciemnij|rozja[śs]nij|"
    r"[śs]ciemnij|otw[óo]rz|zamknij|ods[łl]o[ńn]|zas[łl]o[ńn]|zarygluj|odrygluj|zablokuj|odblokuj|uzbr[óo]j|rozbr[óo]j|uruchom|rozpocznij|"
    r"zacznij|start|zatrzymaj|stop|wstrzymaj|pauza|wzn[óo]w|odtw[óo]rz|zagraj|pu[śs][ćc]|przewi[ńn]|pomi[ńn]|wycisz|[śs]cisz|pog[łl]o[śs]nij|aktywuj|"
    r"dezaktywuj|dodaj|usu[ńn]|skasuj|wyczy[śs][ćc]|kup|zam[óo]w|wy[śs]lij|zadzwo[ńn]|og[łl]o[śs]|przypomnij|obud[źz]|zapami[ęe]taj|pami[ęe]taj|zanotuj|"
    r"zapisz|zapomnij|nie zapomnij|naucz|odkurz|posprz[ąa]taj|podgrzej|ogrzej|sch[łl]od[źz]|podlej|zarezerwuj|zaplanuj|anuluj|nazwij|nazywaj|zr[óo]b|id[źz]|jed[źz])",
    "freshness": r"\b(?:teraz|obecn\w*|aktualn\w*|w tej chwili|w tym momencie|dzi[śs]|dzisiaj|dzisiejsz\w*|jutro|jutrzejsz\w*|wczoraj|wczorajsz\w*|"
    r"rano|wieczorem|w tym tygodniu|w tym roku|nast[ęe]pn\w*|ostatni\w*|niedawno|w[łl]a[śs]nie|ju[żz]|jeszcze|nadal|wci[ąa][żz]|zaraz|wkr[óo]tce|temu|"
    r"godzin\w*|zegar|dat\w|dzie[ńn]|pogod\w*|prognoz\w*|temperatur\w*|deszcz\w*|pada\w*|[śs]nieg\w*|s[łl]o[ńn]c\w*|wiatr\w*|wilgotno\w*|ciep[łl]\w*|zimn\w*|"
    r"gor[ąa]c\w*|stopni\w*|wiadomo[śs]ci\w*|news\w*|cen[aęy]\w*|kurs\w*|wynik\w*|korki|korkach|kalendarz\w*|spotka\w*|wydarze\w*|termin\w*|"
    r"minutnik\w*|budzik\w*|alarm\w*|przypomnie\w*|lista zakup\w*|li[śs]cie zakup\w*|sta[łl]o|dzieje|sprawd[źz]|znowu|ponownie)\b",
    "state": r"\b(?:w[łl][ąa]czon\w*|wy[łl][ąa]czon\w*|otwart\w*|zamkni[ęe]t\w*|zablokowan\w*|odblokowan\w*|zaryglowan\w*|uzbrojon\w*|zapalon\w*|zgaszon\w*|"
    r"[śs]wieci\w*|dzia[łl]a\w*|pracuje|gra|[łl]aduje|na[łl]adowan\w*|sko[ńn]czy\w*|gotow\w*|pust\w*|pe[łl]n\w*|pod[łl][ąa]czon\w*|w domu|obecn\w*|stan|status|poziom\w*|"
    r"bateri\w*|zu[żz]yci\w*|pozycj\w*|jasno[śs][ćc]\w*|g[łl]o[śs]no[śs][ćc]\w*|zosta[łl]o)\b|\bgdzie (?:jest|s[ąa]|jestem)\b|\bkto jest\b",
    "novelty": r"\b(?:[żz]art\w*|dowcip\w*|kawa[łl]\w*|histori\w*|bajk\w*|opowiedz|wiersz\w*|zagadk\w*|losow\w*|wylosuj|wybierz|rzu[ćc]|kostk\w*|monet\w*|"
    r"zaskocz|zgadnij|inn\w*|now\w*|wi[ęe]cej|cytat\w*|za[śs]piewaj|piosenk\w*|pole[ćc]\w*|zaproponuj|pomys[łl]\w*|gr[aęy]|quiz\w*|wymy[śs]l\w*)\b",
}
REVIEWED = {
    language: {reason: re.compile(pattern) for reason, pattern in table.items()}
    for language, table in (("en", _EN), ("fr", _FR), ("pl", _PL))
}


def why_not_look(turn: Turn, language: str, history: tuple[Message, ...]) -> str | None:
    """The reason why this turn's answer can neither come from the cache nor go into it, or None."""
    if turn.cache_control is CacheControl.NO_STORE:
        return "no-store"
    if turn.continuation or any(message.tool_calls or message.role == "tool" for message in history):
        return "tools"
    if turn.task:
        return "task"
    words = normalise(turn.utterance)
    if not words:
        return "empty"
    if (table := REVIEWED.get(language)) is None:
        return "language"
    # Every reviewed language, not only the turn's: detection may err on two words, and half-English is spoken everywhere.
    for reason in table:
        if any(patterns[reason].search(words) for patterns in REVIEWED.values()):
            return reason
    if _names_entity(words, turn.entities):
        return "state"
    return None


def why_not_store(
    turn: Turn, reply: Reply, *, recall_complete: bool, epoch: int | None, ttl_seconds: int
) -> str | None:
    """The reason why this answer may not be stored, or None. `epoch` was read before the recall."""
    if ttl_seconds == 0:
        return "disabled"
    if reply.finish != "stop" or reply.error is not None:
        return "incomplete-answer"
    if reply.tool_calls or turn.continuation:
        return "tools"
    if not reply.text.strip():
        return "empty-answer"
    if not recall_complete or reply.degraded:
        return "incomplete-recall"
    if epoch is None:
        return "epoch-unknown"
    return None


def _names_entity(words: str, entities: Iterable[Entity]) -> bool:
    padded = f" {words} "
    return any(f" {name} " in padded for name in _entity_names(tuple(entities)))


@lru_cache(maxsize=16)
def _entity_names(entities: tuple[Entity, ...]) -> frozenset[str]:
    return frozenset(normalise(name) for entity in entities for name in (*entity.names, *entity.areas))
