"""API keys and what people send: not in logs, not in the processes that decode clips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.running import KEY, ROOT, Service, check_problem

SECRETS = (KEY, "another-key", "wrong-key", "query-key", "path-key", "privately said", "whose.mp4")


def test_no_secret_is_logged(keyed: Service, clip: bytes) -> None:
    files, data = {"video": ("whose.mp4", clip)}, {"transcript": "privately said, really good"}
    ids = []
    for key, status in ((KEY, 200), ("wrong-key", 401), ("another-key", 200)):
        headers = {"Authorization": f"Bearer {key}"}
        answer = keyed.client.post("/predict", files=files, data=data, headers=headers)
        assert answer.status_code == status
        ids.append(answer.headers["x-request-id"])
    bad = keyed.client.post(
        "/predict", files={"video": ("whose.mp4", b"x")}, data=data, headers={"Authorization": KEY}
    )
    check_problem(bad, 401, "unauthorised")
    keyed.client.get("/info", params={"key": "query-key"})
    last = keyed.client.get("/path-key").headers["x-request-id"]
    keyed.wait_for_log(last)
    log = keyed.log()
    assert all(identity in log for identity in ids)
    assert [secret for secret in SECRETS if secret in log] == []


def test_the_keys_are_not_in_the_processes_that_decode(keyed: Service) -> None:
    workers = keyed.workers()
    assert workers
    fork_servers = {_parent(pid) for pid in workers}
    for pid in {*workers, *fork_servers}:
        assert KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert KEY.encode() in Path(f"/proc/{keyed.process.pid}/environ").read_bytes()


def _parent(pid: int) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("PPid:")
    ]
    return int(line.split()[1])


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_variables(log_format: str) -> None:
    code = f"""
import structlog
from service.settings import Settings
from service.telemetry import configure_logging
configure_logging(Settings(log_format={log_format!r}))
def fail(words):
    local = words.upper()
    raise KeyError("told")
try:
    fail("".join(["privately", " said"]))
except KeyError:
    structlog.stdlib.get_logger("x").exception("failed")
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stderr
    assert "told" in shown
    assert "privately said" not in shown.lower()
