"""Turns and the cache: what is taken over, shared while it is under way, asked again, and taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from gateway.cache.responses import ResponseCache
from gateway.edge import keys
from tests.house import House, speech
from tests.scripted_model import CUT, Answer, Tools

QUESTION = "Who wrote Hamlet?"
HEAD = "You are a kind assistant."
SWITCH = {
    "type": "function",
    "function": {"name": "HassTurnOn", "description": "Turns on", "parameters": {"type": "object", "properties": {}}},
}


def cache_of(house: House) -> ResponseCache:
    cache = house.gateway.application[keys.CACHE]
    assert isinstance(cache, ResponseCache)
    return cache


async def chat(
    house: House, *messages: str, tools: list[dict[str, Any]] | None = None, **headers: str
) -> dict[str, Any]:
    """A turn through Ollama's API, the messages by turns the user's and the assistant's."""
    told = [{"role": "system", "content": HEAD}]
    told += [{"role": ("user", "assistant")[n % 2], "content": words} for n, words in enumerate(messages)]
    body = {"model": "qwen3:4b-instruct", "messages": told, "stream": False, **({"tools": tools} if tools else {})}
    async with house.client.post("/api/chat", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        whole: dict[str, Any] = await response.json()
        return whole


async def outcomes(house: House) -> list[str]:
    return [row["metadata"]["cache"] for row in await house.logged() if row["role"] == "user"]


# --- taken over -----------------------------------------------------------------------------------------------------


async def test_what_was_learned_about_something_else_leaves_the_answer(house: House) -> None:
    first = await house.say(QUESTION)
    await house.say("Remember that the bins go out on Tuesday")
    second = await house.say(QUESTION)
    assert (first["cache"], second["cache"]) == ("miss", "revalidated")
    assert speech(second) == speech(first)
    assert (await house.say(QUESTION))["cache"] == "hit"  # it has the new epoch
    assert len(house.model.chats) == 1


async def test_a_prompt_with_the_time_in_it_is_the_same_prompt_a_minute_later(house: House) -> None:
    async def ask(time: str) -> None:
        head = f"You are a voice assistant for Home Assistant.\nCurrent time is {time}. Today's date is 2026-01-05.\n"
        body = {"model": "qwen3:4b-instruct", "messages": [{"role": "system", "content": head}], "stream": False}
        body["messages"].append({"role": "user", "content": QUESTION})  # type: ignore[attr-defined]
        async with house.client.post("/api/chat", json=body) as response:
            assert response.status == 200

    await ask("18:02:03")
    await house.say("Remember that the bins go out on Tuesday")
    await ask("18:03:04")
    assert [one for one in await outcomes(house) if one != "bypass:acted"] == ["miss", "revalidated"]


async def test_an_answer_is_not_taken_over_while_a_row_is_without_its_vector(house: House) -> None:
    await house.say(QUESTION)
    house.model.embed_failing = (500, "out of memory")
    await house.say("Remember that the bins go out on Tuesday")
    assert (await house.say(QUESTION))["cache"] == "miss"
    house.model.embed_failing = None


async def test_another_members_secret_does_not_end_my_answer_and_is_not_in_it(house: House) -> None:
    ada, ben = [await _member(house, name) for name in ("Ada", "Ben")]
    first = await house.say(QUESTION, headers=ada)
    await house.say("Remember that Hamlet is the password", headers=ben)
    mine = await house.say(QUESTION, headers=ada)
    his = await house.say(QUESTION, headers=ben)
    assert (first["cache"], mine["cache"], his["cache"]) == ("miss", "revalidated", "miss")
    assert "password" not in str(house.model.chats[0])


async def _member(house: House, name: str) -> dict[str, str]:
    token = f"token of {name}"
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, $2, sha256($3::bytea))",
        house.gateway.household_id,
        name,
        token.encode(),
    )
    return {"Authorization": f"Bearer {token}"}


# --- under way ------------------------------------------------------------------------------------------------------


async def test_a_hundred_equal_questions_at_once_reach_the_model_once(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("William", gate, " Shakespeare."))
    asking = [asyncio.create_task(house.say(QUESTION)) for _ in range(100)]
    await house.model.arrived(1)
    gate.set()
    replies = await asyncio.gather(*asking)
    assert {speech(reply) for reply in replies} == {"William Shakespeare."}
    assert sorted({reply["cache"] for reply in replies}) in (["hit", "joined", "miss"], ["joined", "miss"])
    assert len(house.model.chats) == 1
    assert len(await house.logged()) == 200
    assert len({reply["interaction_id"] for reply in replies}) == 100


async def test_the_one_who_asked_first_may_leave(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("William", gate, " Shakespeare."))
    first = asyncio.create_task(house.say(QUESTION))
    await house.model.arrived(1)
    second = asyncio.create_task(house.say(QUESTION))
    await _turns_under_way(house, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    assert (speech(await second), (await second)["cache"]) == ("William Shakespeare.", "joined")
    assert (await house.say(QUESTION))["cache"] == "hit"
    assert len(house.model.chats) == 1


async def test_when_all_have_left_the_model_is_stopped_and_nothing_is_kept(house: House) -> None:
    house.model.script(Answer("William", asyncio.Event()))
    asking = [asyncio.create_task(house.say(QUESTION)) for _ in range(3)]
    await house.model.arrived(1)
    await _turns_under_way(house, 3)
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await house.model.client_gone.wait()
    assert (await house.say(QUESTION))["cache"] == "miss"


async def test_a_failure_is_heard_by_all_and_not_kept(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("William", gate, CUT), Answer("Shakespeare."))
    asking = [asyncio.create_task(house.say(QUESTION)) for _ in range(3)]
    await house.model.arrived(1)
    await _turns_under_way(house, 3)
    gate.set()
    replies = await asyncio.gather(*asking)
    assert {reply["response"]["response_type"] for reply in replies} == {"error"}
    assert len(house.model.chats) == 1
    again = await house.say(QUESTION)
    assert (again["cache"], speech(again)) == ("miss", "Shakespeare.")


async def test_where_the_answer_turns_to_a_tool_the_others_ask_for_themselves(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer(gate, Tools((("HassTurnOn", {"name": "Hamlet"}),))), Answer("Shakespeare."))
    first = asyncio.create_task(chat(house, QUESTION, tools=[SWITCH]))
    await house.model.arrived(1)
    second = asyncio.create_task(chat(house, QUESTION, tools=[SWITCH]))
    await _turns_under_way(house, 2)
    gate.set()
    assert "tool_calls" in (await first)["message"]
    assert (await second)["message"]["content"] == "Shakespeare."
    assert len(house.model.chats) == 2


async def test_who_asks_past_the_cache_does_not_join(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("William", gate), Answer("Marlowe."))
    first = asyncio.create_task(house.say(QUESTION))
    await house.model.arrived(1)
    anew = asyncio.create_task(house.say(QUESTION, headers={"Cache-Control": "no-cache"}))
    async with asyncio.timeout(20):
        while not house.gateway.application[keys.CHAT].queue.waiting:  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
    gate.set()
    assert (speech(await first), speech(await anew)) == ("William", "Marlowe.")
    assert speech(await house.say(QUESTION)) == "Marlowe."  # the newest is kept


async def test_who_asks_after_a_change_does_not_join_an_answer_from_before_it(house: House) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("William", gate, " Shakespeare."), Answer("Ada."))
    before = asyncio.create_task(house.say(QUESTION))
    await house.model.arrived(1)
    await house.say("Remember that Ada wrote Hamlet")
    after = asyncio.create_task(house.say(QUESTION))
    await asyncio.sleep(0)
    gate.set()
    assert (speech(await before), speech(await after)) == ("William Shakespeare.", "Ada.")
    assert speech(await house.say(QUESTION)) == "Ada."


async def _turns_under_way(house: House, count: int) -> None:
    """Until so many follow the one answer that is under way."""
    pipeline = house.gateway.application[keys.PIPELINE]
    async with asyncio.timeout(20):
        while not any(flight._followers == count for flight in pipeline._cached._flights._flights.values()):
            await asyncio.sleep(0.005)


# --- asked again, taken back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["Ask again", "try again, please", "demande encore une fois", "zapytaj jeszcze raz"])
async def test_ask_again_asks_the_model_anew_and_keeps_the_new_answer(house: House, again: str) -> None:
    house.model.script(Answer("Marlowe."), Answer("Shakespeare."))
    await chat(house, QUESTION)
    assert (await chat(house, QUESTION, "Marlowe.", again))["message"]["content"] == "Shakespeare."
    assert [message["content"] for message in house.model.chats[1]["messages"]] == [HEAD, QUESTION]
    assert (await chat(house, QUESTION))["message"]["content"] == "Shakespeare."
    assert await outcomes(house) == ["miss", "bypass:no-cache", "hit"]
    assert (await house.logged())[2]["content"] == again


async def test_ask_again_without_a_question_before_it_is_the_models(house: House) -> None:
    await house.say("Ask again")
    assert house.model.chats[0]["messages"][-1]["content"].endswith("Ask again")


@pytest.mark.parametrize("words", ["No, that's wrong", "Non, c'est faux", "Nie, to nieprawda"])
async def test_a_correction_takes_the_answer_back_and_marks_the_turn(house: House, words: str) -> None:
    house.model.script(Answer("Marlowe."), Answer("I am sorry."), Answer("Shakespeare."))
    await chat(house, QUESTION)
    await cache_of(house).flush()
    await chat(house, QUESTION, "Marlowe.", words)
    reply = await chat(house, QUESTION)
    assert reply["message"]["content"] == "Shakespeare."
    rows = await house.logged()
    assert [row["metadata"].get("corrected_by") for row in rows] == [rows[2]["turn_id"]] * 2 + [None] * 4


async def test_a_correction_of_a_cached_answer_takes_that_back(house: House) -> None:
    house.model.script(Answer("Marlowe."), Answer("I am sorry."), Answer("Shakespeare."))
    await chat(house, QUESTION)
    await chat(house, QUESTION)
    await chat(house, QUESTION, "Marlowe.", "No, that's not right, it was Shakespeare")
    assert (await chat(house, QUESTION))["message"]["content"] == "Shakespeare."


@pytest.mark.parametrize(("score", "outcome"), [(1, "miss"), (2, "miss"), (3, "hit")])
async def test_a_low_score_takes_the_answer_back(house: House, score: int, outcome: str) -> None:
    said = await house.say(QUESTION)
    await cache_of(house).flush()
    async with house.client.post(
        "/training/feedback", json={"interaction_id": said["interaction_id"], "score": score}
    ) as response:
        assert response.status in (200, 201)
    assert (await house.say(QUESTION))["cache"] == outcome


async def test_clearing_one_question_leaves_the_others(house: House) -> None:
    await house.say(QUESTION)
    await house.say("Who painted the Mona Lisa?")
    async with house.client.delete("/cache/clear", params={"query": "who wrote HAMLET"}) as response:
        assert (await response.json())["cleared"] == 1
    assert (await house.say(QUESTION))["cache"] == "miss"
    assert (await house.say("Who painted the Mona Lisa?"))["cache"] == "hit"


async def test_the_figures_tell_the_layers_apart(house: House) -> None:
    await house.say(QUESTION)
    await house.say(QUESTION)
    cache = cache_of(house)
    await cache.flush()
    cache._memory.clear()
    await house.say(QUESTION)
    await house.say("Remember that the bins go out on Tuesday")
    await house.say(QUESTION)
    await house.say("What time is it now?")
    stats = await _stats(house.client)
    assert (stats["hits"], stats["revalidated"], stats["misses"]) == (2, 1, 1)
    assert stats["bypasses"] == {"freshness": 1}
    assert (stats["layers"]["memory"]["hits"], stats["layers"]["table"]["hits"]) == (1, 1)
    assert stats["layers"]["table"]["uses"] == 3
    assert stats["layers"]["redis"] is None
    assert stats["hit_rate"] == 0.75


async def _stats(client: aiohttp.ClientSession) -> dict[str, Any]:
    async with client.get("/cache/stats") as response:
        assert response.status == 200, await response.text()
        stats: dict[str, Any] = await response.json()
        return stats
