"""One turn, from the utterance to the recorded reply. `Pipeline._steps` reads as the steps go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import replace

from gateway.cache.entry import Entry, replay
from gateway.config import Settings
from gateway.errors import GatewayError, StoreUnavailable
from gateway.llm.fleet import Fleet
from gateway.memory.aliases import things
from gateway.memory.preferences import Preferences
from gateway.memory.recall import Question, Recall, Recalled
from gateway.shapes import ChatRequest, Delta, Finish, Priority, Reply, Turn
from gateway.turn import prompt
from gateway.turn.act import Act
from gateway.turn.again import asks_again, corrects
from gateway.turn.answer import ACTED, Answer
from gateway.turn.cached import Cached
from gateway.turn.conversations import Conversations, asked_again
from gateway.turn.home import Home
from gateway.turn.language import Languages
from gateway.turn.phrases import phrase
from gateway.turn.record import Recorder
from gateway.turn.speech import spoken
from gateway.turn.tools import failed, mended
from gateway.turn.understand import Understanding
from gateway.turn.warm import Warmer

# Edges whose clients bring no prompt of their own: they get the household's, and the language is named.
PLAIN_EDGES = frozenset({"conversation", "wyoming", "mqtt", "automation"})


log = logging.getLogger(__name__)


class Pipeline:
    """Answers turns. Made once, of its steps; it keeps nothing of a turn."""

    def __init__(
        self,
        *,
        settings: Settings,
        conversations: Conversations,
        preferences: Preferences,
        languages: Languages,
        understanding: Understanding,
        cached: Cached,
        recall: Recall,
        fleet: Fleet,
        warmer: Warmer,
        recorder: Recorder,
        home: Home | None = None,
    ) -> None:
        """`home` is what can be reached there; None where there is no link to it."""
        self._settings = settings
        self._conversations = conversations
        self._preferences = preferences
        self._languages = languages
        self._understanding = understanding
        self._cached = cached
        self._recall = recall
        self._fleet = fleet
        self._warmer = warmer
        self._recorder = recorder
        self._home = home

    async def run(self, turn: Turn) -> AsyncGenerator[Delta | Reply, None]:
        """Yields the answer's deltas as they come and, once the turn is recorded, the whole `Reply`.

        A part that fails ends a voice turn with a sentence in the user's language, and any turn with `Reply.error`.
        Closing the generator ends the model's work at once; what was said until then is recorded as cut off.
        """
        answer = Answer(turn)
        try:
            try:
                async with aclosing(self._steps(answer)) as deltas:
                    async for delta in deltas:
                        answer.take(delta)
                        yield delta
            except GatewayError as error:
                answer.finish, answer.error = "error", error
            except Exception:
                # The boundary: whoever speaks is to hear something, and the turn is to be recorded.
                log.exception("turn %s failed", turn.id)
                answer.finish = "error"
                answer.error = GatewayError(f"something went wrong in turn {turn.id}; see the log")
            if turn.voice and (words := self._last_words(answer)):
                answer.take(last := answer.spoken(words))
                yield last
        except (GeneratorExit, asyncio.CancelledError):
            answer.finish = "cut_off"
            self._record(turn, answer)
            raise
        yield self._record(turn, answer)

    @staticmethod
    def _last_words(answer: Answer) -> str | None:
        """What a voice says of a failure, or in place of an answer without words."""
        if answer.error is not None:
            return answer.sentence_for(answer.error)
        if answer.text.strip() or answer.tool_calls:
            return None
        return phrase(answer.language, _instead_of_nothing(answer))

    async def _steps(self, answer: Answer) -> AsyncGenerator[Delta, None]:
        with answer.step("understand"):
            await self._situate(answer)
            turn = answer.turn
            act = await self._understanding(turn, answer.language, answer.preferences, answer.conversation_id)
        if isinstance(act, Act):
            answer.acted(act)
            yield Delta(act.text, "", act.tool_calls, Finish("tool_calls" if act.tool_calls else "stop"))
            return

        if act is not None:
            answer.live = act.sources
        if self._home is not None:
            turn = answer.turn = self._home.for_model(turn, answer.language, answer.history)

        with answer.step("cache"):
            stored = await self._cached.stored(
                answer, self._head(turn), lambda: self._recall.happened(_question(answer))
            )
        if stored is not None and answer.cache.outcome == "hit":
            for delta in replay(stored):
                yield delta
            return

        def draw(answer: Answer) -> AsyncGenerator[Delta, None]:
            return self._answered(answer, stored)

        async with aclosing(self._cached.together(answer, draw)) as deltas:
            async for delta in deltas:
                yield delta

    async def _answered(self, answer: Answer, stored: Entry | None) -> AsyncGenerator[Delta, None]:
        """The model's answer; or `stored`, where it was the answer to the very prompt that would be asked now."""
        turn = answer.turn
        with answer.step("recall"):
            answer.recalled = Recalled() if turn.task else await self._recall(_question(answer))
        if stored is not None and self._cached.stands(answer, stored, self._fingerprint(answer)):
            for delta in replay(stored):
                yield delta
            return
        request = self._prompt(answer, turn)
        if self._home is not None and self._home.offers(turn):
            asked = self._home.conversed(answer, request, lambda request: self._ask(answer, request))
        else:
            asked = self._ask(answer, request)
        async with aclosing(asked) as deltas:
            async for delta in deltas:
                yield delta
        self._cached.keep(answer, lambda: self._fingerprint(answer))

    async def _situate(self, answer: Answer) -> None:
        """The conversation, what was said in it, what the speaker prefers, the language, the model."""
        turn = answer.turn = self._home.furnished(answer.turn) if self._home is not None else answer.turn
        answer.model = turn.model or self._fleet.name
        answer.conversation_id = self._conversations.identify(turn)
        answer.history = turn.history
        preferences = self._preferences.remembered(turn.scope)
        if preferences is None or turn.conversation_id:
            preferences = ()
            try:
                # A database that hangs must not make the assistant silent.
                async with asyncio.timeout(self._settings.recall.seconds):
                    answer.history = await self._conversations.history(turn, answer.conversation_id)
                    preferences = await self._preferences.visible(turn.scope)
            except (StoreUnavailable, TimeoutError):
                answer.degraded.add("memory")
        answer.preferences = preferences
        answer.language = self._languages.of(turn, answer.history, preferences)
        self._heed(answer)

    def _heed(self, answer: Answer) -> None:
        """ "Ask again" is the question before it, asked anew; "no, that's wrong" takes the answer before it back."""
        turn = answer.turn
        if not turn.acts:
            return
        if asks_again(turn.utterance, answer.language):
            answer.turn, answer.history = asked_again(turn, answer.history)
            return
        wrong = self._conversations.last(answer.conversation_id)
        if wrong is not None and not turn.continuation and corrects(turn.utterance, answer.language):
            self._recorder.correct(turn, wrong)

    def _fingerprint(self, answer: Answer) -> str:
        """Of the prompt without its clock: what may be cached does not depend on it, and the date is in the key."""
        return prompt.fingerprint(self._prompt(answer, replace(answer.turn, clock=())))

    def _prompt(self, answer: Answer, turn: Turn) -> ChatRequest:
        if turn.voice and self._fleet.kind == "embedded":
            # Home Assistant offers its tools with every turn; the embedded model knows none and answers without.
            turn = replace(turn, tools=())
        return prompt.build(
            turn,
            model=answer.model,
            head=self._head(turn),
            history=answer.history,
            recalled=replace(answer.recalled, sources=(*answer.live, *answer.recalled.sources)),
            language=answer.language,
            say_language=not turn.head and turn.edge in PLAIN_EDGES,
        )

    async def _ask(self, answer: Answer, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The model's own stream, once it is this turn's turn; until then where it stands in the queue."""
        waited = False
        with ExitStack() as step:
            step.enter_context(answer.step("queue"))
            async with aclosing(self._stream(answer.turn, request)) as deltas:
                async for delta in deltas:
                    if delta.queue is not None and delta.queue.position == 0:
                        step.close()
                        step.enter_context(answer.step("model"))
                        self._warmer.seen(request)
                        if not waited:
                            continue  # that it has its place is news for who was told otherwise
                    waited = delta.queue is not None
                    yield delta

    def _stream(self, turn: Turn, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The model's deltas, held to the tools that were offered, and made speakable for a voice."""
        llm, priority = self._settings.llm, _priority(turn)
        # Who speaks is not left waiting in silence for as long as who writes.
        seconds = min(llm.voice_queue_seconds, llm.queue_seconds) if turn.voice else llm.queue_seconds
        # A client that asked for JSON does not want its answer read as a tool call.
        in_text = turn.request.get("format") is None
        asked = self._fleet.ask(request, priority=priority, seconds=seconds)
        deltas = mended(asked, turn.tools, in_text=in_text, voice=turn.voice)
        return spoken(deltas) if turn.voice and in_text else deltas

    def _record(self, turn: Turn, answer: Answer) -> Reply:
        """Records the turn as it was said."""
        reply = answer.reply()
        self._conversations.follow(turn, reply)
        self._recorder(turn, reply, started=answer.started, cache_key=answer.cache_key)
        if answer.cache.reason != ACTED:
            self._cached.count(answer)
        return reply

    def _head(self, turn: Turn) -> str:
        """The client's own system text, else the household's where the client brings none and asks for none; what is at
        home behind it, where the model may act there."""
        head = turn.head if turn.head or turn.edge not in PLAIN_EDGES else self._settings.llm.system_prompt
        return self._home.head(head) if self._home is not None and self._home.offers(turn) else head


def _question(answer: Answer) -> Question:
    """What recall is asked for the turn."""
    turn = answer.turn
    known, called = things(turn.entities, answer.preferences)
    before = next((message.content for message in reversed(answer.history) if message.role == "user"), None)
    return Question(
        turn.scope,
        turn.utterance,
        language=answer.language,
        things=known,
        called=called,
        before=before,
        conversation_id=answer.conversation_id,
    )


def _instead_of_nothing(answer: Answer) -> str:
    """The sentence for an answer without words: behind a tool's result, what the result says."""
    if answer.actions or answer.refused:
        well = all(action["verdict"] in ("done", "already") for action in answer.actions)
        return "done" if well and not answer.refused else "failed"
    results = [message.content for message in answer.turn.continuation if message.role == "tool"]
    if not results:
        return "empty"
    return "failed" if any(failed(result) for result in results) else "done"


def _priority(turn: Turn) -> Priority:
    """How urgent the turn is at the model."""
    if turn.voice:
        return Priority.VOICE
    return Priority.AUTOMATION if turn.task or turn.edge == "automation" else Priority.CHAT
