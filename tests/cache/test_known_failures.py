"""What other response caches got wrong, each held against this one. The names say what goes wrong there.

The reports: litellm 11145, 12234, 19575, 24579, 29086, 29955 and 32068, spring-ai 5256, wso2/api-platform 733, GPTCache
550, vllm-project/semantic-router 2691, 2728 and 3075, ankit373/hydra 945.
"""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from gateway.app import listening, open_gateway
from gateway.config import RedisSettings, Settings
from gateway.store.address import Address
from tests.house import House, speech
from tests.scripted_model import Answer, ScriptedModel, Thinking, Tools

MODEL = "qwen3:4b-instruct"
# As near to each other as sentences get whose answers differ; an embedding takes many of these pairs for one.
DIFFERENT = [
    ("How do I turn on dark mode?", "How do I turn off dark mode?"),
    ("How do I enable two-factor login?", "How do I disable two-factor login?"),
    ("How many grams are in 3 ounces?", "How many grams are in 8 ounces?"),
    ("Who was the father of Charles I?", "Who was the father of Charles II?"),
    ("Should I eat before training?", "Should I eat after training?"),
    ("Which mushrooms are edible?", "Which mushrooms are not edible?"),
    ("Is it true that dogs chase cats?", "Is it true that cats chase dogs?"),
    ("What is the boiling point of -5 degree brine?", "What is the boiling point of 5 degree brine?"),
    ("How big is a pint in England?", "How big is a pint in Ireland?"),
    ("How do I always lock a door?", "How do I never lock a door?"),
    ("What is the square of 5?", "What is the square root of 5?"),
    ("Can I freeze cooked rice?", "Can I freeze uncooked rice?"),
    ("How does a fridge heat?", "How does a fridge cool?"),
    ("Wie heißt die Hauptstadt?", "Wie hieß die Hauptstadt?"),
    ("What rhymes with cafe?", "What rhymes with café?"),
]


def stated(words: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": words}], "stream": False, **more}


async def ask(house: House, body: dict[str, Any], headers: dict[str, str] | None = None) -> str:
    async with house.client.post("/api/chat", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        content: str = (await response.json())["message"]["content"]
        return content


async def outcomes(house: House) -> list[str]:
    return [row["metadata"]["cache"] for row in await house.logged() if row["role"] == "user"]


async def with_token(house: House, name: str) -> dict[str, str]:
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, $2, sha256($3::bytea))",
        house.gateway.household_id,
        name,
        name.encode(),
    )
    return {"Authorization": f"Bearer {name}"}


def number_every_answer(model: ScriptedModel) -> None:
    numbers = itertools.count(1)
    model.answer = lambda body: Answer(f"Answer {next(numbers)}.")


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=[one for one, _ in DIFFERENT])
async def test_different_questions_get_one_answer(house: House, one: str, other: str) -> None:
    number_every_answer(house.model)
    first, second = await house.say(one), await house.say(other)
    assert speech(first) != speech(second)
    assert second["cache"] != "hit"


async def test_on_is_answered_for_off_and_off_for_on(house: House) -> None:
    tool = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}
    house.model.answer = lambda body: Answer(Tools((("HassTurnOn", {"name": body["messages"][-1]["content"]}),)))
    for words in ("turn on the fan over there", "turn off the fan over there", "turn on the fan over there"):
        async with house.client.post("/api/chat", json=stated(words, tools=[tool])) as response:
            [call] = (await response.json())["message"]["tool_calls"]
            assert call["function"]["arguments"]["name"].endswith(words)
    assert len(house.model.chats) == 3


async def test_isolation_makes_hits_impossible(house: House) -> None:
    """Members apart, and yet each has hits of their own."""
    ada, ben = [await with_token(house, name) for name in ("Ada", "Ben")]
    asked = [(await house.say("Who wrote Hamlet?", headers=who))["cache"] for who in (ada, ben, ada, ben)]
    assert asked == ["miss", "miss", "hit", "hit"]


async def test_another_user_gets_the_answer(house: House) -> None:
    ada, ben = [await with_token(house, name) for name in ("Ada", "Ben")]
    number_every_answer(house.model)
    first = await house.say("What should I be called?", headers=ada)
    assert speech(await house.say("What should I be called?", headers=ben)) != speech(first)
    assert speech(await house.say("What should I be called?")) != speech(first)


async def test_the_namespace_is_ignored(
    house: House, settings: Settings, postgres: Address, redis_url: str, model: ScriptedModel
) -> None:
    """Two households whose databases number them alike, at one Redis: neither hears the other's answers."""
    number_every_answer(model)
    name = f"other_{house.gateway.application.__hash__()}"
    owner = await postgres.connect()
    await owner.execute(f"CREATE DATABASE {name}")
    redis = RedisSettings(url=SecretStr(redis_url))
    said = []
    for number, database in enumerate((settings.postgres.database, name)):
        here = settings.model_copy(
            update={
                "data": settings.data / str(number),
                "redis": redis,
                "postgres": settings.postgres.model_copy(update={"database": database}),
            }
        )
        async with open_gateway(here, lambda words: None) as gateway, listening(gateway.application, here) as port:
            assert gateway.household_id == house.gateway.household_id
            url = f"http://127.0.0.1:{port}/conversation"
            async with house.client.post(url, json={"text": "Who wrote Hamlet?"}) as response:
                said.append(await response.json())
    assert [reply["cache"] for reply in said] == ["miss", "miss"]
    assert speech(said[0]) != speech(said[1])
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


async def test_the_system_prompt_is_not_in_the_key(house: House) -> None:
    number_every_answer(house.model)
    heads = ("You are a pirate.", "You are a judge.")
    said = [
        await ask(
            house, stated("", messages=[{"role": "system", "content": head}, {"role": "user", "content": "Who?"}])
        )
        for head in heads
    ]
    assert said[0] != said[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "nomic-embed-text"},
        {"options": {"temperature": 0}},
        {"options": {"seed": 7}},
        {"think": True},
        {"a field of tomorrow": 1},
        {"messages": [{"role": "user", "content": "Who wrote Hamlet?", "images": ["aGk="]}]},
    ],
    ids=str,
)
async def test_a_parameter_is_not_in_the_key(house: House, changed: dict[str, Any]) -> None:
    number_every_answer(house.model)
    first = await ask(house, stated("Who wrote Hamlet?"))
    assert await ask(house, stated("Who wrote Hamlet?") | changed) != first


async def test_what_was_said_before_is_not_in_the_key(house: House) -> None:
    number_every_answer(house.model)
    said = []
    for topic in ("Hamlet", "Faust"):
        history = [
            {"role": "user", "content": f"Tell me of {topic}"},
            {"role": "assistant", "content": f"{topic} is a play."},
        ]
        said.append(await ask(house, stated("", messages=[*history, {"role": "user", "content": "Who wrote it?"}])))
    assert said[0] != said[1]


async def streamed(house: House, words: str) -> list[dict[str, Any]]:
    async with house.client.post("/api/chat", json=stated(words, stream=True)) as response:
        return [orjson.loads(line) async for line in response.content]


LONG = "A play by William Shakespeare, written between 1599 and 1601. " * 4


async def test_a_streamed_answer_is_not_stored_or_not_replayed(house: House) -> None:
    house.model.script(Answer(*LONG.split(" ")))
    await streamed(house, "What is Hamlet?")
    await streamed(house, "What is Hamlet?")
    await ask(house, stated("What is Hamlet?"))
    assert await outcomes(house) == ["miss", "hit", "hit"]


async def test_a_replayed_stream_is_collapsed_into_one_piece(house: House) -> None:
    house.model.script(Answer(*(f"{word} " for word in LONG.split())))
    first, second = await streamed(house, "What is Hamlet?"), await streamed(house, "What is Hamlet?")
    assert len([line for line in second if line["message"]["content"]]) > 3
    assert _text(first) == _text(second)
    assert [line["done"] for line in second] == [False] * (len(second) - 1) + [True]


async def test_a_replayed_stream_loses_the_thinking_and_the_usage(house: House) -> None:
    house.model.script(Answer(Thinking("Let me see. "), Thinking("Denmark."), "A play.", usage={"eval_count": 9}))
    first, second = await streamed(house, "What is Hamlet?"), await streamed(house, "What is Hamlet?")
    assert await outcomes(house) == ["miss", "hit"]
    assert _text(second, "thinking") == _text(first, "thinking") == "Let me see. Denmark."
    thought = [bool(line["message"].get("thinking")) for line in second]
    assert thought == sorted(thought, reverse=True)  # before the words, as the model did
    assert second[-1]["eval_count"] == first[-1]["eval_count"] == 9


def _text(lines: list[dict[str, Any]], name: str = "content") -> str:
    return "".join(line["message"].get(name, "") for line in lines)


async def test_a_tool_call_is_replayed(house: House) -> None:
    tool = {"type": "function", "function": {"name": "unlock", "parameters": {"type": "object", "properties": {}}}}
    house.model.script(Answer(Tools((("unlock", {"door": "front"}),))), Answer("Nobody did."))
    body = stated("Who knocks there?", tools=[tool])
    async with house.client.post("/api/chat", json=body) as response:
        assert "tool_calls" in (await response.json())["message"]
    async with house.client.post("/api/chat", json=body) as response:
        assert (await response.json())["message"] == {"role": "assistant", "content": "Nobody did."}


async def test_multi_turn_traffic_hears_stale_answers(house: House) -> None:
    """The same words later in a conversation are another question."""
    number_every_answer(house.model)
    words = "Which one is bigger?"
    first = await ask(house, stated(words))
    told = [{"role": "user", "content": words}, {"role": "assistant", "content": first}]
    assert await ask(house, stated("", messages=[*told, {"role": "user", "content": words}])) != first


async def test_the_answer_is_older_than_the_facts(house: House) -> None:
    house.model.answer = lambda body: Answer("Hamlet." if "Hamlet" in str(body) else "I do not know.")
    assert speech(await house.say("What is our parrot called?")) == "I do not know."
    await house.say("Remember that our parrot is called Hamlet")
    assert speech(await house.say("What is our parrot called?")) == "Hamlet."
