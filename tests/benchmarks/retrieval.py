"""How well what was meant is found: by words, by vectors and by both, beside a plain BM25 on the same texts.

    python -m tests.benchmarks.retrieval ../shared/data --vectors ~/.cache/retrieval
    python -m tests.benchmarks.retrieval ../shared/data --vectors ~/.cache/retrieval --sets xquad-en,xquad-across
    python -m tests.benchmarks.retrieval ../shared/data --words-only
    python -m tests.benchmarks.retrieval --vectors ~/.cache/retrieval --sets household

The first sets are public; `household` is a family's own memory (tests/benchmarks/household): facts in English, French
and Polish, some private to a member, some that take the place of others; three questions to each, one of them in
another language than the fact; and questions that nothing answers.

Every text is an entry of a household in an embedded PostgreSQL of the benchmark's own, and is searched by the gateway's
own code. Vectors are those of the embedded e5 model; making them takes minutes for a set, so they are kept in the
folder `--vectors`. Every other query is one to tune on (of the household, the queries about every other fact): figures
are of the others, with the half-width of their 95 % interval.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import re
import shutil
import sqlite3
import tempfile
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from statistics import fmean, quantiles, stdev
from typing import Any

import asyncpg
import numpy as np
import orjson

from gateway.config import EmbeddingSettings, PostgresSettings, Settings
from gateway.llm.embedding import E5Embedder, Vector
from gateway.memory.fusion import CANDIDATES, MISSPELT_WEIGHT, WORD_WEIGHT, Hit, fuse
from gateway.memory.threshold import NOTHING_FOUND, SAMPLE, TYPICAL_QUESTIONS, Background, belongs, newest_first
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import knowledge, members, setup, vectors
from gateway.store.knowledge import NewKnowledge
from gateway.store.pool import Database
from gateway.store.server import EmbeddedServer
from gateway.turn.language import Languages

LANGUAGES = ("en", "es", "fr", "pl")  # of the household that is played
SETS = ("cranfield", "xquad-en", "xquad-es", "xquad-across", "household")
HOUSEHOLD = Path(__file__).parent / "household"
MEMBERS = ("marta", "julien", "hania")
SHARED = "shared"
DEPTH = 10
MISSPELT_WEIGHTS = (0, 1, 2, 3, 5)
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
TRIED_COSINES = (0.81, 0.82, 0.83, 0.84, 0.85, 0.86)
TRIED_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SEED = 7
RESAMPLED = 2000
START_SECONDS = 30.0
NAMES = 46  # the width of the names' column


@dataclass(frozen=True)
class Question:
    """A query and the texts (by their place) that answer it, each with its gain; none where nothing answers it.

    `asker` is the member who asks (SHARED: nobody who is known), `topic` what keeps questions about one thing in one
    half, `across` says that question and answer are in two languages, and `near` that it is about what the texts tell
    of though they do not answer it.
    """

    text: str
    relevant: Mapping[int, float]
    asker: str = SHARED
    topic: str = ""
    across: bool = False
    near: bool = False


@dataclass(frozen=True)
class Collection:
    """Texts, each of its owner (all SHARED where none are given) and in its language, and questions to them.

    `nothing` are questions that no text answers, and `newer` is by the place of a text out of force the place of that
    which took its place.
    """

    name: str
    texts: Sequence[str]
    questions: Sequence[Question]
    owners: Sequence[str] = ()
    languages: Sequence[str] = ()
    nothing: Sequence[Question] = ()
    newer: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Legs:
    """What the gateway's legs found for one question, with what each of them took, in milliseconds; and what stands
    nearest to it without the background, with the likeness of all that was found."""

    near: list[tuple[knowledge.Knowledge, float]]
    matched: list[tuple[knowledge.Knowledge, knowledge.WordMatch]]
    cosines: dict[int, float]
    text_ms: float
    vector_ms: float
    alike: list[tuple[knowledge.Knowledge, float]] = field(default_factory=list)
    likeness: dict[int, float] = field(default_factory=dict)
    made: dict[int, Vector] = field(default_factory=dict)


# --- the sets -------------------------------------------------------------------------------------------------------


def cranfield(folder: Path) -> Collection:
    """1,400 abstracts, 225 queries; graded 1 (best) to 4 (least), -1 for the query's own source; 5: not relevant."""
    texts = [
        " ".join(re.sub(r"<[^>]+>", " ", text).split()) or "(empty)"
        for text in re.findall(r"<text>(.*?)</text>", (folder / "cran.all.1400.xml").read_text(), re.DOTALL)
    ]
    queries = [
        " ".join(title.split())
        for title in re.findall(r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(), re.DOTALL)
    ]
    relevant: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        query, _, document, grade = (int(part) for part in line.split())
        if grade != 5 and document <= len(texts):
            relevant[query][document - 1] = 1.0
    questions = [Question(text, relevant[number]) for number, text in enumerate(queries, start=1) if relevant[number]]
    return Collection("cranfield", texts, questions)


def xquad(folder: Path, name: str, asked_in: str, told_in: str) -> Collection:
    """240 paragraphs; each question is answered by its own."""

    def paragraphs(language: str) -> list[tuple[str, list[str]]]:
        document = orjson.loads((folder / f"xquad.{language}.json").read_bytes())
        return [
            (paragraph["context"], [asked["question"] for asked in paragraph["qas"]])
            for article in document["data"]
            for paragraph in article["paragraphs"]
        ]

    asked, told = paragraphs(asked_in), paragraphs(told_in)
    questions = [Question(text, {place: 1.0}) for place, (_, texts) in enumerate(asked) for text in texts]
    return Collection(name, [text for text, _ in told], questions)


def household(folder: Path = HOUSEHOLD) -> Collection:
    """A family's 200 facts, three questions to each, and 100 questions that none of them answers.

    A question to a fact out of force is answered by the one in its place. What is shared is asked by each member in
    turn and by nobody who is known, what is private by its owner.
    """

    def lines(name: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (folder / name).read_bytes().splitlines()]

    facts = lines("facts.jsonl")
    places = {fact["id"]: place for place, fact in enumerate(facts)}
    newer = {places[fact["supersedes"]]: place for place, fact in enumerate(facts) if "supersedes" in fact}
    askers = cycle((*MEMBERS, SHARED))
    questions = []
    for line in lines("questions.jsonl"):
        told = places[line["fact"]]
        answer, owner = newer.get(told, told), facts[told]["owner"]
        questions.append(
            Question(
                line["text"],
                {answer: 1.0},
                asker=next(askers) if owner == SHARED else owner,
                topic=facts[answer]["id"],
                across=line["language"] != facts[answer]["language"],
            )
        )
    nothing = [Question(line["text"], {}, next(askers), near=line["near"]) for line in lines("nothing.jsonl")]
    texts, owners, languages = ([fact[name] for fact in facts] for name in ("content", "owner", "language"))
    return Collection("household", texts, questions, owners, languages, nothing, newer)


def load(data: Path | None, name: str) -> Collection:
    """The set of this name. `data` holds the public ones."""
    if name == "household":
        return household()
    if data is None:
        raise SystemExit(f"{name} is read from a folder: name it")
    if name == "cranfield":
        return cranfield(data / "cranfield")
    asked, told = {"xquad-en": ("en", "en"), "xquad-es": ("es", "es"), "xquad-across": ("en", "es")}[name]
    return xquad(data / "xquad", name, asked, told)


def halves(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Those to tune on and those to report, by chance; questions about one thing are in the same half."""
    shuffled = random.Random(SEED).sample(questions, len(questions))
    topics = dict.fromkeys(question.topic or question.text for question in shuffled)
    tuned = set(list(topics)[::2])
    tuning = [question for question in shuffled if (question.topic or question.text) in tuned]
    return tuning, [question for question in shuffled if (question.topic or question.text) not in tuned]


def mistyped(text: str, edits: int, chance: random.Random) -> str:
    """The text with `edits` random edits in one word of four, of those with four letters or more: a letter left out,
    doubled, swapped with the next, or another in its place."""
    words = text.split()
    long = [place for place, word in enumerate(words) if len(word) >= 4]
    for place in chance.sample(long, max(1, len(words) // 4) if len(long) > len(words) // 4 else len(long)):
        for _ in range(edits):
            word = words[place]
            at = chance.randrange(len(word) - 1)
            words[place] = chance.choice(
                (
                    word[:at] + word[at + 1 :],
                    word[:at] + word[at] + word[at:],
                    word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                    word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
                )
            )
    return " ".join(words)


# --- plain BM25 -----------------------------------------------------------------------------------------------------


class PlainBm25:
    """BM25 (k1 1.2, b 0.75; Lucene's inverse document frequency) over lower-cased words without accents."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(self._words(text)) for text in texts]
        self._lengths = [sum(count.values()) for count in counts]
        self._average = fmean(self._lengths)
        self._postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for word, times in count.items():
                self._postings[word].append((place, times))

    def search(self, query: str) -> list[int]:
        """The places of the best DEPTH texts."""
        scores: defaultdict[int, float] = defaultdict(float)
        entries = len(self._lengths)
        for word in set(self._words(query)):
            held = self._postings.get(word, [])
            idf = math.log(1 + (entries - len(held) + 0.5) / (len(held) + 0.5))
            for place, times in held:
                long = 1.2 * (1 - 0.75 + 0.75 * self._lengths[place] / self._average)
                scores[place] += idf * times * 2.2 / (times + long)
        return sorted(scores, key=lambda place: -scores[place])[:DEPTH]

    @staticmethod
    def _words(text: str) -> list[str]:
        plain = "".join(one for one in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(one))
        return re.findall(r"\w+", plain)


# --- vectors --------------------------------------------------------------------------------------------------------


class KeptVectors:
    """Vectors of e5, made once and kept in a file of `folder`."""

    def __init__(self, folder: Path, embedder: E5Embedder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(folder / "e5.sqlite", timeout=60)
        self._file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
        self._embedder = embedder

    async def passage(self, text: str) -> Vector:
        """The vector of a text to be stored."""
        return await self._kept("passage", text)

    async def query(self, text: str) -> Vector:
        """The vector of a question."""
        return await self._kept("query", text)

    async def _kept(self, kind: str, text: str) -> Vector:
        key = sha256(f"{kind}: {text}".encode()).digest()
        row = self._file.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return np.frombuffer(row[0], dtype=np.float32)
        if kind == "query":
            vector = await self._embedder.query(text)
        else:
            vector = (await self._embedder.documents([text]))[0]
        with self._file:
            self._file.execute("INSERT INTO vectors VALUES (?, ?)", (key, vector.tobytes()))
        return vector

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


# --- figures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Per question, in the same order: nDCG@10 and recall@1, 5, 10."""

    ndcg: list[float]
    recall: dict[int, list[float]]

    @classmethod
    def of(cls, questions: Sequence[Question], found: Sequence[Sequence[int]]) -> Figures:
        """Judges what was found for each question, as places, best first."""
        ndcg, recall = [], {1: [], 5: [], DEPTH: []}  # type: tuple[list[float], dict[int, list[float]]]
        for question, places in zip(questions, found, strict=True):
            gains = [question.relevant.get(place, 0.0) for place in places[:DEPTH]]
            ideal = sorted(question.relevant.values(), reverse=True)[:DEPTH]
            ndcg.append(_discounted(gains) / _discounted(ideal))
            for depth, values in recall.items():
                values.append(len(question.relevant.keys() & set(places[:depth])) / len(question.relevant))
        return cls(ndcg, recall)

    def told(self, name: str) -> None:
        """Prints a row."""
        columns = [self.ndcg, *(self.recall[depth] for depth in (1, 5, DEPTH))]
        tell_row(name, *(f"{fmean(column):8.4f} ±{_interval(column):.3f}" for column in columns))


def tell_row(name: str, *cells: str) -> None:
    """Prints a row of the table."""
    print(f"  {name:<{NAMES}}" + "".join(f"{cell:>17}" for cell in cells), flush=True)


def kept_share(after: Sequence[float], before: Sequence[float]) -> tuple[float, float]:
    """What part of a figure is kept, of the same questions, and the half-width of its 95 % interval (by drawing the
    questions anew)."""
    pairs = np.array([after, before])
    drawn = np.random.default_rng(SEED).integers(0, len(after), (RESAMPLED, len(after)))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], (0.025, 0.975))
    return float(pairs[0].sum() / pairs[1].sum()), float(high - low) / 2


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _interval(values: Sequence[float]) -> float:
    return 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


# --- measuring ------------------------------------------------------------------------------------------------------


class Shelf:
    """One set in a household of the benchmark's database."""

    def __init__(self, database: Database, scopes: Mapping[str, Scope], kept: KeptVectors | None) -> None:
        self._database = database
        self._scopes = scopes
        self._kept = kept
        self._space = 0
        self._places: dict[int, int] = {}
        self._backgrounds: dict[str, Background] = {}

    async def fill(self, tested: Collection) -> None:
        """Replaces what is there by the set's texts, each its owner's."""
        language_of = Languages(LANGUAGES).of_text
        self._places = {}
        held: defaultdict[str, list[int]] = defaultdict(list)
        for place in range(len(tested.texts)):
            held[tested.owners[place] if tested.owners else SHARED].append(place)
        for scope in self._scopes.values():
            async with self._database.scoped(scope) as connection:
                await connection.execute("DELETE FROM knowledge")
        for owner, scope in self._scopes.items():
            texts = [tested.texts[place] for place in held[owner]]
            made = [await self._kept.passage(text) for text in texts] if self._kept else []
            async with self._database.scoped(scope) as connection:
                rows = [NewKnowledge(text, member_id=scope.member_id, language=language_of(text)) for text in texts]
                ids = await knowledge.insert_many(connection, rows)
                self._space = await vectors.use_space(connection, E5Embedder.space)
                if made:
                    told = [(row, scope.member_id, vector) for row, vector in zip(ids, made, strict=True)]
                    await vectors.upsert(connection, self._space, "knowledge", told)
            self._places |= dict(zip(ids, held[owner], strict=True))

    async def learn(self, languages: Sequence[str], nothing_found: float = NOTHING_FOUND) -> None:
        """Learns what the texts that each asker sees have in common."""
        if self._kept is None:
            return
        typical = np.stack([await self._kept.query(text) for texts in TYPICAL_QUESTIONS.values() for text in texts])
        for asker, scope in self._scopes.items():
            async with self._database.scoped(scope) as connection:
                seen = await vectors.sample(connection, self._space, "knowledge", SAMPLE)
            told = [languages[self._places[row]] for row in seen]
            learned = Background.learn(np.stack(list(seen.values())), told, typical, nothing_found=nothing_found)
            if learned is not None:
                self._backgrounds[asker] = learned

    async def ask(self, query: str, asker: str = SHARED) -> Legs:
        """What the legs find for who asks."""
        vector = await self._kept.query(query) if self._kept else None
        async with self._database.scoped(self._scopes[asker]) as connection:
            began = time.perf_counter()
            matched = await knowledge.matching(connection, query=query, limit=CANDIDATES)
            between = time.perf_counter()
            near: list[tuple[knowledge.Knowledge, float]] = []
            cosines: dict[int, float] = {}
            if vector is not None:
                near = await knowledge.nearest(connection, space_id=self._space, embedding=vector, limit=CANDIDATES)
                ids = [entry.id for entry, _ in matched]
                made = await vectors.of_rows(connection, self._space, "knowledge", ids)
                cosines = {row: float(vector @ other) for row, other in made.items()}
            ended = time.perf_counter()
            legs = Legs(near, matched, cosines, (between - began) * 1000, (ended - between) * 1000)
            if vector is not None and (background := self._backgrounds.get(asker)) is not None:
                await self._compare(connection, legs, vector, background)
        return legs

    async def _compare(
        self, connection: asyncpg.Connection, legs: Legs, vector: Vector, background: Background
    ) -> None:
        """Looks for the question's own part as well, and compares it with all that was found."""
        alike = await knowledge.nearest(
            connection, space_id=self._space, embedding=background.sharpened(vector), limit=CANDIDATES
        )
        ids = {entry.id for found in (legs.near, legs.matched, alike) for entry, _ in found}
        legs.made = await vectors.of_rows(connection, self._space, "knowledge", list(ids))
        values = background.likeness(vector, np.stack(list(legs.made.values())))
        legs.likeness = dict(zip(legs.made, values.tolist(), strict=True))
        legs.alike = sorted(((entry, legs.likeness[entry.id]) for entry, _ in alike), key=lambda one: -one[1])

    def by_words(self, legs: Legs) -> list[int]:
        """Places, best first."""
        return [self._places[entry.id] for entry, _ in legs.matched]

    def by_vectors(self, legs: Legs) -> list[int]:
        """Places, best first."""
        return [self._places[entry.id] for entry, _ in legs.near]

    def by_both(self, legs: Legs, weight: float, misspelt: float = MISSPELT_WEIGHT) -> list[int]:
        """Places, best first."""
        hits = fuse(legs.near, legs.matched, legs.cosines, weight=weight, misspelt_weight=misspelt)
        return self._placed(hits)

    def by_likeness(self, legs: Legs) -> list[int]:
        """Places, best first, by words and by likeness in the cosine's place."""
        return self._placed(fuse(legs.alike, legs.matched, legs.likeness))

    def newest_first(self, legs: Legs) -> list[int]:
        """The same, the newer of two on one subject first."""
        hits = fuse(legs.alike, legs.matched, legs.likeness)
        return self._placed(newest_first(hits, legs.made, self._backgrounds[SHARED]))

    def above_cosine(self, legs: Legs, least: float) -> list[int]:
        """Places of what belongs to the question by a fixed cosine, best first."""
        hits = fuse(legs.near, legs.matched, legs.cosines)
        return self._placed([hit for hit in hits if hit.cosine is not None and hit.cosine >= least])

    def belonging(self, legs: Legs, asker: str) -> list[int]:
        """Places of what belongs to the question by the threshold that was learned, best first."""
        hits = fuse(legs.alike, legs.matched, legs.likeness)
        return self._placed(
            newest_first(belongs(hits, legs.likeness, self._backgrounds[asker]), legs.made, self._backgrounds[asker])
        )

    def _placed(self, hits: Sequence[Hit]) -> list[int]:
        return [self._places[hit.entry.id] for hit in hits]


@asynccontextmanager
async def own_database() -> AsyncIterator[tuple[Database, Mapping[str, Scope]]]:
    """An embedded PostgreSQL for this run, and by name the scopes of the household and of its members."""
    folder = Path(tempfile.mkdtemp(prefix="retrieval-"))
    try:
        async with EmbeddedServer(folder / "postgres", options=("fsync=off",)) as server:
            home = await setup.prepare(Settings(), server.address)
            scopes = {SHARED: Scope(home)}
            owner = await setup.connect_owner(server.address, START_SECONDS)
            try:
                for name in MEMBERS:
                    member = await members.add(owner, home, name, sha256(name.encode()).digest())
                    scopes[name] = Scope(home, member.id, name)
            finally:
                await owner.close()
            database = await Database.open(server.address, PostgresSettings(pool_size=2), Metrics())
            try:
                yield database, scopes
            finally:
                await database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(shelf: Shelf, tested: Collection, options: argparse.Namespace, with_vectors: bool) -> None:
    """Prints a set's figures."""
    questions = list(tested.questions)
    if options.questions:
        questions = random.Random(SEED).sample(questions, min(options.questions, len(questions)))
    tuning, reported = halves(questions)
    await shelf.fill(tested)
    if tested.languages:
        await shelf.learn(tested.languages)
    legs = {question.text: await shelf.ask(question.text, question.asker) for question in questions}
    print(
        f"\n{tested.name}: {len(tested.texts):,} texts, {len(reported):,} questions reported, {len(tuning):,} tuned on"
    )
    tell_row("", "nDCG@10", "recall@1", "recall@5", "recall@10")
    plain = PlainBm25(tested.texts)
    ways: dict[str, Callable[[Legs], list[int]]] = {"words": shelf.by_words}
    if with_vectors:
        ways |= {"vectors": shelf.by_vectors, "both": partial(shelf.by_both, weight=WORD_WEIGHT)}
        if tested.languages:
            ways |= {"both, by likeness": shelf.by_likeness, "both, newest first": shelf.newest_first}
    if not tested.owners:  # a plain BM25 does not know whose a text is
        Figures.of(reported, [plain.search(question.text) for question in reported]).told("plain BM25")
    usual = {}
    for name, way in ways.items():
        usual[name] = Figures.of(reported, [way(legs[question.text]) for question in reported])
        usual[name].told(f"{name} (weight {WORD_WEIGHT:g})" if name == "both" else name)
    for weight in WEIGHTS if options.tune and with_vectors else ():
        found = [shelf.by_both(legs[question.text], weight) for question in tuning]
        Figures.of(tuning, found).told(f"  tuned on, weight {weight:g}")
    for edits in (1, 2) if options.tune and with_vectors else ():
        chance = random.Random(SEED)
        misread = [await shelf.ask(mistyped(one.text, edits, chance), one.asker) for one in tuning]
        for weight in MISSPELT_WEIGHTS:
            found = [shelf.by_both(one, WORD_WEIGHT, weight) for one in misread]
            Figures.of(tuning, found).told(f"  tuned on, {edits} edited, {weight:g} for misspelt")
    for across, name in ((False, "one language"), (True, "two languages")):
        some = [question for question in reported if question.across == across]
        for leg, way in ways.items() if 0 < len(some) < len(reported) else ():
            Figures.of(some, [way(legs[question.text]) for question in some]).told(f"{name}: {leg}")
    for edits in (1, 2):
        chance = random.Random(SEED)
        typed = [mistyped(question.text, edits, chance) for question in reported]
        misread = [await shelf.ask(text, one.asker) for text, one in zip(typed, reported, strict=True)]
        name = f"{edits} edit{'s' * (edits > 1)} in a word of four"
        if not tested.owners:
            Figures.of(reported, [plain.search(text) for text in typed]).told(f"{name}: plain")
        for leg, way in ways.items():
            figures = Figures.of(reported, [way(one) for one in misread])
            figures.told(f"{name}: {leg}")
            share, interval = kept_share(figures.recall[DEPTH], usual[leg].recall[DEPTH])
            tell_row("  of its recall@10", "", "", "", f"{share:.4f} ±{interval:.3f}")
    if tested.newer:
        tell_order(tested, reported, {name: [way(legs[one.text]) for one in reported] for name, way in ways.items()})
    if tested.nothing and with_vectors:
        await tell_abstention(shelf, tested, tuning if options.tune else reported, options.tune)
    for leg, times in (
        ("words", [one.text_ms for one in legs.values()]),
        ("vectors", [one.vector_ms for one in legs.values()] if with_vectors else []),
    ):
        if times:
            cuts = quantiles(times, n=100)
            print(f"  {leg}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")


async def tell_abstention(shelf: Shelf, tested: Collection, asked: Sequence[Question], tune: bool) -> None:
    """Prints how often the answer is among the first five recalled, and how often nothing is, rightly, by a fixed
    cosine and by the threshold learned; of the halves to tune on, for several of both."""
    nothing = halves(tested.nothing)[0 if tune else 1]
    near = [question for question in nothing if question.near]
    other = [question for question in nothing if not question.near]

    legs = {one.text: await shelf.ask(one.text, one.asker) for one in (*asked, *nothing)}

    def row(name: str, way: Callable[[Question], list[int]]) -> None:
        answered = [float(bool(question.relevant.keys() & set(way(question)[:5]))) for question in asked]
        silent = [[float(not way(question)) for question in some] for some in (nothing, near, other)]
        tell_row(name, *(f"{fmean(cell):.4f} ±{_interval(cell):.3f}" for cell in (answered, *silent)))

    def above(least: float, question: Question) -> list[int]:
        return shelf.above_cosine(legs[question.text], least)

    print()
    part = "tuned on" if tune else "reported"
    tell_row(f"recalled ({part})", "answer in 5", "rightly nothing", "near", "of other things")
    for least in TRIED_COSINES if tune else (E5Embedder.min_score,):
        row(f"cosine of {least:g}", partial(above, least))
    for share in TRIED_SHARES if tune else (NOTHING_FOUND,):
        await shelf.learn(tested.languages, share)
        row(f"learned, {share:.0%} find nothing", lambda one: shelf.belonging(legs[one.text], one.asker))
    await shelf.learn(tested.languages)


def tell_order(tested: Collection, reported: Sequence[Question], found: Mapping[str, Sequence[Sequence[int]]]) -> None:
    """Prints in how many of the questions a text out of force stands before the one in its place."""
    older = {new: old for old, new in tested.newer.items()}
    for name, lists in found.items():
        wrong = []
        for question, places in zip(reported, lists, strict=True):
            (new,) = question.relevant
            if new in older:
                ranks = {place: rank for rank, place in enumerate(places)}
                wrong.append(float(ranks.get(older[new], len(places)) < ranks.get(new, len(places))))
        share = f"{fmean(wrong):8.4f} ±{_interval(wrong):.3f}"
        print(f"  {f'out of force stands first: {name}':<{NAMES}}{share} of {len(wrong)} questions")


async def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="the folder of cranfield/ and xquad/")
    parser.add_argument("--vectors", type=Path, help="where vectors are kept from run to run")
    parser.add_argument("--words-only", action="store_true", help="no vectors: seconds instead of minutes")
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--questions", type=int, default=0, help="a share of each set, by chance; 0: all")
    parser.add_argument("--tune", action="store_true", help="the other half's figures for several weights")
    options = parser.parse_args()
    if not options.words_only and options.vectors is None:
        parser.error("say where vectors are kept (--vectors), or --words-only")
    async with own_database() as (database, scopes):
        if options.words_only:
            for name in options.sets.split(","):
                await measure(Shelf(database, scopes, None), load(options.data, name), options, with_vectors=False)
            return
        embedder = await E5Embedder.load(EmbeddingSettings(query_seconds=60, document_seconds=60))
        try:
            with closing(KeptVectors(options.vectors, embedder)) as kept:
                for name in options.sets.split(","):
                    await measure(Shelf(database, scopes, kept), load(options.data, name), options, with_vectors=True)
        finally:
            await embedder.close()


if __name__ == "__main__":
    asyncio.run(main())
