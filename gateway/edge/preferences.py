"""`/preferences`: what a person or the household wants, by key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, RootModel

from gateway.edge.api import (
    Category,
    Changes,
    Input,
    KeptValue,
    Name,
    Nothing,
    Output,
    QueryId,
    QueryLimit,
    answer,
    path_id,
)
from gateway.edge.keys import PREFERENCES, SCOPE
from gateway.errors import NotFound
from gateway.memory.preferences import Accepted
from gateway.store.preferences import Preference


class Setting(Input):
    key: Name
    value: KeptValue
    category: Category | None = None
    shared: bool = Field(
        default=False, description="With a member's token: for everyone in the household, not the member alone"
    )


class Correction(Changes):
    value: KeptValue = 0
    category: Category | None = None


class Wanted(Input):
    key: Name | None = Field(default=None, description="The preference of this key")
    category: Category | None = Field(default=None, description="Without a key: those of this category")
    after: Annotated[QueryId | None, Field(description="`next` of the page before")] = None
    limit: QueryLimit = 50


class Listing(Input):
    category: Category | None = None
    after: Annotated[QueryId | None, Field(description="`next` of the page before")] = None
    limit: QueryLimit = 50


class Item(Output):
    id: int
    key: str
    value: Any
    category: str | None
    member_id: int | None = Field(description="Whose it is; null: shared by the household")
    created_at: datetime
    updated_at: datetime


class Items(Output):
    preferences: list[Item]
    next: int | None = Field(description="`after` of the next page; null: this was the last")


class ItemOrItems(RootModel[Item | Items]):
    """With a key its preference, else a page of them."""


class AcceptedKey(Output):
    """Taken down while PostgreSQL is away; it will be set."""

    status: Literal["pending"] = "pending"
    key: str


async def put(request: web.Request, setting: Setting) -> web.Response:
    """Sets a preference, new or not."""
    scope = request[SCOPE]
    done = await request.app[PREFERENCES].set(
        scope,
        key=setting.key,
        value=setting.value,
        category=setting.category,
        member_id=None if setting.shared else scope.member_id,
    )
    if isinstance(done, Accepted):
        return answer(AcceptedKey(key=done.key), status=202)
    preference, created = done
    return answer(_item(preference), status=201 if created else 200)


async def get(request: web.Request, wanted: Wanted) -> web.Response:
    """The preference of a key, or those of a category."""
    if wanted.key is None:
        return await _page(request, wanted.category, wanted.after, wanted.limit)
    preference = await request.app[PREFERENCES].get(request[SCOPE], wanted.key)
    if wanted.category is not None and preference.category != wanted.category:
        raise NotFound("The preference of this key is of another category.", field="category")
    return answer(_item(preference))


async def page(request: web.Request, wanted: Listing) -> web.Response:
    """Lists in the order of ids."""
    return await _page(request, wanted.category, wanted.after, wanted.limit)


async def read(request: web.Request, _: Nothing) -> web.Response:
    """One preference."""
    return answer(_item(await request.app[PREFERENCES].by_id(request[SCOPE], path_id(request))))


async def change(request: web.Request, correction: Correction) -> web.Response:
    """Corrects a preference."""
    changes = correction.model_dump(exclude_unset=True)
    return answer(_item(await request.app[PREFERENCES].update(request[SCOPE], path_id(request), changes)))


async def delete(request: web.Request, _: Nothing) -> web.Response:
    """Forgets a preference."""
    await request.app[PREFERENCES].delete(request[SCOPE], path_id(request))
    return web.Response(status=204)


async def _page(request: web.Request, category: str | None, after: int | None, limit: int) -> web.Response:
    found = await request.app[PREFERENCES].page(request[SCOPE], after=after or 0, limit=limit + 1, category=category)
    shown = found[:limit]
    more = len(found) > limit
    return answer(Items(preferences=[_item(item) for item in shown], next=shown[-1].id if more else None))


def _item(preference: Preference) -> Item:
    return Item(
        id=preference.id,
        key=preference.key,
        value=preference.value,
        category=preference.category,
        member_id=preference.member_id,
        created_at=preference.created_at,
        updated_at=preference.updated_at,
    )
