"""Times of the past as people say them: "last night", "lundi à 3 heures", "dwie godziny temu". English, French, Polish.

Patterns are matched on text in lower case and without accents, as speech-to-text and hasty typing give it; `fold` keeps
each character's place, so that a span can say which of the utterance's words named it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from gateway.memory.span_words import LANGUAGES, Language, compiled

AROUND = timedelta(minutes=30)  # what belongs to a moment, before and behind it
DAY = timedelta(days=1)
# Where the parts of a day begin and how long they are; a night is its day's evening's.
PARTS: Mapping[str, tuple[int, int]] = {"morning": (6, 6), "afternoon": (12, 6), "evening": (18, 5), "night": (22, 9)}


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is over, or ends now: from `since` to `until`, both in the zone of the `now` it was found with.

    `words` are the utterance's words that named it, `at` the moment in its middle where they named a moment.
    """

    since: datetime
    until: datetime
    words: str
    at: datetime | None = None


def fold(text: str) -> str:
    """The text in lower case without accents, a character for each of its own (which should be composed: NFC)."""
    return "".join(_FOLDED.get(letter) or unicodedata.normalize("NFD", letter.lower())[0] for letter in text)


_FOLDED = {"ł": "l", "Ł": "l", "’": "'", "\u00a0": " ", "\u202f": " "}


@dataclass(frozen=True)
class _Patterns:
    words: Language
    half_hour: re.Pattern[str]
    ago: re.Pattern[str]
    rolling: re.Pattern[str]
    days: Mapping[str, re.Pattern[str]]
    parts: Mapping[str, re.Pattern[str]]
    clock: tuple[re.Pattern[str], ...]
    noon: re.Pattern[str]
    midnight: re.Pattern[str]
    since: re.Pattern[str]
    past: re.Pattern[str]


def _patterns(words: Language) -> _Patterns:
    return _Patterns(
        words,
        compiled(words.half_hour, words),
        compiled(words.ago, words),
        compiled(words.rolling, words),
        {kind: compiled(pattern, words) for kind, pattern in words.days.items()},
        {kind: compiled(pattern, words) for kind, pattern in words.parts.items()},
        tuple(compiled(pattern, words) for pattern in words.clock),
        compiled(words.noon, words),
        compiled(words.midnight, words),
        re.compile(rf"\b(?:{words.since})\b ?"),
        compiled(words.past, words),
    )


_PATTERNS: Mapping[str, _Patterns] = {language: _patterns(words) for language, words in LANGUAGES.items()}
# Polish verbs in the past tense, by their endings; the words beside them have the same ending, and are none.
_POLISH_PAST = re.compile(
    r"\b(?!mał[ay]\b|biał[ay]\b|cał[ay]\b|stał[ay]\b)"
    r"\w*[aeiyąęuó](?:ł|ła|ło|li|ły|łem|łam|łeś|łaś|liśmy|łyśmy|liście|łyście)\b"
)
_POLISH_NOUNS = re.compile(
    r"\b(?:stół|kół|dół|szkół|muł|anioł|zapał|dział|kanał|materiał|czyli|jeśli|ani|chyli|żyli)\b"
)


def asks_about_past(utterance: str, language: str) -> bool:
    """Whether it asks for something that has been: by its tense, or by a time that is over.

    On the generous side: "when did Rome fall?" does too. What is found in the home's past says whether it belongs here.
    """
    text = _composed(utterance)
    patterns = _PATTERNS.get(language, _PATTERNS["en"])
    if patterns.past.search(fold(text)):
        return True
    return language == "pl" and bool(_POLISH_PAST.search(_POLISH_NOUNS.sub("", text.lower())))


def past_span(utterance: str, language: str, now: datetime) -> Span | None:
    """The time of the past that `utterance` names; None where it names none, or one that has not begun.

    `now` is aware, in the household's zone: days and hours are its. A name without a year or a date ("in March", "on
    Monday", "at 3 am") is the last one that has begun.
    """
    text = _composed(utterance)
    try:
        found = _Reading(_PATTERNS.get(language, _PATTERNS["en"]), language, text, now).span()
    except (ValueError, OverflowError):
        return None  # a date that no calendar has: 31 February, 5,000 years ago
    if found is None:
        return None
    until = min(found.until, now, key=_instant)
    if _instant(found.since) >= _instant(until):
        return None
    at = found.at if found.at is not None and _instant(found.at) <= _instant(now) else None
    return Span(found.since, until, found.words, at)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _instant(moment: datetime) -> datetime:
    # Two times of one zone are compared by their clocks, which say the same twice when summer time ends.
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class _Days:
    """Days from the first up to the last, exclusive; `named` is false where the utterance only implied them."""

    first: date
    end: date
    named: bool = True


class _Reading:
    """One utterance, read for the time that it names."""

    def __init__(self, patterns: _Patterns, language: str, text: str, now: datetime) -> None:
        self._patterns = patterns
        self._words = patterns.words
        self._language = language
        self._text = text
        self._folded = fold(text)
        self._now = now
        self._today = now.date()
        self._pieces: list[tuple[int, int]] = []
        self._open_end = False

    def span(self) -> Span | None:
        """What it names, not yet cut at now."""
        for read in (self._read_half_hour, self._read_ago, self._read_rolling):
            if found := read():
                return found
        days = self._read_days()
        part = self._read_part()
        clock = self._read_clock()
        if clock is not None:
            moment = self._moment(days, part, *clock)
            return None if moment is None else self._around(moment)
        if part is not None:
            if days is not None and days.end - days.first > DAY:
                return self._of_days(days)  # "in the evenings of last week" are not cut out of it
            return self._part_of(days, part)
        return None if days is None else self._of_days(days)

    # --- what stands there --------------------------------------------------------------------------------------

    def _find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.search(self._folded)
        if found is not None:
            start, end = found.span()
            for since in self._patterns.since.finditer(self._folded, 0, end):
                if since.end() >= start:  # right before it, or its first word
                    self._open_end = True
                    start = min(start, since.start())
            self._pieces.append((start, end))
        return found

    def _named(self) -> str:
        """The words that were read, in their order; what two pieces share once."""
        covered = sorted({place for start, end in self._pieces for place in range(start, end)})
        letters = [
            (" " if before is not None and place > before + 1 else "") + self._text[place]
            for before, place in zip([None, *covered], covered, strict=False)
        ]
        return " ".join("".join(letters).split())

    def _read_half_hour(self) -> Span | None:
        return self._around(self._before(30, "minutes")) if self._find(self._patterns.half_hour) else None

    def _read_ago(self) -> Span | None:
        found = self._find(self._patterns.ago)
        if found is None:
            return None
        count = self._words.number(found["n"]) or 1
        unit = self._words.unit(found["unit"])
        before = self._before(count, unit)
        if unit in ("minutes", "hours"):
            return self._around(before)
        day = before.date()
        if unit in ("months", "years"):
            return self._of_days(_month(day) if unit == "months" else _year(day.year))
        days = _Days(day, day + DAY)
        part, clock = self._read_part(), self._read_clock()
        if clock is not None and (moment := self._moment(days, part, *clock)) is not None:
            return self._around(moment)
        return self._of_days(days) if part is None else self._part_of(days, part)

    def _read_rolling(self) -> Span | None:
        found = self._find(self._patterns.rolling)
        if found is None:
            return None
        groups = found.groupdict()
        count = self._words.number(groups["n"] or groups.get("n2")) or 1
        return Span(self._before(count, self._words.unit(found["unit"])), self._now, self._named())

    def _read_days(self) -> _Days | None:
        today, patterns = self._today, self._patterns.days
        year_ago = next((kind for kind in ("last_year",) if patterns[kind].search(self._folded)), None)
        for kind, pattern in patterns.items():
            found = pattern.search(self._folded)
            if found is None:
                continue
            days = self._days_of(kind, found, today.year - 1 if year_ago else None)
            if days is None:
                continue
            self._find(pattern)
            if year_ago and kind in ("month", "date", "date_turned"):
                self._find(patterns["last_year"])
            return days
        return None

    def _days_of(self, kind: str, found: re.Match[str], year: int | None) -> _Days | None:
        today = self._today
        monday = today - today.weekday() * DAY
        match kind:
            case "iso":
                day = date(int(found["year"]), int(found["month_number"]), int(found["day"]))
                return _Days(day, day + DAY)
            case "before_yesterday":
                return _Days(today - 2 * DAY, today - DAY)
            case "yesterday" | "last_night":
                return _Days(today - DAY, today, kind == "yesterday")
            case "today":
                return _Days(today, today + DAY)
            case "date" | "date_turned":
                return self._date(found, year)
            case "weekday":
                day = today - ((today.weekday() - self._words.weekdays[found["weekday"]] + 1) % 7 or 7) * DAY
                return _Days(day, day + DAY)
            case "last_weekend" | "weekend":
                saturday = monday + 5 * DAY
                if saturday > today or kind == "last_weekend":
                    saturday -= 7 * DAY
                return _Days(saturday, saturday + 2 * DAY)
            case "last_week":
                return _Days(monday - 7 * DAY, monday)
            case "this_week":
                return _Days(monday, monday + 7 * DAY)
            case "last_month":
                return _month(today.replace(day=1) - DAY)
            case "this_month":
                return _month(today)
            case "month":
                return self._month_named(found, year)
            case "last_year" | "this_year":
                return _year(today.year - (kind == "last_year"))
            case _:
                return _year(int(found["year"]))

    def _date(self, found: re.Match[str], year: int | None) -> _Days | None:
        number = self._words.number(found["day"]) or self._words.number(found["day"].rstrip("sthndr"))
        if number is None:
            return None
        month = self._words.months[found["month"]]
        year = int(found["year"]) if found["year"] else year
        # A 29 February may be some years back.
        for tried in (year,) if year else range(self._today.year, self._today.year - 9, -1):
            try:
                day = date(tried, month, number)
            except ValueError:
                continue
            if year or day <= self._today:
                return _Days(day, day + DAY)
        return None

    def _month_named(self, found: re.Match[str], year: int | None) -> _Days:
        groups = found.groupdict()
        month = self._words.months[groups["month"] or groups["month2"]]
        if groups["year"]:
            year = int(groups["year"])
        elif year is None:
            last = groups.get("last") or groups.get("last2")
            begun = month < self._today.month or (month == self._today.month and not last)
            year = self._today.year - (not begun)
        return _month(date(year, month, 1))

    def _read_part(self) -> str | None:
        for part, pattern in self._patterns.parts.items():
            if self._find(pattern):
                return part
        return None

    def _read_clock(self) -> tuple[int, int, str | None] | None:
        """Hour, minute, and "am" or "pm" where it was said; an hour that is said to be one of the day's 24 is "24"."""
        if self._find(self._patterns.noon):
            return 12, 0, "24"
        if self._find(self._patterns.midnight):
            return 0, 0, "24"
        for pattern in self._patterns.clock:
            found = self._find(pattern)
            if found is None:
                continue
            groups = found.groupdict()
            hour = self._words.number(found["hour"])
            minute = int(groups.get("minute") or 0)
            if half := groups.get("half"):
                minute = 15 if "quart" in half else 30
                hour = hour - 1 if hour is not None and "wpol" in half else hour
            if hour is None or not 0 <= hour <= 24 or not 0 <= minute < 60:
                self._pieces.pop()
                continue
            said = (groups.get("noon") or "").replace(".", "")
            return hour % 24, minute, "24" if hour > 12 or hour == 0 else said if said in ("am", "pm") else None
        return None

    # --- what it means ------------------------------------------------------------------------------------------

    def _moment(
        self, days: _Days | None, part: str | None, hour: int, minute: int, said: str | None
    ) -> datetime | None:
        """The moment of that hour; without a day the last one. None for one that is none of a day ("March at 3")."""
        if days is not None and days.end - days.first > DAY:
            return None
        at_night = part == "night" and said != "24"
        if said == "am" or (part == "morning" and said is None):
            hours: tuple[int, ...] = (hour % 12,)
        elif said == "pm" or (part in ("afternoon", "evening") and said is None):
            hours = (hour % 12 + 12,)
        elif at_night:
            hours = (hour % 12 + (12 if 6 <= hour < 12 else 0),)
        elif said == "24" or (days is not None and self._language != "en"):
            hours = (hour,)
        elif days is not None:
            hours = (hour if 7 <= hour <= 12 else hour + 12,)  # "yesterday at 3": nobody was awake at the other one
        else:
            hours = (hour % 24, (hour + 12) % 24)
        if days is None:
            tried = [self._at(self._today - back * DAY, one, minute) for back in (0, 1) for one in hours]
            return max((moment for moment in tried if _instant(moment) <= _instant(self._now)), key=_instant)
        day = days.first
        # The small hours of a night are the next day's: "last night at 3". In French and Polish a day that is named
        # is the hour's own: "hier à 3 heures de la nuit".
        if part == "night" and hours[0] < 12 and (not days.named or self._language == "en"):
            day += DAY
        return self._at(day, hours[0], minute)

    def _part_of(self, days: _Days | None, part: str) -> Span:
        start, length = PARTS[part]
        day = self._today if days is None else days.first
        since = self._at(day, start)
        if days is None and _instant(since) >= _instant(self._now):
            day -= DAY
            since = self._at(day, start)
        end = start + length
        until = self._at(day + (end // 24) * DAY, end % 24)
        return Span(since, self._now if self._open_end else until, self._named())

    def _of_days(self, days: _Days) -> Span:
        until = self._now if self._open_end else self._at(days.end)
        return Span(self._at(days.first), until, self._named())

    def _around(self, moment: datetime) -> Span:
        if self._open_end:
            return Span(moment, self._now, self._named())
        around = _instant(moment) - AROUND, _instant(moment) + AROUND
        since, until = (end.astimezone(self._now.tzinfo) for end in around)
        return Span(since, until, self._named(), moment)

    def _at(self, day: date, hour: int = 0, minute: int = 0) -> datetime:
        return datetime.combine(day, time(hour, minute), tzinfo=self._now.tzinfo)

    def _before(self, count: int, unit: str) -> datetime:
        """So long before now: by the clock for minutes and hours, by the calendar for more."""
        if unit in ("minutes", "hours", "days", "weeks"):
            if unit in ("minutes", "hours"):
                return (_instant(self._now) - timedelta(**{unit: count})).astimezone(self._now.tzinfo)
            return self._now - timedelta(**{unit: count})
        months = self._now.year * 12 + self._now.month - 1 - count * (12 if unit == "years" else 1)
        first = date(months // 12, months % 12 + 1, 1)
        day = min(self._now.day, (_month(first).end - first).days)
        return self._now.replace(year=first.year, month=first.month, day=day)


def _month(day: date) -> _Days:
    first = day.replace(day=1)
    return _Days(first, (first + 31 * DAY).replace(day=1))


def _year(number: int) -> _Days:
    return _Days(date(number, 1, 1), date(number + 1, 1, 1))
