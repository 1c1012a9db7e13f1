"""What the edges of a turn share: how a request asks of the cache, and how a stream is written to a client."""

from __future__ import annotations

from aiohttp import web

from gateway.shapes import CacheControl


def cache_control(request: web.Request) -> CacheControl:
    """The request's `Cache-Control` (and its older sibling `Pragma`), as far as it concerns the response cache."""
    asked = {part.strip().lower() for part in request.headers.get("Cache-Control", "").split(",")}
    if "no-store" in asked:
        return CacheControl.NO_STORE
    if "no-cache" in asked or request.headers.get("Pragma", "").lower() == "no-cache":
        return CacheControl.NO_CACHE
    return CacheControl.DEFAULT
