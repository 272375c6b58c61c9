from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.errors import ANSWERS
from service.openapi import (
    CLIENT_GONE,
    JOB_EXAMPLE,
    JOB_ONLY,
    JOB_ROUTES,
    NEW_JOB_EXAMPLE,
    PREDICT_EXAMPLE,
    PREDICT_ONLY,
    TIMELINE_ONLY,
)
from service.problems import Problem
from service.schemas import Job, PredictResponse, TimelineResponse
from service.settings import Settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(workers=1)).openapi()


def test_the_example_answer_is_an_answer() -> None:
    PredictResponse.model_validate(PREDICT_EXAMPLE)
    Job.model_validate(JOB_EXAMPLE)
    Job.model_validate(NEW_JOB_EXAMPLE)


def test_every_error_is_documented_with_an_example_of_its_shape(document: dict[str, Any]) -> None:
    by_code = {row.code: row.status for row in ANSWERS.values()}
    shown = set()
    for path in ("/predict", "/timeline", *JOB_ROUTES):
        for operation in document["paths"][path].values():
            responses = operation["responses"]
            for status, response in responses.items():
                if int(status) < 400:
                    continue
                assert list(response["content"]) == ["application/problem+json"]
                for code, entry in response["content"]["application/problem+json"][
                    "examples"
                ].items():
                    example = Problem.model_validate(entry["value"])
                    assert (str(example.status), example.code) == (status, code)
                    assert example.instance.startswith(path.partition("/{")[0])
                    assert by_code[code] == example.status
                    shown.add((path, code))
                if status in {"429", "503"}:
                    assert "Retry-After" in response["headers"]
    everything = {row.code for row in ANSWERS.values() if row.status != CLIENT_GONE}
    # What only becomes of a job that was accepted is shown in none of the refusals.
    assert {code for _, code in shown} == everything - {"job_abandoned"}
    plain = everything - JOB_ONLY
    by_path = {
        path: {code for where, code in shown if where == path} for path in ("/predict", "/timeline")
    }
    assert by_path["/predict"] == plain - TIMELINE_ONLY
    assert by_path["/timeline"] == plain - PREDICT_ONLY


def test_the_success_has_schema_and_example(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/PredictResponse"}
    assert content["application/json"]["example"] == PREDICT_EXAMPLE


def test_a_timeline_has_schema_example_and_pictures(document: dict[str, Any]) -> None:
    content = document["paths"]["/timeline"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "image/svg+xml", "image/png"}
    schema = {"$ref": "#/components/schemas/TimelineResponse"}
    assert content["application/json"]["schema"] == schema
    TimelineResponse.model_validate(content["application/json"]["example"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document)


def test_the_pages_load_nothing_from_elsewhere() -> None:
    async def pages() -> None:
        transport = httpx.ASGITransport(create_app(Settings(workers=1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            page = (await client.get("/docs")).text
            assert "https://" not in page
            for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
                assert asset in page
                response = await client.get(f"/static-offline-docs/{asset}")
                assert response.status_code == 200
                assert len(response.content) > 10_000

    asyncio.run(pages())
