"""Long clips over a real socket, through a real worker and the real model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

from benchmarks.timeline_memory import measured, repeated
from examples.sample_clip import sample_clip, voice, write_clip
from service.schemas import TimelineResponse, TimelineSegment
from service.timeline import overall_of, wanted_type
from tests.cutting import cut
from tests.service.running import CHECKPOINT, Service, check_problem

VTT = """WEBVTT

00:00.000 --> 00:02.600
I am so happy to be here

00:02.600 --> 00:03.100
but

00:03.100 --> 00:05.900
it was a terrible day
"""


@pytest.fixture(scope="module")
def talk() -> bytes:
    return sample_clip(seconds=6.0)


def ask(
    service: Service, clip: bytes, transcript: str = VTT, name: str | None = "a.vtt", **headers: str
) -> httpx.Response:
    files: dict[str, Any] = {"video": ("clip.mp4", clip)}
    if name is not None:
        files["transcript"] = (name, transcript.encode())
    data = {} if name is not None else {"transcript": transcript}
    return service.client.post("/timeline", files=files, data=data, headers=headers)


def test_every_caption_gets_the_score_that_predict_gives_for_its_stretch(
    service: Service, talk: bytes
) -> None:
    response = ask(service, talk)
    assert response.status_code == 200, response.text
    assert response.headers["vary"] == "Accept"
    answer = TimelineResponse.model_validate(response.json())
    assert answer.request_id == response.headers["x-request-id"]
    assert answer.warnings == []
    assert set(answer.timings_ms) == {
        *("upload", "decode", "text", "audio", "face", "model", "total")
    }
    spans = [(s.start_seconds, s.end_seconds, s.text) for s in answer.segments]
    assert spans == [
        (0, 2.6, "I am so happy to be here"),
        (2.6, 5.9, "but it was a terrible day"),
    ]
    for segment in answer.segments:
        assert segment.warnings == []
        piece = cut(talk, segment.start_seconds, segment.end_seconds)
        alone = service.predict(piece, segment.text).json()
        assert segment.raw_score == pytest.approx(alone["raw_score"], abs=0.02)
        assert segment.gate.global_ == pytest.approx(alone["gate"]["global"], abs=0.02)
        assert segment.label == alone["label"]
        assert segment.interval is not None
        assert segment.interval.low == pytest.approx(alone["interval"]["low"], abs=0.02)
        assert segment.seen.text.model_dump() == alone["seen"]["text"]
        assert segment.seen.video.model_dump() == alone["seen"]["video"]
    happy, terrible = answer.segments
    assert happy.score > 1
    assert terrible.score < -1
    assert answer.overall.score == pytest.approx(
        (2.6 * happy.score + 3.3 * terrible.score) / 5.9, abs=1e-6
    )
    assert (answer.overall.lowest, answer.overall.highest) == (terrible.score, happy.score)
    assert answer.overall.seconds == 5.9


@pytest.mark.parametrize("name", [None, "captions.json", "captions.txt"])
def test_json_and_text_fields_mean_the_same(
    service: Service, talk: bytes, name: str | None
) -> None:
    captions = [{"start": 0.0, "end": 2.6, "text": "so good"}]
    body = ask(service, talk, json.dumps(captions), name).json()
    (segment,) = body["segments"]
    assert (segment["start_seconds"], segment["end_seconds"]) == (0, 2.6)
    assert segment["text"] == "so good"


def test_a_picture_is_drawn_on_request(service: Service, talk: bytes) -> None:
    png = ask(service, talk, accept="image/png, application/json;q=0.5")
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png.content[16:24]) == (1200, 480)
    svg = ask(service, talk, accept="image/svg+xml")
    assert svg.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(svg.content)  # noqa: S314  our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"Sentiment of 2 segments; weighted mean" in svg.content


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/html", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/svg+xml"),
        ("image/png;q=0.4, application/json;q=0.3", "image/png"),
        ("image/png;q=0.4, application/json;q=0.5", "application/json"),
        ("text/html, image/svg+xml;q=0.9, */*;q=0.1", "image/svg+xml"),
        ("image/png;q=many", "application/json"),
    ],
)
def test_what_is_liked_best_is_given(accept: str, wanted: str) -> None:
    assert wanted_type(accept) == wanted


@pytest.mark.parametrize(
    ("transcript", "name", "status", "code"),
    [
        ("only words", None, 422, "transcript_without_times"),
        ("only words", "words.txt", 422, "transcript_without_times"),
        ("", None, 422, "empty_transcript"),
        ("[]", "a.json", 422, "empty_transcript"),
        ("[1]", "a.json", 422, "invalid_transcript"),
        ("only words", "a.srt", 422, "invalid_transcript"),
        ("WEBVTT\n\n01:00.000 --> 01:02.000\nfar off\n", "a.vtt", 422, "invalid_transcript"),
        ("only words", "a.docx", 415, "unsupported_media_type"),
    ],
)
def test_transcripts_that_do_not_do(
    service: Service, talk: bytes, transcript: str, name: str | None, status: int, code: str
) -> None:
    body = check_problem(ask(service, talk, transcript, name), status, code)
    assert body["param"] == "transcript"
    assert body["instance"] == "/timeline"


def test_clips_and_forms_that_do_not_do(service: Service) -> None:
    assert check_problem(ask(service, b""), 422, "undecodable_clip")["param"] == "video"
    assert "0 bytes" in ask(service, b"").json()["detail"]
    check_problem(ask(service, bytes(range(256)) * 40), 422, "undecodable_clip")
    files: dict[str, Any] = {
        "video": ("c", b"x"),
        "transcript": ("a.vtt", VTT),
        "openface": ("o.csv", b"x"),
    }
    body = check_problem(service.client.post("/timeline", files=files), 422, "unexpected_field")
    assert body["param"] == "openface"
    assert body["detail"].endswith("the fields are video, transcript.")


def test_timelines_have_limits_of_their_own(tight: Service, clip: bytes) -> None:
    check_problem(ask(tight, bytes(2**20 + 1)), 413, "upload_too_large")
    check_problem(ask(tight, clip), 504, "deadline_exceeded")
    until(lambda: "dpdf_open_requests 0.0" in tight.client.get("/metrics").text)
    limits = tight.client.get("/info").json()["limits"]
    assert limits["max_timeline_seconds"] == 7
    assert limits["max_timeline_upload_bytes"] == 2**20
    assert limits["timeline_deadline_seconds"] == 0.05


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_timeline_takes_no_worker_from_predict_and_ends_cleanly(
    tmp_path: Path, talk: bytes, clip: bytes
) -> None:
    long = repeated(talk, 20)
    captions = json.dumps(
        [{"start": 3 * n, "end": 3 * n + 3, "text": "so good"} for n in range(40)]
    )
    with Service(
        tmp_path / "s", checkpoint=CHECKPOINT, workers=1, queue_timelines=1, deadline_seconds=600
    ) as own:
        own.wait_for("/readyz")
        (worker,) = own.workers()

        def taken(clips: int) -> bool:
            """Whether workers have taken so many clips and timelines since the start."""
            count = f'dpdf_stage_seconds_count{{stage="wait_for_worker"}} {clips}.0'
            return count in own.client.get("/metrics").text

        def leave() -> None:
            request = httpx.Request(
                "POST",
                f"http://127.0.0.1:{own.port}/timeline",
                files={"video": ("c.mkv", long), "transcript": ("a.json", captions.encode())},
            )
            with socket.create_connection(("127.0.0.1", own.port)) as line:
                head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
                line.sendall(f"POST /timeline HTTP/1.1\r\n{head}\r\n".encode() + request.read())
                until(lambda: taken(1))
                assert own.predict(clip).status_code == 200
                assert "dpdf_open_requests 1.0" in own.client.get("/metrics").text

        # A client that leaves frees the worker.
        leave()
        until(lambda: 'reason="abandoned"} 1.0' in own.client.get("/metrics").text)
        until(lambda: "dpdf_open_requests 0.0" in own.client.get("/metrics").text)
        # A worker that dies in the middle, when some stretches have their scores, is a clean error.
        assert own.predict(clip).status_code == 200
        before = batches(own)
        with ThreadPoolExecutor(1) as threads:
            lost = threads.submit(ask, own, long, captions, "a.json")
            until(lambda: batches(own) > before)
            (other,) = [pid for pid in own.workers() if pid != worker]
            os.kill(other, signal.SIGKILL)
            check_problem(lost.result(), 503, "worker_failed")
        assert own.predict(clip).status_code == 200
        assert worker in own.workers()


def batches(service: Service) -> int:
    """Calls of the model since the start."""
    text = service.client.get("/metrics").text
    found = re.search(r'dpdf_stage_seconds_count\{stage="model"\} (\d+)', text)
    return int(found[1]) if found else 0


def test_the_mean_counts_length() -> None:
    def segment(start: float, end: float, score: float) -> TimelineSegment:
        return TimelineSegment.model_validate(
            {
                "start_seconds": start,
                "end_seconds": end,
                "text": "a",
                "label": "neutral",
                "score": score,
                "raw_score": score,
                "polarity": "neutral",
                "interval": None,
                "gate": {"global": 0.5, "local": 0.5},
                "warnings": [],
                "seen": {
                    "text": {"present": True, "tokens": 3, "truncated": False},
                    "audio": {"present": False, "seconds": 0, "level_dbfs": None},
                    "video": {
                        "present": False,
                        "frames": 0,
                        "face_share": 0,
                        "source": None,
                        "faces": 0,
                        "chosen_by": None,
                    },
                },
            }
        )

    overall = overall_of([segment(0, 1, 3.0), segment(5, 8, -1.0)])
    assert overall.score == 0.0
    assert overall.seconds == 4
    assert overall_of([segment(2, 2, 1.5)]).score == 1.5


def run_measured(clips: list[tuple[bytes, float]]) -> list[tuple[int, int]]:
    return asyncio.run(measured(clips))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip() -> None:
    sound = write_clip((), voice(10.0), container="matroska")
    blank = np.full((240, 320, 3), 90, np.uint8)
    pictures = write_clip([(n / 2, blank) for n in range(20)], fps=2)
    lengths = [(sound, 20), (sound, 140), (pictures, 40), (pictures, 120)]
    clips = [(repeated(piece, seconds // 10), float(seconds)) for piece, seconds in lengths]
    # In a process of its own: this one's fork server may have been started cold by other tests.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        found = apart.submit(run_measured, clips).result(timeout=300)
    assert [count for count, _ in found] == [5, 35, 10, 30]
    peaks = [peak / 2**20 for _, peak in found]
    # Were they kept, the sound would be 10 MiB more and the pictures 35; the face tracker's own
    # memory is not steady at first.
    assert peaks[1] - peaks[0] < 6
    assert peaks[3] - peaks[2] < 20
