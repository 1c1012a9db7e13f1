"""What the nearest among many cost: every kind of index, and the gateway's own search, at 10,000 to a million entries.

    python -m tests.benchmarks.vector_scale                                       10,000 and 100,000
    python -m tests.benchmarks.vector_scale --sizes 1000000 --index-mb 2048       takes an hour and 15 GB of disk
    python -m tests.benchmarks.vector_scale --sizes 100000 --parts search

Vectors are generated: topics around some hundred subjects, entries around topics, most topics with few entries and some
with many, as texts lie; a question lies beside an entry. Texts are made of words whose frequencies are those of real
text (Zipf), the commonest in nearly every entry.

`indexes` compares ways to find the 10 nearest, on the bare table of vectors: time, the part of the exact answer that is
found, how long the index takes to be made, what it takes on disk, and what memory of its own the server's process
takes to make it.

`search` is the gateway's: as its role, under row-level security, by KnowledgeBase without the time of embedding; by
vectors alone and by both legs; of all, of the entries with a tag that one of a hundred has, and of a member's own 200
beside all others. It is timed and asked before the index is there (exact), and afterwards; recall@10 is what of the
first list the second still has.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np
from pgvector import Vector

from gateway.config import EmbeddingSettings, PostgresSettings, Settings
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.indexing import VectorIndexes
from gateway.memory.knowledge import KnowledgeBase, Mode
from gateway.memory.spaces import Spaces
from gateway.metrics import Metrics
from gateway.shapes import Scope, Space
from gateway.store import setup, vectors
from gateway.store.address import Address
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.knowledge import EVERYTHING, Filter
from gateway.store.pool import Database, register_codecs
from gateway.store.server import EmbeddedServer
from tests.household import no_other

SIZES = (10_000, 100_000)
PARTS = ("indexes", "search")
WIDTH = 384
SPACE = Space("generated", WIDTH)
DEPTH = 10
QUESTIONS = 200
RARE_TAG, RARE_EACH = "rare", 100  # one entry of a hundred has the tag
OWN = 200  # entries of the member who has few
WORDS = 50_000
BATCH = 10_000
SEED = 11

Found = list[int]
Ask = Callable[[], Awaitable[Found]]
Asked = Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Way:
    """A way to find the nearest: its index (None: none), and what is set for a search."""

    name: str
    index: str | None
    settings: dict[str, str]
    order: str = "embedding <=> $1"


IVFFLAT = "ivfflat (embedding vector_cosine_ops) WITH (lists = 100)"
HNSW = "hnsw (embedding vector_cosine_ops)"
HALF = f"embedding::halfvec({WIDTH})"
HALF_HNSW, HALF_ORDER = f"hnsw (({HALF}) halfvec_cosine_ops)", f"{HALF} <=> $1::vector::halfvec({WIDTH})"
WAYS = (
    Way("exact", None, {}),
    Way("ivfflat 100 lists, probes 1", IVFFLAT, {"ivfflat.probes": "1"}),
    Way("ivfflat 100 lists, probes 10", IVFFLAT, {"ivfflat.probes": "10"}),
    Way("hnsw, ef_search 40", HNSW, {"hnsw.ef_search": "40"}),
    Way("hnsw, ef_search 200", HNSW, {"hnsw.ef_search": "200"}),
    Way("hnsw halfvec, ef_search 40", HALF_HNSW, {"hnsw.ef_search": "40"}, HALF_ORDER),
    Way("hnsw halfvec, ef_search 200", HALF_HNSW, {"hnsw.ef_search": "200"}, HALF_ORDER),
)


# --- what is generated ----------------------------------------------------------------------------------------------


class Generated:
    """Vectors and texts, in batches, and questions that lie beside entries."""

    def __init__(self, size: int) -> None:
        self._chance = np.random.default_rng(SEED)
        self.size = size
        subjects = self._normal(120)
        count = max(200, size // 25)
        self._topics = subjects[self._chance.integers(len(subjects), size=count)] + self._normal(count)
        # Topics and words by Zipf: the n-th has a share that falls with n.
        self._share = _zipf(count, 0.8)
        self._words = np.array([_word(place) for place in range(WORDS)])
        self._frequency = _zipf(WORDS, 1.05)
        self._kept: list[tuple[np.ndarray, str]] = []

    def batches(self) -> Iterator[tuple[np.ndarray, list[str]]]:
        """All entries. A few are kept to ask for."""
        return (self._batch(min(BATCH, self.size - begin)) for begin in range(0, self.size, BATCH))

    def _batch(self, count: int) -> tuple[np.ndarray, list[str]]:
        at = self._chance.choice(len(self._topics), size=count, p=self._share)
        made = _unit(self._topics[at] + self._normal(count))
        lengths = np.clip(self._chance.lognormal(2.6, 0.6, size=count), 4, 80).astype(int)
        words = self._chance.choice(self._words, size=lengths.sum(), p=self._frequency)
        texts = [" ".join(part) for part in np.split(words, np.cumsum(lengths)[:-1])]
        for place in self._chance.choice(count, size=min(count, 40), replace=False):
            self._kept.append((made[place], texts[place]))
        return made, texts

    def questions(self, count: int) -> list[tuple[str, np.ndarray]]:
        """Each of words of an entry and as many that come as they come, with a vector near the entry's."""
        asked = []
        for place in self._chance.choice(len(self._kept), size=count):
            near, text = self._kept[place]
            vector = _unit(near + 0.3 * self._normal(1))[0]
            told = self._chance.permutation(text.split())[:4]
            others = self._chance.choice(self._words, size=4, p=self._frequency)
            asked.append((" ".join([*told, *others]), vector))
        return asked

    def _normal(self, count: int) -> np.ndarray:
        # Not every direction counts the same: what a model tells apart lies in some dozen, mostly.
        spread = np.arange(1, WIDTH + 1) ** -0.5
        return np.asarray(self._chance.normal(size=(count, WIDTH)) * spread / np.linalg.norm(spread))


def _unit(made: np.ndarray) -> np.ndarray:
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def _zipf(count: int, exponent: float) -> np.ndarray:
    share = 1 / np.arange(1, count + 1) ** exponent
    return np.asarray(share / share.sum())


def _word(place: int) -> str:
    """A word that can be spoken, the shorter the commoner."""
    syllables = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "er")]
    word, place = syllables[place % len(syllables)], place // len(syllables)
    while place:
        word, place = word + syllables[place % len(syllables)], place // len(syllables)
    return word


# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Milliseconds, and the part of the exact answer that was found."""

    p50: float
    p99: float
    recall: float

    def __str__(self) -> str:
        return f"{self.p50:9.1f} {self.p99:9.1f} {self.recall:10.3f}"


def measured(took: Sequence[float], found: Sequence[Found], exact: Sequence[Found]) -> Measured:
    p50, p99 = np.percentile(took, [50, 99])
    shares = [
        len(set(ids[:DEPTH]) & set(right[:DEPTH])) / len(right[:DEPTH])
        for ids, right in zip(found, exact, strict=True)
        if right
    ]
    return Measured(p50 * 1000, p99 * 1000, float(np.mean(shares)))


async def timed(asked: Sequence[Ask]) -> tuple[list[float], list[Found]]:
    """Each once to warm up (the first twenty), then each once."""
    for ask in asked[:20]:
        await ask()
    took, found = [], []
    for ask in asked:
        begun = time.perf_counter()
        found.append(await ask())
        took.append(time.perf_counter() - begun)
    return took, found


async def build(address: Address, way: str, index_mb: int) -> tuple[float, int]:
    """Seconds that making the index takes, and bytes of memory that its process has to itself meanwhile, at most."""
    owner = await address.connect()  # a process of its own
    try:
        # One processor, as the gateway's own making has it.
        await owner.execute(f"SET maintenance_work_mem = '{index_mb}MB'; SET max_parallel_maintenance_workers = 0")
        await owner.execute("DROP INDEX IF EXISTS bare_near")
        figures = Path(f"/proc/{await owner.fetchval('SELECT pg_backend_pid()')}/statm")
        most = 0
        begun = time.perf_counter()
        making = asyncio.create_task(owner.execute(f"CREATE INDEX bare_near ON bare USING {way}"), name="making")
        while not making.done():
            await asyncio.wait([making], timeout=0.05)
            _, resident, shared, *_ = map(int, figures.read_text().split())
            most = max(most, (resident - shared) * resource.getpagesize())
        await making
        return time.perf_counter() - begun, most
    finally:
        await owner.close()


# --- the ways, on the bare table ------------------------------------------------------------------------------------


async def compare(address: Address, asked: Asked, index_mb: int) -> None:
    """A line a way. The table is a copy of the vectors, so that the gateway's own indexes are not among them."""
    owner = await address.connect()
    await register_codecs(owner)
    try:
        await owner.execute("CREATE UNLOGGED TABLE bare AS SELECT ref_id AS id, embedding FROM vectors WHERE false")
        await owner.execute("ALTER TABLE bare ALTER COLUMN embedding SET STORAGE PLAIN")
        await owner.execute(f"ALTER TABLE bare ALTER COLUMN embedding TYPE vector({WIDTH})")
        await owner.execute("INSERT INTO bare SELECT ref_id, embedding FROM vectors")
        await owner.execute("VACUUM ANALYZE bare")
        await owner.execute("SET max_parallel_workers_per_gather = 0")
        print(f"{'':30} {'p50 ms':>9} {'p99 ms':>9} {'recall@10':>10} {'build s':>9} {'disk MB':>9} {'memory MB':>10}")
        exact: list[Found] = []
        made = None
        for way in WAYS:
            if way.index is not None and way.index != made:
                seconds, grown = await build(address, way.index, index_mb)
                size = await owner.fetchval("SELECT pg_relation_size('bare_near')")
                made = way.index
                built = f"{seconds:9.1f} {size / 1e6:9.1f} {grown / 1e6:10.1f}"
            elif way.index is None:
                size = await owner.fetchval("SELECT pg_relation_size('bare')")
                built = f"{'':9} {size / 1e6:9.1f} {'':10}"
            for name, value in way.settings.items():
                await owner.execute(f"SET {name} = {value}")
            # The vectors' own index, or none: whatever the planner thinks of it.
            await owner.execute(f"SET enable_indexscan = {'on' if way.index else 'off'}; SET enable_sort = off")
            query = await owner.prepare(f"SELECT id FROM bare ORDER BY {way.order} LIMIT {DEPTH}")

            def ask(vector: np.ndarray, query: asyncpg.PreparedStatement = query) -> Ask:
                async def go() -> Found:
                    return [row["id"] for row in await query.fetch(vector)]

                return go

            took, found = await timed([ask(vector) for _, vector in asked])
            exact = exact or found
            print(f"{way.name:30} {measured(took, found, exact)} {built}", flush=True)
        await owner.execute("DROP TABLE bare")
    finally:
        await owner.close()


# --- the gateway's search -------------------------------------------------------------------------------------------


class Given:
    """An embedder that was told the vectors of what will be asked."""

    min_score = 0.0

    def __init__(self, asked: Asked) -> None:
        self.space = SPACE
        self._vectors = dict(asked)

    async def query(self, text: str) -> np.ndarray:
        return self._vectors[text]

    async def documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._vectors[text] for text in texts])

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass(frozen=True)
class Filled:
    """A household with entries, all shared but for the last OWN, which are the member's, `few`."""

    address: Address
    knowledge: KnowledgeBase
    indexes: VectorIndexes
    scope: Scope
    few: Scope
    asked: Asked


async def search(house: Filled, size: int) -> None:
    """The gateway's search before the index is there, and with it where it makes one."""
    print(f"{'':38} {'p50 ms':>9} {'p99 ms':>9} {'recall@10':>10}")
    exact = await kinds(house, "exact", {})
    begun = time.perf_counter()
    await house.indexes.keep()
    seconds = time.perf_counter() - begun
    owner = await house.address.connect()
    try:
        disk = await owner.fetchval("SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ '^vectors_near_'")
    finally:
        await owner.close()
    if disk is None:
        print(f"{size:,} entries are too few for an index: this is what the gateway does")
        return
    print(f"the gateway made its index in {seconds:.0f} s, {float(disk) / 1e6:.1f} MB on disk", flush=True)
    await kinds(house, "index", exact)


async def kinds(house: Filled, label: str, exact: dict[str, list[Found]]) -> dict[str, list[Found]]:
    """A line for each kind of search, and what each found; `exact` is what should be."""
    all_found: dict[str, list[Found]] = {}
    modes: tuple[Mode, ...] = ("vector", "hybrid")
    for mode in modes:
        for name, scope, only in (
            ("all", house.scope, EVERYTHING),
            ("a tag of 1 %", house.scope, Filter(tags=[RARE_TAG])),
            ("a member's own", house.few, Filter(member=house.few.member_id)),
        ):

            def ask(text: str, mode: Mode = mode, scope: Scope = scope, only: Filter = only) -> Ask:
                async def go() -> Found:
                    found = await house.knowledge.search(scope, text, limit=DEPTH, mode=mode, only=only)
                    return [hit.entry.id for hit in found.hits]

                return go

            kind = f"{mode}, {name}"
            took, found = await timed([ask(text) for text, _ in house.asked])
            all_found[kind] = found
            print(f"{kind + ', ' + label:38} {measured(took, found, exact.get(kind, found))}", flush=True)
    return all_found


@asynccontextmanager
async def filled(folder: Path, size: int, index_mb: int) -> AsyncIterator[Filled]:
    """A server of its own with `size` entries, and questions to them."""
    # Nothing here must survive a power cut. A quarter of a Pi's memory for PostgreSQL's own pages.
    options = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=8GB", "shared_buffers=2GB")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer(folder / "postgres", options=options))
        address = server.address
        household = await setup.prepare(Settings(), address)
        scope, metrics = Scope(household), Metrics()
        database = await Database.open(address, PostgresSettings(pool_size=4, statement_seconds=600), metrics)
        stack.push_async_callback(database.close)
        epoch = EpochWatch(address, household)
        await epoch.start()
        stack.push_async_callback(epoch.close)
        journal = Journal(folder / "journal", database, 1 << 20, metrics, epoch)
        await journal.start()
        stack.push_async_callback(journal.close)
        async with database.scoped(scope) as connection:
            space = await vectors.use_space(connection, SPACE)
        made = Generated(size)
        begun = time.perf_counter()
        few = await fill(address, household, space, made)
        print(f"\n{size:,} entries with their vectors, stored in {time.perf_counter() - begun:.0f} s", flush=True)
        asked = made.questions(QUESTIONS)
        spaces = Spaces(database, epoch, household, Given(asked), no_other)
        await spaces.start()
        stack.push_async_callback(spaces.close)
        base = KnowledgeBase(
            database,
            spaces,
            Backgrounds(database, spaces, epoch),
            journal,
            epoch,
            EmbeddingSettings(),
            lambda: None,
            lambda _: None,
        )
        indexes = VectorIndexes(database, address, household, index_mb)
        yield Filled(address, base, indexes, scope, Scope(household, few, "Few"), asked)


async def fill(address: Address, household: int, space: int, made: Generated) -> int:
    """Entries and vectors by COPY, under the triggers that run for any writer; the id of the member with few."""
    owner = await address.connect()
    await register_codecs(owner)
    try:
        few = int(
            await owner.fetchval("INSERT INTO members (household_id, name) VALUES ($1, 'Few') RETURNING id", household)
        )
        number = 0
        for embeddings, texts in made.batches():
            entries, points = [], []
            for text, embedding in zip(texts, embeddings, strict=True):
                number += 1
                whose = few if number > made.size - OWN else None
                entries.append((number, household, whose, text, [RARE_TAG] if number % RARE_EACH == 0 else []))
                points.append((household, whose, "knowledge", number, space, Vector(embedding)))
            for table, columns, rows in (
                ("knowledge", ["id", "household_id", "member_id", "content", "tags"], entries),
                ("vectors", ["household_id", "member_id", "kind", "ref_id", "space_id", "embedding"], points),
            ):
                await owner.copy_records_to_table(table, columns=columns, records=rows)
        await owner.execute("VACUUM ANALYZE")
        return few
    finally:
        await owner.close()


async def run(sizes: Sequence[int], parts: Sequence[str], index_mb: int, folder: Path | None) -> None:
    """All sizes, each with a server of its own."""
    for size in sizes:
        place = Path(tempfile.mkdtemp(prefix="vector-scale-", dir=folder))
        try:
            async with filled(place, size, index_mb) as house:
                if "indexes" in parts:
                    await compare(house.address, house.asked, index_mb)
                if "search" in parts:
                    await search(house, size)
        finally:
            shutil.rmtree(place)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="entries (default: 10000 100000)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--index-mb", type=int, default=256, help="memory to make an index with (default: 256)")
    parser.add_argument(
        "--folder", type=Path, help="where the database goes (default: the system's for temporary files)"
    )
    arguments = parser.parse_args()
    asyncio.run(run(arguments.sizes, arguments.parts, arguments.index_mb, arguments.folder))


if __name__ == "__main__":
    main()
