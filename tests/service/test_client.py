"""The Python client against the real service, and against answers that no service gives at will."""

from __future__ import annotations

import json
import threading
import time
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import UnionType
from typing import Any, Literal

import pytest

from client.sentiment import (
    Busy,
    InvalidRequest,
    Job,
    JobUnfinished,
    Prediction,
    SentimentClient,
    ServiceFailed,
    Timeline,
    Unauthorised,
    UnexpectedAnswer,
    Unreachable,
)
from examples.sample_clip import sample_clip
from tests.service.running import CHECKPOINT, Service, free_port


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def fits(shape: Any, value: Any) -> bool:
    """Whether a value is of a type; a TypedDict names every key of it, and no other."""
    if typing.is_typeddict(shape) and isinstance(value, dict):
        hints = typing.get_type_hints(shape)
        return set(value) == set(hints) and all(fits(hints[key], value[key]) for key in hints)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is list:
        return isinstance(value, list) and all(fits(arguments[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(arguments[1], x) for x in value.values())
    if origin is Literal:
        return value in arguments
    if origin is UnionType:
        return any(fits(argument, value) for argument in arguments)
    return type(value) is shape


@pytest.fixture
def client(service: Service) -> Iterator[SentimentClient]:
    with SentimentClient(url_of(service)) as found:
        yield found


def test_a_prediction_with_everything(client: SentimentClient, clip: bytes, tmp_path: Path) -> None:
    path, captions = tmp_path / "clip.mp4", tmp_path / "words.vtt"
    path.write_bytes(clip)
    captions.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nreally good\n")
    answer = client.predict(path, captions, explain=True, tracks=True)
    assert fits(Prediction, answer)
    assert answer["explanation"]
    assert answer["explanation"]["transcript"] == "really good"
    assert answer["tracks"]
    plain = client.predict(clip, "really good")
    assert fits(Prediction, plain)
    assert plain["score"] == pytest.approx(answer["score"], abs=1e-4)
    assert (plain["explanation"], plain["tracks"]) == (None, None)


def test_an_openface_file_is_sent_along(client: SentimentClient, clip: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.predict(clip, "good", openface=b"a,b\n1,2\n")
    assert (caught.value.code, caught.value.param) == ("invalid_openface_csv", "openface")


def test_a_request_at_fault_is_told_and_not_repeated(
    client: SentimentClient, service: Service
) -> None:
    with pytest.raises(InvalidRequest, match="undecodable_clip: ") as caught:
        client.predict(b"no clip", "good")
    error = caught.value
    assert (error.status, error.code, error.param) == (422, "undecodable_clip", "video")
    lines = service.wait_for_log(error.request_id)
    assert [line for line in lines if line.get("request_id") == error.request_id]


def test_a_job_from_submission_to_oblivion(client: SentimentClient, clip: bytes) -> None:
    job = client.submit(clip, "really good", idempotency_key="client-1")
    assert fits(Job, job)
    assert client.submit(clip, "really good", idempotency_key="client-1")["id"] == job["id"]
    assert client.result(job["id"])["score"] > 0
    assert fits(Job, client.job(job["id"]))
    client.cancel(job["id"])
    with pytest.raises(InvalidRequest, match="job_not_found"):
        client.job(job["id"])


CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:01.400\nreally good\n"


def test_a_timeline_at_once_and_as_a_job(client: SentimentClient, clip: bytes) -> None:
    found = client.timeline(clip, CAPTIONS)
    assert fits(Timeline, found)
    assert [segment["text"] for segment in found["segments"]] == ["really good"]
    job = client.submit(clip, CAPTIONS, kind="timeline")
    later = client.timeline_result(job["id"])
    assert fits(Timeline, later)
    assert later["overall"]["score"] == pytest.approx(found["overall"]["score"], abs=1e-4)
    with pytest.raises(ValueError, match="of the kind timeline, not predict"):
        client.result(job["id"])


def test_a_job_that_fails_raises_what_a_prediction_would(client: SentimentClient) -> None:
    job = client.submit(b"no clip", "good")
    with pytest.raises(InvalidRequest, match="undecodable_clip: "):
        client.result(job["id"])


def test_a_job_is_not_waited_for_without_end(client: SentimentClient) -> None:
    job = client.submit(sample_clip(seconds=12), "good")
    with pytest.raises(JobUnfinished):
        client.result(job["id"], within_seconds=0)
    client.cancel(job["id"])


def test_a_crowd_before_a_narrow_door_gets_in_by_and_by(tight: Service) -> None:
    clip = sample_clip(seconds=2.5)

    def ask(_: int) -> Prediction:
        with SentimentClient(url_of(tight), attempts=40) as one:
            return one.predict(clip, "good")

    with ThreadPoolExecutor(6) as crowd:
        answers = list(crowd.map(ask, range(6)))
    assert len({answer["request_id"] for answer in answers}) == 6
    refused = 'dpdf_rejected_total{reason="overloaded"}'
    assert refused in tight.client.get("/metrics").text


def test_keys_and_their_limit(tmp_path: Path, clip: bytes) -> None:
    with Service(
        tmp_path / "keyed",
        checkpoint=CHECKPOINT,
        workers=1,
        api_keys="sesame",
        key_requests_per_minute=1,
    ) as keyed:
        keyed.wait_for("/readyz")
        with SentimentClient(url_of(keyed)) as stranger, pytest.raises(Unauthorised):
            stranger.predict(clip, "good")
        with SentimentClient(url_of(keyed), api_key="sesame", longest_wait_seconds=0.5) as guest:
            guest.predict(clip, "good")
            with pytest.raises(Busy) as caught:
                guest.predict(clip, "good")
    assert caught.value.code == "too_often"
    assert caught.value.retry_after_seconds
    assert caught.value.retry_after_seconds >= 1


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[tuple[str, list[float]]]:
    """A server that gives these answers in turn; its address, and when it was asked."""
    times: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[len(times)]
            times.append(time.monotonic())
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", times
        finally:
            server.shutdown()
            thread.join()


def problem(status: int, code: str, **headers: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    body = {"status": status, "code": code, "detail": "d", "param": None, "request_id": "r"}
    kind = {"Content-Type": "application/problem+json"}
    return status, kind | {k.replace("_", "-"): v for k, v in headers.items()}, body


FOUND = (200, {"Content-Type": "application/json"}, {"id": "x"})


def test_retry_after_is_waited_for_to_the_full() -> None:
    script = (problem(429, "overloaded", Retry_After="1"), problem(503, "not_ready"), FOUND)
    with answering(*script) as (url, times), SentimentClient(url) as client:
        assert client.job("x")["id"] == "x"
    assert len(times) == 3
    assert times[1] - times[0] >= 1


def test_attempts_have_an_end() -> None:
    with (
        answering(*[problem(503, "worker_failed")] * 2) as (url, times),
        SentimentClient(url, attempts=2) as client,
        pytest.raises(Busy, match="worker_failed"),
    ):
        client.job("x")
    assert len(times) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(500, "model_failed"), ServiceFailed),
        ((502, {"Content-Type": "text/html"}, "<html>"), UnexpectedAnswer),
    ],
)
def test_what_will_not_go_better_is_not_repeated(
    answer: tuple[int, dict[str, str], Any], kind: type[Exception]
) -> None:
    with (
        answering(answer) as (url, times),
        SentimentClient(url) as client,
        pytest.raises(kind),
    ):
        client.job("x")
    assert len(times) == 1


def test_nobody_there() -> None:
    with (
        SentimentClient(f"http://127.0.0.1:{free_port()}", attempts=2) as client,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1"),
    ):
        client.predict(b"x", "good")
