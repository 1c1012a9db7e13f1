"""A turn and the response cache: what is stored, what is being answered already, what still stands, what is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, tzinfo

from gateway.cache import law
from gateway.cache.entry import Entry, entry_of
from gateway.cache.flight import Flight, Flights
from gateway.cache.key import cache_key, normalise
from gateway.cache.responses import ResponseCache
from gateway.config import CacheSettings
from gateway.memory.recall import Recalled
from gateway.shapes import CacheControl, CacheOutcome, Delta
from gateway.store.epoch import EpochWatch
from gateway.store.households import Moment
from gateway.switches import Switches
from gateway.turn.answer import Answer


class Cached:
    """What the cache may do for each turn. It keeps the answers under way, for those who ask the same."""

    def __init__(
        self,
        cache: ResponseCache,
        epoch: EpochWatch,
        settings: CacheSettings,
        time_zone: tzinfo,
        switches: Switches,
    ) -> None:
        self._cache = cache
        self._epoch = epoch
        self._settings = settings
        self._time_zone = time_zone
        self._switches = switches
        self._flights: Flights[Answer] = Flights()

    async def stored(self, answer: Answer, head: str, happened: Callable[[], Awaitable[bool]]) -> Entry | None:
        """The stored answer, if this turn may have one: fresh where `answer.cache` says so, else a candidate that may
        be taken over (`stands`). `head` is the system text that the model is given. `happened` tells whether the past
        has come to hold what belongs to the question: it grows with every turn and measurement, and moves no epoch.
        """
        turn, entry = answer.turn, None
        reason = None if self._settings.ttl_seconds and self._switches.cache else "disabled"
        reason = reason or ("state" if answer.live else None)
        reason = reason or law.why_not_look(turn, answer.language, answer.history)
        if reason is None:
            answer.cache_key = cache_key(
                turn,
                model=answer.model,
                language=answer.language,
                local_date=datetime.now(self._time_zone).date(),
                head=head,
                history=answer.history,
            )
            if turn.cache_control is CacheControl.NO_CACHE:
                reason = "no-cache"
            elif (moment := self._epoch.moment()) is None:
                reason = "epoch-unknown"
            else:
                entry = await self._cache.lookup(turn.scope, answer.cache_key, moment)
        answer.cache = CacheOutcome("bypass", reason) if reason else CacheOutcome("miss")
        # The looks may have taken time: what was fresh when they began is held against the moment that is now.
        if entry is not None and not await happened() and entry.moment == self._epoch.moment():
            answer.cache = CacheOutcome("hit")
            answer.model = entry.model
            answer.recalled = Recalled(entry.sources)
        return entry

    async def together(
        self, answer: Answer, draw: Callable[[Answer], AsyncGenerator[Delta, None]]
    ) -> AsyncGenerator[Delta, None]:
        """The answer that `draw` draws, once for everyone who asks the same meanwhile."""
        # Read before the recall: what is recalled may be newer than this, never older.
        answer.moment = self._epoch.moment()
        name = _name(answer)
        flight = self._flights.find(name) if name is not None else None
        if name is not None and flight is None:
            drawn = self._first(answer, name, draw)
        elif flight is not None:
            drawn = self._joined(answer, flight, draw)
        else:
            drawn = draw(answer)
        async with aclosing(drawn) as deltas:
            async for delta in deltas:
                yield delta

    async def _first(
        self, answer: Answer, name: tuple[str, Moment], draw: Callable[[Answer], AsyncGenerator[Delta, None]]
    ) -> AsyncGenerator[Delta, None]:
        shared = answer.for_all()
        flight = self._flights.start(name, shared, _taken(shared, draw(shared)))
        try:
            async with flight.following() as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            answer.adopt(shared)

    async def _joined(
        self, answer: Answer, flight: Flight[Answer], draw: Callable[[Answer], AsyncGenerator[Delta, None]]
    ) -> AsyncGenerator[Delta, None]:
        """The answer under way; where it turns to a tool, one of its own: what is done for one is not done for all."""
        answer.cache = CacheOutcome("joined")
        async with flight.following() as deltas:
            async for delta in deltas:
                if delta.tool_calls:
                    answer.cache = CacheOutcome("miss")
                    break
                yield delta
        if answer.cache.outcome == "joined":
            answer.adopt(flight.shared, joined=True)
            return
        async with aclosing(draw(answer)) as deltas:
            async for delta in deltas:
                yield delta

    def stands(self, answer: Answer, stored: Entry, fingerprint: str) -> bool:
        """Whether `stored`, of another memory epoch, answers the very prompt (`fingerprint`) that would be asked now;
        it is taken over then."""
        recalled = answer.recalled
        if answer.moment is None or answer.moment.generation != stored.moment.generation:
            return False
        if not recalled.complete or answer.degraded or stored.fingerprint != fingerprint:
            return False
        if not self._cache.renew(stored, answer.moment, recalled.next_expiry):
            return False
        answer.cache, answer.model = CacheOutcome("revalidated"), stored.model
        return True

    def keep(self, answer: Answer, fingerprint: Callable[[], str]) -> None:
        """Stores the answer to the prompt with that fingerprint, where the law allows it."""
        ttl = self._settings.ttl_seconds
        # It may have been switched off while the model answered.
        if answer.cache_key is None or answer.moment is None or not self._switches.cache:
            return
        reply = answer.reply()
        if law.why_not_store(
            answer.turn, reply, recall_complete=answer.recalled.complete, epoch=answer.moment.epoch, ttl_seconds=ttl
        ):
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
                moment=answer.moment,
                fingerprint=fingerprint(),
                expires_at=expires_at,
                model_seconds=answer.timings["model"] / 1000,
            )
        )

    def count(self, answer: Answer) -> None:
        """Counts how the cache answered the turn."""
        self._cache.count(answer.turn.scope, answer.cache)


def _name(answer: Answer) -> tuple[str, Moment] | None:
    """What only the very same question has, asked in the same memory; None where nobody may share the answer."""
    if answer.cache_key is None or answer.moment is None or answer.turn.cache_control is not CacheControl.DEFAULT:
        return None
    return answer.cache_key, answer.moment


async def _taken(shared: Answer, drawn: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    async with aclosing(drawn) as deltas:
        async for delta in deltas:
            shared.take(delta)
            yield delta
