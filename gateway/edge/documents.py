"""`/documents`: manuals, letters, lists, to be found like everything else that is known."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import BodyPartReader, web
from pydantic import Field

from gateway.edge.api import (
    FORM,
    Changes,
    Input,
    Name,
    Nothing,
    Output,
    QueryBool,
    QueryId,
    QueryLimit,
    QueryTags,
    Tags,
    answer,
    check,
    form_errors,
    path_id,
)
from gateway.edge.keys import DOCUMENTS, SCOPE, SETTINGS
from gateway.errors import BadRequest, UnsupportedMediaType
from gateway.memory.documents import Incoming
from gateway.store.documents import Document

PIECE = 65_536  # bytes
MAX_FIELD = 16_384  # bytes of a form's field that is no file

State = Literal["waiting", "parsing", "ready", "failed"]
Form = TypeVar("Form", bound=Input)


class Replacement(Input):
    file: Name


class Upload(Replacement):
    folder: Name | None = None
    tags: QueryTags = Field(default_factory=list)
    shared: QueryBool = False


class Change(Changes):
    name: Name = Field(default="", description="Ends as before: the ending tells how it is read")
    folder: Name | None = Field(default=None, description="null: in none")
    tags: Tags = Field(default_factory=list)


class Page(Input):
    after: Annotated[QueryId | None, Field(description="`next` of the page before")] = None
    limit: QueryLimit = 50
    folder: Name | None = Field(default=None, description="Only documents in this folder")
    tags: QueryTags = Field(default_factory=list, description="Only documents that have all of these")
    state: State | None = None


class Paper(Output):
    id: int
    name: str
    folder: str | None
    tags: list[str]
    member_id: int | None = Field(description="Whose it is; null: shared by the household")
    sha256: str
    bytes: int
    version: int = Field(description="Counts what was uploaded under this id; state and reason are of the newest")
    served: int | None = Field(description="The version that is found; null: none yet")
    state: State
    reason: str | None = Field(description="Why it failed")
    pages: int | None = Field(description="Of the version that is found; null: its format has none")
    passages: int
    created_at: datetime
    updated_at: datetime


class Papers(Output):
    documents: list[Paper]
    next: int | None = Field(description="`after` of the next page; null: this was the last")


async def add(request: web.Request, _: Nothing) -> web.Response:
    """Takes a document in; it is read soon. 200 where the same content is there already."""
    async with AsyncExitStack() as stack:
        incoming, form = await _form(request, stack, Upload)
        document, new = await request.app[DOCUMENTS].add(
            request[SCOPE],
            incoming,
            folder=form.folder,
            tags=tuple(dict.fromkeys(form.tags)),
            shared=form.shared,
        )
    return answer(_paper(document), status=202 if new else 200)


async def replace(request: web.Request, _: Nothing) -> web.Response:
    """A new version; the one before is found until it is read."""
    async with AsyncExitStack() as stack:
        incoming, _form_of = await _form(request, stack, Replacement)
        document, new = await request.app[DOCUMENTS].replace(request[SCOPE], path_id(request), incoming)
    return answer(_paper(document), status=202 if new else 200)


async def change(request: web.Request, change: Change) -> web.Response:
    """Another name, another folder, other tags; what came from it follows."""
    changes = change.model_dump(exclude_unset=True)
    if "tags" in changes:
        changes["tags"] = tuple(dict.fromkeys(change.tags))
    return answer(_paper(await request.app[DOCUMENTS].update(request[SCOPE], path_id(request), changes)))


async def page(request: web.Request, wanted: Page) -> web.Response:
    """Lists in the order of ids."""
    found = await request.app[DOCUMENTS].page(
        request[SCOPE],
        after=wanted.after or 0,
        limit=wanted.limit + 1,
        folder=wanted.folder,
        tags=wanted.tags,
        state=wanted.state,
    )
    shown = found[: wanted.limit]
    more = len(found) > wanted.limit
    return answer(Papers(documents=[_paper(document) for document in shown], next=shown[-1].id if more else None))


async def read(request: web.Request, _: Nothing) -> web.Response:
    """One document."""
    return answer(_paper(await request.app[DOCUMENTS].get(request[SCOPE], path_id(request))))


async def delete(request: web.Request, _: Nothing) -> web.Response:
    """Forgets a document and its passages."""
    await request.app[DOCUMENTS].delete(request[SCOPE], path_id(request))
    return web.Response(status=204)


async def _form(request: web.Request, stack: AsyncExitStack, model: type[Form]) -> tuple[Incoming, Form]:
    """The form's file, on the disk for as long as `stack` is entered, and its fields, in whatever order they come."""
    if request.content_type != FORM:
        raise UnsupportedMediaType(f"The body should be a form with a file (Content-Type: {FORM}).")
    fields: dict[str, Any] = {}
    incoming: Incoming | None = None
    with form_errors():
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                raise BadRequest("A part of the form has no name, or parts of its own.")
            if part.name in fields and part.name != "tags":
                raise BadRequest(f"{part.name[:100]} is given more than once.", field=part.name[:100])
            if part.name != "file":
                value = await _value(part)
                fields[part.name] = [*fields.get("tags", []), value] if part.name == "tags" else value
                continue
            if not part.filename:
                raise BadRequest("file has no name, which tells how it is read.", field="file")
            fields["file"] = PurePosixPath(part.filename.replace("\\", "/")).name
            check({"file": fields["file"]}, Replacement, {})
            incoming = await stack.enter_async_context(request.app[DOCUMENTS].receive(fields["file"]))
            while piece := await part.read_chunk(PIECE):
                await incoming.write(piece)
    form = check(fields, model, {"max_text": request.app[SETTINGS].server.max_text_characters})
    if incoming is None:
        raise BadRequest("file is missing.", field="file")
    return incoming, form


async def _value(part: BodyPartReader) -> str:
    value = bytearray()
    while piece := await part.read_chunk(PIECE):
        value += piece
        if len(value) > MAX_FIELD:
            raise BadRequest(f"{(part.name or '')[:100]} is over {MAX_FIELD} bytes.", field=(part.name or "")[:100])
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{(part.name or '')[:100]} is not UTF-8.", field=(part.name or "")[:100]) from None


def _paper(document: Document) -> Paper:
    return Paper(
        id=document.id,
        name=document.name,
        folder=document.folder,
        tags=list(document.tags),
        member_id=document.member_id,
        sha256=document.sha256.hex(),
        bytes=document.bytes,
        version=document.version,
        served=document.served,
        state=document.state,
        reason=document.reason,
        pages=document.pages,
        passages=document.passages,
        created_at=document.created_at,
        updated_at=document.updated_at,
    )
