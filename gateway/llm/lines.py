"""A request to a model server and its answer, line by line, with a bound on every wait and a name for every failure."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp.http_exceptions import LineTooLong

from gateway.config import LlmSettings
from gateway.errors import BadRequest, ModelError, ModelNotFound, ModelRefused, ModelTimeout, ModelUnavailable

# A line of a stream may carry a whole tool call; longer than this nothing sensible is.
LONGEST_LINE_BYTES = 4 * 1024 * 1024
# Of a server's error page only the beginning is of use.
LONGEST_WORDS = 500
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each part of an answer may take, in seconds."""

    connect: float
    first: float
    between: float
    total: float

    @classmethod
    def of(cls, settings: LlmSettings) -> Patience:
        """As the settings say."""
        return cls(
            settings.connect_seconds,
            settings.first_token_seconds,
            settings.between_tokens_seconds,
            settings.total_seconds,
        )

    @classmethod
    def at_most(cls, seconds: float) -> Patience:
        """For a request that is answered at once, not streamed."""
        return cls(seconds, seconds, seconds, seconds)


class Deadline:
    """Bounds one wait after the other, and all of them together."""

    def __init__(self, patience: Patience, who: str) -> None:
        self._patience = patience
        self._who = who
        self._ends = asyncio.get_running_loop().time() + patience.total

    @asynccontextmanager
    async def within(self, seconds: float, what: str, *, since: float | None = None) -> AsyncIterator[None]:
        """Raises ModelTimeout that says `what` did not happen when the block takes longer than `seconds` (from its
        beginning, or from `since` by the loop's clock), or than is left of the whole."""
        ends = (asyncio.get_running_loop().time() if since is None else since) + seconds
        whole = self._ends < ends and seconds != self._patience.total
        try:
            async with asyncio.timeout_at(min(ends, self._ends)):
                yield
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                connect = self._patience.connect
                raise ModelTimeout(f"{self._who} did not accept a connection within {connect:g} s") from error
            if whole:
                message = f"{self._who} did not finish its answer within {self._patience.total:g} s"
            else:
                message = f"{self._who} {what} within {seconds:g} s"
            raise ModelTimeout(message) from error


def connector_timeout(patience: Patience) -> aiohttp.ClientTimeout:
    """aiohttp's own bounds: connecting alone; the rest is `Deadline`'s, whose words say which wait it was."""
    return aiohttp.ClientTimeout(total=None, sock_connect=patience.connect)


async def post_lines(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], patience: Patience, who: str
) -> AsyncGenerator[bytes, None]:
    """POSTs `body` as JSON and gives the answer's lines, without their ends, empty ones left out.

    Closing the generator closes the connection, by which the server knows to stop. `who` names the server in
    messages. Raises BadRequest for a body that cannot be JSON, and ModelError with its subclasses.
    """
    data = to_json(body)
    deadline = Deadline(patience, who)
    waiting, what = patience.first, "sent no first word"
    since: float | None = asyncio.get_running_loop().time()  # one wait: for the answer's head and its first line
    async with named(who):
        async with deadline.within(waiting, what, since=since):
            response = await _ask(session, "POST", url, patience, data)
        try:
            if response.status != 200:
                async with deadline.within(patience.between, "sent half an error"):
                    raise refusal(response.status, await response.content.read(), who, response.headers)
            while True:
                async with deadline.within(waiting, what, since=since):
                    line = await response.content.readline()
                if not line:
                    return
                waiting, what, since = patience.between, "fell silent in mid-answer: nothing more came", None
                if line := line.strip():
                    yield line
        finally:
            # Back to the pool when it was read to its end; closed, and so cancelled at the server, otherwise.
            response.release()


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    patience: Patience,
    who: str,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One request and its answer, a JSON object. Raises as `post_lines` does."""
    data = None if body is None else to_json(body)
    async with named(who), Deadline(patience, who).within(patience.total, "did not answer"):
        response = await _ask(session, method, url, patience, data)
        try:
            raw = await response.content.read()
        finally:
            response.release()
    if response.status != 200:
        raise refusal(response.status, raw, who, response.headers)
    return parse(raw, who)


async def _ask(
    session: aiohttp.ClientSession, method: str, url: str, patience: Patience, data: bytes | None
) -> aiohttp.ClientResponse:
    async def once() -> aiohttp.ClientResponse:
        return await session.request(
            method,
            url,
            data=io.BytesIO(data) if data else data,  # sent piece by piece: with images it may be large
            headers=JSON if data is not None else None,
            allow_redirects=False,
            timeout=connector_timeout(patience),
            read_bufsize=LONGEST_LINE_BYTES // 2,
        )

    try:
        return await once()
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        # A kept connection that the server, restarted meanwhile, knows nothing of. Nothing was answered, and asking a
        # model twice does no more than asking once.
        return await once()


def to_json(body: Mapping[str, Any]) -> bytes:
    """JSON as bytes; BadRequest where `body` holds what JSON cannot (half a surrogate pair, a number of 65 bits)."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the request holds what cannot be sent to the model ({error})") from error


def parse(line: bytes, who: str) -> dict[str, Any]:
    """A line's JSON object; ModelError for anything else."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{who} sent a line that is not JSON") from error
    if not isinstance(value, dict):
        raise ModelError(f"{who} sent a {type(value).__name__} where an object belongs")
    return value


def refusal(status: int, raw: bytes, who: str, headers: Mapping[str, str]) -> ModelError:
    """The error for an answer of another status than 200: ModelNotFound for 404, otherwise ModelRefused."""
    if 300 <= status < 400:
        return ModelError(f"{who} points to {headers.get('Location', 'another address')}; give that address instead")
    words = _words(raw) or f"{who} answered with status {status}"
    return ModelNotFound(words) if status == 404 else ModelRefused(words, status=status)


def _words(raw: bytes) -> str:
    """What an error body says: Ollama's {"error": "..."}, OpenAI's {"error": {"message": "..."}}, or plain text."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = raw[: LONGEST_WORDS * 4].decode(errors="replace").strip()
        return "" if text.startswith("<") else text[:LONGEST_WORDS]
    error = value.get("error") if isinstance(value, dict) else None
    return error_words(error)[:LONGEST_WORDS] if error else ""


def error_words(error: Any) -> str:
    """The words of an `error` field, a string or an object with a message."""
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error)


@asynccontextmanager
async def named(who: str) -> AsyncIterator[None]:
    """Gives a failure of the connection its name."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise ModelUnavailable(f"{who} cannot be reached ({error.strerror or error})") from error
    except aiohttp.ServerDisconnectedError as error:
        raise ModelUnavailable(f"{who} closes its connections without an answer") from error
    except (LineTooLong, aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError) as error:
        raise ModelError(f"{who} broke off its answer ({str(error) or type(error).__name__})") from error
    except aiohttp.ClientError as error:
        raise ModelError(f"{who} did not answer as a model server does ({error})") from error
