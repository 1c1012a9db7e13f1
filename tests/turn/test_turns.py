"""Turns through the whole gateway: what a person at home would notice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest

from gateway.edge import keys
from gateway.shapes import Scope, Turn
from gateway.store.address import Address
from tests.house import House, speech
from tests.scripted_model import CUT, HANG, Answer, Tools


def words_of(chat: dict[str, Any]) -> str:
    said: str = chat["messages"][-1]["content"]
    return said


async def test_an_answer_in_home_assistants_shape(house: House) -> None:
    house.model.script(Answer("Par", "is."))
    reply = await house.say("What is the capital of France?", conversation_id="abc")
    assert speech(reply) == "Paris."
    assert reply["response"]["response_type"] == "query_answer"
    assert reply["conversation_id"] == "abc"
    assert reply["interaction_id"].startswith("conv_")
    assert reply["cache"] == "miss"
    assert reply["model"] == "qwen3:4b-instruct"
    assert {"understand", "cache", "recall", "queue", "model", "total"} <= set(reply["timings"])


async def test_what_was_told_is_put_before_the_model(house: House) -> None:
    told = await house.say("Remember that the bins go out on Tuesday")
    assert "the bins go out on Tuesday" in speech(told)
    assert told["intent"] == "memory.remember"
    assert not house.model.chats
    reply = await house.say("When do the bins go out on which day?")
    assert [(source["kind"], source["text"]) for source in reply["sources"]] == [
        ("knowledge", "the bins go out on Tuesday")
    ]
    assert "the bins go out on Tuesday" in words_of(house.model.chats[-1])


async def test_a_preference_is_put_before_the_model_and_an_alias_is_not(house: House) -> None:
    for key, value, category in (
        ("user.wake_time", {"time": "07:00"}, "habits"),
        ("entity_alias.sun", {"name": "lamp"}, "aliases"),
    ):
        async with house.client.post(
            "/preferences/set", json={"key": key, "value": value, "category": category}
        ) as response:
            assert response.status in (200, 201)
    reply = await house.say("What is the capital of Spain?")
    assert [source["kind"] for source in reply["sources"]] == ["preference"]
    assert "07:00" in words_of(house.model.chats[-1])
    assert "entity_alias" not in words_of(house.model.chats[-1])


async def test_told_twice_is_kept_once(house: House) -> None:
    await house.say("Remember that Anna is allergic to nuts")
    again = await house.say("Please remember that Anna is allergic to nuts.")
    assert "already" in speech(again)
    assert await house.admin.fetchval("SELECT count(*) FROM knowledge") == 1


@pytest.mark.parametrize(
    ("language", "tell", "ask", "alias"),
    [
        ("en", "Remember that we have two cats", "What do you know about me?", "call my office lamp the sun"),
        ("fr", "Retiens que nous avons deux chats", "Que sais-tu de moi ?", "Appelle la lampe du bureau le soleil"),
        ("pl", "Zapamiętaj, że mamy dwa koty", "Co o mnie wiesz?", "Nazywaj lampę biurową słońcem"),
    ],
)
async def test_memory_commands_act_without_the_model(
    house: House, language: str, tell: str, ask: str, alias: str
) -> None:
    told, known = await house.say(tell), await house.say(ask)
    assert told["response"]["language"] == language
    assert known["response"]["language"] == language
    fact = tell.split(" ", 2)[2]
    assert fact in speech(known)
    named = await house.say(alias)
    assert named["intent"] == "memory.alias"
    row = await house.admin.fetchrow("SELECT key, value, category FROM preferences")
    assert row["key"].startswith("entity_alias.")
    assert row["category"] == "aliases"
    assert not house.model.chats


async def test_the_same_question_is_answered_from_the_cache(house: House) -> None:
    house.model.script(Answer("William Shakespeare."))
    first = await house.say("Who wrote Hamlet?")
    second = await house.say("  who wrote hamlet ")
    assert (first["cache"], second["cache"]) == ("miss", "hit")
    assert speech(second) == speech(first)
    assert first["interaction_id"] != second["interaction_id"]
    assert len(house.model.chats) == 1


async def test_what_was_learned_ends_the_cached_answer(house: House) -> None:
    await house.say("Who wrote Hamlet?")
    await house.say("Remember that Ada wrote Hamlet")
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_a_change_by_someone_else_ends_the_cached_answer(house: House) -> None:
    await house.say("Who wrote Hamlet?")
    epoch = house.gateway.application[keys.EPOCH]
    before = epoch.current()
    await house.admin.execute(
        "INSERT INTO knowledge (household_id, content) VALUES ($1, 'Who wrote Hamlet? Ada did.')",
        house.gateway.household_id,
    )
    while epoch.current() == before:
        await asyncio.sleep(0.01)
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_the_table_answers_where_memory_does_not(house: House) -> None:
    await house.say("Who wrote Hamlet?")
    cache = house.gateway.application[keys.CACHE]
    await cache.flush()  # type: ignore[attr-defined]
    cache._memory.clear()  # type: ignore[attr-defined]
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "hit"


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [({"Cache-Control": "no-cache"}, "bypass:no-cache"), ({"Cache-Control": "no-store"}, "bypass:no-store")],
)
async def test_a_client_may_want_a_fresh_answer(house: House, headers: dict[str, str], outcome: str) -> None:
    house.model.script(Answer("one"), Answer("two"))
    await house.say("Who wrote Hamlet?")
    fresh = await house.say("Who wrote Hamlet?", headers=headers)
    assert (fresh["cache"], speech(fresh)) == (outcome, "two")
    stored = speech(await house.say("Who wrote Hamlet?"))
    assert stored == ("two" if outcome.endswith("no-cache") else "one")


async def test_a_low_score_takes_the_answer_away(house: House) -> None:
    await house.say("Who wrote Hamlet?")
    hit = await house.say("Who wrote Hamlet?")
    assert hit["cache"] == "hit"
    async with house.client.post(
        "/training/feedback", json={"interaction_id": hit["interaction_id"], "score": 1}
    ) as done:
        assert done.status == 201
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_an_answer_that_was_cut_is_not_stored(house: House) -> None:
    house.model.script(Answer("William ", CUT))
    failed = await house.say("Who wrote Hamlet?")
    assert failed["response"]["response_type"] == "error"
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_a_long_answer_that_hit_its_bound_is_not_stored(house: House) -> None:
    house.model.script(Answer("William", done_reason="length"))
    await house.say("Who wrote Hamlet?")
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_the_conversation_goes_on_by_its_id(house: House) -> None:
    house.model.script(Answer("Paris."), Answer("Berlin."))
    first = await house.say("What is the capital of France?")
    second = await house.say("And of Germany?", conversation_id=first["conversation_id"])
    assert second["conversation_id"] == first["conversation_id"]
    said = [(message["role"], message["content"]) for message in house.model.chats[-1]["messages"]]
    assert said[-3:-1] == [("user", "What is the capital of France?"), ("assistant", "Paris.")]
    other = await house.say("And of Italy?")
    assert other["conversation_id"] != first["conversation_id"]
    assert len(house.model.chats[-1]["messages"]) == 2


async def test_the_conversation_outlives_the_journal(house: House) -> None:
    first = await house.say("What is the capital of France?")
    assert await house.gateway.application[keys.JOURNAL].flush(20)
    await house.say("And of Germany?", conversation_id=first["conversation_id"])
    assert len(house.model.chats[-1]["messages"]) == 4


async def test_a_turn_is_logged_in_both_roles(house: House) -> None:
    house.model.script(Answer("Paris.", usage={"prompt_eval_count": 11, "eval_count": 3}))
    reply = await house.say("What is the capital of France?", area="Kitchen")
    user, assistant = await house.logged()
    assert (user["role"], user["content"]) == ("user", "What is the capital of France?")
    assert (assistant["role"], assistant["content"]) == ("assistant", "Paris.")
    assert user["turn_id"] == assistant["turn_id"] == reply["interaction_id"].removeprefix("conv_")
    assert user["session_id"] == reply["conversation_id"]
    assert user["language"] == "en"
    kept = assistant["metadata"]
    assert (kept["model"], kept["prompt_tokens"], kept["completion_tokens"]) == ("qwen3:4b-instruct", 11, 3)
    assert kept["area"] == "Kitchen"
    assert kept["timings"]["total"] > 0


async def test_a_client_that_goes_away_ends_the_generation_and_is_logged_as_cut_off(house: House) -> None:
    house.model.script(Answer("Once upon ", HANG))
    async with house.client.post(
        "/conversation", json={"text": "Describe the history of France", "stream": True}
    ) as response:
        assert b"Once upon" in await response.content.readuntil(b"\n\n")
        response.close()
    await asyncio.wait_for(house.model.client_gone.wait(), 10)
    while not (rows := await house.logged()):
        await asyncio.sleep(0.01)
    assert rows[1]["content"] == "Once upon"
    assert rows[1]["metadata"]["cut_off"] is True


async def test_streamed_as_events(house: House) -> None:
    house.model.script(Answer("It is ", "Paris."))
    async with house.client.post(
        "/conversation", json={"text": "What is the capital of France?", "stream": True}
    ) as response:
        assert response.content_type == "text/event-stream"
        events = [event.split("\n") for event in (await response.text()).strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: delta", "event: delta", "event: reply"]
    assert "".join(json.loads(event[1][6:])["content"] for event in events[:2]) == "It is Paris."
    assert speech(json.loads(events[2][1][6:])) == "It is Paris."


@pytest.mark.parametrize(
    ("language", "text", "sentence"),
    [
        ("en", "Who wrote Hamlet?", "My language model could not answer that."),
        ("fr", "Qui a écrit Les Misérables ?", "Mon modèle de langage n'a pas pu répondre."),
        ("pl", "Kto napisał Pana Tadeusza?", "Model językowy nie potrafił na to odpowiedzieć."),
    ],
)
async def test_a_model_that_fails_is_told_in_words(house: House, language: str, text: str, sentence: str) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    reply = await house.say(text)
    assert speech(reply) == sentence
    assert reply["response"]["language"] == language
    assert reply["error"]["code"].startswith("model")
    rows = await house.logged()
    assert rows[1]["metadata"]["unanswered"] is True


async def test_a_model_that_is_away_is_told_in_words(house: House) -> None:
    await house.model.stop()
    reply = await house.say("Who wrote Hamlet?")
    assert speech(reply) == "I can't reach my language model at the moment."
    async with house.client.get("/readyz") as response:
        assert response.status == 503


async def test_a_mistake_of_ours_is_heard_and_recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("gateway.turn.prompt.build", broken)
    reply = await house.say("Who wrote Hamlet?")
    assert speech(reply) == "Something went wrong on my side. My log knows more."
    assert (await house.logged())[1]["metadata"]["unanswered"] is True


async def test_a_client_that_leaves_while_a_failure_is_told_is_recorded(house: House) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    turn = Turn(scope=Scope(house.gateway.household_id), utterance="Who wrote Hamlet?", edge="conversation", voice=True)
    deltas = house.gateway.application[keys.PIPELINE].run(turn)
    assert "language model" in (await anext(deltas)).content
    await deltas.aclose()
    assert len(await house.logged()) == 2


async def test_without_embeddings_words_are_searched_and_nothing_is_cached(house: House) -> None:
    await house.say("Remember that the bins go out on Tuesday")
    house.model.embed_failing = (500, "unwell")
    reply = await house.say("When do the bins go out, the bins?")
    assert [source["text"] for source in reply["sources"]] == ["the bins go out on Tuesday"]
    assert reply["without"] == ["knowledge"]
    assert (await house.say("When do the bins go out, the bins?"))["cache"] == "miss"


async def test_without_postgres_a_turn_is_answered_and_kept(house: House, postgres: Address) -> None:
    name = await house.admin.fetchval("SELECT current_database()")
    outside = await postgres.connect()
    await outside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await outside.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'ai_gateway'", name
    )
    house.model.script(Answer("Paris."))
    reply = await house.say("What is the capital of France?")
    assert speech(reply) == "Paris."
    assert "memory" in reply["without"]
    noted = await house.say("Remember that the key is under the mat")
    assert "key is under the mat" in speech(noted)
    assert house.gateway.application[keys.JOURNAL].pending_memory == 1
    await outside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await outside.close()
    rows = await house.logged()
    assert [row["content"] for row in rows][:2] == ["What is the capital of France?", "Paris."]
    assert await house.admin.fetchval("SELECT content FROM knowledge") == "the key is under the mat"


async def test_nobody_hears_another_members_answer(house: House) -> None:
    token = "token-of-ada"
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, 'Ada', $2)",
        house.gateway.household_id,
        hashlib.sha256(token.encode()).digest(),
    )
    ada = {"Authorization": f"Bearer {token}"}
    await house.say("Remember that my locker number is 77", headers=ada)
    mine = await house.say("Which locker number is mine, the locker?", headers=ada)
    assert [source["text"] for source in mine["sources"]] == ["my locker number is 77"]
    theirs = await house.say("Which locker number is mine, the locker?")
    assert theirs["cache"] == "miss"
    assert theirs["sources"] == []
    assert "77" not in words_of(house.model.chats[-1])


async def test_a_household_language_is_followed(house: House) -> None:
    async with house.client.post(
        "/preferences/set", json={"key": "user.preferred_language", "value": {"language": "pl"}}
    ) as response:
        assert response.status == 201
    reply = await house.say("Who wrote Hamlet?")
    assert reply["response"]["language"] == "pl"
    assert "Odpowiedz po polsku." in words_of(house.model.chats[-1])
    given = await house.say("Who wrote Hamlet?", language="fr-FR")
    assert given["response"]["language"] == "fr"


# --- Ollama's own clients -----------------------------------------------------------------------------------------


@pytest.fixture
async def client(house: House) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(house.url) as client:
        yield client


async def test_the_official_client_streams(house: House, client: ollama.AsyncClient) -> None:
    house.model.script(Answer("Par", "is."))
    stream = await client.chat(
        "qwen3:4b-instruct", [{"role": "user", "content": "What is the capital of France?"}], stream=True
    )
    parts = [part async for part in stream]
    assert "".join(part.message.content or "" for part in parts) == "Paris."
    assert parts[-1].done
    assert parts[-1].done_reason == "stop"


async def test_the_official_client_in_one_piece_and_in_a_thread(house: House) -> None:
    house.model.script(Answer("Paris."))
    with ollama.Client(house.url) as client:
        answer = await asyncio.to_thread(
            client.chat, "qwen3:4b-instruct", [{"role": "user", "content": "What is the capital of France?"}]
        )
        listed = await asyncio.to_thread(client.list)
    assert answer.message.content == "Paris."
    assert answer.eval_count is not None
    assert "qwen3:4b-instruct" in [model.model for model in listed.models]


async def test_tools_and_options_reach_ollama_and_calls_come_back(house: House, client: ollama.AsyncClient) -> None:
    house.model.script(Answer(Tools((("get_weather", {"city": "Paris"}),))))
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    answer = await client.chat(
        "qwen3:4b-instruct",
        [{"role": "user", "content": "Describe the weather in Paris"}],
        tools=[tool],
        options={"seed": 7, "num_ctx": 4096},
        think=False,
        keep_alive="5m",
    )
    assert answer.message.tool_calls is not None
    assert answer.message.tool_calls[0].function.name == "get_weather"
    assert answer.message.tool_calls[0].function.arguments == {"city": "Paris"}
    sent = house.model.chats[-1]
    assert sent["tools"][0]["function"]["name"] == "get_weather"
    assert sent["options"]["seed"] == 7
    assert sent["think"] is False
    assert sent["keep_alive"] == "5m"


async def test_ollamas_errors_stay_ollamas(house: House, client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        await client.chat("no-such-model", [{"role": "user", "content": "Hi"}])
    assert missing.value.status_code == 404
    house.model.script(Answer(status=500, error="out of memory"))
    with pytest.raises(ollama.ResponseError) as failed:
        await client.chat("qwen3:4b-instruct", [{"role": "user", "content": "Hi there"}])
    assert failed.value.status_code >= 500
    async with house.client.post("/api/chat", data=b"{") as response:
        assert response.status == 400
        assert set(await response.json()) == {"error"}


async def test_models_are_listed_while_ollama_is_away(house: House, client: ollama.AsyncClient) -> None:
    before = await client.list()
    await house.model.stop()
    assert [model.model for model in (await client.list()).models] == [model.model for model in before.models]


async def test_home_assistants_prompt_is_recognised_and_a_failure_spoken(house: House) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    body = {
        "model": "qwen3:4b-instruct",
        "messages": [
            {
                "role": "system",
                "content": "You are a voice assistant.\nStatic Context: An overview of the areas and the"
                " devices in this smart home:\n- names: Lamp\n  domain: light\n",
            },
            {"role": "user", "content": "Who wrote Hamlet?"},
        ],
    }
    async with house.client.post("/api/chat", json=body) as response:
        assert response.status == 200
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines[0]["message"]["content"] == "My language model could not answer that."
    assert lines[-1]["done"] is True


async def test_a_conversation_of_a_client_that_resends_its_history_is_one(
    house: House, client: ollama.AsyncClient
) -> None:
    house.model.script(Answer("Paris."), Answer("Berlin."))
    said: list[dict[str, str]] = [{"role": "user", "content": "What is the capital of France?"}]
    answer = await client.chat("qwen3:4b-instruct", said)
    said += [
        {"role": "assistant", "content": answer.message.content or ""},
        {"role": "user", "content": "And of Germany?"},
    ]
    await client.chat("qwen3:4b-instruct", said)
    rows = await house.logged()
    assert len({row["session_id"] for row in rows}) == 1
    assert len({row["turn_id"] for row in rows}) == 2
