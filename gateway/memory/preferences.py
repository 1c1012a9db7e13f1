"""Preferences: what a person or the household wants, by key."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import NotFound, StoreUnavailable
from gateway.shapes import Scope
from gateway.store import preferences as rows
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.pool import Database
from gateway.store.preferences import Preference

LOG = logging.getLogger(__name__)

JOURNAL_SECONDS = 2.0  # how long a write waits for those before it
SCOPES_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Accepted:
    """Taken down in the journal while PostgreSQL is away: it will be set, and has no id yet."""

    key: str


class Preferences:
    """Preferences of every scope, remembered for as long as the memory epoch stays the same."""

    def __init__(self, database: Database, journal: Journal, epoch: EpochWatch) -> None:
        self._database = database
        self._journal = journal
        self._epoch = epoch
        self._seen: OrderedDict[tuple[int, int | None], tuple[int, Sequence[Preference]]] = OrderedDict()

    def remembered(self, scope: Scope) -> Sequence[Preference] | None:
        """All that the scope sees, newest first, where that is known without a query; else None."""
        who = (scope.household_id, scope.member_id)
        seen = self._seen.get(who)
        if seen is None or seen[0] != self._epoch.current():
            return None
        self._seen.move_to_end(who)
        return seen[1]

    async def visible(self, scope: Scope) -> Sequence[Preference]:
        """All that the scope sees, newest first. No query while the epoch is known and the same."""
        if (known := self.remembered(scope)) is not None:
            return known
        epoch = self._epoch.current()  # read before the rows: what is remembered is at least as new as it says
        async with self._database.scoped(scope) as connection:
            found = await rows.all_visible(connection)
        if epoch is not None:
            self._seen[scope.household_id, scope.member_id] = (epoch, found)
            self._seen.move_to_end((scope.household_id, scope.member_id))
            if len(self._seen) > SCOPES_REMEMBERED:
                self._seen.popitem(last=False)
        return found

    async def set(
        self, scope: Scope, *, key: str, value: Any, category: str | None, member_id: int | None, hurry: bool = False
    ) -> tuple[Preference, bool] | Accepted:
        """Sets a preference; with whether it is new. `member_id`: whose it is (None: shared).

        With PostgreSQL away it goes to the journal; in a `hurry` (somebody has spoken, and waits) as soon as it has not
        answered for a second. Raises JournalFull where that is full too.
        """
        if not (hurry and self._epoch.current() is None) and await self._settled():
            try:
                async with self._database.scoped(scope) as connection:
                    preference, created = await rows.put(
                        connection, key=key, value=value, category=category, member_id=member_id
                    )
            except StoreUnavailable as error:
                LOG.warning("a preference goes to the journal: %s", error.message)
            else:
                await self._epoch.refresh()
                return preference, created
        self._journal.append(
            {
                "kind": "preference",
                "household_id": scope.household_id,
                "member_id": member_id,
                "key": key,
                "value": value,
                "category": category,
            }
        )
        return Accepted(key)

    async def get(self, scope: Scope, key: str) -> Preference:
        """The preference of that key, a member's own before the shared one. Raises NotFound."""
        async with self._database.scoped(scope) as connection:
            found = await rows.get(connection, key)
        if found is None:
            raise NotFound("There is no preference of this key.", field="key")
        return found

    async def by_id(self, scope: Scope, preference_id: int) -> Preference:
        """One preference. Raises NotFound."""
        async with self._database.scoped(scope) as connection:
            found = await rows.by_id(connection, preference_id)
        return _found(found, preference_id)

    async def page(self, scope: Scope, *, after: int, limit: int, category: str | None = None) -> Sequence[Preference]:
        """Up to `limit` preferences with ids over `after`, in the order of their ids."""
        async with self._database.scoped(scope) as connection:
            return await rows.listing(connection, category=category, after=after, limit=limit)

    async def update(self, scope: Scope, preference_id: int, changes: Mapping[str, Any]) -> Preference:
        """Changes `value` or `category`. Raises NotFound."""
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            changed = _found(await rows.update(connection, preference_id, **changes), preference_id)
        await self._epoch.refresh()
        return changed

    async def delete(self, scope: Scope, preference_id: int) -> None:
        """Forgets a preference. Raises NotFound."""
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            if not await rows.delete(connection, preference_id):
                _found(None, preference_id)
        await self._epoch.refresh()

    async def _settled(self) -> bool:
        return not self._journal.pending_memory or await self._journal.flush(JOURNAL_SECONDS)

    async def _settled_or_away(self) -> None:
        if not await self._settled():
            raise StoreUnavailable("PostgreSQL is away, and this cannot be done without it.", retry_after=5)


def _found(preference: Preference | None, preference_id: int) -> Preference:
    if preference is None:
        raise NotFound(f"There is no preference {preference_id}.", field="id")
    return preference
