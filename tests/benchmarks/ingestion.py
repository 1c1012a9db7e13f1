"""How fast things are taken in: lines of JSON beside a bare COPY into the same table, and a PDF of many pages.

    python -m tests.benchmarks.ingestion
    python -m tests.benchmarks.ingestion --entries 100000 --rounds 1 --pages 5000

An embedded PostgreSQL of the benchmark's own, with the gateway's own settings, is filled by the gateway's own code: a
line becomes an entry as `POST /memory/import` makes it, a PDF becomes a document as `POST /documents` makes it. No
vectors are made: that takes as long as the model takes, and comes later. COPY writes the same entries as the table's
owner, in one statement of one transaction, into the same table with its indexes and triggers; the two take turns, with
an empty table each. Words are as frequent as in real text.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median

import asyncpg
import orjson

from gateway.config import DocumentSettings, EmbeddingSettings, JournalSettings, PostgresSettings, Settings
from gateway.edge.api import parse
from gateway.edge.memory import Addition
from gateway.errors import ModelUnavailable
from gateway.llm.embedding import E5Embedder, Vector
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.documents import Documents
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.spaces import Spaces
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import setup
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.pool import Database, register_codecs
from gateway.store.server import EmbeddedServer
from gateway.turn.language import Languages
from tests.household import no_other
from tests.papers import pdf

SEED = 7
VOCABULARY = 50_000  # words
PIECE = 65_536  # bytes of a request's body at once
LINES, LINE_WORDS = 45, 12  # of a page
SAMPLE_SECONDS = 0.02  # the peak of a process is read as long as it runs


class NoEmbedder:
    """Stands for a model that is away."""

    space = E5Embedder.space
    min_score = 0.0

    async def query(self, text: str) -> Vector:
        raise ModelUnavailable("no vectors here")

    async def documents(self, texts: Sequence[str]) -> Vector:
        raise ModelUnavailable("no vectors here")

    async def check(self) -> None:
        """Nothing to check."""

    async def close(self) -> None:
        """Nothing to close."""


class Words:
    """Words, each as frequent as the rank of its place says (Zipf)."""

    def __init__(self) -> None:
        self._chance = random.Random(SEED)
        letters = "eeeeaaaiioouutttnnnsssrrllddmmcpbfghvkwyzjxq"
        made = {"".join(self._chance.choices(letters, k=2 + len(str(place)))) for place in range(2 * VOCABULARY)}
        self._words = sorted(made, key=lambda word: (len(word), word))[:VOCABULARY]
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self._words) + 1)))

    def some(self, count: int) -> str:
        """So many words."""
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=count))

    def entry(self) -> str:
        """What somebody may tell the household: 6 to 30 words."""
        return self.some(self._chance.randint(6, 30)).capitalize() + "."

    def page(self) -> str:
        """A page of a manual."""
        return "\n".join(self.some(LINE_WORDS).capitalize() + "." for _ in range(LINES))


@dataclass(frozen=True)
class Parts:
    """What takes things in, and the table's owner."""

    scope: Scope
    owner: asyncpg.Connection
    knowledge: KnowledgeBase
    documents: Documents


@asynccontextmanager
async def own_parts() -> AsyncIterator[Parts]:
    """The parts over an embedded PostgreSQL for this run."""
    folder = Path(tempfile.mkdtemp(prefix="ingestion-"))
    try:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(EmbeddedServer(folder / "postgres"))
            scope = Scope(await setup.prepare(Settings(), server.address))
            metrics = Metrics()
            database = await Database.open(server.address, PostgresSettings(), metrics)
            stack.push_async_callback(database.close)
            epoch = EpochWatch(server.address, scope.household_id)
            await epoch.start()
            stack.push_async_callback(epoch.close)
            journal = Journal(folder / "journal", database, JournalSettings().max_bytes, metrics, epoch)
            await journal.start()
            stack.push_async_callback(journal.close)
            owner = await server.address.connect()
            stack.push_async_callback(owner.close)
            await register_codecs(owner)
            spaces = Spaces(database, epoch, scope.household_id, NoEmbedder(), no_other)
            await spaces.start()
            stack.push_async_callback(spaces.close)
            language_of = Languages(Settings().household.languages).of_text
            knowledge = KnowledgeBase(
                database,
                spaces,
                Backgrounds(database, spaces, epoch),
                journal,
                epoch,
                EmbeddingSettings(),
                lambda: None,
                language_of,
            )
            # Its task is not started: the benchmark reads what it hands in.
            documents = Documents(
                database, DocumentSettings(), folder / "documents", scope.household_id, epoch.refresh, language_of
            )
            yield Parts(scope, owner, knowledge, documents)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- entries --------------------------------------------------------------------------------------------------------


async def imported(parts: Parts, contents: Sequence[str]) -> float:
    """Seconds that an import of these takes."""
    body = b"".join(orjson.dumps({"content": content, "tags": ["import"]}) + b"\n" for content in contents)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), PIECE):
            yield body[at : at + PIECE]

    context = {"max_text": Settings().server.max_text_characters}
    began = time.perf_counter()
    report = await parts.knowledge.import_lines(
        parts.scope, pieces(), lambda line: parse(line, Addition, context).entry(parts.scope)
    )
    took = time.perf_counter() - began
    assert (report.added, report.refused) == (len(contents), 0)
    return took


async def copied(parts: Parts, contents: Sequence[str]) -> float:
    """Seconds that a COPY of these takes."""
    household = parts.scope.household_id
    began = time.perf_counter()
    await parts.owner.copy_records_to_table(
        "knowledge",
        columns=("household_id", "content", "tags"),
        records=[(household, content, ["import"]) for content in contents],
    )
    return time.perf_counter() - began


async def measure_entries(parts: Parts, words: Words, entries: int, rounds: int) -> None:
    """Prints entries a second."""
    contents = [words.entry() for _ in range(entries)]
    took: dict[Callable[[Parts, Sequence[str]], object], list[float]] = {imported: [], copied: []}
    for _ in range(rounds):
        for way, seconds in ((imported, took[imported]), (copied, took[copied])):
            await parts.owner.execute("TRUNCATE knowledge CASCADE")
            seconds.append(await way(parts, contents))
    ours, floor = (entries / median(took[way]) for way in (imported, copied))
    print(f"\n{entries:,} entries of {sum(map(len, contents)) / entries:.0f} characters, the median of {rounds}")
    print(f"  {'import':<28}{ours:10,.0f} a second")
    print(f"  {'bare COPY':<28}{floor:10,.0f} a second")
    print(f"  {'import / COPY':<28}{ours / floor:10.2f}")


# --- a document -----------------------------------------------------------------------------------------------------


async def watch_reader(done: asyncio.Event) -> tuple[float, float]:
    """The greatest size, in MB, that this process's child that parses had, and for how many seconds it ran."""
    most, seen = 0.0, set[float]()
    while not done.is_set():
        for process in Path("/proc/self/task").glob("*/children"):
            for child in process.read_text().split():
                with suppress(OSError):  # it has ended
                    if b"gateway.memory.parsing" in Path(f"/proc/{child}/cmdline").read_bytes():
                        most = max(most, _megabytes(child, "VmHWM"))
                        seen.add(time.perf_counter())
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), SAMPLE_SECONDS)
    return most, max(seen) - min(seen)


async def measure_pdf(parts: Parts, words: Words, pages: int) -> None:
    """Prints what taking in a PDF takes."""
    with tempfile.TemporaryDirectory(prefix="ingestion-") as folder:
        path = Path(folder) / "manual.pdf"
        path.write_bytes(
            pdf(
                [words.page() for _ in range(pages)],
                headings=[(f"Chapter {page // 10 + 1}", page) for page in range(1, pages + 1, 10)],
            )
        )
        size = path.stat().st_size
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _megabytes("self", "VmHWM")
        done = asyncio.Event()
        watching = asyncio.create_task(watch_reader(done), name="watching the reader")
        began = time.perf_counter()
        document, new = await parts.documents.take_in(parts.scope, path, folder=None, tags=())
        took = time.perf_counter() - began
        done.set()
        reader, reading = await watching
        peak = _megabytes("self", "VmHWM")
    stored = await parts.owner.fetchval("SELECT count(*) FROM knowledge WHERE document_id = $1", document.id)
    assert new
    assert (document.state, document.pages, document.passages) == ("ready", pages, stored), document.reason
    print(f"\nA PDF of {pages:,} pages, {size / 1e6:.1f} MB")
    print(f"  {'taken in':<28}{took:10.1f} s ({pages / took:,.0f} pages a second)")
    print(f"  {'of that, read':<28}{reading:10.1f} s")
    print(f"  {'passages':<28}{stored:10,}")
    print(f"  {'peak of who reads it':<28}{reader:10.0f} MB")
    print(f"  {'peak of the gateway':<28}{peak:10.0f} MB, {before:.0f} MB before")


def _megabytes(process: str, field: str) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0  # a process at its end has no memory


async def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=20_000, help="of an import; 0: none")
    parser.add_argument("--rounds", type=int, default=3, help="imports, and as many COPYs")
    parser.add_argument("--pages", type=int, default=1000, help="of the PDF; 0: none")
    options = parser.parse_args()
    words = Words()
    async with own_parts() as parts:
        if options.entries:
            await measure_entries(parts, words, options.entries, options.rounds)
        if options.pages:
            await measure_pdf(parts, words, options.pages)


if __name__ == "__main__":
    asyncio.run(main())
