"""Several model servers as one: who is asked, who is asked instead, and who is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.config import LlmSettings
from gateway.errors import (
    ModelError,
    ModelNotFound,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    Preempted,
    QueueTimeout,
)
from gateway.llm import breaker, fleet
from gateway.llm.fleet import ChatServer, Fleet
from gateway.llm.ollama import OllamaChat
from gateway.llm.prefixes import WarmPrompts, chained, shared
from gateway.metrics import Metrics
from gateway.shapes import ChatRequest, Delta, Message, Priority, QueuePlace, ToolCall
from tests.scripted_model import BROKEN, CUT, HANG, Answer, ErrorLine, ScriptedModel

MODEL = "qwen3:4b-instruct"


@dataclass
class Servers:
    """A fleet and the scripted servers in it, `a` first."""

    fleet: Fleet
    models: list[ScriptedModel]
    metrics: Metrics

    @property
    def a(self) -> ScriptedModel:
        return self.models[0]

    @property
    def b(self) -> ScriptedModel:
        return self.models[1]

    @property
    def asked(self) -> list[int]:
        """How many chats each has seen."""
        return [len(model.chats) for model in self.models]

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    async def say(self, *words: str, priority: Priority = Priority.CHAT, seconds: float = 20, model: str = "") -> str:
        return "".join(
            [delta.content for delta in await self.deltas(*words, priority=priority, seconds=seconds, model=model)]
        )

    async def deltas(
        self, *words: str, priority: Priority = Priority.CHAT, seconds: float = 20, model: str = ""
    ) -> list[Delta]:
        async with aclosing(self.fleet.ask(asking(*words, model=model), priority=priority, seconds=seconds)) as deltas:
            return [delta async for delta in deltas]


@asynccontextmanager
async def opened(count: int = 2, *, parallel: int = 1, watched: bool = False, **given: Any) -> AsyncIterator[Servers]:
    settings = LlmSettings(**given)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        models = [await stack.enter_async_context(ScriptedModel()) for _ in range(count)]
        chats = [OllamaChat(model.url, settings) for model in models]
        for chat in chats:
            stack.push_async_callback(chat.close)
        servers = [ChatServer(chat, name, parallel) for chat, name in zip(chats, "abc", strict=False)]
        made = Fleet(servers, settings, metrics)
        if watched:
            await made.start()
        stack.push_async_callback(made.close)
        yield Servers(made, models, metrics)


def asking(*words: str, model: str = "") -> ChatRequest:
    """The prompt of a conversation: what was said in turns."""
    roles = ("user", "assistant")
    said = [Message(roles[at % 2], text) for at, text in enumerate(words or ("Hi",))]  # type: ignore[arg-type]
    return ChatRequest((Message("system", "Be brief."), *said), model)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


# --- who is asked


async def test_the_least_loaded_is_asked() -> None:
    async with opened() as servers:
        gate = asyncio.Event()
        servers.a.script(Answer(gate, "one"))
        first = asyncio.create_task(servers.say("One"))
        await servers.a.arrived(1)
        assert await servers.say("Two") == "I heard: Two"
        assert servers.asked == [1, 1]
        gate.set()
        assert await first == "one"


async def test_a_conversation_goes_on_where_it_is_warm() -> None:
    async with opened(parallel=2) as servers:
        gate = asyncio.Event()
        servers.a.script(Answer(gate, "one"))
        first = asyncio.create_task(servers.say("One"))
        await servers.a.arrived(1)
        assert await servers.say("Two") == "I heard: Two"  # to b, which has less to do
        gate.set()
        await first
        assert await servers.say("Two", "I heard: Two", "And now?") == "I heard: And now?"
        assert servers.asked == [1, 2]
        assert await servers.say("One", "one", "And now?") == "I heard: And now?"
        assert servers.asked == [2, 2]


async def test_a_warm_server_that_is_busy_is_not_waited_for() -> None:
    async with opened() as servers:
        await servers.say("One")
        gate = asyncio.Event()
        servers.a.script(Answer(gate, "more"))
        busy = asyncio.create_task(servers.say("One", "one", "More"))
        await servers.a.arrived(2)
        assert await servers.say("One", "one", "And?") == "I heard: And?"
        assert servers.asked == [2, 1]
        gate.set()
        await busy


async def test_a_model_is_asked_where_it_is() -> None:
    async with opened(watched=True) as servers:
        servers.b.models.append("mistral:latest")
        for _ in range(3):
            assert await servers.say("Hi", model="mistral") == "I heard: Hi"
        # a was tried at most once, and never again: it said that it does not have it.
        assert [chat["model"] for chat in servers.b.chats] == ["mistral"] * 3
        assert servers.asked[0] <= 1
        with pytest.raises(ModelNotFound):
            await servers.say("Hi", model="no-such-model")
        names = {entry["model"] for entry in await servers.fleet.models()}
        assert names == {MODEL, "nomic-embed-text:latest", "mistral:latest"}


async def test_servers_are_asked_for_the_models_they_are_named_for() -> None:
    async with ScriptedModel() as a, ScriptedModel() as b:
        b.models.append("mistral:latest")
        a.models.append("mistral:latest")
        chats = [OllamaChat(one.url, LlmSettings()) for one in (a, b)]
        made = Fleet(
            [ChatServer(chats[0], "a", models=(MODEL,)), ChatServer(chats[1], "b", models=("mistral",))],
            LlmSettings(),
            Metrics(),
        )
        for model in ("mistral", MODEL):
            async with aclosing(made.ask(asking(model=model), priority=Priority.CHAT, seconds=5)) as deltas:
                assert [delta async for delta in deltas]
        assert ([chat["model"] for chat in a.chats], [chat["model"] for chat in b.chats]) == ([MODEL], ["mistral"])
        assert {entry["model"] for entry in await made.models()} == {MODEL, "mistral:latest"}
        with pytest.raises(ModelNotFound, match="model 'llama9' not found"):
            await anext(made.ask(asking(model="llama9"), priority=Priority.CHAT, seconds=5))
        assert made.ollama("mistral") is chats[1]
        assert made.ollama() is chats[0]
        for chat in chats:
            await chat.close()


# --- who is asked instead


@pytest.mark.parametrize(
    "mishap",
    [Answer(status=500, error="out of memory"), Answer(status=503, error="server busy"), Answer(CUT), Answer(BROKEN)],
    ids=["500", "503", "cut", "broken"],
)
async def test_another_is_asked_where_one_fails_before_its_first_word(mishap: Answer) -> None:
    async with opened() as servers:
        servers.a.script(mishap)
        assert await servers.say("Hi") == "I heard: Hi"
        assert servers.asked == [1, 1]
        assert servers.fleet.queue.active == 0


async def test_another_is_asked_where_one_is_away() -> None:
    async with opened() as servers:
        await servers.a.stop()
        assert await servers.say("Hi") == "I heard: Hi"
        assert servers.sample("gateway_model_failures_total", server="a", code="model_unavailable") == 1


async def test_after_the_first_word_nobody_else_is_asked() -> None:
    async with opened() as servers:
        servers.a.script(Answer("Once ", CUT))
        heard: list[str] = []

        async def hear() -> None:
            async with aclosing(servers.fleet.ask(asking(), priority=Priority.CHAT, seconds=5)) as deltas:
                async for delta in deltas:
                    heard.append(delta.content)  # noqa: PERF401 (what came before the failure counts)

        with pytest.raises(ModelError, match="broke off"):
            await hear()
        assert "".join(heard) == "Once "
        assert servers.asked == [1, 0]


async def test_what_the_request_is_at_fault_for_is_told_at_once() -> None:
    async with opened() as servers:
        for _ in range(breaker.FAILURES):
            servers.a.script(Answer(status=400, error="does not support tools"))
            with pytest.raises(ModelRefused, match="does not support tools"):
                await servers.say("Hi")
        assert servers.asked == [3, 0]
        assert servers.sample("gateway_model_up", server="a") == 1


async def test_where_all_fail_the_turn_hears_of_the_last() -> None:
    async with opened() as servers:
        servers.a.script(Answer(status=500, error="out of memory"))
        servers.b.script(Answer(status=500, error="out of luck"))
        with pytest.raises(ModelRefused, match="out of luck"):
            await servers.say("Hi")
        assert servers.fleet.queue.active == 0


async def test_who_is_asked_instead_is_waited_for() -> None:
    async with opened() as servers:
        gate = asyncio.Event()
        servers.a.chat_gate = asyncio.Event()
        servers.a.script(Answer(status=500, error="out of memory"))
        first = asyncio.create_task(servers.deltas("One"))
        await servers.a.arrived(1)
        servers.b.script(Answer(gate, "two"))
        second = asyncio.create_task(servers.say("Two"))
        await servers.b.arrived(1)
        servers.a.chat_gate.set()
        await until(lambda: servers.fleet.queue.waiting == 1)
        gate.set()
        assert await second == "two"
        assert [delta.queue.position for delta in await first if delta.queue is not None] == [0, 1, 0]


async def test_a_server_that_says_nothing_is_given_up_for_another() -> None:
    async with opened(first_token_seconds=0.05) as servers:
        servers.a.script(Answer(HANG))
        assert await servers.say("Hi") == "I heard: Hi"
        await asyncio.wait_for(servers.a.client_gone.wait(), 20)


# --- the breaker


async def test_a_server_that_fails_again_and_again_is_left_alone_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(fleet, "CHECK_SECONDS", 0.02)
    async with opened(watched=True) as servers:
        port = int(servers.a.url.rsplit(":", 1)[1])
        await until(lambda: len(servers.a.seen("/api/tags")) > 0 and len(servers.b.seen("/api/tags")) > 0)
        await servers.a.stop()
        await until(lambda: servers.sample("gateway_model_up", server="a") == 0)
        assert servers.sample("gateway_model_up", server="b") == 1
        with pytest.raises(ModelUnavailable):
            await servers.fleet.checks()["a"]()
        await servers.fleet.check()  # a turn can be answered
        assert await servers.say("Hi") == "I heard: Hi"
        assert servers.asked == [0, 1]
        await servers.a.start(port)
        await until(lambda: servers.sample("gateway_model_up", server="a") == 1)
        await servers.b.stop()
        assert await servers.say("Hi") == "I heard: Hi"


async def test_with_all_of_them_left_alone_a_turn_asks_anew_at_once() -> None:
    async with opened() as servers:
        ports = [int(model.url.rsplit(":", 1)[1]) for model in servers.models]
        for model in servers.models:
            await model.stop()
        for _ in range(breaker.FAILURES):
            with pytest.raises(ModelUnavailable):
                await servers.say("Hi")
        assert [servers.sample("gateway_model_up", server=name) for name in "ab"] == [0, 0]
        with pytest.raises(ModelUnavailable, match="none of the 2 model servers answers"):
            await servers.say("Hi")
        await servers.b.start(ports[1])
        assert await servers.say("Hi") == "I heard: Hi"
        assert [servers.sample("gateway_model_up", server=name) for name in "ab"] == [0, 1]


async def test_one_server_alone_is_left_alone_and_asked_anew_as_well() -> None:
    async with opened(1) as servers:
        port = int(servers.a.url.rsplit(":", 1)[1])
        await servers.a.stop()
        for _ in range(breaker.FAILURES + 1):
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await servers.say("Hi")
        assert servers.sample("gateway_model_up", server="a") == 0
        await servers.a.start(port)
        assert await servers.say("Hi") == "I heard: Hi"
        assert servers.fleet.checks() == {}


async def test_the_first_turn_after_a_recovery_that_fails_leaves_it_alone_again() -> None:
    async with opened(1) as servers:
        for _ in range(breaker.FAILURES):
            servers.a.script(Answer(status=500, error="out of memory"))
            with pytest.raises(ModelRefused):
                await servers.say("Hi")
        assert servers.sample("gateway_model_up", server="a") == 0
        servers.a.script(Answer(status=500, error="out of memory"))
        with pytest.raises(ModelRefused):  # it answers when asked how it is, and is given one turn
            await servers.say("Hi")
        assert servers.asked == [breaker.FAILURES + 1]
        assert servers.sample("gateway_model_up", server="a") == 0
        assert await servers.say("Hi") == "I heard: Hi"
        assert servers.sample("gateway_model_up", server="a") == 1


async def test_who_waited_for_a_server_that_failed_meanwhile_does_not_wait_for_its_answer_too() -> None:
    async with opened(1) as servers:
        gate = asyncio.Event()
        servers.a.script(Answer("Once ", gate, CUT))
        first = asyncio.create_task(servers.say("One"))
        await servers.a.arrived(1)
        second = asyncio.create_task(servers.say("Two"))
        await until(lambda: servers.fleet.queue.waiting == 1)
        for _ in range(breaker.FAILURES):
            servers.fleet._servers["a"].breaker.failed()
        servers.a.failing = (500, "unwell")
        gate.set()
        with pytest.raises(ModelError, match="broke off"):
            await first
        with pytest.raises(ModelRefused, match="unwell"):
            await second
        assert servers.asked == [1]  # how it is was asked, and no more


def test_the_pauses_grow_and_an_answer_ends_them() -> None:
    one = breaker.Breaker()
    pauses = []
    for _ in range(12):
        one.failed()
        pauses.append(one.pause)
    assert pauses[: breaker.FAILURES] == [breaker.FIRST_PAUSE] * breaker.FAILURES
    assert pauses[breaker.FAILURES] == 2 * breaker.FIRST_PAUSE
    assert pauses[-1] == breaker.LONGEST_PAUSE
    one.succeeded()
    assert (one.is_open, one.pause) == (False, breaker.FIRST_PAUSE)


# --- waiting, leaving


async def test_a_turn_that_waits_hears_where_it_stands() -> None:
    async with opened(1) as servers:
        gate = asyncio.Event()
        servers.a.script(Answer(gate, "one"), Answer("two"))
        first = asyncio.create_task(servers.say("One"))
        await servers.a.arrived(1)
        async with aclosing(servers.fleet.ask(asking("Two"), priority=Priority.CHAT, seconds=20)) as deltas:
            assert (await anext(deltas)).queue == QueuePlace(1, 5.0)
            gate.set()
            assert (await anext(deltas)).queue == QueuePlace(0, 0.0)
            assert (await anext(deltas)).content == "two"
        await first


async def test_who_leaves_ends_the_generation_and_frees_the_place() -> None:
    async with opened(1) as servers:
        servers.a.script(Answer("Once ", HANG))
        async with aclosing(servers.fleet.ask(asking(), priority=Priority.VOICE, seconds=5)) as deltas:
            async for delta in deltas:
                if delta.content:
                    break
        assert servers.fleet.queue.active == 0
        await asyncio.wait_for(servers.a.client_gone.wait(), 20)


async def test_who_is_cancelled_before_the_first_word_ends_the_generation() -> None:
    async with opened(1) as servers:
        servers.a.script(Answer(HANG))
        turn = asyncio.create_task(servers.say("Hi"))
        await servers.a.arrived(1)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        await asyncio.wait_for(servers.a.client_gone.wait(), 20)
        assert servers.fleet.queue.active == 0


async def test_a_slow_load_is_waited_for() -> None:
    async with opened(1, between_tokens_seconds=0.05) as servers:
        servers.a.chat_gate = asyncio.Event()
        turn = asyncio.create_task(servers.say("Hi"))
        await servers.a.arrived(1)
        await asyncio.sleep(0.1)  # longer than it may be silent in mid-answer
        servers.a.chat_gate.set()
        assert await turn == "I heard: Hi"


# --- background


async def test_background_work_gives_its_place_to_a_turn() -> None:
    async with opened(1) as servers:
        servers.a.script(Answer("a ", HANG), Answer("at once"))
        background = servers.fleet.ask(asking("Head"), priority=Priority.BACKGROUND, seconds=0)
        async with aclosing(background) as deltas:
            while not (await anext(deltas)).content:
                pass
            # Whoever reads it is busy elsewhere; the turn does not wait for that.
            assert await servers.say("Hi", priority=Priority.AUTOMATION) == "at once"
            await asyncio.wait_for(servers.a.client_gone.wait(), 20)
            with pytest.raises(Preempted):
                await anext(deltas)
        assert servers.fleet.queue.active == 0


async def test_background_work_that_finds_no_place_is_told_so() -> None:
    async with opened(1) as servers:
        async with servers.fleet.place(MODEL):
            with pytest.raises(QueueTimeout):
                await servers.say("Head", priority=Priority.BACKGROUND, seconds=0)
        assert servers.sample("gateway_queue_refused_total", reason="timeout") is None


async def test_background_work_goes_where_its_head_is_warm_or_nowhere() -> None:
    async with opened() as servers:
        await servers.say("Head")
        async with servers.fleet.place(MODEL):  # at a
            with pytest.raises(QueueTimeout):
                await servers.say("Head", priority=Priority.BACKGROUND, seconds=0)
        assert await servers.say("Head", priority=Priority.BACKGROUND) == "I heard: Head"
        assert servers.asked == [2, 0]


async def test_what_background_work_fails_with_is_told() -> None:
    async with opened(1) as servers:
        servers.a.script(Answer("a ", ErrorLine("out of memory")))
        with pytest.raises(ModelRefused, match="out of memory"):
            await servers.say("Head", priority=Priority.BACKGROUND)
        background = servers.fleet.ask(asking("Head"), priority=Priority.BACKGROUND, seconds=0)
        servers.a.script(Answer("a ", HANG))
        async with aclosing(background) as deltas:
            while not (await anext(deltas)).content:
                pass
        assert servers.fleet.queue.active == 0
        await asyncio.wait_for(servers.a.client_gone.wait(), 20)


# --- requests passed on


async def test_a_place_for_a_request_in_other_words_counts_its_failure() -> None:
    async with opened(1) as servers:

        async def pass_on() -> None:
            async with servers.fleet.place(MODEL) as chat:
                assert isinstance(chat, OllamaChat)
                assert servers.fleet.queue.active == 1
                raise ModelTimeout("nothing came")

        with pytest.raises(ModelTimeout):
            await pass_on()
        assert servers.fleet.queue.active == 0
        assert servers.sample("gateway_model_failures_total", server="a", code="model_timeout") == 1


# --- prefixes


def test_prompts_share_what_they_begin_with() -> None:
    one = chained(asking("One", "one", "More"), MODEL)
    assert shared(one, chained(asking("One", "one", "Else"), MODEL)) == 4  # the model, its head, two messages
    assert shared(one, chained(asking("Two"), MODEL)) == 2
    assert shared(one, chained(asking("One", "one", "More"), "another")) == 0
    tools = ({"type": "function", "function": {"name": "HassTurnOn"}},)
    other = ChatRequest(asking("One").messages, MODEL, tools=tools)
    assert shared(one, chained(other, MODEL)) == 1
    called = Message("assistant", tool_calls=(ToolCall("HassTurnOn", {"name": "lamp"}),))
    with_call = ChatRequest((*asking("One").messages, called), MODEL)
    assert shared(one, chained(with_call, MODEL)) == 3


def test_a_server_keeps_as_many_prompts_as_it_has_places() -> None:
    heads = [chained(ChatRequest((Message("system", f"Head {number}"),), MODEL), MODEL) for number in range(3)]
    warm = WarmPrompts(2)
    for head in heads:
        warm.read(head)
    assert [warm.shared(head) for head in heads] == [1, 2, 2]  # of the oldest the model alone
    further = chained(ChatRequest((Message("system", "Head 1"), Message("user", "Hi")), MODEL), MODEL)
    warm.read(further)
    assert [warm.shared(head) for head in (*heads, further)] == [1, 2, 2, 3]
    warm.forget()
    assert warm.shared(further) == 0
