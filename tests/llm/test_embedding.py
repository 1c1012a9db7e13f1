"""Vectors: Ollama's wire and nomic's recipe, and the real e5."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from gateway.config import EmbeddingSettings
from gateway.errors import (
    BadRequest,
    ModelError,
    ModelNotFound,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    SettingsError,
)
from gateway.llm.embedding import QUERIES_KEPT, E5Embedder, OllamaEmbedder, is_nomic
from gateway.shapes import Space
from tests.scripted_model import ScriptedModel, words_vector

# What a household tells and asks, each question beside the fact that answers it.
HOUSEHOLD = {
    "en": [
        ("The bins go out on Tuesday", "when do the bins go out?"),
        ("I prefer lights at 50% brightness in the evening", "how bright do I like the lights in the evening?"),
        ("The guest wifi password is on the fridge", "where is the guest wifi password?"),
        ("Anna is allergic to peanuts", "what is Anna allergic to?"),
        ("The spare key is with Mrs Novak next door", "who has the spare key?"),
        ("The dog is called Max and is a labrador", "what's the name of our dog?"),
    ],
    "fr": [
        ("Les poubelles sortent le mardi", "quand est-ce que je sors les poubelles ?"),
        ("J'aime la lumière à 50 % le soir", "quelle luminosité j'aime le soir ?"),
        ("Le mot de passe du wifi est sur le frigo", "où est le mot de passe du wifi ?"),
        ("Anna est allergique aux arachides", "à quoi Anna est-elle allergique ?"),
        ("La clé de secours est chez la voisine", "qui a la clé de secours ?"),
        ("Le chien s'appelle Max", "comment s'appelle notre chien ?"),
    ],
    "pl": [
        ("Śmieci wystawiamy we wtorek", "kiedy wystawić śmieci?"),
        ("Wieczorem lubię światło na 50 procent", "jak jasne światło lubię wieczorem?"),
        ("Hasło do wifi dla gości jest na lodówce", "gdzie jest hasło do wifi?"),
        ("Anna ma alergię na orzeszki ziemne", "na co uczulona jest Anna?"),
        ("Zapasowy klucz ma sąsiadka, pani Nowak", "kto ma zapasowy klucz?"),
        ("Pies nazywa się Max", "jak ma na imię nasz pies?"),
    ],
}


# --- Ollama


@pytest.fixture
async def nomic(scripted_model: ScriptedModel) -> AsyncIterator[OllamaEmbedder]:
    embedder = OllamaEmbedder(scripted_model.url, EmbeddingSettings(batch_size=2))
    yield embedder
    await embedder.close()


async def test_nomic_is_asked_for_everything_and_cut_after_its_layer_norm(
    nomic: OllamaEmbedder, scripted_model: ScriptedModel
) -> None:
    assert nomic.space == Space("nomic-embed-text", 384, "search_query: ", "search_document: ", "layer-norm, cut, l2")
    vector = await nomic.query("when do the bins go out?")
    (body,) = scripted_model.seen("/api/embed")
    assert body == {
        "model": "nomic-embed-text",
        "input": ["search_query: when do the bins go out?"],
        "truncate": True,
        "keep_alive": "30m",
    }
    whole = words_vector("when do the bins go out?", 768).astype(np.float64)
    expected = ((whole - whole.mean()) / whole.std())[:384]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert vector.dtype == np.float32


async def test_documents_go_in_batches_and_keep_their_order(
    nomic: OllamaEmbedder, scripted_model: ScriptedModel
) -> None:
    texts = [f"fact number {number}" for number in range(5)]
    vectors = await nomic.documents(texts)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [len(body["input"]) for body in scripted_model.seen("/api/embed")] == [2, 2, 1]
    assert scripted_model.seen("/api/embed")[2]["input"] == ["search_document: fact number 4"]
    for index, text in enumerate(texts):
        assert (vectors @ await nomic.query(text)).argmax() == index
    assert (await nomic.documents([])).shape == (0, 384)


async def test_a_query_asked_again_is_not_embedded_again(nomic: OllamaEmbedder, scripted_model: ScriptedModel) -> None:
    first = await nomic.query("again")
    assert await nomic.query("again") is first
    assert len(scripted_model.seen("/api/embed")) == 1
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    for number in range(QUERIES_KEPT):
        await nomic.query(f"another {number}")
    await nomic.query("again")
    assert len(scripted_model.seen("/api/embed")) == QUERIES_KEPT + 2


async def test_another_model_is_taken_as_it_is(scripted_model: ScriptedModel) -> None:
    scripted_model.models.append("all-minilm:latest")
    scripted_model.embed_dimensions = 384
    embedder = OllamaEmbedder(scripted_model.url, EmbeddingSettings(model="all-minilm:latest"))
    try:
        assert embedder.space == Space("all-minilm", 384)
        await embedder.check()
        await embedder.fit()
        np.testing.assert_allclose(await embedder.query("a word"), words_vector("a word", 384), atol=1e-5)
        scripted_model.embed_dimensions = 1024
        words = r"EMBEDDING_DIMENSIONS .* is 384; allowed with all-minilm:latest: 1024"
        with pytest.raises(ModelError, match=words):
            await embedder.query("another word")
        with pytest.raises(SettingsError, match=words):
            await embedder.fit()
    finally:
        await embedder.close()


async def test_a_nomic_of_another_width_is_no_nomic(nomic: OllamaEmbedder, scripted_model: ScriptedModel) -> None:
    scripted_model.embed_dimensions = 512
    with pytest.raises(ModelError, match="512"):
        await nomic.query("a word")


@pytest.mark.parametrize(
    "model, nomic",
    [
        ("nomic-embed-text", True),
        ("nomic-embed-text:v1.5", True),
        ("someone/nomic-embed-text:latest", True),
        ("nomic-embed-text-v2-moe", False),
        ("bge-m3", False),
    ],
)
def test_which_models_are_nomic(model: str, nomic: bool) -> None:
    assert is_nomic(model) is nomic


async def test_failures_have_their_names(nomic: OllamaEmbedder, scripted_model: ScriptedModel) -> None:
    scripted_model.embed_failing = (500, "out of memory")
    with pytest.raises(ModelRefused, match="out of memory"):
        await nomic.documents(["a", "b", "c"])
    scripted_model.models.clear()
    with pytest.raises(ModelNotFound):
        await nomic.query("a")
    with pytest.raises(ModelNotFound, match="ollama pull"):
        await nomic.check()
    await scripted_model.stop()
    with pytest.raises(ModelUnavailable):
        await nomic.query("b")


async def test_a_query_waits_for_as_long_as_it_may(scripted_model: ScriptedModel) -> None:
    scripted_model.embed_gate = asyncio.Event()
    embedder = OllamaEmbedder(scripted_model.url, EmbeddingSettings(query_seconds=0.05))
    try:
        with pytest.raises(ModelTimeout, match=r"within 0\.05 s"):
            await embedder.query("a")
        scripted_model.embed_gate.set()
        assert (await embedder.documents(["a"])).shape == (1, 384)
    finally:
        await embedder.close()


# --- e5


@pytest.fixture
async def e5() -> AsyncIterator[E5Embedder]:
    embedder = await E5Embedder.load(EmbeddingSettings(query_seconds=60))
    yield embedder
    await embedder.close()


async def test_e5_finds_the_fact_that_answers_and_leaves_the_rest_below_its_score(e5: E5Embedder) -> None:
    above, others, ranked = 0, 0, 0
    for pairs in HOUSEHOLD.values():
        facts = await e5.documents([fact for fact, _ in pairs])
        for index, (_, question) in enumerate(pairs):
            scores = facts @ await e5.query(question)
            ranked += scores.argmax() == index
            above += scores[index] >= e5.min_score
            others += (np.delete(scores, index) >= e5.min_score).sum()
    asked = sum(len(pairs) for pairs in HOUSEHOLD.values())
    assert ranked == asked
    assert above >= asked - 2
    assert others <= asked * 5 * 0.05


async def test_e5_s_vectors_are_of_its_space(e5: E5Embedder) -> None:
    await e5.check()
    vectors = await e5.documents(["one", "deux", ""])
    assert vectors.shape == (3, e5.space.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert (await e5.documents([])).shape == (0, 384)
    first = await e5.query("one")
    assert first.shape == (384,)
    assert await e5.query("one") is first
    # A query and a passage of the same words are not the same: each has its prefix.
    assert not np.allclose(first, vectors[0])


async def test_a_nul_does_not_end_a_text_for_e5_and_half_a_character_is_refused(e5: E5Embedder) -> None:
    with_nul, without = await e5.documents(["the bins\0 go out on Tuesday", "the bins"])
    assert not np.allclose(with_nul, without)
    with pytest.raises(BadRequest):
        await e5.query("\ud800")


async def test_a_query_does_not_wait_behind_a_long_document(e5: E5Embedder) -> None:
    long = asyncio.create_task(e5.documents(["The quick brown fox jumps over the lazy dog. " * 300]))
    await asyncio.sleep(0)
    await e5.query("when do the bins go out?")
    assert not long.done()
    await long


async def test_e5_too_slow_is_a_timeout_and_closed_is_closed() -> None:
    embedder = await E5Embedder.load(EmbeddingSettings(query_seconds=0.0001))
    with pytest.raises(ModelTimeout):
        await embedder.query("the bins " * 200)
    await embedder.close()
    await embedder.close()
    for ask in (embedder.query("a"), embedder.documents(["a"]), embedder.check()):
        with pytest.raises(ModelUnavailable):
            await ask
