"""A stored answer, and the forms in which the layers keep it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.shapes import Delta, Finish, Reply, Scope, Source, Usage
from gateway.store.cache import CacheRow
from gateway.store.households import Moment

NEVER = datetime.min.replace(tzinfo=UTC)  # a row without an end is not one of ours, and counts as ended
# As long as a clause: whoever turns pieces into speech can begin with the first.
PIECE_CHARACTERS = 64
_WORDS = re.compile(r"\S*\s*")
# An answer of a model is some thousand characters; what unpacks to more than this is not one.
LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer. `moment` says in which memory it was made and which answers had been taken back by then.

    `model_seconds` is what the model took for it, and what each hit saves.
    """

    key: str
    scope: Scope
    query: str
    text: str
    thinking: str
    model: str
    language: str
    moment: Moment
    fingerprint: str
    created_at: datetime
    expires_at: datetime
    sources: tuple[Source, ...]
    usage: Usage
    model_seconds: float
    turn_id: str


def entry_of(
    reply: Reply,
    scope: Scope,
    *,
    key: str,
    query: str,
    moment: Moment,
    fingerprint: str,
    expires_at: datetime,
    model_seconds: float,
) -> Entry:
    """The entry that keeps `reply`, made at `moment` for the prompt with `fingerprint`. `query` is normalised."""
    return Entry(
        key=key,
        scope=scope,
        query=query,
        text=reply.text,
        thinking=reply.thinking,
        model=reply.model,
        language=reply.language,
        moment=moment,
        fingerprint=fingerprint,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        sources=reply.sources,
        usage=reply.usage,
        model_seconds=model_seconds,
        turn_id=reply.turn_id,
    )


def replay(entry: Entry) -> Iterator[Delta]:
    """The answer as a model says it: what it thought first, then its words in pieces, then why it ended."""
    if entry.thinking:
        yield Delta(thinking=entry.thinking)
    piece = ""
    for word in _WORDS.findall(entry.text):
        piece += word
        if len(piece) >= PIECE_CHARACTERS:
            yield Delta(piece)
            piece = ""
    yield Delta(piece, finish=Finish("stop", entry.usage))


def to_row(entry: Entry) -> CacheRow:
    """The entry as the table keeps it."""
    return CacheRow(
        query_hash=entry.key,
        query_text=entry.query,
        response=entry.text,
        member_id=entry.scope.member_id,
        memory_epoch=entry.moment.epoch,
        prompt_fingerprint=entry.fingerprint,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        metadata=_rest(entry),
    )


def from_row(row: CacheRow, scope: Scope, generation: int) -> Entry:
    """A row's entry. `generation` was read before the row: what is taken back later is of a later one."""
    return _entry(
        row.metadata or {},
        key=row.query_hash,
        scope=replace(scope, member_id=row.member_id),
        query=row.query_text,
        text=row.response,
        moment=Moment(row.memory_epoch, generation),
        fingerprint=row.prompt_fingerprint,
        created_at=row.created_at or NEVER,
        expires_at=row.expires_at or NEVER,
    )


def pack(entry: Entry) -> bytes:
    """The entry in compressed JSON."""
    return zlib.compress(
        orjson.dumps(
            {
                "key": entry.key,
                "scope": [entry.scope.household_id, entry.scope.member_id],
                "query": entry.query,
                "text": entry.text,
                "moment": list(entry.moment),
                "fingerprint": entry.fingerprint,
                "created_at": entry.created_at,
                "expires_at": entry.expires_at,
                "rest": _rest(entry),
            }
        ),
        level=1,
    )


def unpack(packed: bytes) -> Entry:
    """What `pack` packed. Raises ValueError for anything else."""
    try:
        unpacking = zlib.decompressobj()
        kept = orjson.loads(unpacking.decompress(packed, LARGEST_BYTES))
        household_id, member_id = kept["scope"]
        return _entry(
            kept["rest"],
            key=kept["key"],
            scope=Scope(household_id, member_id),
            query=kept["query"],
            text=kept["text"],
            moment=Moment(*kept["moment"]),
            fingerprint=kept["fingerprint"],
            created_at=datetime.fromisoformat(kept["created_at"]),
            expires_at=datetime.fromisoformat(kept["expires_at"]),
        )
    except (zlib.error, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a stored answer") from error


def _rest(entry: Entry) -> dict[str, Any]:
    return {
        "thinking": entry.thinking,
        "model": entry.model,
        "language": entry.language,
        "turn_id": entry.turn_id,
        "model_seconds": entry.model_seconds,
        "prompt_tokens": entry.usage.prompt_tokens,
        "completion_tokens": entry.usage.completion_tokens,
        "sources": [_packed(source) for source in entry.sources],
    }


def _entry(rest: Mapping[str, Any], **fields: Any) -> Entry:
    return Entry(
        **fields,
        thinking=rest.get("thinking", ""),
        model=rest.get("model", ""),
        language=rest.get("language", ""),
        sources=_sources(rest.get("sources", ())),
        usage=Usage(prompt_tokens=rest.get("prompt_tokens", 0), completion_tokens=rest.get("completion_tokens", 0)),
        model_seconds=rest.get("model_seconds", 0.0),
        turn_id=rest.get("turn_id", ""),
    )


def _packed(source: Source) -> list[Any]:
    at = source.at.isoformat() if source.at else None
    return [source.kind, source.id, source.text, source.score, at, source.origin, source.outdated]


def _sources(rows: Iterable[Sequence[Any]]) -> tuple[Source, ...]:
    return tuple(
        Source(kind, ref, text, score, datetime.fromisoformat(at) if at else None, origin, outdated)
        # What an earlier version packed has four fields.
        for kind, ref, text, score, at, origin, outdated in ((*row, None, None, False)[:7] for row in rows)
    )
