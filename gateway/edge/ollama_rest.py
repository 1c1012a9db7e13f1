"""The rest of Ollama's API: what is no turn. With an Ollama behind the gateway it answers, and what the gateway does
not know is passed on as it is; without one the embedded models answer what they can, and the rest in Ollama's words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from gateway.edge.api import body_pieces, read_body
from gateway.edge.keys import CHAT, SETTINGS
from gateway.edge.ollama import JSON, NDJSON, parse_object
from gateway.edge.upstream import answered, as_the_others, behind, embedded_vectors, joined, pass_on, streams
from gateway.edge.wire import check_size
from gateway.errors import BadRequest, GatewayError, ModelNotFound, ModelRefused, NotFound
from gateway.llm.chat import ChatModel
from gateway.llm.ollama import OllamaChat, same_model
from gateway.shapes import ChatRequest, Message

FOR_EVER = "2318-01-01T00:00:00Z"  # how long the embedded model stays loaded, as Ollama tells of keep_alive -1
# What a model without a template for it cannot be asked; answering as if it had not been asked would be wrong.
RAW = ("raw", "suffix", "template", "context")


async def root(_: web.Request) -> web.Response:
    """`GET` and `HEAD /`: by these words Ollama's clients know it."""
    return web.Response(text="Ollama is running")


async def anything(request: web.Request) -> web.StreamResponse:
    """What the gateway has no words of its own for, passed on. Raises NotFound where no Ollama is behind it."""
    if request.path.rpartition("/api/")[2].startswith("blobs/"):
        return await pass_on(request, body_pieces(request) if request.body_exists else None)  # gigabytes, not kept
    body = await read_body(request, request.app[SETTINGS]) if request.body_exists else None
    return await pass_on(request, body)


async def generate(request: web.Request) -> web.StreamResponse:
    """`POST /api/generate`: text as it comes from the model, without memory. Waits for a place as turns do."""
    data = await read_body(request, request.app[SETTINGS], images=True)
    body = _named(data)
    check_size(body, len(data), request.app[SETTINGS].server)
    ollama = behind(request.app, body["model"])
    if ollama is None:
        _require(request.app, body["model"])
    if not body.get("prompt"):
        return await _generate(request, body, ollama)
    async with request.app[CHAT].place(body["model"] if ollama is not None else "") as chat:
        return await _generate(request, body, chat)


async def _generate(request: web.Request, body: Mapping[str, Any], chat: ChatModel | None) -> web.StreamResponse:
    if isinstance(chat, OllamaChat):
        return await answered(request, as_the_others(request.app, body), chat)
    return await _streamed(request, body, _generated(chat, body))


async def pull(request: web.Request) -> web.StreamResponse:
    """`POST /api/pull`, with its progress. An embedded model is there already, whichever tag is asked for."""
    body = _named(await read_body(request, request.app[SETTINGS]))
    ollama = behind(request.app)
    if ollama is not None:
        return await answered(request, body, ollama)
    if not _is_embedded(request.app, body["model"]):
        return await _streamed(request, body, _not_pulled())
    return await _streamed(request, body, _at_once({"status": "pulling manifest"}, {"status": "success"}))


async def show(request: web.Request) -> web.StreamResponse:
    """`POST /api/show`."""
    data = await read_body(request, request.app[SETTINGS])
    body = _named(data)
    if behind(request.app) is not None:
        return await pass_on(request, data, body["model"])
    entry = await _entry(request.app, body["model"])
    family = str(entry.get("details", {}).get("family", ""))
    return _json(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": entry.get("details", {}),
            "model_info": {
                "general.architecture": family,
                f"{family}.context_length": request.app[SETTINGS].llm.context_tokens,
            },
            "capabilities": ["completion"],
            "modified_at": entry.get("modified_at"),
        }
    )


async def ps(request: web.Request) -> web.StreamResponse:
    """`GET /api/ps`: the models in memory."""
    if behind(request.app) is not None:
        return await pass_on(request, None)
    context = request.app[SETTINGS].llm.context_tokens
    return _json(
        {
            "models": [
                {**entry, "expires_at": FOR_EVER, "size_vram": 0, "context_length": context}
                for entry in await request.app[CHAT].models()
            ]
        }
    )


async def embed(request: web.Request) -> web.StreamResponse:
    """`POST /api/embed`: by Ollama, or by the gateway's own embedding model as it stores texts."""
    data = await read_body(request, request.app[SETTINGS])
    body = _named(data)
    given, width = body.get("input", []), body.get("dimensions")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise BadRequest("input should be a string, or a list of them", field="input")
    vectors = await embedded_vectors(request.app, body["model"], texts, width)
    if vectors is None:
        return await _embedded_elsewhere(request, data, body["model"])
    return _json({"model": body["model"], "embeddings": vectors.tolist(), "prompt_eval_count": 0})


async def embeddings(request: web.Request) -> web.StreamResponse:
    """`POST /api/embeddings`, which was there before `/api/embed`: one text, one vector."""
    data = await read_body(request, request.app[SETTINGS])
    body = _named(data)
    text = body.get("prompt") or ""
    vectors = await embedded_vectors(request.app, body["model"], [text] if text else [], None)
    if vectors is None:
        return await _embedded_elsewhere(request, data, body["model"])
    return _json({"embedding": vectors[0].tolist() if len(vectors) else []})


async def _embedded_elsewhere(request: web.Request, data: bytes, model: str) -> web.StreamResponse:
    if behind(request.app) is None:
        if _is_embedded(request.app, model):
            raise ModelRefused("this model does not support embeddings", status=501)
        raise _unknown(model)
    return await pass_on(request, data, model)


# --- answered by the embedded model -------------------------------------------------------------------------------


async def _generated(chat: ChatModel | None, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    model = body["model"]
    prompt, system, images = body.get("prompt") or "", body.get("system") or "", body.get("images") or []
    if not isinstance(prompt, str) or not isinstance(system, str) or not isinstance(images, list):
        raise BadRequest("prompt and system should be strings, images a list of them")
    if any(body.get(name) for name in RAW):
        raise ModelRefused(f"{model} is asked by its own template alone")
    if not prompt or chat is None:
        yield {"model": model, "created_at": _now(), "response": "", "done": True, "done_reason": "load"}
        return
    question = Message("user", prompt, images=tuple(str(image) for image in images))
    request = ChatRequest(
        messages=(Message("system", system), question) if system else (question,),
        model=chat.name,
        options=body.get("options") or {},
        format=body.get("format") or None,
        think=body.get("think"),
    )
    async with aclosing(chat.stream(request)) as deltas:
        async for delta in deltas:
            if delta.content or delta.finish is None:
                yield {"model": model, "created_at": _now(), "response": delta.content, "done": False}
            if delta.finish is not None:
                usage = delta.finish.usage
                yield {
                    "model": model,
                    "created_at": _now(),
                    "response": "",
                    "done": True,
                    "done_reason": delta.finish.reason,
                    "total_duration": usage.load_ns + usage.prompt_ns + usage.completion_ns,
                    "load_duration": usage.load_ns,
                    "prompt_eval_count": usage.prompt_tokens,
                    "prompt_eval_duration": usage.prompt_ns,
                    "eval_count": usage.completion_tokens,
                    "eval_duration": usage.completion_ns,
                }


async def _at_once(*chunks: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    for chunk in chunks:
        yield chunk


async def _not_pulled() -> AsyncGenerator[dict[str, Any], None]:
    yield {"status": "pulling manifest"}
    # Ollama's words for a name that its registry does not have.
    raise ModelRefused("pull model manifest: file does not exist", status=500)


async def _streamed(
    request: web.Request, body: Mapping[str, Any], chunks: AsyncGenerator[dict[str, Any], None]
) -> web.StreamResponse:
    """The chunks a line each, or put together. An error behind the first line is a line too, as Ollama has it."""
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    whole: dict[str, Any] = {}
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if not streams(body):
                    whole = joined(whole, chunk)
                    continue
                if not response.prepared:
                    await response.prepare(request)
                await response.write(orjson.dumps(chunk) + b"\n")
    except GatewayError as error:
        if not response.prepared:
            raise
        await response.write(orjson.dumps({"error": error.message}) + b"\n")
    if not streams(body):
        return _json(whole)
    await response.write_eof()
    return response


def _is_embedded(app: web.Application, model: str) -> bool:
    """Whether `model` is the embedded one, by its name with its tag, or with none that says another size."""
    own = app[CHAT].name
    return same_model(model, own) or model.removesuffix(":latest") == own.partition(":")[0]


def _require(app: web.Application, model: str) -> None:
    if not _is_embedded(app, model):
        raise _unknown(model)


async def _entry(app: web.Application, model: str) -> dict[str, Any]:
    _require(app, model)
    return (await app[CHAT].models())[0]


def _unknown(model: str) -> NotFound | ModelNotFound:
    return ModelNotFound(f"model '{model}' not found")


def _named(data: bytes) -> dict[str, Any]:
    """The body's object, its model under `model` (Ollama also takes `name`)."""
    body = parse_object(data)
    model = body.get("model") or body.pop("name", None)
    if not isinstance(model, str) or not model:
        raise BadRequest("model is required", field="model")
    if not isinstance(body.get("stream", True), bool):
        raise BadRequest("stream should be true or false", field="stream")
    if not isinstance(body.get("options") or {}, dict):
        raise BadRequest("options should be an object", field="options")
    return {**body, "model": model}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _json(body: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": JSON})
