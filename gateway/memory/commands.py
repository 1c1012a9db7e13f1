"""Memory commands: what people say to make the assistant remember, and to hear what it knows. English, French, Polish.

Only whole utterances of a known form are taken. A question about memory ("do you remember that film?") and a reminder
("remember to buy milk") are not commands to this memory, and go to the model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.memory import order
from gateway.shapes import Entity

ALIAS_PREFIX = "entity_alias."


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep `content`, in the speaker's own words."""

    content: str
    language: str


@dataclass(frozen=True, slots=True)
class CallIt:
    """From now on `alias` means the thing called `name`."""

    name: str
    alias: str
    language: str


@dataclass(frozen=True, slots=True)
class WhatDoYouKnow:
    """Tell what is kept about the speaker."""

    language: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget what is about `topic`, once that is confirmed."""

    topic: str
    language: str


@dataclass(frozen=True, slots=True)
class Correct:
    """What is known may be wrong: `content` holds, where something known contradicts it."""

    content: str
    language: str


Command = Correct | Remember | CallIt | WhatDoYouKnow | Forget

_POLITE = {
    "en": r"(?:(?:please|hey|ok(?:ay)?|can you|could you|would you|will you|i want you to|i'd like you to)[, ]+)*",
    "fr": r"(?:(?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|peux-tu|pourrais-tu|tu peux|je veux que tu|j'aimerais que tu)[, ]+)*",
    "pl": r"(?:(?:prosz[ęe]|czy mo[żz]esz|mo[żz]esz|chc[ęe],? [żz]eby[śs])[, ]+)*",
}
_REMEMBER = {
    "en": r"(?:(?:remember|note|memori[sz]e|keep in mind|don't forget|do not forget)(?: down)?(?: that\b[,:]?|[:,])|"
    r"remember(?= (?:my|our|i|we|the|his|her|their|mum|mom|dad)\b))\s+(?P<content>.+)",
    "fr": r"(?:retiens|retenir|souviens-toi|te souvenir|rappelle-toi|note|noter|m[ée]morise|m[ée]moriser|n'oublie pas|n'oublie jamais)"
    r"(?: bien)?(?:\s+(?:que\s+|qu')|\s*[:,]\s+)(?P<content>.+)",
    "pl": r"(?:zapami[ęe]ta[jć]|pami[ęe]taj|zanotuj|zapisz sobie|nie zapomnij|zapami[ęe]taj sobie)"
    r"(?:,?\s+[żz]e\s+|\s*[:,]\s+)(?P<content>.+)",
}
_CALL = {
    "en": r"(?:call|name)\s+(?P<name>(?:the|my|our|this)\s+.+?)\s+(?P<alias>(?:the|my|our|\"|')\s*.+)|"
    r"(?:when i say|if i say)\s+(?P<alias2>.+?)[, ]+i mean\s+(?P<name2>.+)",
    "fr": r"(?:appelle|nomme|appeler)\s+(?P<name>(?:l[ae']|les|mon|ma|mes|notre|cette?)\s*.+?)\s+(?P<alias>(?:l[ae]|les|mon|ma|mes|notre)\s+.+|l'.+|\".+)|"
    r"quand je dis\s+(?P<alias2>.+?)[, ]+(?:je parle d[eu]|je veux dire|c'est)\s+(?P<name2>.+)",
    "pl": r"(?:nazywaj|nazwij|nazwa[ćc])\s+(?P<name>.+?)\s+(?P<alias>[\"„].+|(?<=jako\s).+|\S+)|"
    r"(?:kiedy|gdy|je[śs]li) m[óo]wi[ęe]\s+(?P<alias2>.+?),?\s+(?:mam na my[śs]li|chodzi mi o)\s+(?P<name2>.+)",
}
_KNOW = {
    "en": r"(?:what do you (?:know|remember)(?: about (?:me|us|my family))?|tell me (?:everything |what )?you (?:know|remember) about (?:me|us)|"
    r"what have i told you(?: about me)?)",
    "fr": r"(?:(?:que|qu'est-ce que tu|qu'est ce que tu) (?:sais|retiens)(?:-tu)?(?: (?:de|sur|[àa] propos de) (?:moi|nous))|"
    r"(?:qu'est-ce que|qu'est ce que) tu sais (?:de|sur|[àa] propos de) (?:moi|nous)|que sais-tu (?:de|sur|[àa] propos de) (?:moi|nous)|"
    r"dis-moi ce que tu sais (?:de|sur) (?:moi|nous)|tu sais quoi (?:de|sur) (?:moi|nous))",
    "pl": r"(?:co (?:o mnie|o nas) (?:wiesz|pami[ęe]tasz)|co (?:wiesz|pami[ęe]tasz) (?:o mnie|o nas|na m[óo]j temat)|"
    r"powiedz,? co (?:o mnie|o nas) wiesz|powiedz,? co wiesz (?:o mnie|o nas))",
}
_FORGET = {
    "en": r"forget(?: about)? (?:(?:everything|anything|all|whatever|what)(?: that)? (?:i|we|i've|we've)(?: have)?(?: ever| just)? "
    r"(?:said|told you|mentioned)(?: to you)? (?:about|of|on)|(?:everything|anything|all|what)(?: that)? you know (?:about|of)) "
    r"(?P<topic>.+)|forget that (?P<fact>\S+ \S+ .+)",
    "fr": r"oublie[rz]? (?:tout )?(?:ce que (?:je t'ai dit|je vous ai dit|j'ai dit|on a dit|on t'a dit|nous avons dit|tu sais)) "
    r"(?:(?:sur|[àa] propos d[eu]s?|au sujet d[eu]s?|d[eu]s?)\s+|(?:[àa] propos |au sujet )?d')(?P<topic>.+)|"
    r"oublie[rz]? (?:que |qu')(?P<fact>\S+ \S+ .+)",
    "pl": r"zapomnij,? (?:o )?(?:wszystkim,? |wszystko,? )?(?:tym,? |to,? )?co (?:ci |wam )?"
    r"(?:m[óo]wi[łl][ea]m|m[óo]wili[śs]my|powiedzia[łl][ea]m|wiesz)(?: ci| wam)? (?:o|na temat) (?P<topic>.+)|"
    r"zapomnij,? [żz]e (?P<fact>\S+ \S+ .+)",
}
# To a question whether something should go: only what can mean nothing else.
_YES = {
    "en": r"(?:yes|yeah|yep|sure|ok(?:ay)?|of course|go ahead|do it|do that|please do|right|please)",
    "fr": r"(?:oui|ouais|d'accord|vas-y|allez-y|bien s[ûu]r|fais-le|ok(?:ay)?|s'il te pla[iî]t|s'il vous pla[iî]t)",
    "pl": r"(?:tak|jasne|dobrze|oczywi[śs]cie|zr[óo]b to|prosz[ęe]|pewnie|ok(?:ej|ay)?)",
}
_FORGET_IT = {
    "en": r"forget (?:it|them|that)",
    "fr": r"oublie(?:-les?|-la)?",
    "pl": r"zapomnij(?: o tym| to)?",
}
_NO = {
    "en": r"(?:no|nope|don't|do not|stop|cancel|never mind|no,? thanks|no,? thank you|keep (?:it|them|that)|leave (?:it|them))",
    "fr": r"(?:non|arr[êe]te|annule|laisse|laisse tomber|surtout pas|garde-les?|garde-la|non,? merci)",
    "pl": r"(?:nie|stop|anuluj|zostaw|zostaw to|niewa[żz]ne|nie trzeba|nie,? dzi[ęe]kuj[ęe]|nie r[óo]b tego)",
}
_END = r"\s*[.!]*\s*$"
_LANGUAGES = tuple(_REMEMBER)
_FLAGS = re.IGNORECASE | re.DOTALL
_PATTERNS = {
    language: (
        re.compile(rf"^\s*{_POLITE[language]}{_REMEMBER[language]}$", _FLAGS),
        re.compile(rf"^\s*{_POLITE[language]}(?:{_CALL[language]}){_END}", _FLAGS),
        re.compile(rf"^\s*{_POLITE[language]}{_KNOW[language]}\s*[.!?]*\s*$", _FLAGS),
        re.compile(rf"^\s*{_POLITE[language]}(?:{_FORGET[language]}){_END}", _FLAGS),
    )
    for language in _LANGUAGES
}
# "Call the plumber the day after tomorrow" names nobody.
_WHEN = re.compile(
    r"\b(?:day|days|morning|afternoon|evening|night|week|weekend|month|year|time|moment|jour|matin|soir|semaine|fois)\b"
)
_ARTICLES = re.compile(r"^(?:the|a|an|my|our|this|le|la|les|mon|ma|mes|notre|cet|cette|ce)\s+|^l'", re.IGNORECASE)
_QUOTES = "\"'«»“”„ "


def understand(utterance: str, language: str) -> Command | None:
    """The command that `utterance` is, or None. `language` is tried first; then the other two, as detection may err."""
    text = unicodedata.normalize("NFC", utterance).replace("’", "'").strip()
    if len(text) > 2000:
        return None
    for spoken in sorted(_LANGUAGES, key=lambda known: known != language):
        remember, call, know, forget = _PATTERNS[spoken]
        if match := know.match(text):
            return WhatDoYouKnow(spoken)
        if text.endswith("?"):
            continue
        if match := forget.match(text):
            topic = (match["topic"] or match["fact"]).strip().rstrip(".!").strip()
            return Forget(topic, spoken)
        if match := remember.match(text):
            content = match["content"].strip().rstrip(".!").strip()
            return Remember(content, spoken) if content else None
        if match := call.match(text):
            name, alias = match["name"] or match["name2"], match["alias"] or match["alias2"]
            if (
                name
                and alias
                and (named := _bare(name))
                and (called := _bare(alias))
                and not _WHEN.search(called.casefold())
            ):
                return CallIt(named, called, spoken)
    content, corrects = order.corrected(text)
    if corrects and not text.endswith("?"):
        return Correct(content.strip().rstrip(".!").strip(), language if language in _LANGUAGES else "en")
    return None


def consents(utterance: str, language: str, *, forgetting: bool = False) -> bool | None:
    """Whether `utterance` says yes (true) or no (false) and nothing else; None for everything else. "Forget it" is a yes
    where it was asked about `forgetting`, and a no elsewhere."""
    text = unicodedata.normalize("NFC", utterance).replace("’", "'").strip()
    for meaning, words in ((True, _YES), (False, _NO)):
        one = words.get(language, words["en"])
        if meaning is forgetting:
            one = rf"(?:{one}|{_FORGET_IT.get(language, _FORGET_IT['en'])})"
        if re.fullmatch(rf"{one}(?:[,\s]+{one})*[\s.!]*", text, re.IGNORECASE):
            return meaning
    return None


def alias_key(alias: str) -> str:
    """The preference's key for an alias: `Sun Lamp` becomes `entity_alias.sun_lamp`. Letters of every script stay."""
    words = re.sub(r"[^\w]+", "_", unicodedata.normalize("NFC", alias).casefold()).strip("_")
    return ALIAS_PREFIX + words[:200]


def entity_named(name: str, entities: Iterable[Entity]) -> Entity | None:
    """The one exposed entity that is called `name`; None where there is none, or more than one."""
    wanted = _bare(name).casefold()
    found = [entity for entity in entities if any(_bare(known).casefold() == wanted for known in entity.names)]
    return found[0] if len(found) == 1 else None


def _bare(name: str) -> str:
    return _ARTICLES.sub("", name.strip(_QUOTES)).removesuffix(" jako").strip(_QUOTES)
