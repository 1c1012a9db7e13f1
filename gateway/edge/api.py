"""One way to state an endpoint: it checks what comes in, and the OpenAPI document is made of the same statement.

An `Endpoint` takes one model: of the query for GET, DELETE and a body that is streamed, else of the JSON body. Its
handler is given the checked instance. A key or parameter the model does not have is refused, as are wrong types, NUL
bytes, lone surrogates and text that is blank or too long, each with the name of the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Self, TypeVar
from urllib.parse import unquote_plus

import orjson
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from gateway.config import Settings
from gateway.edge.keys import SETTINGS
from gateway.errors import BadRequest, GatewayError, NotFound, PayloadTooLarge, UnsupportedMediaType

MAX_ID = 2**63 - 1  # PostgreSQL's bigint
# A text of 8,000 characters takes up to 12 bytes for each in a URL; aiohttp's own bound is 8 KiB for all of it.
MAX_URL_BYTES = 131_072
MAX_TAGS = 32
MAX_TAG_CHARACTERS = 100
# What PostgreSQL's timestamptz and Python's datetime both hold, a day clear of the edges for any time zone.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
MAX_DEPTH = 32  # of a JSON value to be kept

READS = ("GET", "DELETE")
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
FORM = "multipart/form-data"


class Input(BaseModel):
    """What a client sends: nothing unknown, nothing converted that is not what it should be."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Output(BaseModel):
    """What the gateway answers."""

    model_config = ConfigDict(frozen=True)


class Changes(Input):
    """What is to be changed: at least one field; what is not given stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("should name something to change")
        return self


class Nothing(Input):
    """No parameters and no body."""


class ErrorDetail(Output):
    code: str = Field(description="Stable, for programs")
    message: str = Field(description="For the person who reads it")
    field: str | None = Field(default=None, description="The part of the request at fault")


class ErrorEnvelope(Output):
    """How every error of the REST endpoints looks."""

    error: ErrorDetail


# --- types of fields ----------------------------------------------------------------------------------------------


def _characters(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a lone surrogate, which is not a character")
    return text


def _said(text: str) -> str:
    _characters(text)
    if not text.strip():
        raise ValueError("is blank")
    return text


def _within_bound(text: str, info: ValidationInfo) -> str:
    bound: int = (info.context or {}).get("max_text", 8000)
    if len(text) > bound:
        raise ValueError(f"is {len(text)} characters long; at most {bound} are allowed")
    return text


# The pattern says of the schema what `_said` checks: a character that is not white space, and no NUL.
_SAID_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}

Text = Annotated[
    str,
    AfterValidator(_said),
    AfterValidator(_within_bound),
    WithJsonSchema({**_SAID_SCHEMA, "maxLength": "text bound"}),
]
"""Words of the user: not blank, no longer than the settings allow."""

Name = Annotated[str, Field(max_length=255), AfterValidator(_said), WithJsonSchema({**_SAID_SCHEMA, "maxLength": 255})]
"""A short label: a key, a source, a conversation's id."""

Category = Annotated[
    str, Field(max_length=100), AfterValidator(_said), WithJsonSchema({**_SAID_SCHEMA, "maxLength": 100})
]


def _tag(tag: str) -> str:
    _said(tag)
    if "," in tag:
        raise ValueError("holds a comma, which stands between tags")
    return tag


Tag = Annotated[
    str,
    Field(max_length=MAX_TAG_CHARACTERS),
    AfterValidator(_tag),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TAG_CHARACTERS,
            "pattern": r"^[^\u0000,]*[^\s\u0000,][^\u0000,]*$",
        }
    ),
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]


def _commas(value: Any) -> Any:
    return [tag for part in value for tag in part.split(",")] if isinstance(value, list) else value


QueryTags = Annotated[list[Tag], BeforeValidator(_commas), Field(max_length=MAX_TAGS)]
"""Tags in a query: repeated, or with commas between them."""


def digits(value: Any) -> Any:
    """A number of a query from its digits; what else it is stays, to be refused."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value) else value


def _truth(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


QueryBool = Annotated[bool, BeforeValidator(_truth)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
QueryId = Annotated[Id, BeforeValidator(digits)]
# The bounds before the reading of digits: so they are part of the schema too.
QueryLimit = Annotated[int, Field(ge=1, le=200), BeforeValidator(digits)]


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", value):
        raise ValueError("should be a string such as 2026-03-01T12:00:00Z")
    # A `+` of an offset that a client left as it is reads as a blank in a query.
    return value.replace(" ", "+") if re.search(r"T[0-9:.]+ [0-9:]+$", value) else value


def _era(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("should lie between the years 1 and 9999")
    return moment


Moment = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(_moment),
    AfterValidator(_era),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time with its offset, in ISO 8601."""


def _storable(value: Any, info: ValidationInfo) -> Any:
    if value is None:
        raise ValueError("should not be null")
    _walk(value, ())
    bound: int = (info.context or {}).get("max_text", 8000)
    length = len(orjson.dumps(value).decode())
    if length > bound:
        raise ValueError(f"is {length} characters long as JSON; at most {bound} are allowed")
    return value


def _walk(value: Any, place: tuple[str, ...]) -> None:
    where = f" (at {'.'.join(place)})" if place else ""
    if len(place) >= MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    try:
        if isinstance(value, str):
            _characters(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("holds a whole number of more than 64 bits")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("holds a number that is not finite")
        elif isinstance(value, dict):
            for key in value:
                _characters(key)
    except ValueError as error:
        raise ValueError(f"{error}{where}") from None
    if isinstance(value, list):
        for position, inner in enumerate(value):
            _walk(inner, (*place, str(position)))
    elif isinstance(value, dict):
        for key, inner in value.items():
            _walk(inner, (*place, key))


_NO_NUL = r"^[^\u0000]*$"
_INNER: dict[str, Any] = {
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "number"},
        {"type": "string", "pattern": _NO_NUL},
        {"type": "array", "items": {"$ref": "#/components/schemas/JsonValue"}},
        {
            "type": "object",
            "propertyNames": {"pattern": _NO_NUL},
            "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
        },
    ]
}
# Written out because a value of any JSON type has no class to make a schema of.
EXTRA_SCHEMAS: Mapping[str, Any] = {
    "JsonValue": {"description": "Any JSON", **_INNER},
    "KeptValue": {"description": "Any JSON but null", "anyOf": _INNER["anyOf"][1:]},
    "Upload": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {
                "type": "string",
                "format": "binary",
                "description": "With its name, whose ending tells how to read it",
            },
            "folder": {**_SAID_SCHEMA, "maxLength": 255},
            "tags": {"type": "string", "description": "By commas"},
            "shared": {
                "type": "boolean",
                "default": False,
                "description": "With a member's token: for everyone in the household, not the member alone",
            },
        },
    },
    "Replacement": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": {"type": "string", "format": "binary"}},
    },
}

# pydantic follows no reference to what it has not made; the document puts this one in.
KeptValue = Annotated[Any, AfterValidator(_storable), WithJsonSchema({"$ref to": "KeptValue"})]
"""A JSON value to be kept: not null, bounded in size and depth."""


# --- endpoints ----------------------------------------------------------------------------------------------------

Given = TypeVar("Given", bound=Input)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Given]):
    """A method and path, who answers it, what it takes, and what it may answer.

    `answers` maps a status to its model, to a media type where it is no JSON, or to None where there is no body.
    `fails` are the error statuses beside those that `failures` adds by itself. `streams` are the media types of a
    body that the handler reads piece by piece, `form` the schema of one that is a form; `everyone` marks what needs no
    token, `events` what may also answer 200 as server-sent events.
    """

    method: str
    path: str
    handler: Callable[[web.Request, Given], Awaitable[web.StreamResponse]]
    takes: type[Given]
    answers: Mapping[int, type[BaseModel] | str | None]
    summary: str
    fails: tuple[int, ...] = ()
    streams: tuple[str, ...] = ()
    form: str = ""
    everyone: bool = False
    events: bool = False

    @property
    def name(self) -> str:
        """The operation's id: unique, fit for generated clients."""
        words = re.sub(r"[^a-z0-9]+", "_", f"{self.method} {self.route_free_path}".lower())
        return words.strip("_")

    @property
    def route_free_path(self) -> str:
        """The path as OpenAPI writes it, without aiohttp's patterns."""
        return re.sub(r"\{(\w+):[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", r"{\1}", self.path)

    @property
    def has_body(self) -> bool:
        """Whether the model is of the body: one that is read piece by piece leaves the query to it."""
        return self.method not in READS and self.takes is not Nothing and not self.streams

    def failures(self) -> tuple[int, ...]:
        """Every error status that this endpoint may answer."""
        statuses = {400, 403, *self.fails}
        if not self.everyone:
            statuses |= {401, 503}
        if self.has_body or self.streams:
            statuses |= {413, 415}
        if "{" in self.path:
            statuses.add(404)
        return tuple(sorted(statuses))

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Checks the request and hands it to the handler. Raises GatewayError for what is wrong with it."""
        context = {"max_text": request.app[SETTINGS].server.max_text_characters}
        if self.has_body:
            if request.query_string:
                _query(request, Nothing, context)
            given = await _body(request, self.takes, context)
        else:
            given = _query(request, self.takes, context)
        return await self.handler(request, given)


ID_PATH = "{id:[0-9]{1,30}}"


def path_id(request: web.Request) -> int:
    """The `{id}` of the path. Raises NotFound for a number that no row can have."""
    number = int(request.match_info["id"])
    if not 1 <= number <= MAX_ID:
        raise NotFound(f"There is no entry {number}.", field="id")
    return number


def answer(model: BaseModel, *, status: int = 200) -> web.Response:
    """The model as a JSON response."""
    return web.Response(body=model.model_dump_json().encode(), status=status, content_type=JSON)


def parse(data: bytes, model: type[Given], context: Mapping[str, Any]) -> Given:
    """JSON text to an instance of `model`. Raises BadRequest that names the field.

    `context` holds `max_text`, the bound on a text's length in characters.
    """
    try:
        return model.model_validate_json(data, context=dict(context))
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid":
            raise _refusal(error) from None
    _explain_bad_json(data)
    raise BadRequest("The JSON is nested too deeply.")


def _explain_bad_json(data: bytes) -> None:
    """Raises BadRequest that says what is wrong with `data`, where Python's reader can tell."""
    import json  # the forgiving one: it reads lone surrogates, so that their field can be named

    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"This is not UTF-8 (at byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except (RecursionError, ValueError):
        return
    for key, inner in value.items() if isinstance(value, dict) else ():
        try:
            _walk(inner, ())
            _characters(key)
        except ValueError as error:
            raise BadRequest(f"{_printable(key)} {error}.", field=_printable(key)) from None
    raise BadRequest("This is not JSON as RFC 8259 has it.")


def _query(request: web.Request, model: type[Given], context: Mapping[str, Any]) -> Given:
    values: dict[str, Any] = {}
    for part in request.rel_url.raw_query_string.split("&"):
        if not part:
            continue
        raw_key, _, raw_value = part.partition("=")
        key = unquote_plus(raw_key, errors="replace")
        try:
            value = unquote_plus(raw_value, errors="strict")
        except UnicodeDecodeError:
            raise BadRequest(f"{_printable(key)} is not UTF-8.", field=_printable(key)) from None
        field = model.model_fields.get(key)
        if field is not None and "list" in str(field.annotation):
            values.setdefault(key, []).append(value)
        elif key in values:
            raise BadRequest(f"{_printable(key)} is given more than once.", field=_printable(key))
        else:
            values[key] = value
    return check(values, model, context)


def check(values: Mapping[str, Any], model: type[Given], context: Mapping[str, Any]) -> Given:
    """Values by their names to an instance of `model`. Raises BadRequest that names the field; `context` as `parse`."""
    try:
        return model.model_validate(values, context=dict(context))
    except ValidationError as error:
        raise _refusal(error) from None


async def _body(request: web.Request, model: type[Given], context: Mapping[str, Any]) -> Given:
    if request.content_type not in (JSON, "application/octet-stream") and not request.content_type.endswith("+json"):
        # aiohttp calls a body without a type application/octet-stream.
        raise UnsupportedMediaType(f"The body should be JSON (Content-Type: {JSON}).")
    return parse(await read_body(request, request.app[SETTINGS]), model, context)


async def read_body(request: web.Request, settings: Settings, *, images: bool = False) -> bytes:
    """The whole body. Raises PayloadTooLarge over `server.max_body_bytes`, unread where its length is told.

    A body that may hold `images` may be longer by `server.max_image_bytes`; see `wire.check_size`.
    """
    bound = settings.server.max_body_bytes + (settings.server.max_image_bytes if images else 0)
    if (request.content_length or 0) > bound:
        raise _too_large(bound)
    if request.content.is_eof():
        # A small body comes with its head: there is nothing to wait for.
        with broken_off():
            whole = request.content.read_nowait()
        if len(whole) > bound:
            raise _too_large(bound)
        return whole
    pieces = bytearray()
    async for piece in body_pieces(request):
        pieces += piece
        if len(pieces) > bound:
            raise _too_large(bound)
    return bytes(pieces)


def _too_large(bound: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is over {bound} bytes.")


async def body_pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises BadRequest where it breaks off or its encoding is not what it says."""
    with broken_off():
        async for piece in request.content.iter_any():
            yield piece


@contextmanager
def broken_off() -> Iterator[None]:
    """Makes BadRequest of what aiohttp raises where a body breaks off or is not encoded as its headers say."""
    try:
        yield
    except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError) as error:
        raise BadRequest("The body broke off, or is not encoded as its headers say.") from error


@contextmanager
def form_errors() -> Iterator[None]:
    """Makes BadRequest of what aiohttp raises for a form that is none."""
    try:
        with broken_off():
            yield
    except (ValueError, RuntimeError, EOFError, LookupError) as error:
        raise BadRequest("The form cannot be read: it broke off, or is not as its headers say.") from error


def _refusal(error: ValidationError) -> BadRequest:
    first = error.errors(include_url=False)[0]
    field = ".".join(_printable(str(part)) for part in first["loc"]) or None
    message = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    match first["type"]:
        case "extra_forbidden":
            return BadRequest(f"{field} is not known here.", field=field)
        case "missing":
            return BadRequest(f"{field} is missing.", field=field)
        case _:
            return BadRequest(f"{field or 'The body'} {message}.", field=field)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:100]


def envelope(error: GatewayError) -> bytes:
    """The error as the REST endpoints put it."""
    detail: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.field is not None:
        detail["field"] = error.field
    return orjson.dumps({"error": detail})
