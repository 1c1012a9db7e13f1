"""What is said around a question and changes nothing in it: courtesy, hesitation, a call to the assistant.

A small reviewed table for each language. What is taken off stands at an end, and something that can be asked must
remain. Nothing is taken off where the sentence is about words ("how do you say please?"), where the courtesy may be
the sentence's own verb ("whom did the king please"), or where the rest would wait for an object ("where do I put the").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIN_WORDS = 2  # of a question that begins as one does
MIN_OTHER_WORDS = 3  # of anything else


@dataclass(frozen=True, slots=True)
class _Courtesies:
    """`before` goes off in front of what begins with an `opening`; `frame` ("could you") in front of one of its verbs;
    `after` goes off the end, `thanks` behind a mark alone; `dangling` words cannot end what remains.
    """

    before: str
    opening: str
    frame: str
    after: str
    thanks: str
    dangling: str


_TABLE = {
    "en": _Courtesies(
        before=r"please|kindly|(?:hey|hi|hello|ok|okay)(?: there| assistant| jarvis| nabu)?|excuse me|so|well|u+m+|u+h+|e+r+m+|h+m+",
        opening=r"(?:what|who|whom|whose|which|where|when|why|how)(?:'s|'re|'d|'ll)?|is|are|was|were|do|does|did|has|have|had|can|could|should|would|will|"
        r"tell|explain|describe|define|list|name|give|compare|summari[sz]e|in which|in what|at what|on which|at which",
        frame=r"(?:can|could|would|will) you(?: please| kindly)? (?=(?:please )?(?:tell (?:me|us)|explain|describe)\b)",
        after=r"please",
        thanks=r"thanks(?: a lot| so much| very much)?|thank you(?: very much| so much)?|cheers",
        dangling=r"a|an|the|to|of|for|with|and|or|not|no|nor|but|as|if|than|that|who|whom|i|you|we|they|he|she|it|by|at|in|on|from|about|"
        r"can|could|will|would|shall|should|may|might|must|do|does|did|don't|doesn't|didn't|be|been|me|us|him|them|say|only|my|your|our|their|his|her",
    ),
    "fr": _Courtesies(
        before=r"s'il (?:te|vous) pla[iî]t|stp|svp|bonjour|bonsoir|salut|coucou|h[ée]|hey|ok|okay|excuse-moi|excusez-moi|pardon|alors|bon|"
        r"e+u+h+|h+u+m+|h+m+",
        opening=r"que|qu'est-ce|quoi|qui|quel(?:le)?s?|o[ùu]|quand|comment|pourquoi|combien|est-ce|lequel|laquelle|lesquel(?:le)?s|[àa] quel(?:le)?s?|"
        r"en quel(?:le)?|dans quel(?:le)?|de quel(?:le)?|quels|c'est quoi|explique|expliquez|explique-moi|parle-moi|parle|parlez|d[ée]cris|d[ée]finis|dis|dis-moi|dites-moi|donne|donne-moi|"
        r"cite|compare|r[ée]sume|m'expliquer|me dire|peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu peux|qu'\w+",
        frame=r"(?:est-ce que )?(?:peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu peux|tu pourrais|vous pouvez|vous pourriez)"
        r"(?:,? s'il (?:te|vous) pla[iî]t,?)? (?=(?:m'expliquer|nous expliquer|me dire|nous dire|me d[ée]crire)\b)",
        after=r"s'il (?:te|vous) pla[iî]t|stp|svp",
        thanks=r"merci(?: beaucoup| bien| d'avance)?",
        dangling=r"le|la|les|un|une|des|du|de|d|[àa]|au|aux|en|et|ou|ni|mais|que|qu|qui|si|m[êe]me|sauf|seulement|pas|ne|avec|sans|pour|par|sur|dans|chez|"
        r"je|tu|il|elle|on|nous|vous|ils|elles|mon|ma|mes|ton|ta|tes|son|sa|ses|comme|dire",
    ),
    "pl": _Courtesies(
        before=r"prosz[ęe]|hej|cze[śs][ćc]|dzie[ńn] dobry|dobry wiecz[óo]r|halo|okej|ok|przepraszam|s[łl]uchaj|y{2,}|e{2,}|h+m+",
        opening=r"co|kto|kogo|komu|kim|czego|czym|kt[óo]r\w+|gdzie|kiedy|dlaczego|czemu|jak|jaki\w*|jak[ąa]|ile|ilu|czy|sk[ąa]d|dok[ąa]d|po co|na czym|"
        r"z czego|w kt[óo]rym|w jakim|w jakiej|od kiedy|do czego|o czym|powiedz|wyja[śs]nij|wyt[łl]umacz|opisz|zdefiniuj|podaj|wymie[ńn]|por[óo]wnaj|"
        r"powiedzie[ćc]|wyja[śs]ni[ćc]|wyt[łl]umaczy[ćc]|opisa[ćc]|mo[żz]esz|m[óo]g[łl]by[śs]|mog[łl]aby[śs]",
        frame=r"(?:czy )?(?:mo[żz]esz|m[óo]g[łl]by[śs]|mog[łl]aby[śs])(?: prosz[ęe])?"
        r" (?=(?:mi |nam )?(?:prosz[ęe] )?(?:powiedzie[ćc]|wyja[śs]ni[ćc]|wyt[łl]umaczy[ćc]|opisa[ćc])\b)",
        after=r"prosz[ęe]",
        thanks=r"dzi[ęe]ki(?: wielkie)?|dzi[ęe]kuj[ęe](?: bardzo| ci)?|z g[óo]ry dzi[ęe]kuj[ęe]",
        dangling=r"i|a|oraz|lub|albo|czy|ale|nie|[żz]e|si[ęe]|w|we|na|do|od|z|ze|o|u|po|za|przez|dla|bez|pod|nad|przy|mi[ęe]dzy|co|kto|kogo|komu|"
        r"kiedy|gdzie|jak|ten|ta|to|ja|ty|on|ona|ono|m[óo]j|moja|moje|ci[ęe]|pana|pani[ąa]|o co",
    ),
}
# The sentence is about words, and courtesies may be what it asks about. Any language's, in any sentence.
_ABOUT_WORDS = re.compile(
    r"[\"`]|(?<!\w)'|'(?!\w)|"
    r"\b(?:spell\w*|spelt|say|says|said|saying|mean|means|meant|meaning|translat\w*|words?|write|writes|written|wrote it|pronounc\w*|pronunciation|"
    r"rhymes?|rhyming|synonyms?|antonyms?|definition|phrases?|letters?|sentences?|quotes?|lyrics|titles?|called|expressions?|politely?|manners|"
    r"apostrophes?|punctuation|symbols?|opposites?|stands? for|in (?:english|french|polish|german|spanish|italian|japanese)|"
    r"[ée]pel\w*|[ée]peler|dit|dis|disent|dit-on|signifi\w*|veut dire|traduc\w*|tradui\w*|mots?|[ée]crit|[ée]crire|[ée]cris|prononc\w*|rimes?|"
    r"synonymes?|contraires?|d[ée]finition|lettres?|paroles|titres?|en (?:anglais|fran[çc]ais|polonais|allemand|espagnol|italien)|"
    r"pisze|pisa[ćc]|napisa[ćc]|znaczy|znaczenie|oznacza|przet[łl]umacz\w*|t[łl]umaczenie|s[łl]ow[oa]|s[łl]owami|m[óo]wi|m[óo]wi[ćc]|wymawia|"
    r"przeliteruj|literuje|liter[aęy]?|synonim\w*|zwrot\w*|tytu[łl]\w*|"
    r"po (?:angielsku|francusku|polsku|niemiecku|hiszpa[ńn]sku|w[łl]osku))\b"
)
# "Whom did the king please": the courtesy is the verb.
_PLEASING = re.compile(
    r"^(?:who|whom|what|which|whose|how many|how much)\b.*\b(?:do|does|did|to|can|could|will|would|may|might)\b.* please$"
)
# Behind a number or a single letter an exclamation mark is a factorial, behind a number a quote is feet or inches.
_CALLED = r"(?<![\d²³])(?<![\d²³]\s)(?<!\b\w)"
_TAIL = re.compile(rf"(?:{_CALLED}[!\"']|[\s.,;:?…])+$")
_START = re.compile(r"^(?:[\s;:?…\"'¿¡]|[.,!](?![\w.]))+")  # ".5" is a number, ".NET" a name, "!x" a negation
_ALONE = re.compile(r"\s[!\"'.,;:?…]+\s*$")
_MARK = rf"(?:\s*[,.;:?…]+\s*|{_CALLED}\s*!+\s*)"
_BEFORE, _FRAME, _AFTER, _OPENING, _DANGLING = (
    re.compile(pattern)
    for pattern in (
        "|".join(rf"^(?:{one.before})(?:{_MARK}|\s+)(?=(?:{one.opening}|{one.before})\b)" for one in _TABLE.values()),
        "|".join(rf"^{one.frame}" for one in _TABLE.values()),
        "|".join(rf"(?:(?:{_MARK}|\s+)(?:{one.after})|{_MARK}(?:{one.thanks}))$" for one in _TABLE.values()),
        rf"^(?:{'|'.join(one.opening for one in _TABLE.values())})\b",
        rf"(?:^|[\s'])(?:{'|'.join(one.dangling for one in _TABLE.values())})$",
    )
)


def bare(text: str) -> str:
    """`text` without the punctuation at its ends, but for what may be part of its last word or number.

    In a sentence about words the mark may itself be what is asked about ("what is the meaning of ?"), and stays.
    """
    shorter = _TAIL.sub("", _START.sub("", text))
    if _ALONE.search(text) and dangles(shorter) and _ABOUT_WORDS.search(shorter):
        return text.strip()
    return shorter


def plain(text: str) -> str:
    """`text` (composed, on one line, in small letters, without punctuation at its ends) without its courtesies."""
    framed = _FRAME.sub("", text)
    if _ABOUT_WORDS.search(framed):
        return text
    for _ in range(6):  # "hey, um, could you please tell me ..., please, thanks": a few at each end, never endless
        asked = text
        if (found := _AFTER.search(text)) and not _PLEASING.match(text):
            shorter = bare(text[: found.start()])
            text = shorter if _enough(shorter) and not dangles(shorter) else text
        for front in (_BEFORE, _FRAME):
            shorter = front.sub("", text, count=1)
            text = shorter if _enough(shorter) else text
        if text == asked:
            break
    return text


def opens(text: str) -> bool:
    """Whether `text` begins as a question or a request to be told something does, in any of the languages."""
    return _OPENING.match(text) is not None


def dangles(text: str) -> bool:
    """Whether `text` ends in a word that wants another behind it."""
    return _DANGLING.search(text) is not None


def _enough(text: str) -> bool:
    return len(text.split()) >= (MIN_WORDS if opens(text) else MIN_OTHER_WORDS)
