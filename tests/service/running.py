"""A service process of its own for the tests, on a real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = Path(
    os.environ.get("DPDF_TEST_CHECKPOINT", ROOT / "model" / "weights" / "default.safetensors")
)
"""The weights that the tests serve: what ships, or those of somebody who trains."""

KEY = "correct-horse-battery-staple"
"""An API key of the service that asks for one."""

START_SECONDS = 900.0
"""As long as it takes on a machine that trains a model meanwhile; a hang, not a speed, fails."""


class Service:
    """``python -m service`` (or another module that runs it) with settings of its own.

    A prefix is a command that runs it, such as strace; `tmpdir` takes the place of a temporary
    folder of its own.
    """

    def __init__(
        self,
        folder: Path,
        module: str = "service",
        *,
        prefix: Sequence[str] = (),
        tmpdir: Path | None = None,
        **settings: object,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self._log = folder / "log"
        self.port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DPDF_")}
        settings = {"job_directory": folder / "jobs", **settings}
        environment |= {f"DPDF_{k.upper()}": str(v) for k, v in settings.items()}
        environment |= {"DPDF_PORT": str(self.port), "TMPDIR": str(tmpdir or self.temporary)}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module], cwd=ROOT, env=environment, stderr=log
            )
        self._prefixed = bool(prefix)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600)

    def wait_for(self, path: str, status: int = 200) -> httpx.Response:
        """Ask until the answer has this status."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log()
            try:
                response = self.client.get(path)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == status:
                return response
            if response is not None and path == "/readyz":
                # What will never turn green is not waited for.
                assert response.json()["status"] != "not_ready", response.text
            time.sleep(0.05)
        raise AssertionError(f"{path} was never answered {status}:\n{self.log()}")

    def predict(
        self,
        clip: bytes,
        transcript: str = "this is really good",
        fields: dict[str, str] | None = None,
        **files: Any,
    ) -> httpx.Response:
        return self.client.post(
            "/predict",
            files={"video": ("clip", clip), **files},
            data={"transcript": transcript, **(fields or {})},
        )

    def server_pid(self) -> int:
        """Process id of the server itself."""
        return _children(self.process.pid)[0] if self._prefixed else self.process.pid

    def workers(self) -> list[int]:
        """Process ids of the workers: the children of the fork server."""
        servers = _children(self.server_pid())
        return [pid for server in servers for pid in _children(server)]

    def log(self) -> str:
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]

    def wait_for_log(self, request_id: str) -> list[dict[str, Any]]:
        """All lines, once one of this request is there: it is written after the answer is sent."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            whole = self.log().rpartition("\n")[0]
            lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
            if any(line.get("request_id") == request_id for line in lines):
                return lines
            time.sleep(0.05)
        raise AssertionError(f"{request_id} was never logged:\n{self.log()}")

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        os.kill(self.server_pid(), number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(600)
        self.client.close()
        return code

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    found = [listing, *Path(f"/proc/{pid}/task").glob("*/children")]
    pids = {int(child) for file in found if file.exists() for child in file.read_text().split()}
    return sorted(pids)


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The one shape of all errors."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {
        *("type", "title", "status", "detail"),
        *("instance", "code", "param", "request_id"),
    }
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"urn:dpdf:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body
