"""How well what was meant is found: by words, by vectors and by both, beside a plain BM25 on the same texts.

    python -m tests.benchmarks.retrieval ../shared/data --vectors ~/.cache/retrieval
    python -m tests.benchmarks.retrieval ../shared/data --vectors ~/.cache/retrieval --sets xquad-en,xquad-across
    python -m tests.benchmarks.retrieval ../shared/data --words-only

Every text is an entry of a household in an embedded PostgreSQL of the benchmark's own, and is searched by the gateway's
own code. Vectors are those of the embedded e5 model; making them takes minutes for a set, so they are kept in the
folder `--vectors`. Every other query is one to tune on: figures are of the others, with the half-width of their 95 %
interval.
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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import fmean, quantiles, stdev

import numpy as np
import orjson

from gateway.config import EmbeddingSettings, PostgresSettings, Settings
from gateway.llm.embedding import E5Embedder, Vector
from gateway.memory.fusion import CANDIDATES, WORD_WEIGHT, fuse
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import knowledge, setup, vectors
from gateway.store.knowledge import NewKnowledge
from gateway.store.pool import Database
from gateway.store.server import EmbeddedServer
from gateway.turn.language import Languages

LANGUAGES = ("en", "es", "fr", "pl")  # of the household that is played
SETS = ("cranfield", "xquad-en", "xquad-es", "xquad-across")
DEPTH = 10
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
SEED = 7


@dataclass(frozen=True)
class Question:
    """A query and the texts (by their place) that answer it, each with its gain."""

    text: str
    relevant: Mapping[int, float]


@dataclass(frozen=True)
class TestSet:
    name: str
    texts: Sequence[str]
    questions: Sequence[Question]


@dataclass
class Legs:
    """What the gateway's legs found for one question, by place, with what each of them took, in milliseconds."""

    near: list[tuple[knowledge.Knowledge, float]]
    matched: list[tuple[knowledge.Knowledge, knowledge.WordMatch]]
    cosines: dict[int, float]
    text_ms: float
    vector_ms: float


# --- the sets -------------------------------------------------------------------------------------------------------


def cranfield(folder: Path) -> TestSet:
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
    return TestSet("cranfield", texts, questions)


def xquad(folder: Path, name: str, asked_in: str, told_in: str) -> TestSet:
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
    return TestSet(name, [text for text, _ in told], questions)


def load(data: Path, name: str) -> TestSet:
    """The set of this name."""
    if name == "cranfield":
        return cranfield(data / "cranfield")
    asked, told = {"xquad-en": ("en", "en"), "xquad-es": ("es", "es"), "xquad-across": ("en", "es")}[name]
    return xquad(data / "xquad", name, asked, told)


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
        self._file = sqlite3.connect(folder / "e5.sqlite")
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
        cells = "".join(f"{fmean(column):8.4f} ±{_interval(column):.3f}" for column in columns)
        print(f"  {name:<28}{cells}", flush=True)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _interval(values: Sequence[float]) -> float:
    return 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


# --- measuring ------------------------------------------------------------------------------------------------------


class Shelf:
    """One set in a household of the benchmark's database."""

    def __init__(self, database: Database, scope: Scope, kept: KeptVectors | None) -> None:
        self._database = database
        self._scope = scope
        self._kept = kept
        self._space = 0
        self._places: dict[int, int] = {}

    async def fill(self, texts: Sequence[str]) -> None:
        """Replaces what is there by these texts."""
        language_of = Languages(LANGUAGES).of_text
        made = [await self._kept.passage(text) for text in texts] if self._kept else []
        async with self._database.scoped(self._scope) as connection:
            await connection.execute("DELETE FROM knowledge")
            ids = await knowledge.insert_many(
                connection, [NewKnowledge(text, language=language_of(text)) for text in texts]
            )
            self._space = await vectors.use_space(connection, E5Embedder.space)
            if made:
                rows = [(row, None, vector) for row, vector in zip(ids, made, strict=True)]
                await vectors.upsert(connection, self._space, "knowledge", rows)
        self._places = {row: place for place, row in enumerate(ids)}

    async def ask(self, query: str) -> Legs:
        """What the legs find."""
        vector = await self._kept.query(query) if self._kept else None
        async with self._database.scoped(self._scope) as connection:
            began = time.perf_counter()
            matched = await knowledge.matching(connection, query=query, limit=CANDIDATES)
            between = time.perf_counter()
            near: list[tuple[knowledge.Knowledge, float]] = []
            cosines: dict[int, float] = {}
            if vector is not None:
                near = await knowledge.nearest(connection, space_id=self._space, embedding=vector, limit=CANDIDATES)
                ids = [entry.id for entry, _ in matched]
                cosines = await knowledge.cosines(connection, space_id=self._space, embedding=vector, ids=ids)
            ended = time.perf_counter()
        return Legs(near, matched, cosines, (between - began) * 1000, (ended - between) * 1000)

    def by_words(self, legs: Legs) -> list[int]:
        """Places, best first."""
        return [self._places[entry.id] for entry, _ in legs.matched]

    def by_vectors(self, legs: Legs) -> list[int]:
        """Places, best first."""
        return [self._places[entry.id] for entry, _ in legs.near]

    def by_both(self, legs: Legs, weight: float) -> list[int]:
        """Places, best first."""
        hits = fuse(legs.near, legs.matched, legs.cosines, weight=weight)
        return [self._places[hit.entry.id] for hit in hits]


@asynccontextmanager
async def own_database() -> AsyncIterator[tuple[Database, Scope]]:
    """An embedded PostgreSQL for this run."""
    folder = Path(tempfile.mkdtemp(prefix="retrieval-"))
    try:
        async with EmbeddedServer(folder / "postgres", options=("fsync=off",)) as server:
            household = await setup.prepare(Settings(), server.address)
            database = await Database.open(server.address, PostgresSettings(pool_size=2), Metrics())
            try:
                yield database, Scope(household)
            finally:
                await database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(shelf: Shelf, tested: TestSet, options: argparse.Namespace, with_vectors: bool) -> None:
    """Prints a set's figures."""
    questions = list(tested.questions)
    random.Random(SEED).shuffle(questions)
    questions = questions[: options.questions or len(questions)]
    tuning, reported = questions[::2], questions[1::2]
    await shelf.fill(tested.texts)
    legs = {question.text: await shelf.ask(question.text) for question in questions}
    print(
        f"\n{tested.name}: {len(tested.texts):,} texts, {len(reported):,} questions reported, {len(tuning):,} tuned on"
    )
    print(f"  {'':<28}{'nDCG@10':>15}{'recall@1':>15}{'recall@5':>15}{'recall@10':>15}")
    plain = PlainBm25(tested.texts)
    Figures.of(reported, [plain.search(question.text) for question in reported]).told("plain BM25")
    Figures.of(reported, [shelf.by_words(legs[question.text]) for question in reported]).told("words")
    if with_vectors:
        Figures.of(reported, [shelf.by_vectors(legs[question.text]) for question in reported]).told("vectors")
        both = Figures.of(reported, [shelf.by_both(legs[question.text], WORD_WEIGHT) for question in reported])
        both.told(f"both (weight {WORD_WEIGHT:g})")
        for weight in WEIGHTS if options.tune else ():
            found = [shelf.by_both(legs[question.text], weight) for question in tuning]
            Figures.of(tuning, found).told(f"  tuned on, weight {weight:g}")
    for edits in (1, 2):
        chance = random.Random(SEED)
        typed = [mistyped(question.text, edits, chance) for question in reported]
        misread = [await shelf.ask(text) for text in typed]
        name = f"{edits} edit{'s' * (edits > 1)} in a word of four"
        Figures.of(reported, [plain.search(text) for text in typed]).told(f"{name}: plain")
        Figures.of(reported, [shelf.by_words(one) for one in misread]).told(f"{name}: words")
        if with_vectors:
            found = [shelf.by_both(one, WORD_WEIGHT) for one in misread]
            Figures.of(reported, found).told(f"{name}: both")
    for leg, times in (
        ("words", [one.text_ms for one in legs.values()]),
        ("vectors", [one.vector_ms for one in legs.values()] if with_vectors else []),
    ):
        if times:
            cuts = quantiles(times, n=100)
            print(f"  {leg}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")


async def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of cranfield/ and xquad/")
    parser.add_argument("--vectors", type=Path, help="where vectors are kept from run to run")
    parser.add_argument("--words-only", action="store_true", help="no vectors: seconds instead of minutes")
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--questions", type=int, default=0, help="a share of each set, by chance; 0: all")
    parser.add_argument("--tune", action="store_true", help="the other half's figures for several weights")
    options = parser.parse_args()
    if not options.words_only and options.vectors is None:
        parser.error("say where vectors are kept (--vectors), or --words-only")
    async with own_database() as (database, scope):
        if options.words_only:
            for name in options.sets.split(","):
                await measure(Shelf(database, scope, None), load(options.data, name), options, with_vectors=False)
            return
        embedder = await E5Embedder.load(EmbeddingSettings(query_seconds=60, document_seconds=60))
        try:
            with closing(KeptVectors(options.vectors, embedder)) as kept:
                for name in options.sets.split(","):
                    await measure(Shelf(database, scope, kept), load(options.data, name), options, with_vectors=True)
        finally:
            await embedder.close()


if __name__ == "__main__":
    asyncio.run(main())
