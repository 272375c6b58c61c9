"""A worker that is killed in the middle of each stage: its clip goes to another one."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from examples.sample_clip import sample_clip
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.settings import MIB
from service.worker import prepare_worker
from service.worker_extraction import extract_clip
from service.worker_jobs import Job
from service.worker_limits import WorkerLimits
from tests.service.test_extraction import restarts, run, until

STAGES = {
    "text": ("preprocessing.text", "WordPiece", "encode"),
    "decode": ("preprocessing.decode", "ClipReader", "picture"),
    "sound": ("preprocessing.audio", "analyse"),
    "face": ("preprocessing.sight", "FaceGraphs", "follow"),
    "answer": ("preprocessing.tensors", "to_sample"),
}
"""What a stage calls: module, class if any, function."""


def stopping(order: Job) -> tuple[dict[str, Any], bytes]:
    """Extract a clip, and stop in a stage for as long as a file is there; the words name both."""
    stage, marker = order.transcript.decode().split()
    module, *owners, name = STAGES[stage]
    owner: Any = importlib.import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    original = getattr(owner, name)

    def stop(*given: Any, **named: Any) -> Any:
        if Path(marker).exists():
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(*given, **named)

    setattr(owner, name, stop)
    return extract_clip(order)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_in_the_middle_of_a_stage_costs_no_answer(stage: str, tmp_path: Path) -> None:
    marker = tmp_path / "stop"
    marker.touch()
    order = Job(
        video=sample_clip(seconds=1.0, fps=10),
        transcript=f"{stage} {marker}".encode(),
        transcript_suffix=".txt",
        openface=None,
        max_seconds=60.0,
        max_pixels=10**6,
        max_streams=9,
    )

    async def test() -> None:
        # A worker that is confined could neither look for the file nor stop itself.
        limits = WorkerLimits(memory_bytes=1500 * MIB, cpu_seconds=60, sandbox="off")
        workers = ExtractionPool(
            workers=1,
            limits=limits,
            queue_clips=1,
            metrics=Metrics(),
            prepare=prepare_worker,
            handler=stopping,
            preload=("service.worker_warm",),
        )
        workers.start()
        try:
            await until(lambda: workers.ready == 1)
            (victim,) = workers.worker_pids
            answer = asyncio.create_task(workers.extract(order))
            await until(lambda: stopped(victim))
            marker.unlink()
            os.kill(victim, signal.SIGKILL)
            report, arrays = await answer
            assert report.face is not None
            assert report.face.frames_with_face == 5
            assert arrays
            assert restarts(workers) == {"died": 1}
            await until(lambda: workers.ready == 1)
            assert workers.worker_pids != [victim]
        finally:
            await workers.close()

    run(test)
