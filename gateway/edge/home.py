"""`/home`: what stands at home and how, what changes there as it does, and what was done there."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field

from gateway.edge.api import Input, Name, Nothing, Output, QueryId, QueryLimit, answer
from gateway.edge.keys import DATABASE, REGISTRY, SCOPE
from gateway.home.registry import Change
from gateway.home.things import Condition, Thing
from gateway.store import entities as rows

EVENTS = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
MOST_WAITING = 2000  # changes that one who follows may be behind


class Filter(Input):
    domain: Name | None = Field(default=None, description="light, switch, sensor ...")
    area: Name | None = None
    q: Name | None = Field(default=None, description="Part of an id or a name")


class Entity(Output):
    id: str
    names: list[str] = Field(description="The first is what it is called first")
    domain: str
    area: str | None
    floor: str | None
    device_class: str | None
    unit: str | None
    capabilities: list[str]
    state: str
    attributes: dict[str, Any]
    available: bool | None = Field(description="null where nothing tells it")
    changed_at: datetime | None = Field(description="When the state became what it is")
    seen_at: datetime | None = Field(description="When anything was last heard of it")
    age_seconds: float | None = Field(description="Since then")
    origin: str
    exposed: bool = Field(description="Whether the assistant tells of it and may touch it")


class Entities(Output):
    entities: list[Entity]


class Listing(Input):
    limit: QueryLimit = 50
    before: QueryId | None = Field(default=None, description="Older than this action")
    entity: Name | None = Field(default=None, description="Done to it alone")


class Action(Output):
    id: int
    at: datetime
    edge: str
    speaker: str
    words: str
    entity: str
    action: str
    values: dict[str, Any]
    verdict: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Actions(Output):
    actions: list[Action]


async def entities(request: web.Request, wanted: Filter) -> web.Response:
    """What stands at home, by id."""
    registry, now = request.app[REGISTRY], datetime.now(UTC)
    return answer(
        Entities(
            entities=[
                _entity(thing, registry.condition(thing_id), now)
                for thing_id, thing in sorted(registry.things.items())
                if _fits(thing, wanted)
            ]
        )
    )


def _fits(thing: Thing, wanted: Filter) -> bool:
    if wanted.domain is not None and thing.domain != wanted.domain:
        return False
    if wanted.area is not None and (thing.area or "").casefold() != wanted.area.casefold():
        return False
    words = (wanted.q or "").casefold()
    return any(words in name.casefold() for name in (thing.id, *thing.names))


def _entity(thing: Thing, now: Condition, at: datetime) -> Entity:
    return Entity(
        id=thing.id,
        names=list(thing.names),
        domain=thing.domain,
        area=thing.area,
        floor=thing.floor,
        device_class=thing.device_class,
        unit=thing.unit,
        capabilities=sorted(thing.capabilities),
        state=now.state,
        attributes=dict(now.attributes),
        available=now.available,
        changed_at=now.changed,
        seen_at=now.seen,
        age_seconds=None if now.seen is None else max(0.0, (at - now.seen).total_seconds()),
        origin=thing.origin,
        exposed=thing.exposed,
    )


async def actions(request: web.Request, wanted: Listing) -> web.Response:
    """What was done at home, newest first."""
    async with request.app[DATABASE].scoped(request[SCOPE]) as connection:
        done = await rows.actions(connection, wanted.limit, before=wanted.before, thing_id=wanted.entity)
    return answer(
        Actions(
            actions=[
                Action(
                    id=one.id,
                    at=one.at,
                    edge=one.edge,
                    speaker=one.speaker,
                    words=one.words,
                    entity=one.thing_id,
                    action=one.action,
                    values=dict(one.values),
                    verdict=one.verdict,
                    before=None if one.before is None else dict(one.before),
                    after=None if one.after is None else dict(one.after),
                )
                for one in done
            ]
        )
    )


class Follower:
    """One who follows the home: what waits to be written, and whether it is over."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._waiting: deque[bytes] = deque()
        self._something = asyncio.Event()
        self.over = False

    def changed(self, change: Change) -> None:
        """Takes a change in. Who does not read is not waited for: the connection is cut."""
        if change.thing is None:
            self._waiting.append(_event("gone", orjson.dumps({"id": change.id})))
        else:
            self._waiting.append(_event("change", _dumped(change.thing, change.now)))
        self._something.set()
        if len(self._waiting) > MOST_WAITING:
            self.end()
            if self._transport is not None:
                self._transport.abort()

    def end(self) -> None:
        """Ends it, once what waits is written."""
        self.over = True
        self._something.set()

    async def next(self) -> bytes:
        """What is to be written next, and where nothing is for a while, a sign of life."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._something.wait()
        except TimeoutError:
            return b": still here\n\n"
        self._something.clear()
        piece = b"".join(self._waiting)
        self._waiting.clear()
        return piece


FOLLOWERS: web.AppKey[set[Follower]] = web.AppKey("followers of the home")


async def events(request: web.Request, _: Nothing) -> web.StreamResponse:
    """What stands at home (`snapshot`), then each `change`, and what is `gone`, as they come."""
    registry = request.app[REGISTRY]
    response = web.StreamResponse(headers={"Content-Type": EVENTS, "Cache-Control": "no-store"})
    await response.prepare(request)
    follower = Follower(request.transport)
    followers = request.app[FOLLOWERS]
    followers.add(follower)
    try:
        with registry.watching(follower.changed):
            things = [_dumped(thing, registry.condition(thing.id)) for _, thing in sorted(registry.things.items())]
            await response.write(_event("snapshot", b'{"entities":[' + b",".join(things) + b"]}"))
            while not follower.over:
                piece = await follower.next()
                if piece:
                    await response.write(piece)
    finally:
        followers.discard(follower)
    return response


def _dumped(thing: Thing, now: Condition) -> bytes:
    return _entity(thing, now, datetime.now(UTC)).model_dump_json().encode()


def _event(kind: str, data: bytes) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


async def end_events(app: web.Application) -> None:
    """Lets those who follow go, so that the gateway's end does not wait for them."""
    followers = app[FOLLOWERS]
    for follower in tuple(followers):
        follower.end()
