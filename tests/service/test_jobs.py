"""Jobs over HTTP: accepted, run, watched, cancelled, repeated, refused, forgotten."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.sample_clip import sample_clip
from service.problems import Problem
from service.schemas import Job, PredictResponse, TimelineResponse
from tests.service.running import CHECKPOINT, Service, check_problem


@pytest.fixture(scope="module")
def long_clip() -> bytes:
    # So long that its progress is seen, which is looked at every half second.
    return sample_clip(seconds=36)


def submit(
    service: Service,
    clip: bytes,
    fields: Mapping[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    return service.client.post(
        "/jobs",
        files={"video": ("clip", clip)},
        data={"transcript": "this is really good", **(fields or {})},
        headers=headers,
    )


def accepted(service: Service, clip: bytes, fields: Mapping[str, str] | None = None) -> str:
    response = submit(service, clip, fields)
    assert response.status_code == 202, response.text
    return response.headers["location"]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def finished(service: Service, location: str) -> dict[str, Any]:
    """The job, once it is finished."""
    job: dict[str, Any] = {}

    def over() -> bool:
        response = service.client.get(location)
        assert response.status_code == 200, response.text
        job.update(response.json())
        return job["state"] not in {"queued", "running"}

    wait_until(over)
    return job


def begun(service: Service, location: str) -> None:
    """Wait until a job is running."""
    job: dict[str, Any] = {"state": "queued"}
    end = time.monotonic() + 600
    while job["state"] == "queued":
        assert time.monotonic() < end
        job = service.client.get(location).json()
        time.sleep(0.02)
    assert job["state"] == "running", job


def test_the_life_of_a_job(service: Service, clip: bytes) -> None:
    response = submit(service, clip, {"kind": "predict"})
    assert response.status_code == 202
    new = Job.model_validate_json(response.text)
    assert (new.kind, new.state, new.progress) == ("predict", "queued", 0.0)
    assert (new.result, new.problem, new.expires) == (None, None, None)
    assert response.headers["location"] == f"/jobs/{new.id}"
    assert len(new.id) >= 22

    job = Job.model_validate(finished(service, response.headers["location"]))
    assert (job.state, job.progress, job.problem) == ("done", 1.0, None)
    assert isinstance(job.result, PredictResponse)
    plain = PredictResponse.model_validate_json(service.predict(clip).text)
    assert job.result.score == pytest.approx(plain.score, abs=1e-4)
    assert job.result.request_id == response.headers["x-request-id"]
    assert job.started is not None
    assert job.finished is not None
    assert job.expires is not None
    assert job.created <= job.started <= job.finished < job.expires

    location = response.headers["location"]
    assert service.client.delete(location).status_code == 204
    check_problem(service.client.get(location), 404, "job_not_found")
    check_problem(service.client.delete(location), 404, "job_not_found")
    check_problem(service.client.get(f"{location}/events"), 404, "job_not_found")


def test_a_job_explains_its_score_and_draws_its_clip(service: Service, clip: bytes) -> None:
    key = {"Idempotency-Key": "explained"}
    response = submit(service, clip, {"explain": "true", "tracks": "true"}, key)
    result = Job.model_validate(finished(service, response.headers["location"])).result
    assert isinstance(result, PredictResponse)
    assert result.explanation is not None
    assert result.tracks is not None
    # Without them it is another request.
    check_problem(submit(service, clip, headers=key), 422, "idempotency_key_reused")


CAPTIONS = json.dumps(
    [
        {"start": 6.0 * number, "end": 6.0 * number + 6.0, "text": text}
        for number, text in enumerate(["so good", "it was terrible", "I love it"] * 2)
    ]
)


def test_a_timeline_is_a_job_with_progress(service: Service, long_clip: bytes) -> None:
    fields = {"kind": "timeline", "transcript": CAPTIONS}
    location = accepted(service, long_clip, fields)
    seen = events(service, location)
    assert [name for name, _ in seen] == ["progress"] * (len(seen) - 1) + ["done"]
    shares = [job["progress"] for _, job in seen]
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    job = Job.model_validate(seen[-1][1])
    assert isinstance(job.result, TimelineResponse)
    plain = service.client.post(
        "/timeline", files={"video": ("clip", long_clip)}, data={"transcript": CAPTIONS}
    )
    expected = TimelineResponse.model_validate_json(plain.text)
    assert len(job.result.segments) == 6
    for mine, theirs in zip(job.result.segments, expected.segments, strict=True):
        assert (mine.start_seconds, mine.text) == (theirs.start_seconds, theirs.text)
        assert mine.score == pytest.approx(theirs.score, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "fields", "status", "code", "param"),
    [
        ("a.json", {"kind": "predict"}, 415, "unsupported_media_type", "transcript"),
        ("a.vtt", {"kind": "timeline", "explain": "true"}, 422, "unexpected_field", "explain"),
        ("a.vtt", {"kind": "timeline", "tracks": "yes"}, 422, "invalid_field", "tracks"),
    ],
)
def test_each_kind_has_its_own_form(
    service: Service,
    clip: bytes,
    name: str,
    fields: dict[str, str],
    status: int,
    code: str,
    param: str,
) -> None:
    files = {"video": ("clip", clip), "transcript": (name, b"[]")}
    response = service.client.post("/jobs", files=files, data=fields)
    assert check_problem(response, status, code)["param"] == param


def test_a_job_fails_with_the_problem_of_the_plain_route(service: Service) -> None:
    location = accepted(service, b"this is no clip")
    job = finished(service, location)
    assert (job["state"], job["result"]) == ("failed", None)
    problem = Problem.model_validate(job["problem"])
    plain = service.predict(b"this is no clip").json()
    for name in ("type", "title", "status", "detail", "code", "param"):
        assert getattr(problem, name) == plain[name]
    assert problem.instance == location


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"kind": "dance"}, 422, "invalid_field", "kind"),
        ({"surprise": "x"}, 422, "unexpected_field", "surprise"),
        ({"kind": "x" * 3000}, 413, "upload_too_large", "kind"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    service: Service, clip: bytes, fields: dict[str, str], status: int, code: str, param: str
) -> None:
    problem = check_problem(submit(service, clip, fields), status, code)
    assert problem["param"] == param


def test_a_repeated_request_leads_to_the_same_job(service: Service, clip: bytes) -> None:
    key = {"Idempotency-Key": "6f1c5a9e-0001"}
    first = submit(service, clip, headers=key)
    again = submit(service, clip, headers=key)
    assert again.status_code == 202
    assert again.headers["location"] == first.headers["location"]
    other = submit(service, clip, {"transcript": "something else"}, headers=key)
    problem = check_problem(other, 422, "idempotency_key_reused")
    assert problem["param"] == "Idempotency-Key"
    assert submit(service, clip).headers["location"] != first.headers["location"]
    # Finished or not: the key stands for the job until that is forgotten.
    finished(service, first.headers["location"])
    assert submit(service, clip, headers=key).json()["state"] == "done"
    service.client.delete(first.headers["location"])
    new = submit(service, clip, headers=key)
    assert new.headers["location"] != first.headers["location"]
    bad = submit(service, clip, headers={"Idempotency-Key": "two words"})
    check_problem(bad, 422, "invalid_field")


def events(service: Service, location: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of a job; the server ends the stream after the last one."""
    found: list[tuple[str, dict[str, Any]]] = []
    with service.client.stream("GET", f"{location}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                found.append((name, json.loads(value)))
    return found


def test_the_last_event_is_the_job_as_it_ended(service: Service, clip: bytes) -> None:
    location = accepted(service, clip)
    *before, (name, job) = events(service, location)
    assert {name for name, _ in before} <= {"progress"}
    assert name == "done"
    assert job == service.client.get(location).json()
    # Who comes late is told the end at once.
    assert events(service, location) == [("done", job)]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Keys, little room for jobs, and results that do not keep."""
    with Service(
        tmp_path_factory.mktemp("narrow"),
        checkpoint=CHECKPOINT,
        workers=1,
        api_keys="alpha-key,beta-key",
        job_queue=2,
        job_keep_seconds=2,
    ) as running:
        running.client.headers["Authorization"] = "Bearer alpha-key"
        running.wait_for("/readyz")
        yield running


def test_a_job_is_its_owner_s(narrow: Service, clip: bytes) -> None:
    location = accepted(narrow, clip)
    stranger = {"Authorization": "Bearer beta-key"}
    for path in (location, f"{location}/events"):
        check_problem(narrow.client.get(path, headers=stranger), 404, "job_not_found")
        nobody = narrow.client.get(path, headers={"Authorization": ""})
        check_problem(nobody, 401, "unauthorised")
    check_problem(narrow.client.delete(location, headers=stranger), 404, "job_not_found")
    assert finished(narrow, location)["state"] == "done"
    # The same key of an owner's and a stranger's are two.
    key = {"Idempotency-Key": "k"}
    mine, theirs = (submit(narrow, clip, headers={**key, **h}) for h in ({}, stranger))
    assert mine.headers["location"] != theirs.headers["location"]
    finished(narrow, mine.headers["location"])
    narrow.client.delete(theirs.headers["location"], headers=stranger)


def test_a_running_job_is_cancelled_and_a_full_queue_refuses(
    narrow: Service, clip: bytes, long_clip: bytes
) -> None:
    running = accepted(narrow, long_clip)
    queued = accepted(narrow, long_clip)
    refused = submit(narrow, clip)
    check_problem(refused, 429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    begun(narrow, running)

    for location in (queued, running):
        cancelled = narrow.client.delete(location)
        assert cancelled.status_code == 200
        assert cancelled.json()["state"] == "cancelled"
    # The worker does not go on with it.
    wait_until(lambda: 'reason="abandoned"} 1.0' in narrow.client.get("/metrics").text)
    assert narrow.client.get(running).json()["state"] == "cancelled"
    assert narrow.client.delete(running).status_code == 204
    assert finished(narrow, accepted(narrow, clip))["state"] == "done"


def test_a_result_expires(narrow: Service, clip: bytes) -> None:
    location = accepted(narrow, clip)
    job = finished(narrow, location)
    kept = datetime.fromisoformat(job["expires"]) - datetime.fromisoformat(job["finished"])
    assert kept.total_seconds() == pytest.approx(2)
    wait_until(lambda: narrow.client.get(location).status_code == 404)


@pytest.mark.slow
def test_a_restart_loses_no_job(tmp_path: Path, clip: bytes, long_clip: bytes) -> None:
    settings: dict[str, Any] = {
        "checkpoint": CHECKPOINT,
        "workers": 1,
        "job_lease_seconds": 2,
        "grace_seconds": 0.5,
        "job_directory": tmp_path / "jobs",
    }
    locations: list[str] = []
    # Killed in the middle, then told to stop in the middle.
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with Service(tmp_path / number.name, **settings) as stopped:
            stopped.wait_for("/readyz")
            locations = locations or [accepted(stopped, c) for c in (long_clip, clip)]
            begun(stopped, locations[0])
            assert stopped.terminate(number) == code
    with Service(tmp_path / "last", **settings) as last:
        last.wait_for("/readyz")
        for location in locations:
            assert finished(last, location)["state"] == "done"
        # A job is counted a moment after its end is stored, once its clip is dropped.
        count = 'dpdf_jobs_finished_total{kind="predict",state="done"} 2.0'
        wait_until(lambda: count in last.client.get("/metrics").text)
        # Nothing of the clips is left.
        wait_until(lambda: (tmp_path / "jobs" / "jobs.sqlite").stat().st_size < len(clip))
