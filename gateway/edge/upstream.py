"""What an Ollama behind the gateway answers itself: requests passed on, their answers as they come.

Nothing of the client goes along but what the request says: a member's token is not Ollama's to see. Of Ollama's
headers only those come back that tell about the body, since its word on other origins is not the gateway's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from gateway.edge.keys import CHAT, SETTINGS, SPACES
from gateway.errors import BadRequest, ModelError, ModelRefused, NotFound
from gateway.llm.embedding import OllamaEmbedder
from gateway.llm.lines import LONGEST_LINE_BYTES, Deadline, Patience, error_words, named, parse, refusal, to_json
from gateway.llm.ollama import OllamaChat, keep_alive, same_model

log = logging.getLogger(__name__)

WHO = "Ollama"
MOST_TEXTS = 2048  # to be embedded in one request
JSON = {"Content-Type": "application/json"}
TO_OLLAMA = ("Accept", "Content-Type", "User-Agent")
TO_CLIENT = ("Content-Length", "Content-Type", "Location", "Retry-After")


def behind(app: web.Application, model: str = "") -> OllamaChat | None:
    """The Ollama that answers, if it is one that does: of several, one that has `model`."""
    fleet = app.get(CHAT)
    return fleet.ollama(model) if fleet is not None else None


async def ask(
    request: web.Request, body: bytes | AsyncIterable[bytes] | None, ollama: OllamaChat | None
) -> aiohttp.ClientResponse:
    """Ollama's response to the request with this body, its own body unread; `release()` it.

    Raises NotFound where no Ollama is behind the gateway, ModelUnavailable and ModelTimeout.
    """
    path = request.rel_url.raw_path_qs
    path = path[max(path.find("/api/"), 0) :]  # what stands before it is for the gateway
    if ollama is None:
        raise NotFound("There is no Ollama behind this gateway, and the embedded models cannot do this.")
    headers = {name: request.headers[name] for name in TO_OLLAMA if name in request.headers}
    if not isinstance(body, bytes) and "Content-Length" in request.headers:
        headers["Content-Length"] = request.headers["Content-Length"]
    headers["Accept-Encoding"] = "identity"
    return await ollama.proxy(request.method, path, body, headers)


async def pass_on(
    request: web.Request, body: bytes | AsyncIterable[bytes] | None, model: str = ""
) -> web.StreamResponse:
    """The same request asked of Ollama, and its answer: status and body as they are, piece by piece. Of several
    Ollamas one is asked that has `model`."""
    answer = await ask(request, body, behind(request.app, model))
    try:
        return await relay(request, answer)
    finally:
        answer.release()  # one that was not read to its end is closed, by which Ollama knows to stop


async def relay(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Gives Ollama's answer to the client. One that breaks off ends in an error line, or where there are no lines in
    a broken connection."""
    headers = {name: answer.headers[name] for name in TO_CLIENT if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("%s: Ollama broke off its answer: %s", request.path, error)
        if answer.content_type == "application/x-ndjson":
            await response.write(orjson.dumps({"error": "Ollama broke off its answer"}) + b"\n")
        elif request.transport is not None:
            request.transport.close()
    else:
        await response.write_eof()
    return response


def as_the_others(app: web.Application, body: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the gateway's context length and time to stay, where it names none: Ollama loads a model anew
    for a context of another length, and the next turn would wait for that."""
    llm = app[SETTINGS].llm
    return {
        **body,
        "options": {"num_ctx": llm.context_tokens, **(body.get("options") or {})},
        "keep_alive": keep_alive(llm.keep_alive) if body.get("keep_alive") is None else body["keep_alive"],
    }


async def answered(request: web.Request, body: Mapping[str, Any], ollama: OllamaChat) -> web.StreamResponse:
    """Ollama's answer to `body`: streamed as it comes, or put together for a client that does not stream.

    Ollama is asked to stream in either case: without, its first word comes with its last, and no bound on the wait
    could tell a long answer from none.
    """
    answer = await ask(request, to_json({**body, "stream": True}), ollama)
    try:
        if streams(body):
            return await relay(request, answer)
        whole: dict[str, Any] = {}
        async with aclosing(lines(answer)) as chunks:
            async for chunk in chunks:
                whole = joined(whole, chunk)
        return web.Response(body=orjson.dumps(whole), headers=JSON)
    finally:
        answer.release()


def joined(whole: Mapping[str, Any], chunk: Mapping[str, Any]) -> dict[str, Any]:
    """A streamed answer so far with one more line of it: text and lists go on, else the last word holds."""
    joined = {**whole, **chunk}
    for name in ("response", "thinking", "logprobs"):
        if name in whole and name in chunk:
            joined[name] = whole[name] + chunk[name]
    return joined


def streams(body: Mapping[str, Any]) -> bool:
    """Whether the client wants its answer in pieces, which is Ollama's habit."""
    return bool(body.get("stream", True))


async def lines(answer: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON lines of Ollama's answer. Raises ModelError; ModelRefused with its words for an error of its own."""
    held = b""
    async with named(WHO):
        if answer.status != 200:
            raise refusal(answer.status, await answer.read(), WHO, answer.headers)
        async for piece in answer.content.iter_any():
            *whole, held = (held + piece).split(b"\n")
            if len(held) > LONGEST_LINE_BYTES:
                raise ModelError(f"{WHO} sent a line without an end")
            for line in whole:
                if line.strip():
                    yield _said(line)
        if held.strip():
            yield _said(held)


def _said(line: bytes) -> dict[str, Any]:
    value = parse(line, WHO)
    if "error" in value:
        raise ModelRefused(error_words(value["error"]), status=500)
    return value


async def embedded_vectors(app: web.Application, model: str, texts: Sequence[str], width: int | None) -> Any:
    """The vectors of `texts` by an embedding model of the gateway's own, float32 of shape (texts, dimensions); None
    where `model` is none, or an Ollama is there to be asked for its own.

    Raises BadRequest for a width it does not have, and ModelError.
    """
    embedder = next((one for one in app[SPACES].embedders if same_model(model, one.space.model)), None)
    if embedder is None or (behind(app) is not None and isinstance(embedder, OllamaEmbedder)):
        return None
    if width not in (None, embedder.space.dimensions):
        raise BadRequest(
            f"{embedder.space.model} makes vectors of {embedder.space.dimensions} numbers", field="dimensions"
        )
    check_texts(texts, app[SETTINGS].server.max_text_characters)
    return await embedder.documents(texts)


def check_texts(texts: Sequence[Any], longest: int) -> None:
    """Raises BadRequest for what cannot be embedded here: too many texts, too long ones, or none."""
    if len(texts) > MOST_TEXTS:
        raise BadRequest(f"input holds {len(texts)} texts; at most {MOST_TEXTS} are allowed", field="input")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadRequest(f"input.{position} should be a string", field="input")
        if len(text) > longest:
            raise BadRequest(
                f"input.{position} is {len(text)} characters long; at most {longest} are allowed", field="input"
            )


async def read_json(app: web.Application, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ollama's answer to a POST that is no stream. Raises ModelError and its subclasses with Ollama's words."""
    ollama = behind(app, str(body.get("model") or ""))
    if ollama is None:
        raise NotFound("There is no Ollama behind this gateway.")
    answer = await ollama.proxy("POST", path, to_json(body), JSON)
    patience = Patience.of(app[SETTINGS].llm)
    try:
        async with named(WHO), Deadline(patience, WHO).within(patience.between, "sent half an answer"):
            raw = await answer.read()
    finally:
        answer.release()
    if answer.status != 200:
        raise refusal(answer.status, raw, WHO, answer.headers)
    return parse(raw, WHO)
