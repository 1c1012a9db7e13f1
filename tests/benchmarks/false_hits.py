"""Measures whether the cache ever answers one question with another's answer, and how many true repeats it answers.

    python -m tests.benchmarks.false_hits ../shared/data
    python -m tests.benchmarks.false_hits ../shared/data --share 0.1

A whole gateway with its cache on and its own PostgreSQL is asked over HTTP; a scripted model answers each exact prompt
with words of its own ("Answer 17."), so that the words tell which question an answer was made for, whatever the reply
says about the cache. Every sentence is asked beside all the others, whose answers may be in the cache by then, and so
counts for the pairs that it makes with sentences of another meaning. Three families:

    home      Home Assistant's own sentences, each in its house, as Home Assistant asks (`/api/chat` with entities and
              tools). Of another meaning: another intent, other slots, another house or room. What is acted on must be
              acted on as without a cache.
    pairs     GPTCache's benchmark: of another meaning is what stands in another entry.
    variants  each sentence of both, and general questions, beside itself with one word changed: on and off, a number, a
              room, a name, not and never, before and after.

Then the true repeats of what was let into the cache: the same sentence, in other case, with other punctuation, politely
and with hesitation, each kind apart, and beside it what the law kept out, by reason.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from gateway.app import listening, open_gateway
from gateway.cache.key import normalise
from gateway.config import CacheSettings, LlmSettings, OllamaSettings, RecallSettings, ServerSettings, Settings
from gateway.edge.assist import STATIC_CONTEXT
from tests.benchmarks.intents import LANGUAGES, VERSIONS, Case, cases, listed, tools_of
from tests.questions import GENERAL
from tests.scripted_model import Answer, ScriptedModel, last_user

MODEL = "qwen3:4b-instruct"
AT_ONCE = 4
MAX_ENTRIES = 50_000  # nothing leaves the cache: every earlier answer stays a temptation
KEPT = ("hit", "joined", "revalidated")


class Answers:
    """The scripted model's words: for each question, word for word, a sentence of its own."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._asked: list[str] = []

    def __call__(self, body: dict[str, Any]) -> Answer:
        # Beside the question may stand lines about the hour and the room; the question comes behind an empty line.
        words = last_user(body)
        words = words.partition("\n\n")[2] or words
        number = self._numbers.setdefault(words, len(self._asked))
        if number == len(self._asked):
            self._asked.append(words)
        return Answer(f"Answer {number}.")

    def question(self, said: str) -> str | None:
        """The question that these words were made for, or None where they are none of the model's."""
        found = re.fullmatch(r"Answer (\d+)\.", said.strip())
        return self._asked[int(found[1])] if found else None


@dataclass(frozen=True)
class Said:
    """What came back: the words, the tool calls, and the cache's outcome."""

    text: str
    calls: tuple[Any, ...]
    cache: str


@dataclass
class Door:
    """The gateway, and the model behind it."""

    http: aiohttp.ClientSession
    url: str
    answers: Answers

    async def plain(self, text: str) -> Said:
        """One turn through `/conversation`."""
        async with self.http.post(f"{self.url}/conversation", json={"text": text}) as response:
            body = orjson.loads(await response.read())
            response.raise_for_status()
        return Said(body["response"]["speech"]["plain"]["speech"], (), body["cache"])

    async def home(self, case: Case, text: str, tools: Sequence[Any], *, fresh: bool = False) -> Said:
        """One turn through `/api/chat`, as Home Assistant asks. `fresh`: as if there were no cache."""
        body = {
            "model": MODEL,
            "messages": [{"role": "system", "content": head_of(case)}, {"role": "user", "content": text}],
            "tools": list(tools),
            "stream": False,
        }
        headers = {"Cache-Control": "no-store"} if fresh else {}
        async with self.http.post(f"{self.url}/api/chat", json=body, headers=headers) as response:
            answered = orjson.loads(await response.read())
            response.raise_for_status()
        message = answered["message"]
        cache = answered.get("gateway", answered).get("cache", "")
        return Said(message.get("content", ""), tuple(message.get("tool_calls", ())), str(cache))


@dataclass
class Figures:
    """What came of a family of sentences. `hits` were answered from the cache; `wrong` by another question's answer."""

    asked: int = 0
    hits: int = 0
    pairs: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, cache: str) -> None:
        self.asked += 1
        outcome, _, reason = cache.partition(" ")
        self.hits += outcome in KEPT
        self.reasons[
            reason.strip("():=; ") or cache.removeprefix("bypass").strip("():=; ") if "bypass" in cache else "let in"
        ] += 1


@dataclass
class Repeats:
    """True repeats of one kind, of sentences that the law let in."""

    asked: int = 0
    hits: int = 0
    kept_out: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of those that the law let in as well, how many were answered from the cache."""
        counted = self.asked - self.kept_out.total()
        return self.hits / counted if counted else 1.0


def upper_bound(wrong: int, trials: int) -> float:
    """The upper end of Clopper and Pearson's 95 % interval for `wrong` of `trials` (Biometrika 26, 1934)."""
    if not trials or wrong >= trials:
        return 1.0
    if wrong == 0:
        return float(1 - 0.025 ** (1 / trials))

    def at_most(share: float) -> float:
        terms = (
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(share)
            + (trials - k) * math.log1p(-share)
            for k in range(wrong + 1)
        )
        return sum(map(math.exp, terms))

    low, high = wrong / trials, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(middle) > 0.025 else (low, middle)
    return high


def differing(classes: Iterable[object]) -> int:
    """How many pairs of these are of different classes."""
    sizes = Counter(classes)
    total = sizes.total()
    return total * (total - 1) // 2 - sum(size * (size - 1) // 2 for size in sizes.values())


def head_of(case: Case) -> str:
    """The system prompt of the case's house, and of the room that is spoken in."""
    lines = ["You are a voice assistant for Home Assistant."]
    if case.area:
        lines.append(
            f"You are in area {case.area} and all generic commands like 'turn on the lights' should target this area."
        )
    lines.append(STATIC_CONTEXT)
    for entity in case.home.entities:
        lines += [f"- names: {', '.join(entity.names)}", f"  domain: {entity.domain}"]
        lines += [f"  areas: {', '.join(entity.areas)}"] if entity.areas else []
    return "\n".join(lines)


def meaning(case: Case) -> tuple[object, ...]:
    """What the sentence wants, in which house and room."""
    slots = tuple(sorted((name, tuple(sorted(listed(value)))) for name, value in case.slots.items()))
    return case.language, case.intent, slots, id(case.home), case.area


def swaps(text: str) -> dict[str, str]:
    """Words and what stands in their place, written as `on:off before:after`."""
    return dict(one.split(":") for one in text.split())


SWAPS = {
    "en": swaps(
        "on:off off:on open:close close:open up:down down:up before:after after:before first:last largest:smallest "
        "longest:shortest highest:lowest more:less with:without kitchen:bedroom bedroom:kitchen north:south "
        "france:Spain paris:Rome poland:Peru is:isn't "
        "are:aren't can:can't does:doesn't did:didn't was:wasn't always:never"
    ),
    "fr": swaps(
        "avant:après après:avant premier:dernier plus:moins avec:sans toujours:jamais cuisine:chambre chambre:cuisine "
        "allume:éteins ouvre:ferme france:Espagne pologne:Suède grand:petit grande:petite"
    ),
    "pl": swaps(
        "przed:po po:przed pierwszy:ostatni więcej:mniej zawsze:nigdy włącz:wyłącz wyłącz:włącz otwórz:zamknij "
        "największa:najmniejsza najwyższy:najniższy kuchni:sypialni polski:Czech"
    ),
}
NOT = {"en": ("not", "never"), "fr": ("pas", "jamais"), "pl": ("nie", "nigdy")}
NAMES = {"en": ("Anna", "Peter"), "fr": ("Camille", "Louis"), "pl": ("Zofia", "Marek")}


def one_word_changed(text: str, language: str, chance: random.Random) -> Iterator[str]:
    """The sentence with one word changed, in every way that applies; each means something else."""
    yield from (other for other in _changed(text, language, chance) if other != text)


def _changed(text: str, language: str, chance: random.Random) -> Iterator[str]:
    words = text.split()
    for place, word in enumerate(words):
        bare = word.strip(".,;:?!\"'")
        if other := SWAPS[language].get(bare.casefold()):
            yield " ".join((*words[:place], word.replace(bare, other), *words[place + 1 :]))
        if re.fullmatch(r"\d+", bare):
            yield " ".join((*words[:place], word.replace(bare, str(int(bare) + 1)), *words[place + 1 :]))
            yield " ".join((*words[:place], word.replace(bare, f"-{bare}"), *words[place + 1 :]))
        elif place and bare[:1].isupper() and bare.isalpha():
            yield " ".join((*words[:place], word.replace(bare, chance.choice(NAMES[language])), *words[place + 1 :]))
    if len(words) > 2:
        place = chance.randrange(1, len(words))
        for negation in NOT[language]:
            yield " ".join((*words[:place], negation, *words[place:]))
        place = chance.randrange(1, len(words) - 1)
        if words[place].casefold() != words[place + 1].casefold():
            yield " ".join((*words[:place], words[place + 1], words[place], *words[place + 2 :]))
        yield " ".join((*words[:place], *words[place + 1 :]))


COURTESIES = {
    "en": {
        "polite before": ("Please, {}", "Hey, {}", "Excuse me, {}", "please {}", "Hello, {}"),
        "polite behind": ("{}, please?", "{} please", "{}? Thank you very much!", "{}, thanks"),
        "hesitation": ("Um, {}", "So, {}", "hmm {}"),
        "both ends": ("Okay, {}, please. Thanks!", "Hi, um, {}, please?"),
    },
    "fr": {
        "polite before": ("S'il te plaît, {}", "Bonjour, {}", "Excuse-moi, {}"),
        "polite behind": ("{}, s'il te plaît ?", "{} s'il vous plaît", "{} ? Merci beaucoup !", "{}, stp"),
        "hesitation": ("Euh, {}", "Alors, {}", "hum {}"),
        "both ends": ("Salut, {}, stp. Merci !",),
    },
    "pl": {
        "polite before": ("Proszę, {}", "Hej, {}", "Przepraszam, {}"),
        "polite behind": ("{}, proszę", "{} proszę", "{}? Dziękuję bardzo!", "{}, dzięki"),
        "hesitation": ("Yyy, {}", "hmm {}"),
        "both ends": ("Dzień dobry, {}, proszę. Dziękuję!",),
    },
}


def repeats_of(text: str, language: str, chance: random.Random, *, question: bool) -> Iterator[tuple[str, str]]:
    """The sentence as people and speech-to-text say it again, and the kind of each. A question politely too."""
    yield "word for word", text
    # What is code or an address is another with other letters, and is no repeat.
    plain = not re.search(r"[`_(){}<>=\[\]/@\n]|\w\.\w", text)
    if plain:
        yield "other case", text.upper()
        yield "other case", text.lower()
    bare = text.rstrip(" .?!…")
    if bare and not re.search(r"[\"'\n]$|\d$", bare):
        yield "other punctuation", bare
        yield "other punctuation", f"{bare} ?!"
        yield "other punctuation", f"  {bare.replace(' ', '  ')}." if plain else f"{bare}."
        yield "other punctuation", f"“{bare}”" if plain and '"' not in text else f"{bare}…"
    if question:
        asked = bare if bare.split()[0].isupper() else bare[0].lower() + bare[1:]
        for kind, courtesies in COURTESIES[language].items():
            for courtesy in chance.sample(courtesies, min(2, len(courtesies))):
                yield kind, courtesy.format(asked)


async def gathered(work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """A few at once, as a house asks."""
    waiting = iter(work)

    async def worker() -> None:
        for one in waiting:
            await one()

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(worker(), name=f"asking {number}")


async def ask_all(
    door: Door, sentences: Iterable[str], class_of: Callable[[str], object], figures: Figures
) -> dict[str, Said]:
    """Asks each once; a reply made for a question of another class is a false hit."""
    replies: dict[str, Said] = {}

    async def ask(text: str) -> None:
        said = replies[text] = await door.plain(text)
        figures.note(said.cache)
        made_for = door.answers.question(said.text)
        if made_for is None:
            if said.cache.startswith(KEPT):
                figures.wrong.append(f"{text!r}: {said.text!r}, from the cache")
        elif made_for != text and class_of(made_for) != class_of(text):
            figures.wrong.append(f"{text!r} was given the answer to {made_for!r}")

    await gathered(lambda text=text: ask(text) for text in sentences)  # type: ignore[misc]
    return replies


async def home(door: Door, data: Path, share: float, chance: random.Random) -> Figures:
    """Home Assistant's sentences, each in its house: first as if there were no cache, then with it, twice."""
    figures = Figures()
    tools = tools_of(data / "home-assistant-requests", VERSIONS[-1])
    for language in LANGUAGES:
        known = [case for case in cases(data / "intents", language) if chance.random() < share]
        # One text may stand for several meanings, each in another house: the head tells those apart.
        classes: dict[tuple[str, str], set[object]] = defaultdict(set)
        for case in known:
            classes[head_of(case), case.text].add(meaning(case))
        figures.pairs += differing(meaning(case) for case in known)

        async def ask(case: Case, classes: dict[tuple[str, str], set[object]] = classes) -> None:
            fresh = await door.home(case, case.text, tools, fresh=True)
            for _ in range(2):
                said = await door.home(case, case.text, tools)
                figures.note(said.cache)
                if said.calls != fresh.calls:
                    figures.wrong.append(f"{case.text!r} calls {said.calls}, without a cache {fresh.calls}")
                made_for = door.answers.question(said.text)
                if made_for not in (None, case.text) and not (
                    classes[head_of(case), made_for or ""] & classes[head_of(case), case.text]
                ):
                    figures.wrong.append(f"{case.text!r} was given the answer to {made_for!r}")

        await gathered(lambda case=case: ask(case) for case in known)  # type: ignore[misc]
    return figures


def entries(data: Path, share: float, chance: random.Random) -> dict[str, int]:
    """GPTCache's sentences, each with its entry's number. Entries that share a sentence are one, whatever its case: a
    few stand there twice, once with a capital."""
    read = orjson.loads((data / "gptcache" / "mock_data.json").read_bytes())
    number: dict[str, int] = {}
    sentences: dict[str, str] = {}
    for index, entry in enumerate(one for one in read if chance.random() < share):
        texts = {(text := " ".join(entry[key].split())): text.casefold() for key in ("origin", "similar")}
        joined = {number[small] for small in texts.values() if small in number}
        if joined:
            number = {small: index if old in joined else old for small, old in number.items()}
        number.update(dict.fromkeys(texts.values(), index))
        sentences.update(texts)
    return {text: number[small] for text, small in sentences.items()}


async def pairs(door: Door, sentences: dict[str, int]) -> Figures:
    """GPTCache's own pairs, across entries."""
    figures = Figures()
    await ask_all(door, sentences, lambda text: sentences.get(text, text), figures)
    figures.pairs = differing(sentences.values())
    return figures


async def variants(door: Door, sources: Sequence[tuple[str, str]], chance: random.Random) -> Figures:
    """Each sentence and then its neighbours of one other word; each is a question of its own."""
    figures = Figures()
    told: dict[str, None] = {}
    for text, language in sources:
        for other in (text, *one_word_changed(text, language, chance)):
            told.setdefault(" ".join(other.split()), None)
    # A reply made for the same words in other clothes is none of another question.
    await ask_all(door, told, normalise, figures)
    figures.pairs = differing(normalise(text) for text in told)
    return figures


async def repeats(
    door: Door, sources: Sequence[tuple[str, str]], chance: random.Random, figures: Figures
) -> dict[str, Repeats]:
    """The true repeats of each sentence that the law let in, by kind. Notes false hits in `figures`."""
    kinds: dict[str, Repeats] = defaultdict(Repeats)

    async def ask(text: str, language: str) -> None:
        first = await door.plain(text)
        figures.note(first.cache)
        if first.cache.startswith("bypass"):
            return
        for kind, again in repeats_of(text, language, chance, question=text in QUESTIONS):
            said = await door.plain(again)
            row = kinds[kind]
            row.asked += 1
            if said.cache.startswith(KEPT):
                row.hits += 1
            elif said.cache.startswith("bypass"):
                row.kept_out[said.cache] += 1
            else:
                row.missed.append(again)
            made_for = door.answers.question(said.text)
            if made_for is None or normalise(made_for) != normalise(again.strip()):
                figures.wrong.append(f"{again!r} was given the answer to {made_for!r} ({said.text!r})")

    await gathered(lambda text=text, language=language: ask(text, language) for text, language in sources)  # type: ignore[misc]
    return kinds


QUESTIONS = frozenset(text for texts in GENERAL.values() for text in texts)


@dataclass
class Outcome:
    """Everything that was measured."""

    families: dict[str, Figures]
    kinds: dict[str, Repeats]

    @property
    def wrong(self) -> list[str]:
        return [one for figures in self.families.values() for one in figures.wrong]

    @property
    def pairs(self) -> int:
        return sum(figures.pairs for figures in self.families.values())

    @property
    def share(self) -> float:
        """Of the true repeats that the law lets in, how many hit."""
        counted = sum(row.asked - row.kept_out.total() for row in self.kinds.values())
        return sum(row.hits for row in self.kinds.values()) / counted if counted else 0.0


async def measured(door: Door, data: Path, *, share: float = 1.0, seed: int = 1) -> Outcome:
    """Asks the gateway behind `door` everything, or about a `share` of it."""
    chance = random.Random(seed)
    questions = [(text, language) for language, texts in GENERAL.items() for text in texts if chance.random() < share]
    sentences = entries(data, share, chance)
    families = {"home": await home(door, data, share, chance)}
    families["pairs"] = await pairs(door, sentences)
    said = [
        (case.text, language)
        for language in LANGUAGES
        for case in cases(data / "intents", language)
        if chance.random() < share
    ]
    changed = [*questions, *((text, "en") for text in sentences), *dict.fromkeys(said)]
    families["variants"] = await variants(door, changed, chance)
    families["repeats"] = Figures()
    kinds = await repeats(door, [*questions, *((text, "en") for text in sentences)], chance, families["repeats"])
    return Outcome(families, kinds)


def show(outcome: Outcome, *, details: bool) -> None:
    """Prints the tables."""
    print(f"{'':22}{'asked':>9}{'hits':>9}{'false hits':>12}{'of pairs':>14}{'95 % at most':>15}")
    for name, figures in outcome.families.items():
        bound = f"{upper_bound(len(figures.wrong), figures.pairs):.1e}" if figures.pairs else ""
        print(f"{name:22}{figures.asked:9,}{figures.hits:9,}{len(figures.wrong):12}{figures.pairs:14,}{bound:>15}")
    bound = upper_bound(len(outcome.wrong), outcome.pairs)
    print(f"{'in all':22}{'':18}{len(outcome.wrong):12}{outcome.pairs:14,}{bound:15.1e}")
    print("\nWhat the law did with them")
    for name, figures in outcome.families.items():
        print(f"{name:22}" + ", ".join(f"{reason} {count:,}" for reason, count in figures.reasons.most_common()))
    print(f"\n{'true repeats':22}{'asked':>9}{'kept out':>10}{'hits':>9}{'% of the rest':>15}")
    for kind, row in outcome.kinds.items():
        print(f"{kind:22}{row.asked:9,}{row.kept_out.total():10,}{row.hits:9,}{100 * row.share:15.2f}")
        if details:
            print("".join(f"    missed: {one!r}\n" for one in row.missed[:40]), end="")
            print("".join(f"    {reason}: {count}\n" for reason, count in row.kept_out.items()), end="")
    print(f"{'in all':41}{sum(row.hits for row in outcome.kinds.values()):9,}{100 * outcome.share:15.2f}")
    for one in outcome.wrong[:40]:
        print(f"FALSE: {one}")


async def main() -> int:
    """Opens a gateway over a database of its own, and measures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.false_hits", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("data", type=Path, help="the folder with intents, gptcache and home-assistant-requests")
    parser.add_argument("--share", type=float, default=1.0, help="ask about this share of everything")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--details", action="store_true", help="print what was missed, and why repeats were kept out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-false-hits-") as folder:
        # PostgreSQL runs as a user of its own, who must be able to enter.
        Path(folder).chmod(0o755)
        async with ScriptedModel() as model:
            model.answer = answers = Answers()
            settings = Settings(
                data=Path(folder) / "data",
                ollama=OllamaSettings(url=model.url),
                server=ServerSettings(port=0, shutdown_seconds=1),
                cache=CacheSettings(max_entries=MAX_ENTRIES, ttl_seconds=24 * 3600),
                # A busy machine is to be slow here, not to leave out a step: that answer would not be stored.
                llm=LlmSettings(parallel=AT_ONCE, queue_seconds=600, voice_queue_seconds=600),
                recall=RecallSettings(seconds=60),
            )
            async with (
                open_gateway(settings, lambda words: None) as gateway,
                listening(gateway.application, settings) as port,
                aiohttp.ClientSession() as http,
            ):
                door = Door(http, f"http://127.0.0.1:{port}", answers)
                outcome = await measured(door, options.data, share=options.share, seed=options.seed)
    show(outcome, details=options.details)
    return 1 if outcome.wrong or outcome.share < 0.98 else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
