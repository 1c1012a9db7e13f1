"""`/conversations`: what was said."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from gateway.edge.api import Input, Name, Output, QueryId, QueryLimit, answer
from gateway.edge.keys import DATABASE, SCOPE
from gateway.shapes import INTERACTION_PREFIX
from gateway.store import conversations


class Range(Input):
    before: Annotated[QueryId | None, Field(description="`next` of the page before")] = None
    limit: QueryLimit = 50
    conversation_id: Name | None = None
    role: Literal["user", "assistant"] | None = None


class Said(Output):
    id: int
    interaction_id: str
    conversation_id: str
    role: str
    content: str
    language: str | None
    intent: str | None
    member_id: int | None
    created_at: datetime
    metadata: dict[str, Any] = Field(description="Sources, timings, model, tokens and how the turn ended")


class SaidPage(Output):
    messages: list[Said] = Field(description="Newest first")
    next: int | None = Field(description="`before` of the next page; null: this was the last")


async def page(request: web.Request, wanted: Range) -> web.Response:
    """Lists, newest first."""
    async with request.app[DATABASE].scoped(request[SCOPE]) as connection:
        found = await conversations.page(
            connection,
            before_id=wanted.before,
            limit=wanted.limit + 1,
            session_id=wanted.conversation_id,
            role=wanted.role,
        )
    shown = found[: wanted.limit]
    more = len(found) > wanted.limit
    messages = [
        Said(
            id=row.id,
            interaction_id=INTERACTION_PREFIX + row.turn_id,
            conversation_id=row.session_id,
            role=row.role,
            content=row.content,
            language=row.language,
            intent=row.intent,
            member_id=row.member_id,
            created_at=row.created_at,
            metadata=dict(row.metadata),
        )
        for row in shown
    ]
    return answer(SaidPage(messages=messages, next=shown[-1].id if more else None))
