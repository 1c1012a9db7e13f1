"""The last runs of each automation, kept in the data folder."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from gateway.automations.run import Trace

log = logging.getLogger(__name__)

KEPT = 20


class Traces:
    """The newest `KEPT` runs of each automation, oldest first. Written by a task of its own, so that no run waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, deque[dict[str, Any]]] = {}
        self._changed: set[str] = set()
        self._something = asyncio.Event()
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._load)
        self._task = asyncio.create_task(self._write_always(), name="automation-traces")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            # Not cancelled: the thread that writes would go on, and might come after the one that writes the last.
            self._ending = True
            self._something.set()
            await self._task
            self._task = None
        await self._write()

    def of(self, automation_id: str) -> tuple[dict[str, Any], ...]:
        """That automation's runs, newest first."""
        return tuple(reversed(self._kept.get(automation_id, ())))

    def add(self, automation_id: str, trace: Trace) -> None:
        """Keeps a run that has ended."""
        # Through JSON: it is then the very same as after a restart.
        self._kept.setdefault(automation_id, deque(maxlen=KEPT)).append(orjson.loads(orjson.dumps(trace.to_json())))
        self._changed.add(automation_id)
        self._something.set()

    def keep_only(self, automation_ids: Iterable[str]) -> None:
        """Forgets the runs of all other automations."""
        gone = self._kept.keys() - set(automation_ids)
        for automation_id in gone:
            del self._kept[automation_id]
        self._changed |= gone
        self._something.set()

    async def _write_always(self) -> None:
        while not self._ending:
            await self._something.wait()
            self._something.clear()
            await self._write()

    async def _write(self) -> None:
        changed = {automation_id: list(self._kept.get(automation_id, ())) for automation_id in self._changed}
        self._changed.clear()
        if changed:
            await asyncio.to_thread(self._save, changed)

    def _load(self) -> None:
        for path in self._folder.glob("*.json"):
            try:
                runs = orjson.loads(path.read_bytes())
                self._kept[path.stem] = deque((run for run in runs if isinstance(run, dict)), maxlen=KEPT)
            except (OSError, orjson.JSONDecodeError, TypeError) as error:
                log.warning("the runs in %s are not known any more: %s", path, error)

    def _save(self, changed: dict[str, list[dict[str, Any]]]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for automation_id, runs in changed.items():
                if not runs:
                    (self._folder / f"{automation_id}.json").unlink(missing_ok=True)
                    continue
                written = self._folder / f"{automation_id}.written"
                written.write_bytes(orjson.dumps(runs))
                written.replace(self._folder / f"{automation_id}.json")
        except OSError as error:
            log.warning("the automations' runs cannot be kept: %s", error)
