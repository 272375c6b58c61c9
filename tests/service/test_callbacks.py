"""Callbacks: signed, tried again, sent where the operator admits it and nowhere else."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from service.callbacks import Callbacks
from service.errors import InvalidField
from service.settings import Settings
from tests.service.running import CHECKPOINT, Service, check_problem
from tests.service.test_jobs import accepted, finished, submit, wait_until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver:
    """A small server on this machine; answers what it is told to, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        answers = list(statuses)
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append((self.path, dict(self.headers), body))
                self.send_response(answers.pop(0) if answers else 204)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    # A redirect is a failure like any other, and is not followed.
    found = Receiver(307, 500)
    yield found
    found.close()


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Service]:
    with Service(
        tmp_path_factory.mktemp("calling"),
        checkpoint=CHECKPOINT,
        workers=1,
        callback_secret=SECRET,
        callback_origins=f"https://hooks.example.org, {receiver.origin}",
    ) as running:
        running.wait_for("/readyz")
        yield running


def test_the_end_of_a_job_is_told_until_it_is_received(
    calling: Service, receiver: Receiver, clip: bytes
) -> None:
    location = accepted(calling, clip, {"callback_url": f"{receiver.origin}/hook?token=private"})
    job = finished(calling, location)
    wait_until(lambda: 'dpdf_callbacks_total{outcome="received"} 1.0' in metrics(calling))
    assert 'dpdf_callbacks_total{outcome="failed"} 2.0' in metrics(calling)
    assert [path for path, _, _ in receiver.requests] == ["/hook?token=private"] * 3
    for _, headers, body in receiver.requests:
        assert Webhook(SECRET).verify(body, headers) == job
        assert headers["webhook-id"] == job["id"]
    _, headers, body = receiver.requests[-1]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"done", b"gone"), headers)
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "private"):
        assert secret not in calling.log()


def metrics(service: Service) -> str:
    return service.client.get("/metrics").text


def test_a_failed_job_is_told_too(calling: Service, receiver: Receiver) -> None:
    accepted(calling, b"no clip", {"callback_url": f"{receiver.origin}/failed"})

    def told() -> list[bytes]:
        return [body for path, _, body in receiver.requests if path == "/failed"]

    wait_until(lambda: len(told()) == 1)
    assert json.loads(told()[0])["problem"]["code"] == "undecodable_clip"


def test_other_hosts_are_refused(calling: Service, clip: bytes) -> None:
    answer = submit(calling, clip, {"callback_url": "http://169.254.169.254/latest"})
    assert check_problem(answer, 422, "invalid_field")["param"] == "callback_url"


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://hooks.example.org/any/path?query", True),
        ("https://hooks.example.org:443", True),
        ("HTTPS://Hooks.Example.ORG/", True),
        ("http://hooks.example.org/", False),
        ("https://hooks.example.org:8443/", False),
        ("https://hooks.example.org.evil.example/", False),
        ("https://evil.example/hooks.example.org", False),
        ("https://hooks.example.org@evil.example/", False),
        ("https://evil.example@hooks.example.org/", False),
        ("https://evil.example\\@hooks.example.org/", False),
        ("https://evil.example#@hooks.example.org/", False),
        ("https://127.0.0.1/", False),
        ("https:///hook", False),
        ("//hooks.example.org/", False),
        ("file:///etc/passwd", False),
        ("https://hooks.example.org\r\nHost: evil/", False),
        ("https://hooks.example.org:99999/", False),
        ("", False),
    ],
)
def test_only_the_origins_that_are_listed_are_admitted(url: str, admitted: bool) -> None:
    callbacks = Callbacks(
        Settings(callback_secret=SECRET, callback_origins="https://hooks.example.org")  # type: ignore[arg-type]
    )
    if admitted:
        callbacks.check(url)
    else:
        with pytest.raises(InvalidField):
            callbacks.check(url)


def test_without_a_secret_there_are_none() -> None:
    with pytest.raises(InvalidField, match="makes no callbacks"):
        Callbacks(Settings()).check("https://hooks.example.org/")


@pytest.mark.parametrize(
    "settings",
    [
        {"callback_secret": SECRET},
        {"callback_origins": "https://hooks.example.org"},
        {"callback_secret": "whsec_c2hvcnQ=", "callback_origins": "https://a.example"},
        {"callback_secret": "x" * 40, "callback_origins": "https://a.example"},
        {"callback_secret": SECRET, "callback_origins": "hooks.example.org"},
    ],
)
def test_half_a_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_the_process_does_not_show_a_bad_secret(tmp_path: Path) -> None:
    with Service(tmp_path / "s", callback_secret="whsec_swordfish") as broken:
        assert broken.wait() == 2
        assert "DPDF_CALLBACK_SECRET" in broken.log()
        assert "swordfish" not in broken.log()
