"""Failures in the middle of work, on a real process: what is accepted is answered."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from examples.sample_clip import sample_clip
from tests.service.running import CHECKPOINT, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def short_clip() -> bytes:
    return sample_clip(seconds=1.0, fps=10)


def ask(service: Service, clip: bytes) -> int:
    """The status of an answer; 0 where the connection was refused."""
    address = f"http://127.0.0.1:{service.port}/predict"
    with suppress(httpx.ConnectError):
        return httpx.post(
            address,
            files={"video": ("c.mp4", clip)},
            data={"transcript": "really good"},
            timeout=600,
        ).status_code
    return 0


def test_sigterm_under_full_load_loses_nothing_that_was_accepted(
    tmp_path: Path, short_clip: bytes
) -> None:
    with Service(
        tmp_path / "s",
        checkpoint=CHECKPOINT,
        workers=2,
        queue_clips=6,
        grace_seconds=900,
        deadline_seconds=600,
    ) as service:
        service.wait_for("/readyz")
        with ThreadPoolExecutor(16) as threads:
            first = [threads.submit(ask, service, short_clip) for _ in range(16)]
            while "dpdf_open_requests 0.0" in service.client.get("/metrics").text:
                time.sleep(0.01)
            service.process.send_signal(signal.SIGTERM)
            after = [threads.submit(ask, service, short_clip) for _ in range(4)]
            codes = [future.result() for future in first]
            # 429: the queue was full; 503: it came after the signal. Neither was accepted.
            assert set(codes) <= {200, 429, 503}
            assert 200 in codes
            assert {future.result() for future in after} <= {503, 0}
        assert service.wait() == 0
        failed = [line for line in service.log_lines() if line.get("status") in (500, 504)]
        assert failed == []
        assert list(service.temporary.iterdir()) == []


def test_workers_killed_at_any_moment_cost_no_request(service: Service, short_clip: bytes) -> None:
    chance = random.Random(9)  # noqa: S311
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ask, service, short_clip) for _ in range(12)]
        for _ in range(4):
            time.sleep(chance.uniform(0.05, 0.4))
            if workers := service.workers():
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
        codes = [answer.result() for answer in answers]
    # A clip that loses its second worker as well is told so.
    assert set(codes) <= {200, 503}
    assert codes.count(503) <= 2
    service.wait_for("/readyz")
    assert ask(service, short_clip) == 200


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 1 MiB, where this user may mount one."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_temporary_disk_does_not_matter(tmp_path: Path, short_clip: bytes) -> None:
    """With the operator's OpenFace as well, which needs the disk: the built-in tracker answers."""
    program = tmp_path / "FeatureExtraction"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    with (
        small_disk(tmp_path / "disk") as disk,
        Service(
            tmp_path / "s",
            checkpoint=CHECKPOINT,
            workers=1,
            tmpdir=disk,
            openface_binary=program,
            deadline_seconds=600,
        ) as service,
    ):
        service.wait_for("/readyz")
        with suppress(OSError), (disk / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(4096))
                filler.flush()
        assert shutil.disk_usage(disk).free < 4096
        answer = service.predict(short_clip)
        assert answer.status_code == 200, answer.text
        codes = {warning["code"] for warning in answer.json()["warnings"]}
        assert codes == {"openface_failed"}
        # A worker that starts now finds the disk full.
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        assert service.predict(short_clip).status_code == 200
        assert service.client.get("/readyz").status_code == 200
