"""A disk that fails, for the journal: full, out of order, or gone with the process in the middle of a call.

disk = Disk()
monkeypatch.setattr(journal, "os", disk)
Journal(disk.folder(tmp_path), ...)
disk.full = True      # nothing grows: new files, and lines of which a piece may have been written
disk.broken = True    # every call that changes something fails, writing half-way
disk.killed_at = 3    # the third call from now that changes something is the process' last
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

WHEN = ("before", "amid", "after")


class Killed(BaseException):
    """What a process that is killed does not live to see. Nothing in the gateway may catch it."""


class Disk:
    """Stands in for the module `os`."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False
        self.unnoted = False
        self.killed_at = 0
        self.when = "before"
        self.dead = False
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def put(self, state: str) -> None:
        """ "well", "full", "broken" or "unnoted"."""
        self.full, self.broken, self.unnoted = state == "full", state == "broken", state == "unnoted"

    def folder(self, path: Path) -> Path:
        """`path`, whose files are on this disk as well when they are deleted or renamed."""

        class OnDisk(type(path)):  # type: ignore[misc]
            def unlink(self, missing_ok: bool = False) -> None:
                disk._change(lambda: Path(self).unlink(missing_ok))

            def replace(self, target: Path) -> Path:
                found: Path = disk._change(lambda: Path(self).replace(target))
                return found

        disk = self
        return OnDisk(path)

    def alive(self) -> None:
        """A new process: calls go through again."""
        self.dead, self.killed_at, self._calls = False, 0, 0

    def write(self, file: int, content: bytes) -> int:
        if self.full:
            self._die_if_dead()
            # As much as fits into the last block.
            if self._calls % 2:
                return os.write(file, content[: len(content) // 3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.broken:
            self._die_if_dead()
            return os.write(file, content[: len(content) // 2])  # and what is half there cannot be taken away
        written: int = self._change(
            lambda: os.write(file, content), amid=lambda: os.write(file, content[: len(content) // 2])
        )
        return written

    def pwrite(self, file: int, content: bytes, offset: int) -> int:
        if self.unnoted:
            self._die_if_dead()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        written: int = self._change(lambda: os.pwrite(file, content, offset))
        return written

    def ftruncate(self, file: int, size: int) -> None:
        self._change(lambda: os.ftruncate(file, size))

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        new = bool(flags & os.O_CREAT) and not Path(path).exists()
        if new and self.full:
            self._die_if_dead()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not new:
            self._die_if_dead()
            return os.open(path, flags, mode)
        opened: int = self._change(lambda: os.open(path, flags, mode))
        return opened

    def _die_if_dead(self) -> None:
        if self.dead:
            raise Killed

    def _change(self, call: Any, amid: Any = None) -> Any:
        self._die_if_dead()
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._calls += 1
        if self.killed_at and self._calls >= self.killed_at:
            self.dead = True
            if self.when == "after":
                call()
            elif self.when == "amid" and amid is not None:
                amid()
            raise Killed
        return call()
