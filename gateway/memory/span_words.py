"""The words by which English, French and Polish name times of the past, and patterns made of them.

Patterns are matched on text in lower case and without accents. Signs in angle brackets stand for the language's words:
N a number, O a day of a month, W a weekday, M a month, U a unit, Y a year, H an hour; they become groups of those names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


def _names(*groups: str) -> dict[str, int]:
    """Each of the words in a group, by the group's number from 1."""
    return {word: number for number, group in enumerate(groups, 1) for word in group.split()}


def _any(words: Mapping[str, object]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


@dataclass(frozen=True)
class Language:
    """A language's words, by the numbers that they mean, and its patterns."""

    numbers: Mapping[str, int]
    ordinals: Mapping[str, int]
    weekdays: Mapping[str, int]
    months: Mapping[str, int]
    units: Mapping[str, str]
    ago: str
    rolling: str
    days: Mapping[str, str]  # a kind of day or longer time, and its pattern; the first that matches counts
    parts: Mapping[str, str]
    clock: tuple[str, ...]
    noon: str
    midnight: str
    since: str
    past: str
    half_hour: str

    def number(self, text: str | None) -> int | None:
        """The number that is written so, in digits or in words."""
        if text is None:
            return None
        return int(text) if text.isdigit() else self.numbers.get(text) or self.ordinals.get(text)

    def unit(self, text: str) -> str:
        """The unit that is called so: minutes, hours, days, weeks, months, years."""
        return next(unit for stem, unit in self.units.items() if text.startswith(stem))


def compiled(pattern: str, language: Language) -> re.Pattern[str]:
    """The pattern, for whole words of text that is folded."""
    for sign, words in (
        ("<N>", rf"(?P<n>\d{{1,4}}|{_any(language.numbers)})"),
        ("<O>", rf"(?P<day>\d{{1,2}}|{_any({**language.ordinals, **language.numbers})})"),
        ("<W>", rf"(?P<weekday>{_any(language.weekdays)})"),
        ("<M>", rf"(?P<month>{_any(language.months)})"),
        ("<U>", rf"(?P<unit>(?:{_any(language.units)})[a-z]*)"),
        ("<Y>", r"(?P<year>(?:19|20)\d\d)"),
        ("<H>", rf"(?P<hour>\d{{1,2}}|{_any({**language.ordinals, **language.numbers})})"),
    ):
        pattern = pattern.replace(sign, words)
    return re.compile(rf"(?<![\w-])(?:{pattern})(?!\w)")


# fmt: off
_EN = Language(
    numbers=_names(
        "one a an", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
    ),
    ordinals=_names(
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
        "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
        "twentieth", "twenty-first", "twenty-second", "twenty-third", "twenty-fourth", "twenty-fifth",
        "twenty-sixth", "twenty-seventh", "twenty-eighth", "twenty-ninth", "thirtieth", "thirty-first",
    ),
    weekdays=_names("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    months=_names(
        "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
        "november", "december",
    ),
    units={"minute": "minutes", "hour": "hours", "day": "days", "week": "weeks", "month": "months", "year": "years"},
    ago=r"(?:about |some )?<N> (?:and a half )?<U> ago",
    rolling=r"(?:in|over|during|for|within|since)? ?(?:the (?:last|past)|past) (?:<N> )?<U>",
    days={
        "iso": r"(?:on )?<Y>-(?P<month_number>\d\d)-(?P<day>\d\d)",
        "before_yesterday": r"(?:the )?day before yesterday",
        "yesterday": r"yesterday",
        "today": r"(?:earlier )?today",
        "date": r"(?:on )?(?:the )?<O>(?:st|nd|rd|th)?(?: of)? <M>(?:,? <Y>)?",
        "date_turned": r"(?:on )?<M> (?:the )?(?P<day>\d{1,2}|[a-z]+(?:st|nd|rd|th))(?:st|nd|rd|th)?(?:,? <Y>)?",
        "weekday": r"(?<!every )(?<!each )(?<!next )(?:on |last |this )*<W>",
        "last_weekend": r"(?:the )?last weekend",
        "weekend": r"(?:at|over|on|during|this)? ?(?:the )?weekend",
        "last_week": r"last week",
        "this_week": r"this week",
        "last_month": r"last month",
        "this_month": r"this month",
        "month": r"(?:in|since|during|of|back in|(?P<last>last)) <M>(?: (?:of )?<Y>)?",
        "last_year": r"last year",
        "this_year": r"this year",
        "year": r"(?:in|since|during) <Y>",
        "last_night": r"(?:last|yesterday) (?=night)|last (?=evening)",
    },
    parts={
        "morning": r"(?:in the |this )?morning",
        "afternoon": r"(?:in the |this )?afternoon",
        "evening": r"(?:in the |this )?evening",
        "night": r"(?:in the |during the |at |over |last |this )?night|overnight",
    },
    clock=(
        r"(?:at |around |about |by |since )?(?P<half>half|(?P<quarter>(?:a )?quarter)) past <H>(?: (?P<noon>am|pm))?",
        r"(?:at |around |about |by |since )?<H>(?:[:.](?P<minute>\d\d))? ?(?P<noon>[ap]\.?m\.?|o'clock)",
        r"(?:at|around|about|by|since) <H>(?:[:.](?P<minute>\d\d))?(?! ?(?:degrees?|percent|%|°|minutes?|hours?|days?))",
    ),
    noon=r"(?:at |around |since )?(?:noon|midday)",
    midnight=r"(?:at |around |since )?midnight",
    since=r"since",
    past=r"yesterday|last (?:night|evening|week|weekend|month|year|time|monday|tuesday|wednesday|thursday|friday|"
    r"saturday|sunday)|ago|earlier|previously|the (?:last|past) (?:\w+ )?(?:minutes?|hours?|days?|weeks?|months?|years?)|"
    r"was|wasn't|were|weren't|did|didn't|had|have (?:i|we|you|they|the|my|our|it)|has (?:he|she|it|anyone|anybody|"
    r"someone|somebody|the|my|our|there)|used to",
    half_hour=r"half an hour ago|a half hour ago",
)
_FR = Language(
    numbers=_names(
        "un une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze",
        "treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf", "vingt", "vingt-et-un",
        "vingt-deux", "vingt-trois", "vingt-quatre", "vingt-cinq", "vingt-six", "vingt-sept", "vingt-huit",
        "vingt-neuf", "trente",
    ),
    ordinals={"1er": 1, "premier": 1},
    weekdays=_names("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    months=_names(
        "janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre", "octobre",
        "novembre", "decembre",
    ),
    units={"minute": "minutes", "heure": "hours", "jour": "days", "semaine": "weeks", "mois": "months", "an": "years"},
    ago=r"il y a (?:environ )?<N> <U>",
    rolling=r"(?:(?:pendant|durant|dans|au cours de|au cours des|depuis) ?)?(?:ces|les|la|l'|le|des)? ?"
    r"(?:<N> )?(?:derniere?s?|passee?s?) (?:(?P<n2>\d{1,4}) )?<U>",
    days={
        "iso": r"(?:le )?<Y>-(?P<month_number>\d\d)-(?P<day>\d\d)",
        "before_yesterday": r"avant-hier|avant hier",
        "yesterday": r"hier",
        "today": r"aujourd'hui|aujourd hui|plus tot dans la journee|dans la journee",
        "date": r"(?:le )?<O> <M>(?: <Y>)?",
        "weekday": r"(?<!chaque )<W>(?! prochain)(?: (?:dernier|passe))?",
        "last_weekend": r"(?:le )?week-?end (?:dernier|passe)",
        "weekend": r"(?:ce |le |pendant le )?week-?end",
        "last_week": r"(?:la )?semaine (?:derniere|passee)",
        "this_week": r"cette semaine",
        "last_month": r"(?:le )?mois (?:dernier|passe)",
        "this_month": r"ce mois(?:-ci)?",
        "month": r"(?:en|depuis|au mois de|debut|fin) <M>(?: (?P<last>dernier))?(?: <Y>)?|(?P<month2>janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre) (?P<last2>dernier)",
        "last_year": r"l'(?:annee|an) (?:derniere|passee|dernier|passe)",
        "this_year": r"cette annee",
        "year": r"(?:en|depuis) <Y>",
        "last_night": r"(?:la )?(?=nuit (?:derniere|passee))",
    },
    parts={
        "morning": r"(?:ce |le |au |du |dans la )?(?:matin|matinee)",
        "afternoon": r"(?:cet |l'|dans l'|de l')?(?:apres-midi|apres midi)",
        "evening": r"(?:ce |le |au |du |dans la )?(?:soir|soiree)",
        "night": r"(?:cette |la |pendant la |dans la |de la )?nuit(?: (?:derniere|passee))?",
    },
    clock=(
        r"(?:a |vers |depuis )?<H> ?(?:h|heures?) ?(?P<minute>\d\d)?(?P<half> et demie?| et quart)?",
        r"(?:a|vers|depuis) <H>:(?P<minute>\d\d)",
    ),
    noon=r"(?:a |vers |depuis )?midi",
    midnight=r"(?:a |vers |depuis )?minuit",
    since=r"depuis",
    past=r"avant-hier|hier|(?<!la )(?:nuit|semaine|annee) (?:derniere|passee)|la (?:nuit|semaine) (?:derniere|passee)|"
    r"(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|mois|week-?end|an) (?:dernier|passe)|"
    r"il y a (?:environ )?[\w-]+ (?:minutes?|heures?|jours?|semaines?|mois|ans?)|tout a l'heure|ce matin|cette nuit|"
    r"derniere?s (?:minutes|heures|jours|semaines|mois|annees)|"
    r"(?:etait|etaient|etais|etions|avait|avaient|avais|avions|faisait|pleuvait)(?:-\w+)?|(?<!y )a-t-(?:il|elle|on) \w+|"
    r"(?:ai-je|as-tu|avons-nous|avez-vous|ont-(?:ils|elles)) \w+|s'(?:est|etait)(?:-(?:il|elle))? \w+|"
    r"est-(?:il|elle) (?:parti|arrive|rentre|sorti|tombe|monte|descendu|venu|reste)e?|sont-(?:ils|elles) \w+|"
    r"(?:j'ai|tu as|il a|elle a|on a|nous avons|vous avez|ils ont|elles ont|qui a|que s'est|m'as-tu|t'ai-je) ?"
    r"[\w' -]*?\w*(?:e|i|u|is|it|ert|ete)",
    half_hour=r"il y a une demi-?(?: )?heure",
)
_PL = Language(
    numbers=_names(
        "jeden jedna jedno jednej jednego", "dwa dwie dwoch", "trzy trzech", "cztery czterech", "piec pieciu",
        "szesc szesciu", "siedem siedmiu", "osiem osmiu", "dziewiec dziewieciu", "dziesiec dziesieciu",
        "jedenascie jedenastu", "dwanascie dwunastu", "trzynascie", "czternascie", "pietnascie", "szesnascie",
        "siedemnascie", "osiemnascie", "dziewietnascie", "dwadziescia",
    ),
    ordinals=_names(
        "pierwszego pierwszej pierwsza", "drugiego drugiej druga", "trzeciego trzeciej trzecia",
        "czwartego czwartej czwarta", "piatego piatej piata", "szostego szostej szosta", "siodmego siodmej siodma",
        "osmego osmej osma", "dziewiatego dziewiatej dziewiata", "dziesiatego dziesiatej dziesiata",
        "jedenastego jedenastej jedenasta", "dwunastego dwunastej dwunasta", "trzynastego trzynastej",
        "czternastego czternastej", "pietnastego pietnastej", "szesnastego szesnastej",
        "siedemnastego siedemnastej", "osiemnastego osiemnastej", "dziewietnastego dziewietnastej",
        "dwudziestego dwudziestej",
    ),
    weekdays=_names(
        "poniedzialek poniedzialku", "wtorek wtorku", "srode srody", "czwartek czwartku", "piatek piatku",
        "sobote soboty", "niedziele niedzieli",
    ),
    months=_names(
        "stycznia styczniu styczen", "lutego lutym luty", "marca marcu marzec", "kwietnia kwietniu kwiecien",
        "maja maju maj", "czerwca czerwcu czerwiec", "lipca lipcu lipiec", "sierpnia sierpniu sierpien",
        "wrzesnia wrzesniu wrzesien", "pazdziernika pazdzierniku pazdziernik", "listopada listopadzie listopad",
        "grudnia grudniu grudzien",
    ),
    units={
        "minut": "minutes", "godzin": "hours", "dzien": "days", "dni": "days", "dob": "days", "tydzien": "weeks",
        "tygod": "weeks", "miesi": "months", "rok": "years", "lat": "years",
    },
    ago=r"(?:jakies |okolo )?(?:<N> )?<U> temu",
    rolling=r"(?:(?:w ciagu|przez|podczas|w|od|za|z) )?(?:te )?ostatni(?:ch|e|a|ego|ej|m|mi)? (?:<N> )?<U>",
    days={
        "iso": r"<Y>-(?P<month_number>\d\d)-(?P<day>\d\d)",
        "before_yesterday": r"(?:od )?przedwczoraj",
        "yesterday": r"(?:od )?wczoraj(?:szego|szej|szy|sza|szym)?(?: dnia)?",
        "today": r"dzis|dzisiaj|dzisiejsz\w+",
        "date": r"<O> <M>(?: <Y>(?: roku| r\.?)?)?",
        "weekday": r"(?:(?:w|we|od|zeszl\w+|ubiegl\w+|minion\w+|ostatni\w*) )+<W>",
        "last_weekend": r"(?:w )?(?:zeszly|ubiegly|ostatni|miniony) weekend",
        "weekend": r"w(?: ten)? weekend",
        "last_week": r"(?:w )?(?:zeszl|ubiegl|minion)\w+ tygodni\w",
        "this_week": r"(?:w )?tym tygodniu",
        "last_month": r"(?:w )?(?:zeszl|ubiegl|minion)\w+ miesi\w+",
        "this_month": r"(?:w )?tym miesiacu",
        "month": r"(?:w|we|od) (?P<last>(?:zeszl|ubiegl)\w+ )?<M>(?: <Y>)?",
        "last_year": r"(?:w )?(?:zeszl|ubiegl|minion)\w+ rok\w|rok temu",
        "this_year": r"(?:w )?tym roku",
        "year": r"(?:w|od) <Y>(?: roku| r\.?)?",
        "last_night": r"(?:zeszl|ubiegl|ostatni|minion)\w* (?=noc)",
    },
    parts={
        "morning": r"(?:dzis |tego )?(?:rano|ranka|z rana|nad ranem|przed poludniem|rankiem)",
        "afternoon": r"po poludniu|popoludniu",
        "evening": r"(?:tego )?wieczor(?:em|u)?",
        "night": r"(?:w |tej |zeszlej |ostatniej |ubieglej )?noc(?:y|a)",
    },
    clock=(
        r"(?:(?:o|okolo|kolo|od) )?(?:godzinie|godz\.?) <H>(?:[:.](?P<minute>\d\d))?",
        (r"(?:o|okolo|kolo|od) (?P<half>wpol do )?<H>(?:[:.](?P<minute>\d\d))?"
        r"(?! ?(?:stopni\w*|procent\w*|%|°|minut\w*|godzin\w*|dni|dzien))"),
    ),
    noon=r"(?:w|o|od) poludni[ea]",
    midnight=r"(?:o|od) polnocy",
    since=r"od",
    past=r"wczoraj\w*|przedwczoraj|temu|(?:zeszl|ubiegl|minion)\w+|ostatni(?:ej nocy|o|ch|m)|dzis rano|dzisiaj rano|"
    r"bylo|byla|byl|byly",
    half_hour=r"pol godziny temu",
)
# fmt: on
LANGUAGES: Mapping[str, Language] = {"en": _EN, "fr": _FR, "pl": _PL}
