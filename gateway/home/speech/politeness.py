"""Taking off what is said around a command: courtesy, hesitation, a call to the assistant. Never a word that could
change what is meant: no negation, no condition, no time but "now"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Manners:
    before: re.Pattern[str]
    after: re.Pattern[str]
    anywhere: re.Pattern[str]
    verbs: Mapping[str, str]


def _before(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:{'|'.join(phrases)})(?:\s*[,.!:;…-]+\s*|\s+)(?=\S)", re.IGNORECASE)


def _after(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=\S)(?:\s*[,.!:;…-]+\s*|\s+)(?:{'|'.join(phrases)})[\s.!?,…]*$", re.IGNORECASE)


def _anywhere(*sounds: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w']),?\s*\b(?:{'|'.join(sounds)})\b(?:\s*[,.…]+|(?!['’-]))", re.IGNORECASE)


_HAIL = r"(?:hey|hi|hello|ok|okay|yo)(?: (?:assistant|jarvis|nabu|computer|there))?"
_MANNERS: Mapping[str, _Manners] = {
    "en": _Manners(
        _before(
            r"(?:ok|okay|alright|all right|so),? now",
            _HAIL,
            r"(?:assistant|jarvis|nabu|computer)",
            r"(?:so|alright|all right|oh|good (?:morning|evening|afternoon)|excuse me|sorry|listen|you know)",
            r"(?:please|kindly|just|quickly|go ahead and|be (?:a dear|a darling|an angel) and|be so kind and|"
            r"do me a favou?r(?:,? and| and)?|if you (?:could|would|can)|if you don'?t mind|"
            r"if it'?s not too much trouble)",
            r"(?:would|do) you mind",
            r"(?:can|could|would|will) you"
            r"(?: (?:please|kindly|just|quickly|maybe|possibly|be so kind (?:as to|and)|go ahead and))*",
            r"(?:may|can|could) i (?:ask you to|get you to|have you)",
            r"i(?:'d| would) (?:really )?(?:like|love) (?:you )?to",
            r"i (?:want|need) you to",
            r"i was wondering if you could",
        ),
        _after(
            r"(?:please|kindly|thanks(?: a lot| so much| very much)?|thank you(?: very much| so much)?|cheers|for me|"
            r"for us|right now|now|right away|straight away|immediately|at once|real quick|quickly|ok|okay|all right|"
            r"alright|would you|could you|will you|can you|if you (?:could|can|would|please|don'?t mind)|"
            r"if you would be so kind|my dear|dear|buddy|mate|assistant|jarvis|computer)",
        ),
        _anywhere("u+m+", "u+h+", "e+r+m*", "h+m+", "a+h+", "you know"),
        {
            "turning": "turn",
            "switching": "switch",
            "setting": "set",
            "changing": "change",
            "dimming": "dim",
            "putting": "put",
            "starting": "start",
            "stopping": "stop",
            "pausing": "pause",
            "resuming": "resume",
            "playing": "play",
            "activating": "activate",
            "deactivating": "deactivate",
            "increasing": "increase",
            "decreasing": "decrease",
            "muting": "mute",
            "lighting": "light",
            "skipping": "skip",
        },
    ),
    "fr": _Manners(
        _before(
            r"(?:hé|eh|hey|ok|okay|dis|dis donc|bonjour|bonsoir|salut|coucou)(?: (?:assistant|jarvis|nabu))?",
            r"(?:alors|bon|ben|bah|donc|voilà|écoute|allez|vas-y|excuse-moi|pardon|maintenant)",
            r"(?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp)",
            r"(?:est-ce que |est ce que )?(?:tu|vous) (?:peux|pourrais|pouvez|pourriez|veux bien|voulez bien)"
            r"(?: bien| juste)?"
            r"(?:,? (?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp),?)?",
            r"(?:peux|pourrais|veux)[- ]tu(?: bien| juste)?(?:,? (?:s'il te pla[iî]t|stp),?)?",
            r"(?:pouvez|pourriez|voulez)[- ]vous(?: bien| juste)?(?:,? (?:s'il vous pla[iî]t|svp),?)?",
            r"(?:je veux|je voudrais|j'aimerais|je souhaite|il faudrait)(?: que tu| que vous)?",
            r"(?:merci de|aie la gentillesse de|sois gentil(?:le)? et|aurais-tu la gentillesse de)",
        ),
        _after(
            r"(?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp|merci(?: beaucoup| bien| d'avance)?|pour moi|maintenant|"
            r"tout de suite|immédiatement|veux-tu|tu veux bien|d'accord|ok|si tu peux|si tu veux bien|assistant)",
        ),
        _anywhere("e+u+h+", "h+u+m+", "h+e+i*n+", "b+a+h+", "h+m+"),
        {
            "allumes": "allume",
            "éteignes": "éteins",
            "mettes": "mets",
            "règles": "règle",
            "fermes": "ferme",
            "ouvres": "ouvre",
        },
    ),
    "pl": _Manners(
        _before(
            r"(?:hej|cześć|ok|okej|halo|dzień dobry)(?: (?:asystencie|jarvis|nabu))?",
            r"(?:no|dobra|dobrze|więc|słuchaj|teraz|przepraszam|weź)",
            r"(?:proszę(?: cię)?|poproszę|bardzo proszę)",
            r"(?:czy )?(?:możesz|mógłbyś|mogłabyś|mógłby pan|mogłaby pani|zechcesz|zechciałbyś)"
            r"(?: mi| proszę| dla mnie)*",
            r"(?:chcę|chciałbym|chciałabym)(?:,? żebyś| abyś)?",
            r"(?:bądź tak (?:miły|miła|dobry|dobra) i)",
        ),
        _after(
            r"(?:(?:bardzo )?proszę(?: cię)?|dla mnie|dzięki(?: wielkie)?|dziękuję(?: bardzo| ci)?|z góry dziękuję|"
            r"teraz|natychmiast|od razu|dobrze|ok|okej|jeśli możesz|jak możesz)",
        ),
        _anywhere("y{2,}", "e{2,}", "h+m+", "u+h+", "e+h+m*"),
        {
            "włączyć": "włącz",
            "włączył": "włącz",
            "włączyła": "włącz",
            "wyłączyć": "wyłącz",
            "wyłączył": "wyłącz",
            "wyłączyła": "wyłącz",
            "zapalić": "zapal",
            "zaświecić": "zaświeć",
            "oświecić": "oświeć",
            "zgasić": "zgaś",
            "ustawić": "ustaw",
            "nastawić": "nastaw",
            "przestawić": "przestaw",
            "zmienić": "zmień",
            "uruchomić": "uruchom",
            "zatrzymać": "zatrzymaj",
            "wstrzymać": "wstrzymaj",
            "wznowić": "wznów",
            "zwiększyć": "zwiększ",
            "zmniejszyć": "zmniejsz",
            "odtworzyć": "odtwórz",
            "odkurzyć": "odkurz",
        },
    ),
}


def tidy(utterance: str) -> str:
    """One line in composed letters, with plain apostrophes, without the punctuation at its ends."""
    text = unicodedata.normalize("NFC", utterance).replace("’", "'").replace("\u00a0", " ")
    return " ".join(text.split()).strip(" .!,;:…-")


def plain(text: str, language: str) -> str:
    """The tidied `text` without its courtesies. Languages without rules here come back as they are."""
    manners = _MANNERS.get(language)
    if manners is None:
        return text
    asked = text
    text = " ".join(manners.anywhere.sub(" ", text).split()).strip(" ,.!;:…-")
    for _ in range(8):  # "hey, could you please just ..., thanks a lot": a few at each end, never endless
        shorter = manners.after.sub("", manners.before.sub("", text, count=1), count=1).strip(" ,.!;:…-")
        if shorter == text:
            break
        text = shorter
    if text != asked and (first := text.split(" ", 1)) and (verb := manners.verbs.get(first[0].casefold())):
        text = " ".join((verb, *first[1:]))
    return text
