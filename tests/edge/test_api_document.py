"""The OpenAPI document is true: schemathesis asks by it and finds no 500 and no undocumented answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.edge.routes import ENDPOINTS
from tests.house import House
from tests.household import Client, Household

# Turns want a whole gateway, and a model: see below. What happens at home has no end.
OPERATIONS = [endpoint for endpoint in ENDPOINTS if endpoint.path not in ("/conversation", "/home/events")]


@schemathesis.serializer("application/x-ndjson")
def _lines(_: object, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


async def test_the_document_has_every_endpoint(client: Client) -> None:
    document = await (await client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    stated = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert stated == {(endpoint.method, endpoint.route_free_path) for endpoint in ENDPOINTS}
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    assert '"text bound"' not in json.dumps(document)
    assert '"$ref to"' not in json.dumps(document)


@pytest.mark.parametrize("endpoint", OPERATIONS, ids=lambda endpoint: endpoint.name)
async def test_answers_are_as_documented(household: Household, endpoint: Any) -> None:
    async with household.client() as client:
        await client.post("/memory/add", json={"content": "something", "tags": ["t"]})
        await client.post("/preferences/set", json={"key": "k", "value": {"v": 1}, "category": "c"})
        document = await (await client.get("/openapi.json")).json()
        url = str(client.make_url("/"))
        await asyncio.to_thread(_ask, document, url, endpoint.method, endpoint.route_free_path)


async def test_a_turn_is_answered_as_documented(house: House) -> None:
    async with house.client.get("/openapi.json") as response:
        document = await response.json()
    await asyncio.to_thread(_ask, document, house.url, "POST", "/conversation")


def _ask(document: dict[str, Any], url: str, method: str, path: str) -> None:
    """Calls one operation with what fits the document and with what does not."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url.rstrip("/"))
    operation = schema[path][method]
    _run(operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
    stated = document["paths"][path][method.lower()]
    if "parameters" in stated or "requestBody" in stated:
        _run(operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))


def _run(strategy: Any) -> None:
    from hypothesis import given

    @given(case=strategy)
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        response = case.call(headers={"X-Request-Id": "schemathesis"})
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    call()


async def test_the_page_needs_no_other_host(client: Client) -> None:
    for path, kind in (("/docs", "text/html"), ("/docs/docs.js", "text/javascript"), ("/docs/docs.css", "text/css")):
        answer = await client.get(path)
        assert answer.status == 200
        assert answer.content_type == kind
        text = await answer.text()
        assert "http://" not in text
        assert "https://" not in text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
