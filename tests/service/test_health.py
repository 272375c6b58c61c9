from __future__ import annotations

import time
import tomllib
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from service.health import SOURCE_VERSION
from service.settings import Settings
from tests.service.running import CHECKPOINT, ROOT, Service, check_problem


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == SOURCE_VERSION


def test_probes_say_yes(service: Service) -> None:
    assert service.client.get("/livez").json() == {"status": "alive", "reasons": []}
    assert service.client.get("/readyz").json() == {"status": "ready", "reasons": []}
    assert service.client.get("/v2/health/live").json() == {"live": True}
    assert service.client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.slow
def test_a_connection_outlasts_a_wait(service: Service) -> None:
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        for pause in (6, 0):
            # Where the server has closed it meanwhile this fails.
            connection.request("GET", "/livez")
            assert connection.getresponse().read()
            time.sleep(pause)


def test_info_and_metadata_say_what_is_served(service: Service) -> None:
    info = service.client.get("/info").json()
    assert info["status"] == "ready"
    assert info["workers"] == 2
    assert info["worker_sandbox"]["mode"] == "auto"
    assert info["limits"]["max_upload_bytes"] == Settings().max_upload_bytes
    assert info["model"]["feature_schema"] == info["features"]["fingerprint"]
    model = service.client.get(f"/v2/models/{info['model']['name']}").json()
    assert model["versions"] == [info["model"]["version"]]
    assert model["inputs"][1]["shape"] == [-1, -1, len(info["features"]["audio_columns"])]


def test_metrics_have_route_templates_only(service: Service) -> None:
    service.client.get("/some/secret/path")
    service.client.get("/v2/models/whoever")
    service.client.request("PROPFIND", "/livez")
    text = service.client.get("/metrics").text
    assert 'route="unmatched"' in text
    assert 'route="/v2/models/{name}"' in text
    assert 'method="other"' in text
    for leaked in ("secret", "whoever", "PROPFIND"):
        assert leaked not in text
    for name in (
        *("dpdf_requests_total", "dpdf_request_seconds", "dpdf_stage_seconds", "dpdf_queue_clips"),
        *("dpdf_batch_clips", "dpdf_worker_restarts", "dpdf_rejected_total", "dpdf_workers_ready"),
        *("dpdf_ready", "dpdf_device_memory_bytes", "dpdf_held_bytes", "dpdf_open_requests"),
    ):
        assert name in text


def test_request_ids_come_back_or_are_made(service: Service) -> None:
    given = service.client.get("/livez", headers={"X-Request-ID": "abc-123.x_y"})
    assert given.headers["x-request-id"] == "abc-123.x_y"
    for bad in (b"a b", b"x" * 129, b"<script>", b"\xe9"):
        made = service.client.get("/livez", headers={b"X-Request-ID": bad})
        assert len(made.headers["x-request-id"]) == 32


def test_every_log_line_is_json_and_those_of_requests_carry_the_id(service: Service) -> None:
    service.client.get("/nowhere", headers={"X-Request-ID": "find-me-in-the-log"})
    lines = service.wait_for_log("find-me-in-the-log")
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    mine = [line for line in lines if line.get("request_id") == "find-me-in-the-log"]
    assert [(line["status"], line["code"]) for line in mine] == [(404, "not_found")]
    assert all("request_id" in line for line in lines if line["event"] == "request")


def test_a_service_without_weights_lives_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    with Service(tmp_path / "s", checkpoint=tmp_path / "none.safetensors", workers=1) as service:
        service.wait_for("/livez")
        until_said = service.wait_for("/readyz", 503)
        while until_said.json()["status"] == "loading":
            until_said = service.client.get("/readyz")
        assert until_said.json()["status"] == "not_ready"
        assert "none.safetensors" in until_said.json()["reasons"][0]
        response = service.predict(b"x")
        check_problem(response, 503, "not_ready")
        assert int(response.headers["retry-after"]) >= 1
        assert service.client.get("/info").json()["model"] is None
        assert service.terminate() == 0


def test_probes_answer_while_the_model_loads(tmp_path: Path) -> None:
    with Service(tmp_path / "s", checkpoint=CHECKPOINT, workers=1) as service:
        service.wait_for("/livez")
        first = service.client.get("/readyz")
        assert (first.status_code, first.json()["status"]) == (503, "loading")
        check_problem(service.predict(b"x"), 503, "not_ready")
        assert service.terminate() == 0
        assert list(service.temporary.iterdir()) == []


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_documentation_is_served(service: Service, path: str) -> None:
    response: httpx.Response = service.client.get(path)
    assert response.status_code == 200
