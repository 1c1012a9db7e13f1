"""What people say of the answer they just heard: ask again, or that it is wrong. English, French, Polish.

Whole utterances of known forms, so that a command ("no, turn it off", "do it again") and a question ("is it wrong to
lie?") stay what they are. Both functions are pure.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.cache.key import folded

_EN_AGAIN = r"(?:again|once more|once again|one more time|another time|afresh|anew)"
_FR_AGAIN = r"(?:encore(?: une fois)?|[àa] nouveau|de nouveau|une nouvelle fois|une autre fois|une seconde fois|une deuxi[èe]me fois)"
_PL_AGAIN = r"(?:jeszcze raz|ponownie|znowu|zn[óo]w|od nowa|raz jeszcze)"
_PL_MODEL = r"(?: (?:model|modelu|model j[ęe]zykowy|go|o to))?"
# Around the whole: what may stand before, and after. {} is what is meant.
_AROUND = {
    "en": r"(?:(?:no|nope|ok|okay|well|hmm|sorry|hey|please|now|can you|could you|would you|will you|i want you to|i'd like you to|just|then|are you sure)[,.!?]* )*"
    r"{}(?:[,.]? (?:please|for me|now|will you|would you|could you|thanks|thank you))*",
    "fr": r"(?:(?:non|ok|bon|alors|euh|pardon|s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp|peux-tu|pourrais-tu|tu peux|pouvez-vous|pourriez-vous|est-ce que tu peux|"
    r"je veux que tu|j'aimerais que tu|tu es s[ûu]re?|t'es s[ûu]re?)[,.!?]* )*{}(?:[,.]? (?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp|merci|pour moi))*",
    "pl": r"(?:(?:nie|ok|okej|dobra|hej|prosz[ęe]|czy mo[żz]esz|mo[żz]esz|m[óo]g[łl]by[śs]|mog[łl]aby[śs]|chc[ęe],? [żz]eby[śs]|jeste[śs] pew(?:ien|na))[,.!?]* )*"
    r"{}(?:[,.]? (?:prosz[ęe]|dzi[ęe]ki|dzi[ęe]kuj[ęe]|dla mnie))*",
}
_ASK = {
    "en": rf"(?:(?:ask|try|check|recheck|answer|think|look|query|try to answer|look it up|have another think)(?: (?:it|that|this|the model|your model|the ai|the llm|the question|"
    rf"my question|the answer|your answer|the same question|asking|answering|to answer))?(?: with the model)? {_EN_AGAIN}|"
    r"(?:re-?ask|re-?check|double[- ]check|re-?try|regenerate|re-?generate|refresh|re-?think|reconsider)(?: (?:it|that|this|the model|the question|the answer|your answer|that answer))?|"
    r"(?:give me |i want |i'd like |tell me |say |get me )?(?:a|another) (?:new|fresh|different|another) (?:answer|reply|response)|(?:give me |i want |i'd like )?another (?:answer|reply|response)|"
    r"(?:answer |ask |ask again |try |try again )?(?:without|bypass(?:ing)?|skip(?:ping)?|don't use|do not use|not from) (?:the |your |using the )?cache|"
    r"(?:have another|take another) (?:go|try|look)(?: at (?:it|that))?)",
    "fr": rf"(?:(?:demande|demander|demandez|redemande|essaie|essaye|essayer|essayez|v[ée]rifie|v[ée]rifier|v[ée]rifiez|r[ée]ponds|r[ée]pondre|regarde|regarder|pose|poser|r[ée]fl[ée]chis|interroge|"
    rf"cherche)(?:-(?:lui|le|moi))?(?: (?:la question|ma question|[çc]a|au mod[èe]le|le mod[èe]le|la r[ée]ponse|ta r[ée]ponse))* {_FR_AGAIN}(?: (?:la question|au mod[èe]le|la r[ée]ponse))*|"
    r"(?:redemande|redemander|redemandez|r[ée]essaie|r[ée]essaye|r[ée]essayer|rev[ée]rifie|rev[ée]rifier|r[ée]interroge|repose|reposer|actualise|rafra[iî]chis)(?:-(?:lui|le))?"
    r"(?: (?:la question|ma question|au mod[èe]le|le mod[èe]le|la r[ée]ponse|ta r[ée]ponse|[çc]a))*(?: au mod[èe]le)?|"
    r"(?:donne-moi |donne |je veux |je voudrais |fais-moi )?une (?:autre|nouvelle) r[ée]ponse|(?:r[ée]ponds |demande |essaie )?sans (?:utiliser )?(?:le |ton )?cache|n'utilise pas (?:le |ton )?cache)",
    "pl": rf"(?:(?:zapytaj|zapyta[ćc]|zapytaj si[ęe]|spytaj|spr[óo]buj|spr[óo]bowa[ćc]|sprawd[źz]|sprawdzi[ćc]|odpowiedz|odpowiedzie[ćc]|pomy[śs]l|zastan[óo]w si[ęe]|zadaj)(?: (?:to|model|modelu|o to|pytanie|"
    rf"to pytanie|odpowied[źz]))? {_PL_AGAIN}{_PL_MODEL}|{_PL_AGAIN} (?:zapytaj|spytaj|spr[óo]buj|sprawd[źz]|odpowiedz|pomy[śs]l|zapyta[ćc]|sprawdzi[ćc]){_PL_MODEL}|"
    r"(?:daj(?: mi)?|podaj(?: mi)?|chc[ęe]|poprosz[ęe](?: o)?) (?:inn[ąa]|now[ąa]|[śs]wie[żz][ąa]) odpowied[źz]|od[śs]wie[żz](?: (?:odpowied[źz]|to))?|"
    r"(?:odpowiedz |zapytaj )?(?:bez|z pomini[ęe]ciem|nie u[żz]ywaj) (?:pami[ęe]ci podr[ęe]cznej|cache'?u?|cache))",
}
# Words that alone mean it in their own language only.
_ASK_SHORT = {
    "en": r"re-?ask|retry",
    "fr": r"redemande|r[ée]essaie|r[ée]essaye|rev[ée]rifie",
    "pl": r"spr[óo]buj ponownie",
}

_WRONG = {
    "en": r"(?:(?:that|this|it|what you (?:just )?said|(?:your|the|that|this) (?:last )?answer|all of that|everything you said)"
    r"(?:'s| is| was)? (?:just |simply |completely |totally |absolutely |all |quite |plain |definitely |a |so )*"
    r"(?:wrong|incorrect|false|untrue|mistaken|inaccurate|nonsense|rubbish|a lie|an error|a mistake|wrong answer|not (?:right|true|correct|accurate|so|the right answer|the correct answer|what i (?:asked|meant)|it at all))|"
    r"(?:that|this|it|(?:your|the|that) answer) (?:isn't|wasn't|ain't) (?:right|true|correct|accurate|so|the right answer|the correct answer|what i (?:asked|meant))|"
    r"(?:you're|you are|you were) (?:just |simply |completely |totally |absolutely |all |quite |definitely )*(?:wrong|mistaken|incorrect|not right|not correct)|"
    r"you (?:got|have) (?:that|it|this) (?:all |completely )?wrong|you made a mistake|wrong answer|that's a wrong answer|the answer (?:is|was) wrong)",
    "fr": r"(?:(?:c'est|c'[ée]tait|ceci est|cela est) (?:compl[èe]tement |totalement |tout [àa] fait |tout |absolument )?(?:faux|incorrect|inexact|erron[ée]e?|une erreur|n'importe quoi|pas (?:juste|correct|exact|[çc]a|la bonne r[ée]ponse))|"
    r"ce n'(?:est|[ée]tait) pas (?:vrai|juste|correct|exact|[çc]a|la bonne r[ée]ponse|ce que j'ai demand[ée])|(?:tu te trompes|tu t'es tromp[ée]e?|t'es tromp[ée]e?|tu as tort|t'as tort|vous vous trompez|vous avez tort|tu as fait une erreur)|"
    r"(?:c'est (?:une |la )?)?(?:mauvaise|fausse) r[ée]ponse|(?:ta|votre|cette|la) r[ée]ponse (?:est|[ée]tait) (?:fausse|incorrecte|erron[ée]e|inexacte|mauvaise)|ce que tu (?:dis|as dit) est (?:faux|incorrect))",
    "pl": r"(?:to (?:jest |by[łl]o )?(?:ca[łl]kiem |zupe[łl]nie |kompletnie )?(?:nieprawda|niepoprawne|nieprawid[łl]owe|b[łl][ąa]d|b[łl][ęe]dne|[źz]le|fa[łl]sz|bzdura|nie tak|nie prawda|nie jest prawda|nie jest prawd[ąa]|nie jest poprawne|"
    r"nie jest prawid[łl]owe|nie jest dobra odpowied[źz]|nie to)|(?:mylisz si[ęe]|pomyli[łl](?:e[śs]|a[śs]) si[ęe]|nie masz racji|jeste[śs] w b[łl][ęe]dzie|masz b[łl][ąa]d|pope[łl]ni[łl](?:e[śs]|a[śs]) b[łl][ąa]d)|"
    r"(?:to )?(?:jest )?(?:b[łl][ęe]dna|z[łl]a|niepoprawna|nieprawid[łl]owa|fa[łl]szywa) odpowied[źz]|(?:twoja|ta|ostatnia) odpowied[źz] (?:jest|by[łl]a) (?:b[łl][ęe]dna|z[łl]a|niepoprawna|nieprawid[łl]owa|nieprawdziwa)|"
    r"to,? co (?:m[óo]wisz|powiedzia[łl](?:e[śs]|a[śs])),? (?:jest|to|by[łl]o) (?:nieprawda|nieprawd[ąa]|b[łl][ęe]dne|b[łl][ąa]d))",
}
# "No" and what makes it an answer to what was said.
_NO_THEN = {
    "en": r"(?:no|nope|nah)[,.!]* (?:wrong|incorrect|false|not true|not right|not correct|it (?:isn't|is not|wasn't)(?: [^,;.]+)?[,;.]+ (?:but )?it(?:'s| is| was) .+)",
    "fr": r"non[,.!]* (?:faux|pas vrai|incorrect|inexact|c'est pas vrai|ce n'est pas [^,;.]+[,;.]+ (?:mais )?c'est .+|c'est pas [^,;.]+[,;.]+ (?:mais )?c'est .+)",
    "pl": r"nie[,.!]* (?:nieprawda|b[łl][ąa]d|[źz]le|fa[łl]sz|to nie (?:jest )?[^,;.]+[,;.]+ (?:ale |tylko |lecz |to )+.+)",
}
_WRONG_SHORT = {
    "en": r"wrong|incorrect|not true|not correct|not right",
    "fr": r"faux|c'est pas vrai|incorrect|inexact",
    "pl": r"nieprawda|b[łl][ąa]d|[źz]le|b[łl][ęe]dnie",
}
_BEFORE = {
    "en": r"(?:(?:no|nope|nah|sorry|actually|hey|hmm|well|but|wait|hold on|excuse me|oh|i think|i'm afraid|i'm sorry|sorry but|no no)[,.!]* )*",
    "fr": r"(?:(?:non|mais|euh|d[ée]sol[ée]e?|pardon|attends|en fait|ah|je crois que|je pense que|excuse-moi|non non)[,.!]* )*",
    "pl": r"(?:(?:nie|ale|przepraszam|czekaj|hej|hmm|oj|w[łl]a[śs]ciwie|niestety|my[śs]l[ęe],? [żz]e|chyba|nie nie)[,.!]* )*",
}
# What may follow: nothing, a mark and anything, or what is right. "That's wrong to say" is about something else.
_BEHIND = {
    "en": r"(?:$|[,.;:!]| (?:again|though|actually|i'm afraid|sorry|it's|it is|it was|because|he|she|they|there|the (?:right|correct) answer|you should)\b)",
    "fr": r"(?:$|[,.;:!]| ?[;:]| (?:du tout|encore|en fait|d[ée]sol[ée]|c'est|car|parce qu|il|elle|la (?:bonne|vraie) r[ée]ponse)\b)",
    "pl": r"(?:$|[.;:!]|,(?! [żz]e\b)| (?:znowu|niestety|to jest|bo|poniewa[żz]|w[łl]a[śs]ciwa|poprawna|prawid[łl]owa)\b)",
}
LONGEST = 400  # characters: who talks longer asks something else
LANGUAGES = tuple(_AROUND)
_ASKS = {spoken: re.compile("^" + _AROUND[spoken].replace("{}", f"(?:{_ASK[spoken]})") + "$") for spoken in LANGUAGES}
_ASKS_SHORT = {
    spoken: re.compile("^" + _AROUND[spoken].replace("{}", f"(?:{_ASK_SHORT[spoken]})") + "$") for spoken in LANGUAGES
}
_CORRECTS = {
    spoken: re.compile(f"^(?:{_BEFORE[spoken]}{_WRONG[spoken]}{_BEHIND[spoken]}|{_NO_THEN[spoken]}{_BEHIND[spoken]})")
    for spoken in LANGUAGES
}
_CORRECTS_SHORT = {
    spoken: re.compile(f"^(?:{_BEFORE[spoken]})(?:{_WRONG_SHORT[spoken]})(?:$|[,.;:!])") for spoken in LANGUAGES
}


def asks_again(utterance: str, language: str) -> bool:
    """Whether the whole `utterance` asks for the last question's answer anew, from the model itself.

    To hear the same answer once more ("say that again") or to act once more ("do it again") is something else. Every
    language is tried, as detection errs on so few words; what is short enough to be another's word, only `language`.
    """
    return len(utterance) <= LONGEST and _asks(utterance, language)


def corrects(utterance: str, language: str) -> bool:
    """Whether `utterance` says that what was answered is wrong, with or without what is right after it."""
    return len(utterance) <= LONGEST and _says_wrong(utterance, language)


@lru_cache(2048)
def _asks(utterance: str, language: str) -> bool:
    return _matches(folded(utterance), language, _ASKS, _ASKS_SHORT)


@lru_cache(2048)
def _says_wrong(utterance: str, language: str) -> bool:
    question = utterance.rstrip().endswith("?")
    return not question and _matches(folded(utterance), language, _CORRECTS, _CORRECTS_SHORT)


def _matches(text: str, language: str, known: dict[str, re.Pattern[str]], short: dict[str, re.Pattern[str]]) -> bool:
    own = short.get(language)
    return any(pattern.match(text) for pattern in known.values()) or (own is not None and own.match(text) is not None)
