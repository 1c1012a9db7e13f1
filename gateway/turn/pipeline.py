"""One turn, from the utterance to the recorded reply. `Pipeline._steps` reads as the steps go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from gateway.cache import law
from gateway.cache.key import cache_key, normalise
from gateway.cache.responses import Entry, ResponseCache, entry_of
from gateway.config import Settings
from gateway.errors import GatewayError, StoreUnavailable
from gateway.llm.chat import ChatModel
from gateway.llm.queue import AdmissionQueue
from gateway.memory.preferences import Preferences
from gateway.memory.recall import Recall, Recalled
from gateway.shapes import CacheControl, CacheOutcome, ChatRequest, Delta, Finish, Reply, Turn
from gateway.store.epoch import EpochWatch
from gateway.store.preferences import Preference
from gateway.turn import prompt
from gateway.turn.answer import Answer
from gateway.turn.conversations import Conversations
from gateway.turn.language import Languages
from gateway.turn.phrases import phrase
from gateway.turn.record import Recorder
from gateway.turn.speech import spoken
from gateway.turn.tools import failed, mended
from gateway.turn.understand import Understanding
from gateway.turn.warm import Warmer

# Edges whose clients bring no prompt of their own: they get the household's, and the language is named.
PLAIN_EDGES = frozenset({"conversation", "wyoming"})


log = logging.getLogger(__name__)


class Pipeline:
    """Answers turns. Made once, of its steps; it keeps nothing of a turn."""

    def __init__(
        self,
        *,
        settings: Settings,
        time_zone: tzinfo | None,
        conversations: Conversations,
        preferences: Preferences,
        languages: Languages,
        understanding: Understanding,
        cache: ResponseCache,
        epoch: EpochWatch,
        recall: Recall,
        queue: AdmissionQueue,
        chat: ChatModel,
        warmer: Warmer,
        recorder: Recorder,
    ) -> None:
        self._settings = settings
        self._time_zone = time_zone
        self._conversations = conversations
        self._preferences = preferences
        self._languages = languages
        self._understanding = understanding
        self._cache = cache
        self._epoch = epoch
        self._recall = recall
        self._queue = queue
        self._chat = chat
        self._warmer = warmer
        self._recorder = recorder

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
            self._record(answer)
            raise
        yield self._record(answer)

    @staticmethod
    def _last_words(answer: Answer) -> str | None:
        """What a voice says of a failure, or in place of an answer without words."""
        if answer.error is not None:
            return answer.sentence_for(answer.error)
        if answer.text.strip() or answer.tool_calls:
            return None
        return phrase(answer.language, _instead_of_nothing(answer.turn))

    async def _steps(self, answer: Answer) -> AsyncGenerator[Delta, None]:
        turn = answer.turn
        with answer.step("understand"):
            preferences = await self._situate(answer)
            act = await self._understanding(turn, answer.language, preferences)
        if act is not None:
            answer.intent, answer.language = act.intent, act.language
            yield Delta(act.text, "", act.tool_calls, Finish("tool_calls" if act.tool_calls else "stop"))
            return

        with answer.step("cache"):
            stored = await self._stored(answer)
        if stored is not None:
            yield Delta(stored.text, stored.thinking, finish=Finish("stop", stored.usage))
            return

        answer.epoch = self._epoch.current()  # before the recall: what is read may be newer than this, never older
        with answer.step("recall"):
            answer.recalled = Recalled() if turn.task else await self._recall(turn.scope, turn.utterance)
        request = self._prompt(answer)
        async with aclosing(self._ask(answer, request)) as deltas:
            async for delta in deltas:
                yield delta
        self._keep(answer, request)

    async def _situate(self, answer: Answer) -> Sequence[Preference]:
        """The conversation, what was said in it, the language, the model; returns what the speaker prefers."""
        turn = answer.turn
        answer.model = turn.model or self._chat.name
        answer.conversation_id = self._conversations.identify(turn)
        answer.history = turn.history
        preferences: Sequence[Preference] = ()
        try:
            # A database that hangs must not make the assistant silent.
            async with asyncio.timeout(self._settings.recall.seconds):
                answer.history = await self._conversations.history(turn, answer.conversation_id)
                preferences = await self._preferences.visible(turn.scope)
        except (StoreUnavailable, TimeoutError):
            answer.degraded.add("memory")
        answer.language = self._languages.of(turn, answer.history, preferences)
        return preferences

    async def _stored(self, answer: Answer) -> Entry | None:
        """The cached answer, if this turn may have one."""
        turn, entry = answer.turn, None
        reason = (
            "disabled"
            if self._settings.cache.ttl_seconds == 0
            else law.why_not_look(turn, answer.language, answer.history)
        )
        if reason is None:
            answer.cache_key = cache_key(
                turn,
                model=answer.model,
                language=answer.language,
                local_date=datetime.now(self._time_zone).date(),
                head=self._head(turn),
                history=answer.history,
            )
            if turn.cache_control is CacheControl.NO_CACHE:
                reason = "no-cache"
            elif self._epoch.current() is None:
                reason = "epoch-unknown"
            else:
                entry = await self._cache.lookup(turn.scope, answer.cache_key)
        if entry is not None:
            answer.cache = CacheOutcome("hit")
            answer.model = entry.model
            answer.recalled = Recalled(entry.sources)
        else:
            answer.cache = CacheOutcome("bypass", reason) if reason else CacheOutcome("miss")
        self._cache.count(turn.scope, answer.cache.outcome, answer.cache.reason)
        return entry

    def _prompt(self, answer: Answer) -> ChatRequest:
        turn = answer.turn
        if turn.voice and self._chat.kind == "embedded":
            # Home Assistant offers its tools with every turn; the embedded model knows none and answers without.
            turn = replace(turn, tools=())
        return prompt.build(
            turn,
            model=answer.model,
            head=self._head(answer.turn),
            history=answer.history,
            recalled=answer.recalled,
            language=answer.language,
            say_language=not answer.turn.head and answer.turn.edge in PLAIN_EDGES,
        )

    async def _ask(self, answer: Answer, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The model's own stream, once it is this turn's turn."""
        async with AsyncExitStack() as stack:
            with answer.step("queue"):
                await self._warmer.interrupt()
                await stack.enter_async_context(self._queue.admitted(self._settings.llm.queue_seconds))
            self._warmer.seen(request)
            with answer.step("model"):
                async for delta in await stack.enter_async_context(aclosing(self._stream(answer.turn, request))):
                    yield delta

    def _stream(self, turn: Turn, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The model's deltas, held to the tools that were offered, and made speakable for a voice."""
        # A client that asked for JSON does not want its answer read as a tool call.
        in_text = turn.request.get("format") is None
        deltas = mended(self._chat.stream(request), turn.tools, in_text=in_text, voice=turn.voice)
        return spoken(deltas) if turn.voice and in_text else deltas

    def _keep(self, answer: Answer, request: ChatRequest) -> None:
        """Stores the answer where the law allows it."""
        ttl = self._settings.cache.ttl_seconds
        reply = answer.reply()
        if answer.cache_key is None or answer.epoch is None:
            return
        if law.why_not_store(
            answer.turn, reply, recall_complete=answer.recalled.complete, epoch=answer.epoch, ttl_seconds=ttl
        ):
            answer.cache_key = None
            return
        expires_at = datetime.now(UTC) + timedelta(seconds=ttl)
        if answer.recalled.next_expiry is not None:
            expires_at = min(expires_at, answer.recalled.next_expiry)
        self._cache.store(
            entry_of(
                reply,
                answer.turn.scope,
                key=answer.cache_key,
                query=normalise(answer.turn.utterance),
                epoch=answer.epoch,
                fingerprint=prompt.fingerprint(request),
                expires_at=expires_at,
                model_seconds=answer.timings["model"] / 1000,
            )
        )

    def _record(self, answer: Answer) -> Reply:
        reply = answer.reply()
        self._conversations.follow(answer.turn, reply)
        self._recorder(answer.turn, reply, started=answer.started, cache_key=answer.cache_key)
        return reply

    def _head(self, turn: Turn) -> str:
        """The client's own system text, else the household's where the client brings none and asks for none."""
        return turn.head if turn.head or turn.edge not in PLAIN_EDGES else self._settings.llm.system_prompt


def _instead_of_nothing(turn: Turn) -> str:
    """The sentence for an answer without words: behind a tool's result, what the result says."""
    results = [message.content for message in turn.continuation if message.role == "tool"]
    if not results:
        return "empty"
    return "failed" if any(failed(result) for result in results) else "done"
