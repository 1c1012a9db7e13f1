"""The embedding spaces in use, each with the model that makes its vectors: the one that is searched, and the one being
built beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError, ModelError, ModelUnavailable, StoreUnavailable
from gateway.llm.embedding import Embedder
from gateway.shapes import Scope, Space
from gateway.store import vectors
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)

CHECK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ServedSpace:
    """A space of the database. `embedder` is None where its model cannot be opened here."""

    id: int
    space: Space
    embedder: Embedder | None

    def __str__(self) -> str:
        return f"{self.space.model}, {self.space.dimensions} wide"


@dataclass(frozen=True, slots=True)
class InUse:
    """`current` is searched, and what is written goes into it at once; into `building`, where there is one, soon."""

    current: ServedSpace
    building: ServedSpace | None = None


class Spaces:
    """Which spaces are in use, read once an epoch: whoever switches them, every gateway follows without a restart."""

    def __init__(
        self,
        database: Database,
        epoch: EpochWatch,
        household_id: int,
        embedder: Embedder,
        open_embedder: Callable[[Space], Awaitable[Embedder]],
    ) -> None:
        """`embedder` is the one that the settings name. `open_embedder` opens another space's; it raises a GatewayError
        where that cannot be done."""
        self._database = database
        self._epoch = epoch
        self._household = Scope(household_id)
        self._embedder = embedder
        self._open = open_embedder
        # Kept until the end, since going back is one command. None: cannot be opened, and was said so.
        self._opened: dict[Space, Embedder | None] = {}
        self._known: InUse | None = None
        self._known_at: int | None = None
        self._reading = asyncio.Lock()

    async def start(self) -> list[str]:
        """Settles what becomes of the space that the settings name, and opens what is in use; what there is to say of
        it, a sentence each. Raises StoreUnavailable."""
        async with self._database.scoped(self._household) as connection:
            state = await vectors.settle(connection, self._embedder.space)
        current = (await self.read()).current
        named = f"{self._embedder.space.model}, {self._embedder.space.dimensions} wide"
        notes = []
        if state == "building":
            notes.append(f"the memory moves to {named}, in the background; until then {current} is searched")
        elif state == "set_aside":
            notes.append(f"the memory stays with {current}: {named} was set aside (python -m gateway spaces)")
        if state != "current":
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self.check()
            except (ModelError, TimeoutError) as error:
                why = error.message if isinstance(error, ModelError) else "it does not answer"
                notes.append(f"{current} makes no vectors now ({why}): what is asked is searched by its words")
        return notes

    async def close(self) -> None:
        """Closes the models that were opened here; the settings' own is its maker's."""
        for embedder in self._opened.values():
            if embedder is not None:
                await embedder.close()
        self._opened.clear()

    async def in_use(self) -> InUse:
        """The spaces of this epoch; of the last one known while it is not known. Raises StoreUnavailable where nothing
        was ever read."""
        epoch = self._epoch.current()
        if self._known is not None and epoch in (None, self._known_at):
            return self._known
        async with self._reading:
            if self._known is not None and epoch == self._known_at:
                return self._known  # another has read it meanwhile
            try:
                return await self._read()
            except StoreUnavailable:
                if self._known is None:
                    raise
                return self._known

    async def read(self) -> InUse:
        """The spaces as they are in the database now. Raises StoreUnavailable."""
        async with self._reading:
            return await self._read()

    @property
    def embedders(self) -> Sequence[Embedder]:
        """The settings' own, and those that were opened beside it."""
        return [self._embedder, *(embedder for embedder in self._opened.values() if embedder is not None)]

    async def check(self) -> None:
        """Returns when questions get vectors; raises ModelError (a subclass that says why) when they don't."""
        current = (await self.in_use()).current
        if current.embedder is None:
            raise ModelUnavailable(f"the embedding model of {current} cannot be opened")
        await current.embedder.check()

    async def _read(self) -> InUse:
        epoch = self._epoch.current()  # before what is read: a later change moves it again
        async with self._database.scoped(self._household) as connection:
            stored = await vectors.in_use(connection)
            if not stored or stored[0].state != "current":
                await vectors.settle(connection, self._embedder.space)
                stored = await vectors.in_use(connection)
        current, *building = [ServedSpace(one.id, one.space, await self._of(one.space)) for one in stored]
        found = InUse(current, building[0] if building else None)
        if self._known is not None and self._known.current.id != current.id:
            LOG.info("the memory is searched with %s now", current)
        self._known, self._known_at = found, epoch
        return found

    async def _of(self, space: Space) -> Embedder | None:
        if space == self._embedder.space:
            return self._embedder
        if space not in self._opened:
            try:
                self._opened[space] = await self._open(space)
            except GatewayError as error:
                LOG.warning("no vectors for %s, %d wide: %s", space.model, space.dimensions, error.message)
                self._opened[space] = None
        return self._opened[space]
