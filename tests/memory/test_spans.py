"""Times of the past as people say them."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.span_words import LANGUAGES
from gateway.memory.spans import asks_about_past, fold, past_span

WARSAW = ZoneInfo("Europe/Warsaw")
NOW = datetime(2026, 3, 7, 14, 30, tzinfo=WARSAW)  # a Saturday

# What is said within a sentence, and from when to when it is: day.month hour:minute, the year where it is not 2026.
NAMED = {
    "en": [
        ("How warm was it last night?", "06.03 22:00", "07.03 07:00", "last night"),
        ("Did it rain yesterday morning?", "06.03 06:00", "06.03 12:00", "yesterday morning"),
        ("How much did we use yesterday?", "06.03 00:00", "07.03 00:00", "yesterday"),
        ("What did I say the day before yesterday?", "05.03 00:00", "06.03 00:00", "the day before yesterday"),
        ("Was it cold on Monday?", "02.03 00:00", "03.03 00:00", "on Monday"),
        ("Was it cold on Saturday?", "28.02 00:00", "01.03 00:00", "on Saturday"),
        ("Who came on Monday evening?", "02.03 18:00", "02.03 23:00", "on Monday evening"),
        ("How cold was it Friday night?", "06.03 22:00", "07.03 07:00", "Friday night"),
        ("How warm was it last week?", "23.02 00:00", "02.03 00:00", "last week"),
        ("And this week?", "02.03 00:00", "07.03 14:30", "this week"),
        ("How warm was it this morning?", "07.03 06:00", "07.03 12:00", "this morning"),
        ("How warm was it in the evening?", "06.03 18:00", "06.03 23:00", "in the evening"),
        ("What was it two hours ago?", "07.03 12:00", "07.03 13:00", "two hours ago"),
        ("What was it half an hour ago?", "07.03 13:30", "07.03 14:30", "half an hour ago"),
        ("What was it at 3 am?", "07.03 02:30", "07.03 03:30", "at 3 am"),
        ("What was it at 9?", "07.03 08:30", "07.03 09:30", "at 9"),
        ("What was it last night at 3?", "07.03 02:30", "07.03 03:30", "last night at 3"),
        ("What was it last night at 11?", "06.03 22:30", "06.03 23:30", "last night at 11"),
        ("What was it yesterday at 3?", "06.03 14:30", "06.03 15:30", "yesterday at 3"),
        ("And last Monday at half past seven?", "02.03 07:00", "02.03 08:00", "last Monday at half past seven"),
        ("Was it warm at noon?", "07.03 11:30", "07.03 12:30", "at noon"),
        ("How warm was it in March?", "01.03 00:00", "07.03 14:30", "in March"),
        ("How warm was it in May?", "01.05.2025 00:00", "01.06.2025 00:00", "in May"),
        ("How warm was it in January last year?", "01.01.2025 00:00", "01.02.2025 00:00", "in January last year"),
        ("And on the 3rd of May?", "03.05.2025 00:00", "04.05.2025 00:00", "on the 3rd of May"),
        ("And on May 3rd, 2024?", "03.05.2024 00:00", "04.05.2024 00:00", "on May 3rd, 2024"),
        ("And on the twenty-first of February?", "21.02 00:00", "22.02 00:00", "on the twenty-first of February"),
        ("And on February 29?", "29.02.2024 00:00", "01.03.2024 00:00", "on February 29"),
        ("And on 2026-02-01?", "01.02 00:00", "02.02 00:00", "on 2026-02-01"),
        ("How warm was it three days ago?", "04.03 00:00", "05.03 00:00", "three days ago"),
        ("How warm was it in the last two hours?", "07.03 12:30", "07.03 14:30", "in the last two hours"),
        ("How warm has it been over the past week?", "28.02 14:30", "07.03 14:30", "over the past week"),
        ("What happened since Monday?", "02.03 00:00", "07.03 14:30", "since Monday"),
        ("What happened since the 3rd of February?", "03.02 00:00", "07.03 14:30", "since the 3rd of February"),
        ("What did we do last weekend?", "28.02 00:00", "02.03 00:00", "last weekend"),
        ("What did we use last month?", "01.02 00:00", "01.03 00:00", "last month"),
        ("What did we use in 2025?", "01.01.2025 00:00", "01.01 00:00", "in 2025"),
    ],
    "fr": [
        ("Il faisait combien hier soir ?", "06.03 18:00", "06.03 23:00", "hier soir"),
        ("Et la nuit dernière ?", "06.03 22:00", "07.03 07:00", "la nuit dernière"),
        ("Il a fait froid cette nuit ?", "06.03 22:00", "07.03 07:00", "cette nuit"),
        ("Il faisait combien hier après-midi ?", "06.03 12:00", "06.03 18:00", "hier après-midi"),
        ("Il faisait combien il y a deux heures ?", "07.03 12:00", "07.03 13:00", "il y a deux heures"),
        ("Il faisait combien il y a une demi-heure ?", "07.03 13:30", "07.03 14:30", "il y a une demi-heure"),
        ("Et lundi à 3 heures ?", "02.03 02:30", "02.03 03:30", "lundi à 3 heures"),
        ("Et lundi dernier ?", "02.03 00:00", "03.03 00:00", "lundi dernier"),
        ("Et la semaine dernière ?", "23.02 00:00", "02.03 00:00", "la semaine dernière"),
        ("Il faisait froid ce matin ?", "07.03 06:00", "07.03 12:00", "ce matin"),
        ("Et le 3 mai ?", "03.05.2025 00:00", "04.05.2025 00:00", "le 3 mai"),
        ("Et le premier mai 2024 ?", "01.05.2024 00:00", "02.05.2024 00:00", "le premier mai 2024"),
        ("Et en février ?", "01.02 00:00", "01.03 00:00", "en février"),
        ("Et au cours des 3 derniers jours ?", "04.03 14:30", "07.03 14:30", "au cours des 3 derniers jours"),
        ("Et ces deux dernières heures ?", "07.03 12:30", "07.03 14:30", "ces deux dernières heures"),
        ("Qu'est-ce qui a changé depuis hier ?", "06.03 00:00", "07.03 14:30", "depuis hier"),
        ("Et avant-hier ?", "05.03 00:00", "06.03 00:00", "avant-hier"),
        ("Il faisait combien à 7h30 ?", "07.03 07:00", "07.03 08:00", "à 7h30"),
        ("Et hier à 15 heures ?", "06.03 14:30", "06.03 15:30", "hier à 15 heures"),
        ("Et à 3 heures du matin ?", "07.03 02:30", "07.03 03:30", "à 3 heures du matin"),
        ("Et l’année dernière ?", "01.01.2025 00:00", "01.01 00:00", "l’année dernière"),
    ],
    "pl": [
        ("Jak ciepło było zeszłej nocy?", "06.03 22:00", "07.03 07:00", "zeszłej nocy"),
        ("Jak cieplo bylo w nocy?", "06.03 22:00", "07.03 07:00", "w nocy"),
        ("Ile było wczoraj rano?", "06.03 06:00", "06.03 12:00", "wczoraj rano"),
        ("Ile było dziś rano?", "07.03 06:00", "07.03 12:00", "dziś rano"),
        ("Ile było dwie godziny temu?", "07.03 12:00", "07.03 13:00", "dwie godziny temu"),
        ("Ile było godzinę temu?", "07.03 13:00", "07.03 14:00", "godzinę temu"),
        ("Ile było pół godziny temu?", "07.03 13:30", "07.03 14:30", "pół godziny temu"),
        ("A w poniedziałek?", "02.03 00:00", "03.03 00:00", "w poniedziałek"),
        ("A w zeszły poniedziałek?", "02.03 00:00", "03.03 00:00", "w zeszły poniedziałek"),
        ("A w sobotę wieczorem?", "28.02 18:00", "28.02 23:00", "w sobotę wieczorem"),
        ("A w zeszłym tygodniu?", "23.02 00:00", "02.03 00:00", "w zeszłym tygodniu"),
        ("Ile było o trzeciej?", "07.03 02:30", "07.03 03:30", "o trzeciej"),
        ("Ile było wczoraj o 3 w nocy?", "06.03 02:30", "06.03 03:30", "wczoraj o 3 w nocy"),
        ("Ile było o wpół do ósmej?", "07.03 07:00", "07.03 08:00", "o wpół do ósmej"),
        ("A we wtorek o 15:30?", "03.03 15:00", "03.03 16:00", "we wtorek o 15:30"),
        ("A trzeciego maja?", "03.05.2025 00:00", "04.05.2025 00:00", "trzeciego maja"),
        ("A 3 maja 2024 roku?", "03.05.2024 00:00", "04.05.2024 00:00", "3 maja 2024 roku"),
        ("A w lutym?", "01.02 00:00", "01.03 00:00", "w lutym"),
        ("A w ciągu ostatnich 3 dni?", "04.03 14:30", "07.03 14:30", "w ciągu ostatnich 3 dni"),
        ("A przez ostatnie dwie godziny?", "07.03 12:30", "07.03 14:30", "przez ostatnie dwie godziny"),
        ("Co się działo od wczoraj?", "06.03 00:00", "07.03 14:30", "od wczoraj"),
        ("A przedwczoraj?", "05.03 00:00", "06.03 00:00", "przedwczoraj"),
        ("A w południe?", "07.03 11:30", "07.03 12:30", "w południe"),
        ("A tydzień temu?", "28.02 00:00", "01.03 00:00", "tydzień temu"),
    ],
}
NAMING_NONE = {
    "en": [
        "Is the lamp on?", "Set it to 20 degrees at 30 percent", "Add a second lamp", "What will it be tomorrow?",
        "What may I do?", "How warm was it on 31 February 2025?", "Every Monday the bins go out", "5000 years ago",
        "What happens today at 8 pm?", "",
    ],
    "fr": ["Allume la lampe", "Il y a deux chaises", "Et lundi prochain ?", "Mets le chauffage à 20 degrés"],
    "pl": ["Włącz lampę", "Ustaw ogrzewanie na 20 stopni", "Co będzie jutro?", "Kot jest w ogrodzie"],
}  # fmt: skip
OF_THE_PAST = {
    "en": [
        "How warm was it?", "When did the washing machine finish?", "What did I say about the bins?",
        "What did you tell me?", "Was the garage door open last night?", "Has the dishwasher finished?",
        "Have I told you about Anna?", "Who rang an hour ago?",
    ],
    "fr": [
        "Il faisait combien hier ?", "Quand la machine a-t-elle fini ?", "Qu'est-ce que j'ai dit sur les poubelles ?",
        "Qu'as-tu dit ?", "La porte était ouverte ?", "Quand est-ce que la porte s'est ouverte ?",
        "Combien a-t-il fait cette nuit ?", "Il y a combien de minutes, il y a dix minutes ?",
    ],
    "pl": [
        "Jak ciepło było?", "Kiedy skończyła się zmywarka?", "Co mówiłem o śmieciach?", "Co mi powiedziałaś?",
        "Czy brama była otwarta?", "Kto dzwonił godzinę temu?", "Jak cieplo bylo w nocy?",
        "Kiedy otworzyły się drzwi?",
    ],
}  # fmt: skip
NOT_OF_THE_PAST = {
    "en": ["Is the lamp on?", "Turn on the light", "What is the capital of Spain?", "Wake me at 7", "How are you?"],
    "fr": ["La lampe est allumée ?", "Quelle est la capitale de l’Espagne ?", "Allume-la", "Y a-t-il du lait ?"],
    "pl": ["Czy lampa się świeci?", "Włącz światło", "Jaki jest mały stół?", "Gdzie jest szkoła?", "Jak się masz?"],
}  # fmt: skip


def day(written: str) -> datetime:
    date, clock = written.split()
    if date.count(".") == 1:
        date += ".2026"
    return datetime.strptime(f"{date} {clock}", "%d.%m.%Y %H:%M").replace(tzinfo=WARSAW)


@pytest.mark.parametrize(
    "language, said, since, until, words",
    [(language, *row) for language, rows in NAMED.items() for row in rows],
)
def test_what_is_named(language: str, said: str, since: str, until: str, words: str) -> None:
    span = past_span(said, language, NOW)
    assert span is not None
    assert (span.since, span.until, span.words) == (day(since), day(until), words)


@pytest.mark.parametrize(
    "language, said", [(language, said) for language, rows in NAMING_NONE.items() for said in rows]
)
def test_what_names_no_time_of_the_past(language: str, said: str) -> None:
    assert past_span(said, language, NOW) is None


def test_the_moment_that_is_meant() -> None:
    for said, language, at in [
        ("two hours ago", "en", "07.03 12:30"),
        ("last night at 3", "en", "07.03 03:00"),
        ("hier à 15 heures", "fr", "06.03 15:00"),
        ("o północy", "pl", "07.03 00:00"),
    ]:
        span = past_span(said, language, NOW)
        assert span is not None
        assert span.at == day(at)
    last = past_span("last night", "en", NOW)
    assert last is not None
    assert last.at is None


def test_where_the_clock_is_changed() -> None:
    """In Warsaw at 2 in the night of 29 March it becomes 3."""
    now = datetime(2026, 3, 29, 9, 0, tzinfo=WARSAW)
    night = past_span("how warm was it last night", "en", now)
    assert night is not None
    assert (night.until.astimezone(UTC) - night.since.astimezone(UTC)) == timedelta(hours=8)
    before = past_span("8 hours ago", "en", now)
    assert before is not None
    assert before.at == datetime(2026, 3, 29, 0, 0, tzinfo=WARSAW)


@pytest.mark.parametrize(
    "language, said", [(language, said) for language, rows in OF_THE_PAST.items() for said in rows]
)
def test_what_asks_about_the_past(language: str, said: str) -> None:
    assert asks_about_past(said, language)


@pytest.mark.parametrize(
    "language, said", [(language, said) for language, rows in NOT_OF_THE_PAST.items() for said in rows]
)
def test_what_does_not(language: str, said: str) -> None:
    assert not asks_about_past(said, language)


WORDS = sorted(
    {
        word
        for rows in NAMED.values()
        for said, *_ in rows
        for word in said.strip("?").split()
    }
    | {word for own in LANGUAGES.values() for table in (own.numbers, own.ordinals, own.months) for word in table}
    | {"4999", "31", "0", "24", "12:60", "ago", "noon", "midnight", "pm", "degrees"}
)  # fmt: skip
ZONES = st.sampled_from(["Europe/Warsaw", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]).map(ZoneInfo)
NOWS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=ZONES)  # noqa: DTZ001 (hypothesis adds it)

FAR = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (the same)


@given(
    utterance=st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    | st.text(alphabet=string.printable + "żółćéàç ’İßﬁ", max_size=60),
    language=st.sampled_from(["en", "fr", "pl", "de"]),
    now=NOWS | FAR,
)
def test_it_lies_before_now(utterance: str, language: str, now: datetime) -> None:
    assert isinstance(asks_about_past(utterance, language), bool)
    assert len(fold(utterance)) == len(utterance)
    span = past_span(utterance, language, now)
    if span is not None:
        assert span.since.astimezone(UTC) < span.until.astimezone(UTC) <= now.astimezone(UTC)
        assert span.at is None or span.since.astimezone(UTC) <= span.at.astimezone(UTC) <= span.until.astimezone(UTC)
        assert span.words
