"""API keys, a limit a key, and browsers from elsewhere."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

KEYS = "correct-horse, battery-staple"


def client(**settings: object) -> TestClient:
    """The app without its lifespan: nothing is loaded, so who may ask is answered 503."""
    app = create_app(Settings(**settings))  # type: ignore[arg-type]
    return TestClient(app, raise_server_exceptions=False)


def ask(app: TestClient, authorization: str | None = None) -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = app.post("/predict", headers=headers)
    return answer.status_code, answer.json()["code"]


@pytest.fixture(scope="module")
def keyed() -> TestClient:
    return client(api_keys=KEYS)


def test_without_keys_nobody_is_asked_for_one() -> None:
    assert ask(client()) == (503, "not_ready")
    assert "securitySchemes" not in client().get("/openapi.json").json()["components"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer correct-horse, battery-staple",
        "Basic correct-horse",
        "correct-horse",
        "Bearer correct-hors",
        "Bearer correct-horse2",
        "Bearer caf\u00e9",
    ],
)
def test_a_request_without_a_known_key_is_refused(
    keyed: TestClient, authorization: str | None
) -> None:
    given = None if authorization is None else authorization.encode("utf-8").decode("latin-1")
    answer = keyed.post(
        "/predict", headers={} if given is None else [(b"Authorization", given.encode("latin-1"))]
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["param"] == "Authorization"


@pytest.mark.parametrize("key", ["correct-horse", "battery-staple"])
def test_each_key_lets_in(keyed: TestClient, key: str) -> None:
    assert ask(keyed, f"Bearer {key}") == (503, "not_ready")
    assert ask(keyed, f"bearer  {key} ") == (503, "not_ready")


def test_probes_and_documents_are_open(keyed: TestClient) -> None:
    assert keyed.get("/livez").status_code == 200
    assert keyed.get("/readyz").status_code == 503
    for path in ("/metrics", "/info", "/docs", "/openapi.json"):
        assert keyed.get(path).status_code == 200, path
    document = keyed.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["paths"]["/predict"]["post"]["security"] == [{"key": []}]


def test_a_key_s_requests_are_counted_apart_from_another_s() -> None:
    app = client(api_keys=KEYS, key_requests_per_minute=2)
    first, second = "Bearer correct-horse", "Bearer battery-staple"
    # Requests without a known key use up nobody's.
    assert [ask(app)[0] for _ in range(3)] == [401] * 3
    assert [ask(app, first)[0] for _ in range(2)] == [503, 503]
    answer = app.post("/predict", headers={"Authorization": first})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_often")
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert ask(app, second)[0] == 503


def test_keys_are_not_shown(keyed: TestClient) -> None:
    settings = Settings(api_keys=KEYS)  # type: ignore[arg-type]
    assert "horse" not in repr(settings)
    assert "horse" not in str(settings.model_dump())
    assert "horse" not in keyed.get("/info").text


def test_pages_of_other_origins_may_call_where_they_are_named() -> None:
    origin = "https://app.example.org"
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    closed = client()
    assert (
        "access-control-allow-origin"
        not in closed.get("/livez", headers={"Origin": origin}).headers
    )
    named = client(cors_origins=f"{origin}, https://other.example.org", api_keys=KEYS)
    assert (
        named.options("/predict", headers=preflight).headers["access-control-allow-origin"]
        == origin
    )
    refused = named.post("/predict", headers={"Origin": origin})
    # A page can read why it was refused.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == origin
    assert "X-Request-ID" in refused.headers["access-control-expose-headers"]
    stranger = named.get("/livez", headers={"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in stranger.headers
