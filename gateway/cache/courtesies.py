"""What is said around a question and changes nothing in it: courtesy, hesitation, a call to the assistant.

A small reviewed table for each language. What is taken off stands at an end, and something that can be asked must
remain. What no comma sets apart stays where the sentence is about words ("how do you say please?"), where it may be the
sentence's own verb ("whom did the king please"), or where the rest would wait for an object ("where do I put the").
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
        opening=r"que|qu'est-ce|d'o[ùu]|de quoi|y a-t-il|c'est qui|c'est quand|c'est o[ùu]|(?:[\w']+ ){0,6}?\w+-(?:t-)?(?:il|elle|ils|elles|on)|[àa] qui|[àa] quoi|avec quoi|sur quel(?:le)?|quoi|qui|quel(?:le)?s?|o[ùu]|quand|comment|pourquoi|combien|est-ce|lequel|laquelle|lesquel(?:le)?s|[àa] quel(?:le)?s?|"
        r"en quel(?:le)?|dans quel(?:le)?|de quel(?:le)?|quels|c'est quoi|explique|expliquez|explique-moi|parle-moi|parle|parlez|d[ée]cris|d[ée]finis|dis|dis-moi|dites-moi|donne|donne-moi|"
        r"cite|compare|r[ée]sume|m'expliquer|me dire|peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu peux|qu'\w+",
        frame=r"(?:est-ce que )?(?:peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu peux|tu pourrais|vous pouvez|vous pourriez)"
        r"(?:,? s'il (?:te|vous) pla[iî]t,?)? (?=(?:m'expliquer|nous expliquer|me dire|nous dire|me d[ée]crire)\b)",
        after=r"s'il (?:te|vous) pla[iî]t|stp|svp",
        thanks=r"merci(?: beaucoup| bien| d'avance)?",
        dangling=r"le|la|les|un|une|des|du|de|d|[àa]|au|aux|en|et|ou|ni|mais|que|qu|qui|si|m[êe]me|sauf|seulement|pas|ne|avec|sans|pour|par|sur|dans|chez|"
        r"je|tu|il|elle|on|nous|vous|ils|elles|mon|ma|mes|ta|tes|sa|ses|comme|dire",
    ),
    "pl": _Courtesies(
        before=r"prosz[ęe]|hej|cze[śs][ćc]|dzie[ńn] dobry|dobry wiecz[óo]r|halo|okej|ok|przepraszam|s[łl]uchaj|y{2,}|e{2,}|h+m+",
        opening=r"co|kto|kogo|komu|kim|czego|czym|kt[óo]r\w+|gdzie|kiedy|dlaczego|czemu|jak|jaki\w*|jak[ąa]|ile|ilu|czy|(?:na|od|do|z|ze|w|we|po|o|u|przez|za|pod|dla) (?:jak\w+|kt[óo]r\w+|czym|czego|co|kogo|ilu|kim)|sk[ąa]d|dok[ąa]d|po co|na czym|"
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
    r"\b(?:spell\w*|spelt|say|says|said(?! that\b)|saying|mean|means|meant|meaning(?! of life)|translat\w*|words?|write|writes|written|wrote it|pronounc\w*|pronunciation|"
    r"rhymes?|rhyming|synonyms?|antonyms?|definition|phrases?|letters?|sentences?|quotes?|lyrics|titles?|called|expressions?|politely?|manners|"
    r"apostrophes?|punctuation|opposites?|stands? for|in (?:english|french|polish|german|spanish|italian|japanese)|"
    r"[ée]pel\w*|[ée]peler|dit|dis(?!-)|disent|dit-on|signifi\w*|veut dire|traduc\w*|tradui\w*|mots?|(?<!\ba )[ée]crit|[ée]crire|[ée]cris|prononc\w*|rimes?|"
    r"synonymes?|contraires?|d[ée]finition|lettres?|paroles|titres?|en (?:anglais|fran[çc]ais|polonais|allemand|espagnol|italien)|"
    r"pisze|pisa[ćc]|napisa[ćc]|znaczy|znaczenie|oznacza|przet[łl]umacz\w*|t[łl]umaczenie|s[łl]ow[oa]|s[łl]owami|m[óo]wi(?! si[ęe] w)|m[óo]wi[ćc]|wymawia|"
    r"przeliteruj|literuje|liter[aęy]?|synonim\w*|zwrot\w*|tytu[łl]\w*|"
    r"po (?:angielsku|francusku|polsku|niemiecku|hiszpa[ńn]sku|w[łl]osku))\b"
)
# "Whom did the king please": the courtesy is the verb.
_PLEASING = re.compile(
    r"^(?:who|whom|whose)\b.*\b(?:do|does|did|to|can|could|will|would|may|might)\b.*[^,.;:!?] please$"
)
# Behind a number or a single letter an exclamation mark is a factorial, behind a number a quote is feet or inches.
_CALLED = r"(?<![\d²³])(?<![\d²³]\s)(?<!\b\w)"
_TAIL = re.compile(rf"(?:{_CALLED}!|(?<![\d²³])[\"']|[\s.,;:?…])+$")
_START = re.compile(r"^(?:[\s;:?…\"'¿¡]|[.,!](?![\w.]))+")  # ".5" is a number, ".NET" a name, "!x" a negation
_MARK_MEANT = re.compile(
    r"\b(?:meaning of|symbol|sign|means?|signe|symbole|signifie|veut dire|(?:sens|signification) d[eu]|znak|znaczy|oznacza)\s[!\"'.,;:?…]+\s*$"
)
_MARK = rf"(?:\s*[,.;:?…]+\s*|{_CALLED}\s*!+\s*)"
_BEFORE, _FRAME, _OPENING = (
    re.compile(pattern)
    for pattern in (
        "|".join(rf"^(?:{one.before})(?:{_MARK}|\s+)(?=(?:{one.opening}|{one.before})\b)" for one in _TABLE.values()),
        "|".join(rf"^{one.frame}" for one in _TABLE.values()),
        rf"^(?:{'|'.join(one.opening for one in _TABLE.values())})\b",
    )
)
# A language's courtesies behind a sentence, and the words of that language that such a sentence cannot end in.
_BEHIND = tuple(
    (
        re.compile(rf"(?:(?:{_MARK}|\s+)(?:{one.after})|{_MARK}(?:{one.thanks}))$"),
        re.compile(rf"(?:^|[\s'])(?:{one.dangling})$"),
    )
    for one in _TABLE.values()
)
_SET_APART = re.compile(r"\s*[.,;:?!]")
_QUOTED = re.compile(r"[\"`]|(?<!\w)'|'(?!\w)")
# "How do you say no, thanks": the words asked about hold the comma.
_REPLY = re.compile(r"\b(?:yes|no|yeah|ok|okay|oui|non|tak|nie)$")
# "Hello, how do you spell it": the greeting is what is asked about.
_THAT = re.compile(r"\b(?:it|that|this|them|[çc]a|cela|ceci|le|la|to|tego)\b|\bl'")


def bare(text: str) -> str:
    """`text` without the punctuation at its ends, but for what may be part of its last word or number.

    In a sentence about words the mark may itself be what is asked about ("what is the meaning of ?"), and stays.
    """
    if _MARK_MEANT.search(text):
        return text.strip()
    return _TAIL.sub("", _START.sub("", text))


def plain(text: str) -> str:
    """`text` (composed, on one line, in small letters, without punctuation at its ends) without its courtesies."""
    framed = _FRAME.sub("", text)
    if _QUOTED.search(framed):
        return text
    about_words = _ABOUT_WORDS.search(framed) is not None
    for _ in range(6):  # "hey, um, could you please tell me ..., please, thanks": a few at each end, never endless
        asked = text
        text = _unthanked(text, about_words=about_words)
        if found := _BEFORE.match(text):
            shorter = text[found.end() :]
            apart = _SET_APART.search(found[0]) and not _THAT.search(shorter)
            text = shorter if _enough(shorter) and (apart or not about_words) else text
        shorter = _FRAME.sub("", text, count=1)
        text = shorter if _enough(shorter) and not about_words else text
        if text == asked:
            break
    return text


def asks(text: str) -> bool:
    """Whether `text`, whatever is called out before it, begins as a question or a request to be told something does."""
    for _ in range(6):
        if opens(text):
            return True
        if not (found := _BEFORE.match(text)):
            return False
        text = text[found.end() :]
    return False


def opens(text: str) -> bool:
    """Whether `text` begins as a question or a request to be told something does, in any of the languages."""
    return _OPENING.match(text) is not None


def _unthanked(text: str, *, about_words: bool) -> str:
    for courtesy, dangling in _BEHIND:
        if not (found := courtesy.search(text)):
            continue
        shorter = bare(text[: found.start()])
        if _SET_APART.match(found[0]):
            meant = about_words and _REPLY.search(shorter) is not None
        else:
            meant = about_words or any(one.search(held) for one, held in ((dangling, shorter), (_PLEASING, text)))
        if _enough(shorter) and not meant:
            return shorter
    return text


def _enough(text: str) -> bool:
    return len(text.split()) >= (MIN_WORDS if opens(text) else MIN_OTHER_WORDS)
