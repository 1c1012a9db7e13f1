"""Memory kept in order: when two texts say the same, and when the newer puts an end to the older.

Told from the words alone, in English, French and Polish, and from how near the texts are in meaning. In doubt two texts
have nothing to do with each other: an entry too many is found and corrected, one too few is not even missed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Relation = Literal["same", "supersedes"]

# Sentences in another order or without their articles have 0.976 and more by multilingual-e5-small. Such as say other
# things with nearly the same words have up to 0.995: alone it tells nothing, and the words have to agree as well.
SAME_COSINE = 0.96

_TOKENS = re.compile(r"(?<!\w)-\d[\w.,:]*|\w+(?:[.,:/@-]\w+)*|[%+#€$£°]")
_ELISION = re.compile(r"\b([cdjlmnst]|qu)['’](?=\w)", re.IGNORECASE)
_OWNER = re.compile(r"['’]s\b", re.IGNORECASE)
_NOT_DECOMPOSED = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "’": "'"})
_ENDS = ".!?… \t\n"


def _vocabulary(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ARTICLES = _vocabulary("the a an le la les l un une des du de d")
_NEGATIONS = _vocabulary("not no never ne n pas jamais nie nigdy")
_SHORT_NEGATIONS = re.compile(r"\b(do|does|is|are|was|were|can|ca|wo|has|have)n['’]?t\b", re.IGNORECASE)
_WEEKDAYS = _vocabulary(
    "monday tuesday wednesday thursday friday saturday sunday lundi mardi mercredi jeudi vendredi samedi dimanche "
    "poniedzialek wtorek sroda srode czwartek piatek sobota sobote niedziela niedziele"
)
_MONTHS = _vocabulary(
    "january february march april may june july august september october november december janvier fevrier mars "
    "avril mai juin juillet aout septembre octobre novembre decembre styczen stycznia styczniu luty lutego lutym "
    "marzec marca marcu kwiecien kwietnia kwietniu maj maja maju czerwiec czerwca czerwcu lipiec lipca lipcu "
    "sierpien sierpnia sierpniu wrzesien wrzesnia wrzesniu pazdziernik pazdziernika pazdzierniku listopad "
    "listopada listopadzie grudzien grudnia grudniu"
)
_CLOCK = re.compile(r"\d{1,2}(?::\d\d|h\d{0,2})|am|pm|noon|midnight|midi|minuit|poludnie|polnoc")
_PLACES = _vocabulary(
    "in on at under behind beside above inside dans sur sous derriere chez au aux w we na pod za obok nad przy u"
)
_DETERMINED = _vocabulary(
    "the my our your his her their le la les l mon ma mes notre nos ton ta tes votre vos son sa ses leur leurs "
    "moj moja moje nasz nasza nasze twoj twoja twoje jego jej ich"
)
_SUPERLATIVES = re.compile(r"best|worst|most|meilleure?s?|plus|pire|naj\w+")
# What has one value at a time, by its very meaning.
_SINGLE = _vocabulary(
    "password passcode code pin combination name surname nickname birthday birthdate address email size favourite "
    "favorite motdepasse anniversaire adresse prenom surnom pointure taille prefere preferee haslo kod imie "
    "nazwisko urodziny adres rozmiar ulubiony ulubiona ulubione"
)
# A value that begins so is no password or name, but an opinion of one.
_REMARKS = _vocabulary(
    "too very so quite really wrong weak long short secret private bad good important hard easy missing trop tres "
    "faux fausse long longue court secret bon bonne mauvais important difficile facile zbyt za bardzo zly zla zle "
    "dobry dobra dobre tajny tajne dlugi dlugie krotki krotkie wazny wazne trudny trudne"
)
_COPULAS = re.compile(
    r"^(?P<subject>.{2,80}?)(?:,\s*c['’]est\s+|\s+(?P<verb>is called|are called|is|are|s['’]appelle|s['’]appellent|est|"
    r"sont|nazywa się|nazywają się|ma na imię|jest|są|to)\s+)(?P<value>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_NAMING = re.compile(r"called|appelle|nazywa|imi", re.IGNORECASE)
# A sentence with a second part says more than that something is something.
_COMPOUND = re.compile(
    r"\b(?:because|but|if|when|unless|while|parce|mais|si|quand|sauf|bo|ale|gdy|kiedy|chyba|jeśli)\b", re.IGNORECASE
)
_CORRECTION = re.compile(
    r"^\s*(?:(?:no|nope|non|nie|sorry|wait|pardon|przepraszam|correction|poprawka)\s*[,:;.!]\s*"
    r"|(?:no|non|nie)?\s*,?\s*(?:actually|in fact|i meant|i mean|en fait|je voulais dire|właściwie|to znaczy|miało być)"
    r"\s*[,:]?\s+)+",
    re.IGNORECASE,
)

# Function and question words: not what a question, or a wish to forget, is about.
_COMMON = (
    _vocabulary(
        "the a an my our your his her their its i you he she we they it me us them is are was were be been am do does "
        "did have has had can could will would should what which who whose where when why how of in on at to for from "
        "with by and or that this these those there about tell know remember say said told please s t le la les l un "
        "une des du de d mon ma mes notre nos ton ta tes votre vos son sa ses leur leurs je j tu il elle on nous vous "
        "ils elles me m te se est sont etait ai as a avons avez ont que qu quel quelle quels quelles qui quoi ou "
        "quand pourquoi comment et en au aux dans sur sous pour avec par ce c cet cette ces y ne n pas dis sais dit "
        "moj moja moje nasz nasza nasze twoj twoja ja ty on ona my wy oni mi mnie ci nam jest sa byl byla bylo jak "
        "jaki jaka jakie jaki co kto ktory ktora ktore gdzie kiedy dlaczego czy w we na z ze do o od i a u po za pod "
        "sie to ten ta te tym nie powiedz wiesz"
    )
    | _ARTICLES
)
# What inflection puts at a word's end (accents taken off): English, French, Polish.
_ENDINGS = _vocabulary(
    "s es e x a y i o u em ie ami ach om owi ow ego emu ej ych ym ymi iem ia ie iu iach iami ed d ing"
) | {""}
_SHORT_ENDINGS = frozenset(("", "s", "es"))


@dataclass(frozen=True, slots=True)
class Statement:
    """That something is something. `subject` and `value` are plain words; `single`: it has one value at a time; `kind`
    is the sort of value, empty where it may stand beside another one (tired, a nurse)."""

    subject: tuple[str, ...]
    value: tuple[str, ...]
    single: bool
    kind: Literal["clock", "weekday", "date", "number", "thing", "place", ""]


def plain(text: str) -> str:
    """`text` without capitals and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold()).translate(_NOT_DECOMPOSED)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def words(text: str) -> tuple[str, ...]:
    """The words of `text` in order, without capitals, accents and punctuation between them; "don't" is "do not"."""
    opened = _ELISION.sub(r"\1 ", _OWNER.sub(" 's ", _SHORT_NEGATIONS.sub(r"\1 not", text)))
    return tuple(_TOKENS.findall(plain(opened)))


def telling(text: str) -> tuple[str, ...]:
    """The words of `text` that say what it is about: each once, without function and question words."""
    return tuple(dict.fromkeys(word for word in words(text) if word not in _COMMON))


def alike(one: str, other: str) -> bool:
    """Whether two plain words are forms of one word, as far as their ends tell."""
    if one == other:
        return True
    common = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        common += 1
    if common < 3 or one.isdigit() or other.isdigit():
        return False
    endings = _ENDINGS if common > 3 else _SHORT_ENDINGS
    return one[common:] in endings and other[common:] in endings


def share(wanted: Sequence[str], text: str) -> float:
    """What part of the plain words `wanted` the text has, in whatever form: 0 to 1."""
    if not wanted:
        return 0.0
    there = set(words(text))
    return sum(word in there or any(alike(word, other) for other in there) for word in wanted) / len(wanted)


def beginning(word: str) -> str:
    """What the forms of a plain word have in common at least: to look them up by."""
    return word[: max(3, len(word) - 3)]


def corrected(text: str) -> tuple[str, bool]:
    """A statement without the "no," or "actually" before it, by which it corrects what was said before, and whether
    there was one. Any other text ("no, not the dog") stays as it is."""
    stripped = _CORRECTION.sub("", text, count=1)
    return (stripped, True) if stripped != text and statement(stripped) is not None else (text, False)


def statement(text: str) -> Statement | None:
    """What `text` states, where it is of the form "X is Y" and says no more than that; else None."""
    text = text.strip(_ENDS)
    found = _COPULAS.match(text)
    if found is None or text.endswith("?") or _COMPOUND.search(text):
        return None
    subject = tuple(word for word in words(found["subject"]) if word not in _ARTICLES)
    value = words(found["value"])
    naming = bool(found["verb"] and _NAMING.search(found["verb"]))
    joined = "motdepasse" if "mot" in subject and "passe" in subject else ""
    single = naming or bool(_SINGLE & {*subject, joined})
    first = plain(found["subject"]).replace("'", " ").split()[0]
    if naming:
        subject = (*subject, "called")
    elif not single and first not in _DETERMINED and "'s" not in subject:
        return None
    if not subject or not value:
        return None
    # "X to Y" says what X is, in Polish.
    return Statement(subject, value, single, _kind(value) or ("thing" if found["verb"] == "to" else ""))


def relation(old: str, new: str, cosine: float | None = None) -> Relation | None:
    """What the `new` text is to the `old` one of the same owner: `same` says it once more, `supersedes` contradicts it.

    `cosine` is how near they are in meaning (-1 to 1), where that is known.
    """
    new, correction = corrected(new)
    before, after = words(old), words(new)
    if not before or not after:
        return None
    if before == after:
        return "same"
    if _without(before, _NEGATIONS) == _without(after, _NEGATIONS):
        # The same but for a "not"; two of them in one sentence are nobody's to reckon with.
        return "supersedes" if bool(_negations(before)) != bool(_negations(after)) else None
    if _negations(before) != _negations(after):
        return None
    if _says_the_same(before, after) and (cosine is None or cosine >= SAME_COSINE):
        return "same"
    was, now = statement(old), statement(new)
    if was is None or now is None or was.subject != now.subject or _NEGATIONS & {*before, *after}:
        return None
    return "supersedes" if correction or _contradicts(was, now) else None


def _contradicts(was: Statement, now: Statement) -> bool:
    old, new = set(was.value) - _ARTICLES, set(now.value) - _ARTICLES
    if old <= new or new <= old or _REMARKS & {was.value[0], now.value[0]}:
        return False  # the one may only be more exact than the other
    if was.kind != now.kind:
        return was.single and not {"clock", "weekday", "date"} & {was.kind, now.kind}
    match was.kind:
        case "clock" | "weekday" | "date":
            earlier, later = _times(old), _times(new)
            return not (earlier <= later or later <= earlier)
        case "place":
            return True
        case "number":  # the same measure of another size
            return was.single or _unmeasured(was.value) == _unmeasured(now.value)
        case "thing":  # another one of its sort: the small room, the attic room
            shared = {word for word in old & new if len(word) > 3}
            return was.single or (bool(shared) and not any(_SUPERLATIVES.fullmatch(word) for word in old | new))
        case _:
            return was.single


def _kind(value: Sequence[str]) -> Literal["clock", "weekday", "date", "number", "thing", "place", ""]:
    if any(_CLOCK.fullmatch(word) for word in value):
        return "clock"
    if _WEEKDAYS & {*value}:
        return "weekday"
    if _MONTHS & {*value}:
        return "date"
    if value[0].lstrip("-")[0].isdigit():
        return "number"
    if value[0] in _DETERMINED:
        return "thing"
    return "place" if value[0] in _PLACES and len(value) > 1 else ""


def _times(value: Iterable[str]) -> set[str]:
    """The numbers, days and months of a value: a month by its beginning, as it is inflected."""
    months = {word[:4] if word.startswith("jui") else word[:3] for word in value if word in _MONTHS}
    return months | {word for word in value if word in _WEEKDAYS or word[0].isdigit() or _CLOCK.fullmatch(word)}


def _unmeasured(value: Sequence[str]) -> list[str]:
    return [word for word in value if not word.lstrip("-")[0].isdigit()]


def _says_the_same(before: Sequence[str], after: Sequence[str]) -> bool:
    """The same words, but for a plural; a sentence may begin with what another ends with."""
    one, other = _bare(before), _bare(after)
    if len(one) != len(other) or not one:
        return False
    return any(
        all(mine in (theirs, theirs + "s") or theirs == mine + "s" for mine, theirs in zip(turned, other, strict=True))
        for turned in (one[at:] + one[:at] for at in range(len(one)))
    )


def _bare(said: Sequence[str]) -> list[str]:
    """Without articles, and without what stands before a day of the week."""
    return [
        word
        for word, following in zip(said, [*said[1:], ""], strict=True)
        if word not in _ARTICLES and not (word in ("on", "we", "w") and following in _WEEKDAYS)
    ]


def _without(said: Sequence[str], left_out: frozenset[str]) -> list[str]:
    return [word for word in said if word not in left_out]


def _negations(said: Sequence[str]) -> int:
    # "ne ... pas" is one.
    return min(1, sum(word in _NEGATIONS for word in said))
