"""What every request passes: an id, the error envelope, the guard against foreign web pages, and who is asking.

The order is told by `middlewares`. An error raised anywhere below becomes a response here, in the shape that the
path's clients know: Ollama's on `/api/`, OpenAI's on `/v1/`, the gateway's own elsewhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.config import ServerSettings
from gateway.edge.api import JSON, Endpoint, envelope
from gateway.edge.keys import METRICS, REQUEST_ID, SCOPE
from gateway.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
)
from gateway.shapes import Scope

LOG = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that went away; nobody reads the response
LOOPBACK = ("127.0.0.0/8", "::1/128")
TOKENS_REMEMBERED = 256
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TOKEN_FRESH_SECONDS = 5.0  # so soon a revoked token is refused
TOKEN_KEPT_SECONDS = 3600.0  # how long a token known before is believed while the database is away

FindMember = Callable[[bytes], Awaitable[Scope | None]]
"""From a token's SHA-256 to the member it names, or None. Raises StoreUnavailable."""


def middlewares(server: ServerSettings, household_id: int, find_member: FindMember) -> tuple[Middleware, ...]:
    """What `web.Application(middlewares=...)` takes, outermost first."""
    return (
        _identified,
        _errors_as_responses,
        _bounded(server.max_connections),
        _guard(server),
        _speaker(server, household_id, find_member),
    )


async def mark_response(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: headers that every response has."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")


# --- request id ---------------------------------------------------------------------------------------------------


@web.middleware
async def _identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    given = request.headers.get("X-Request-Id")
    request[REQUEST_ID] = given if given and _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
    response = await handler(request)
    resource = request.match_info.route.resource
    path = resource.canonical if resource else "unknown"
    if METRICS in request.app:
        request.app[METRICS].requests_of(path, str(response.status)).inc()
    return response


# --- errors -------------------------------------------------------------------------------------------------------


@web.middleware
async def _errors_as_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as error:
        if error.status >= 500:
            LOG.warning("%s %s: %s (request %s)", request.method, _path(request), error.message, request[REQUEST_ID])
        return as_response(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return as_response(request, _from_aiohttp(error, request), headers=_allowed(error))
    except ConnectionResetError:
        return web.Response(status=CLIENT_CLOSED_REQUEST)
    except Exception:
        # The boundary: what has no name is logged with its traceback, and the client is told no more than its id.
        LOG.exception("%s %s failed (request %s)", request.method, _path(request), request[REQUEST_ID])
        return as_response(request, GatewayError(f"Something went wrong; the log has it as {request[REQUEST_ID]}."))


def as_response(request: web.Request, error: GatewayError, *, headers: dict[str, str] | None = None) -> web.Response:
    """The error in the envelope that the path's clients read."""
    headers = dict(headers or {})
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    elif error.status == StoreUnavailable.status:
        headers["Retry-After"] = "1"
    if error.status == Unauthorized.status:
        headers["WWW-Authenticate"] = "Bearer"
    path = request.path.removeprefix(f"/{request.match_info.get('door', '')}")
    path = path if path.startswith("/") else f"/{path}"
    if path.startswith("/api/"):
        body = orjson.dumps({"error": error.message})
    elif path.startswith("/v1/"):
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        body = orjson.dumps(
            {"error": {"message": error.message, "type": kind, "param": error.field, "code": error.code}}
        )
    else:
        body = envelope(error)
    return web.Response(body=body, status=error.status, content_type=JSON, headers=headers)


def _from_aiohttp(error: web.HTTPException, request: web.Request) -> GatewayError:
    match error.status:
        case 404:
            return NotFound("There is nothing at this path; /docs lists what there is.")
        case 405:
            allowed = ", ".join(sorted(error.allowed_methods)) if isinstance(error, web.HTTPMethodNotAllowed) else ""
            return MethodNotAllowed(f"{request.method} is not for this path; allowed: {allowed}.")
        case 413:
            return PayloadTooLarge("The body is too large.")
        case _:
            named = BadRequest(error.reason) if error.status < 500 else GatewayError(error.reason)
            named.status = error.status
            return named


def _allowed(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _path(request: web.Request) -> str:
    # The pattern, not the path: a client may have put words or a token into it.
    resource = request.match_info.route.resource
    return resource.canonical if resource else "(unknown path)"


# --- how many at once ---------------------------------------------------------------------------------------------


def _bounded(most: int) -> Middleware:
    """Tells who comes when `most` requests are being answered to come back, rather than let all wait."""
    under_way = 0

    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal under_way
        if under_way >= most:
            raise Unavailable(f"{most} requests are being answered already; try again in a moment.", retry_after=1)
        under_way += 1
        try:
            return await handler(request)
        finally:
            under_way -= 1

    return bounded


# --- foreign web pages --------------------------------------------------------------------------------------------


def _guard(server: ServerSettings) -> Middleware:
    """Refuses what a web page elsewhere makes a browser at home send: by a name that is not ours (DNS rebinding), or
    with an Origin that is not ours."""
    own_name = socket.gethostname().lower()
    named_by_household = {name.lower().rstrip(".") for name in server.allowed_hosts}
    names = frozenset({"localhost", own_name, own_name.split(".")[0], *named_by_household})

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1:
            raise BadRequest("There is more than one Host header.")
        # No Host header at all is no browser: HTTP/1.0 health probes come without one.
        if hosts and not _known_host(hosts[0], names):
            raise Forbidden(
                "This name is not one of the gateway's. If it should be, add it to server.allowed_hosts.", field="Host"
            )
        origin = request.headers.get("Origin")
        if origin is not None and not _own_origin(origin, hosts[0] if hosts else "", named_by_household):
            raise Forbidden("A web page of another origin may not use the gateway.", field="Origin")
        # Images, scripts and the like come without an Origin; newer browsers tell about them by this header.
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not _for_everyone(request):
            raise Forbidden("A web page of another origin may not use the gateway.", field="Sec-Fetch-Site")
        return await handler(request)

    return guarded


def _split_host(host: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(f"//{host}")
        if parts.path or parts.query or parts.fragment or "@" in host:
            return None
        return (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _known_host(host: str, names: frozenset[str]) -> bool:
    split = _split_host(host)
    if split is None or not split[0]:
        return False
    name = split[0]
    if name in names or name.endswith(".local"):
        return True
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _own_origin(origin: str, host: str, named_by_household: set[str]) -> bool:
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in ("http", "https"):
        return False
    theirs, ours = _split_host(rest), _split_host(host)
    if theirs is None or not theirs[0]:
        return False
    if theirs[0] in named_by_household:
        return True
    # A proxy that ends TLS leaves the port out on one side or the other.
    return ours is not None and theirs[0] == ours[0] and (theirs[1] or _port(scheme)) == (ours[1] or _port(scheme))


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


# --- who is asking ------------------------------------------------------------------------------------------------


class Tokens:
    """Which member a token names, remembered for a moment, so that a turn does not begin with a query."""

    def __init__(self, find_member: FindMember) -> None:
        self._find_member = find_member
        self._known: OrderedDict[bytes, tuple[Scope, float]] = OrderedDict()

    async def scope(self, token: str) -> Scope | None:
        """The member's scope; None for a token that is none. Raises StoreUnavailable."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        scope, seen = self._known.get(digest, (None, 0.0))
        age = time.monotonic() - seen
        if scope is not None and age < TOKEN_FRESH_SECONDS:
            return scope
        try:
            found = await self._find_member(digest)
        except StoreUnavailable:
            if scope is not None and age < TOKEN_KEPT_SECONDS:
                return scope
            raise
        self._known.pop(digest, None)
        if found is not None:
            self._known[digest] = (found, time.monotonic())
            while len(self._known) > TOKENS_REMEMBERED:
                self._known.popitem(last=False)
        return found


def _speaker(server: ServerSettings, household_id: int, find_member: FindMember) -> Middleware:
    tokens = Tokens(find_member)
    household = Scope(household_id)

    @web.middleware
    async def spoken_for(request: web.Request, handler: Handler) -> web.StreamResponse:
        token = _token(request)
        at_home = _trusted(request, server)
        scope = await tokens.scope(token) if token else None
        if scope is not None:
            request[SCOPE] = scope
        elif token is not None and not (at_home and request.path.startswith("/v1/")):
            # One answer for every token that is none, here and elsewhere: there is nothing to learn from it. (OpenAI's
            # clients must send a key, whatever it is; at home it may be any.)
            raise Unauthorized("This token is not known.")
        elif at_home:
            request[SCOPE] = household
        elif not _for_everyone(request):
            raise Unauthorized("A member's token is needed here (Authorization: Bearer ...).")
        return await handler(request)

    return spoken_for


def _token(request: web.Request) -> str | None:
    """The member's token: of the path's prefix `/as/<token>/`, else of the header. "" for a header without one."""
    door = request.match_info.get("door", "")
    if door.startswith("as/"):
        return door.split("/")[1]
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _trusted(request: web.Request, server: ServerSettings) -> bool:
    return bool(server.open_to_anyone) or (not _proxied(request) and trusted(request.remote or "", server))


def trusted(address: str, server: ServerSettings) -> bool:
    """Whether a client at this numeric address speaks for the household without a token."""
    return bool(server.open_to_anyone) or _address_in(address, (*LOOPBACK, *server.trusted_networks))


def in_networks(request: web.Request, networks: tuple[str, ...]) -> bool:
    """Whether the client itself, and no proxy, asks from one of `networks` (CIDR)."""
    return not _proxied(request) and _address_in(request.remote or "", networks)


def _proxied(request: web.Request) -> bool:
    # A proxy speaks for someone else; that it runs on this machine says nothing about them.
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


@lru_cache(maxsize=256)
def _address_in(address: str, networks: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in _network(network) for network in networks)


@lru_cache(maxsize=64)
def _network(network: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(network)


def _for_everyone(request: web.Request) -> bool:
    endpoint = getattr(request.match_info.handler, "__self__", None)  # whose `respond` is registered
    return isinstance(endpoint, Endpoint) and endpoint.everyone
