"""What the edges of a turn share: how a request asks of the cache, and how a stream is written to a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from aiohttp import web

from gateway.config import ServerSettings
from gateway.edge.keys import SCOPE, SETTINGS
from gateway.edge.middleware import in_networks
from gateway.errors import PayloadTooLarge, StoreUnavailable
from gateway.shapes import CacheControl, Scope

# Finds a member of the household by name. Raises StoreUnavailable.
MEMBER_NAMED: web.AppKey[Callable[[str], Awaitable[Scope | None]]] = web.AppKey("member named")


def check_size(body: Mapping[str, Any], size: int, server: ServerSettings) -> None:
    """Raises PayloadTooLarge where a body of `size` bytes is too large even without its images."""
    if size > server.max_body_bytes and size - sum(map(len, _images(body))) > server.max_body_bytes:
        raise PayloadTooLarge(f"The body is over {server.max_body_bytes} bytes, its images not counted.")


def _images(body: Mapping[str, Any]) -> Iterator[str]:
    """The images of a chat, as Ollama and as OpenAI have them in their messages."""
    for holder in (body, *(body.get("messages") or ())):
        if isinstance(holder, Mapping):
            yield from (image for image in holder.get("images") or () if isinstance(image, str))
            for part in holder.get("content") or () if isinstance(holder.get("content"), list) else ():
                linked = part.get("image_url") if isinstance(part, Mapping) else None
                url = linked.get("url") if isinstance(linked, Mapping) else linked
                if isinstance(url, str):
                    yield url


def is_voice_door(request: web.Request) -> bool:
    """Whether the URL says that an assistant asks: `http://<gateway>/ha/...`."""
    return str(request.match_info.get("door", "")).endswith("ha/")


async def speaker(request: web.Request, name: str | None) -> Scope:
    """Who speaks: the token's member; else the member that the client names, if the household believes this client."""
    scope = request[SCOPE]
    if scope.member_id is not None or not name:
        return scope
    if not in_networks(request, request.app[SETTINGS].server.believed_networks):
        return scope
    try:
        return await request.app[MEMBER_NAMED](name) or scope
    except StoreUnavailable:
        return scope


def cache_control(request: web.Request) -> CacheControl:
    """The request's `Cache-Control` (and its older sibling `Pragma`), as far as it concerns the response cache."""
    said = request.headers.get("Cache-Control")
    asked = {part.strip().lower() for part in said.split(",")} if said else ()
    if "no-store" in asked:
        return CacheControl.NO_STORE
    if "no-cache" in asked or request.headers.get("Pragma", "").lower() == "no-cache":
        return CacheControl.NO_CACHE
    return CacheControl.DEFAULT
