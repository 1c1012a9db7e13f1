"""Lines of a stream of bytes, numbered, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator


async def numbered(pieces: AsyncIterator[bytes], longest: int) -> AsyncIterator[tuple[int, bytes | None]]:
    """Lines with their numbers, counted from 1; None for one over `longest` bytes, of which no more is held."""
    number, rest, dropping = 1, bytearray(), False
    async for piece in pieces:
        *ended, begun = piece.split(b"\n")
        for end in ended:
            rest += end
            yield number, None if dropping or len(rest) > longest else bytes(rest)
            number, rest, dropping = number + 1, bytearray(), False
        rest += begun
        if len(rest) > longest:
            rest, dropping = bytearray(), True
    if rest or dropping:
        yield number, None if dropping else bytes(rest)
