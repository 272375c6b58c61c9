"""Signals, deaths and departures, on processes of their own."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from examples.sample_clip import sample_clip
from service.engine import load_predictor
from service.server import EXIT_DEVICE_LOST
from service.settings import Settings
from tests.service.running import CHECKPOINT, Service, check_problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def long_clip() -> bytes:
    # Long enough to be in work while something happens to it.
    return sample_clip(seconds=30)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    with Service(
        tmp_path / "s", checkpoint=CHECKPOINT, workers=1, grace_seconds=900, deadline_seconds=600
    ) as service:
        service.wait_for("/readyz")
        yield service


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def busy(service: Service) -> bool:
    """Whether a worker has taken the clip."""
    text = service.client.get("/metrics").text
    return 'dpdf_stage_seconds_count{stage="wait_for_worker"} 1.0' in text


def test_sigterm_lets_the_work_in_flight_finish(own: Service, long_clip: bytes) -> None:
    url = f"http://127.0.0.1:{own.port}/predict"
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(
            httpx.post,
            url,
            files={"video": ("c.mp4", long_clip)},
            data={"transcript": "good"},
            timeout=600,
        )
        until(lambda: busy(own))
        own.process.send_signal(signal.SIGTERM)
        draining = own.wait_for("/readyz", 503)
        assert draining.json()["status"] == "draining"
        assert own.client.get("/livez").status_code == 200
        refused = own.predict(b"x")
        check_problem(refused, 503, "shutting_down")
        assert int(refused.headers["retry-after"]) >= 1
        assert answer.result().status_code == 200
    assert own.wait() == 0
    assert list(own.temporary.iterdir()) == []


def test_the_grace_period_ends(tmp_path: Path, clip: bytes) -> None:
    with Service(tmp_path / "s", checkpoint=CHECKPOINT, workers=1, grace_seconds=1) as service:
        service.wait_for("/readyz")
        (worker,) = service.workers()
        # A clip that takes longer than any grace.
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(service.predict, clip)
            until(
                lambda: (
                    "dpdf_open_requests 1.0"
                    in httpx.get(f"http://127.0.0.1:{service.port}/metrics").text
                )
            )
            service.process.send_signal(signal.SIGTERM)
            check_problem(answer.result(), 503, "worker_failed")
        assert service.wait() == 0


def test_a_killed_worker_costs_no_request(own: Service, clip: bytes, long_clip: bytes) -> None:
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(own.predict, long_clip)
        until(lambda: busy(own))
        (worker,) = own.workers()
        kept = threads.submit(
            httpx.post,
            f"http://127.0.0.1:{own.port}/predict",
            files={"video": ("c.mp4", clip)},
            data={"transcript": "good"},
            timeout=600,
        )
        os.kill(worker, signal.SIGKILL)
        assert lost.result().status_code == 200
        assert kept.result().status_code == 200
    assert own.workers() != [worker]
    own.wait_for("/readyz")
    assert 'dpdf_worker_restarts_total{reason="died"} 1.0' in own.client.get("/metrics").text


def test_a_client_that_leaves_frees_the_worker(own: Service, long_clip: bytes) -> None:
    request = httpx.Request(
        "POST",
        f"http://127.0.0.1:{own.port}/predict",
        files={"video": ("c.mp4", long_clip)},
        data={"transcript": "good"},
    )
    with socket.create_connection(("127.0.0.1", own.port)) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        line.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        until(lambda: busy(own))
    until(lambda: "dpdf_open_requests 0.0" in own.client.get("/metrics").text)
    until(lambda: 'reason="abandoned"} 1.0' in own.client.get("/metrics").text)
    text = own.client.get("/metrics").text
    assert 'dpdf_requests_total{method="POST",route="/predict",status="499"} 1.0' in text


def test_a_deadline_ends_the_work(tmp_path: Path, clip: bytes, long_clip: bytes) -> None:
    with Service(tmp_path / "s", checkpoint=CHECKPOINT, workers=1, deadline_seconds=0.2) as service:
        service.wait_for("/readyz")
        check_problem(service.predict(long_clip), 504, "deadline_exceeded")
        until(lambda: 'reason="abandoned"} 1.0' in service.client.get("/metrics").text)
        service.wait_for("/readyz")


def test_probes_answer_under_load(service: Service, clip: bytes) -> None:
    stop = threading.Event()

    def load() -> list[int]:
        codes = []
        while not stop.is_set():
            with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=600) as client:
                files, data = {"video": ("c.mp4", clip)}, {"transcript": "good"}
                codes.append(client.post("/predict", files=files, data=data).status_code)
        return codes

    with ThreadPoolExecutor(4) as threads:
        loads = [threads.submit(load) for _ in range(4)]
        try:
            for path in ("/livez", "/readyz", "/metrics") * 10:
                assert service.client.get(path).status_code == 200
                time.sleep(0.05)
        finally:
            stop.set()
        codes = [code for future in loads for code in future.result()]
    assert set(codes) == {200}


def test_a_lost_device_ends_the_process_for_a_new_start(tmp_path: Path, clip: bytes) -> None:
    with Service(
        tmp_path / "s", module="tests.service.poisoned", checkpoint=CHECKPOINT, workers=1
    ) as service:
        service.wait_for("/readyz")
        check_problem(service.predict(clip), 500, "model_failed")
        assert service.wait() == EXIT_DEVICE_LOST
        assert any("the device is lost" in line["event"] for line in service.log_lines())
        assert list(service.temporary.iterdir()) == []


def test_an_address_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    # TEST-NET-1, RFC 5737: no machine of its own has it.
    with Service(tmp_path / "s", checkpoint=CHECKPOINT, host="192.0.2.1") as broken:
        assert broken.wait() != 0


def test_no_request_waits_until_garbage_is_looked_for_in_the_model() -> None:
    try:
        predictor = load_predictor(Settings(checkpoint=CHECKPOINT))
        assert not any(found is predictor for found in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(found is predictor for found in gc.get_objects())
