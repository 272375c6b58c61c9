"""The page's files: types, caching, and that they lead to nothing elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.pages import FOLDER
from service.settings import Settings

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = sorted(FOLDER.iterdir())


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(Settings(workers=1)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_served_with_its_type_and_may_load_nothing_from_elsewhere(
    client: TestClient, file: Path
) -> None:
    response = client.get(f"/page/{file.name}")
    assert response.status_code == 200
    assert response.content == file.read_bytes()
    assert response.headers["content-type"] == TYPES[file.suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert not re.search(r"unsafe|https?:|\*", " ".join(policy))


def test_the_page_is_at_the_root_and_kept_until_it_changes(client: TestClient) -> None:
    page = client.get("/")
    assert page.content == (FOLDER / "index.html").read_bytes()
    assert page.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert client.head("/").headers["content-length"] == str(len(page.content))


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page/"]
)
def test_what_is_not_of_the_page_is_a_problem_document(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_openapi_does_not_list_the_page(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/page")]


def test_what_the_files_name_is_there_and_on_this_host() -> None:
    for file in FILES:
        text = file.read_text()
        assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) <= {"http://www.w3.org"}, file
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert (FOLDER / module).is_file(), f"{file.name} imports {module}"
    for asset in re.findall(r'(?:href|src)="page/([^"]+)"', (FOLDER / "index.html").read_text()):
        assert (FOLDER / asset).is_file()


def test_info_says_whether_a_key_is_needed(client: TestClient) -> None:
    assert client.get("/info").json()["needs_key"] is False
    keyed = TestClient(create_app(Settings(workers=1, api_keys="secret")))  # type: ignore[arg-type]
    assert keyed.get("/info").json()["needs_key"] is True
