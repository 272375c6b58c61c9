from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from starlette.exceptions import HTTPException

from preprocessing.errors import PreprocessingError
from service import errors
from service.app import create_app
from service.errors import ANSWERS, ServiceError, answer_for
from service.settings import Settings
from tests.service.running import check_problem


def every_subclass(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every_subclass(child)


@pytest.mark.parametrize(
    "kind", [*every_subclass(PreprocessingError), *every_subclass(ServiceError)]
)
def test_the_table_has_a_row_of_its_own_for_every_error(kind: type[Exception]) -> None:
    assert kind in ANSWERS


def test_codes_are_unique_and_name_preprocessing_errors_as_they_name_themselves() -> None:
    codes = [row.code for row in ANSWERS.values()]
    assert len(set(codes)) == len(codes)
    for kind in every_subclass(PreprocessingError):
        assert issubclass(kind, PreprocessingError)
        assert ANSWERS[kind].code == kind.code
        assert ANSWERS[kind].status == 422


def test_the_tree_at_the_top_names_every_error_with_its_status() -> None:
    tree = errors.__doc__ or ""
    for kind in every_subclass(ServiceError):
        line = next(
            line
            for line in tree.splitlines()
            if kind.__name__ in line.split()[-1:] or kind.__name__ in line.replace("─", " ").split()
        )
        if kind.__name__ not in {"ServiceError", "MissingField", "UnexpectedField"}:
            assert str(ANSWERS[kind].status) in line


def test_a_new_subclass_is_answered_like_its_base() -> None:
    class Unheard(errors.MissingField):
        pass

    try:
        assert answer_for(Unheard("x")).code == "missing_field"
    finally:
        del Unheard


def test_unknown_exceptions_are_internal_errors() -> None:
    assert answer_for(KeyError("x")) is errors.UNEXPECTED
    assert answer_for(HTTPException(418)).status == 418


def ask(error: Exception) -> httpx.Response:
    """What the app answers when a route raises this."""
    app = create_app(Settings(workers=1))

    @app.get("/raise")
    async def route() -> None:
        raise error

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/raise")

    return asyncio.run(call())


@pytest.mark.parametrize(
    "kind", [k for k in ANSWERS if issubclass(k, ServiceError | PreprocessingError)]
)
def test_every_error_has_the_same_shape(kind: type[Exception]) -> None:
    row = ANSWERS[kind]
    body = check_problem(ask(kind("what was wrong")), row.status, row.code)
    assert body["detail"] == (row.detail or "what was wrong")
    assert body["instance"] == "/raise"
    assert body["param"] == row.param


def test_param_and_retry_after_are_passed_on() -> None:
    response = ask(errors.Overloaded("full", param="video", retry_after_seconds=7))
    assert check_problem(response, 429, "overloaded")["param"] == "video"
    assert response.headers["retry-after"] == "7"


def test_unexpected_errors_leak_nothing() -> None:
    response = ask(RuntimeError("the password is swordfish"))
    check_problem(response, 500, "internal_error")
    assert "swordfish" not in response.text
