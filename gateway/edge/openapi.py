"""The OpenAPI 3.1 document, made of the endpoints' own statements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.edge.api import EXTRA_SCHEMAS, FORM, JSON, MAX_ID, Endpoint, ErrorEnvelope

REFERENCE = "#/components/schemas/{model}"
VERSION_OF_API = "1"
# What an endpoint's parameter in the path may be.
PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "id": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "automation": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
}


def document(endpoints: Iterable[Endpoint[Any]], *, max_text: int) -> dict[str, Any]:
    """The whole document. `max_text` is the bound on a text's length, in characters."""
    endpoints = tuple(endpoints)
    inputs = {endpoint.takes for endpoint in endpoints}
    outputs = {model for endpoint in endpoints for model in endpoint.answers.values() if isinstance(model, type)} | {
        ErrorEnvelope
    }
    modes, definitions = models_json_schema(
        [(model, "validation") for model in sorted(inputs, key=_name)]
        + [(model, "serialization") for model in sorted(outputs, key=_name)],
        ref_template=REFERENCE,
    )
    schemas = {**definitions.get("$defs", {}), **EXTRA_SCHEMAS}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        validated = modes[(endpoint.takes, "validation")]
        operation = _operation(endpoint, _resolved(validated, schemas), validated)
        paths.setdefault(endpoint.route_free_path, {})[endpoint.method.lower()] = operation
    for model in inputs:
        if not any(endpoint.has_body and endpoint.takes is model for endpoint in endpoints):
            schemas.pop(model.__name__, None)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "ai-gateway",
            "version": VERSION_OF_API,
            "description": "Memory, training data and answers of a home's assistant.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "member": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A member's token. On loopback and in trusted networks it may be left out: "
                    "then it is the household that speaks.",
                }
            },
        },
    }
    bounded: dict[str, Any] = _bounded(whole, max_text)
    return bounded


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _group(endpoint: Endpoint[Any]) -> str:
    """Under which head it is shown: its path's first part, or the gateway's own pages."""
    return "gateway" if endpoint.everyone or endpoint.path == "/metrics" else endpoint.path.split("/")[1]


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    resolved: Mapping[str, Any] = schemas[reference.rsplit("/", 1)[1]] if reference else schema
    return resolved


def _operation(endpoint: Endpoint[Any], takes: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
        for name in re.findall(r"\{(\w+)\}", endpoint.route_free_path)
    ]
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [_group(endpoint)],
        # {}: the household needs no token where it is trusted.
        "security": [] if endpoint.everyone else [{}, {"member": []}],
    }
    if endpoint.has_body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": reference}}}
    else:
        for name, schema in takes.get("properties", {}).items():
            parameter = {
                "name": name,
                "in": "query",
                "required": name in takes.get("required", ()),
                "schema": {key: value for key, value in schema.items() if key not in ("description", "title")},
            }
            if "description" in schema:
                parameter["description"] = schema["description"]
            parameters.append(parameter)
    if endpoint.streams:
        piecewise = {FORM: {"$ref": REFERENCE.format(model=endpoint.form)}, JSON: {"type": "array"}}
        content = {
            media_type: {"schema": piecewise.get(media_type, {"type": "string"})} for media_type in endpoint.streams
        }
        operation["requestBody"] = {"required": bool(endpoint.form), "content": content}
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {
        **{str(status): _answer(status, model) for status, model in endpoint.answers.items()},
        **{
            str(status): _answer(status, ErrorEnvelope)
            for status in endpoint.failures()
            if status not in endpoint.answers
        },
    }
    if endpoint.events:
        operation["responses"]["200"]["content"]["text/event-stream"] = {}
    return operation


def _answer(status: int, model: type[BaseModel] | str | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(model, str):
        response["content"] = {model: {"schema": {"type": "object" if model == JSON else "string"}}}
    elif model is not None:
        response["content"] = {JSON: {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
    return response


def _bounded(schema: Any, max_text: int) -> Any:
    """The same with what the types of fields left open: the settings' bound on text, references to EXTRA_SCHEMAS."""
    if isinstance(schema, dict):
        if "$ref to" in schema:
            return {"$ref": REFERENCE.format(model=schema["$ref to"])}
        return {
            key: max_text if key == "maxLength" and value == "text bound" else _bounded(value, max_text)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_bounded(inner, max_text) for inner in schema]
    return schema
