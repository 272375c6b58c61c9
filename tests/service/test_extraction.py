"""The pool with handlers that misbehave on purpose, in real processes."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from preprocessing.errors import ClipTooLong
from service.errors import ClipTooCostly, DecoderCrashed, ExtractionFailed, Overloaded, WorkerFailed
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.worker import Job, WorkerLimits

MIB = 1024 * 1024
REPORT: dict[str, Any] = {
    "text": None,
    "audio": None,
    "face": None,
    "cautions": [],
    "timings_ms": {},
}


def job(command: str, video: bytes = b"") -> Job:
    return Job(
        video=video,
        transcript=command.encode(),
        transcript_suffix=".txt",
        openface=None,
        max_seconds=1.0,
        max_pixels=2,
        max_streams=3,
    )


def obey(order: Job) -> tuple[dict[str, Any], bytes]:
    """Do what the transcript says."""
    command, _, argument = order.transcript.decode().partition(" ")
    if command == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif command == "crash":
        os.kill(os.getpid(), getattr(signal, argument))
    elif command == "leave":
        os._exit(int(argument))
    elif command == "sleep":
        time.sleep(float(argument))
    elif command == "spin":
        while True:
            pass
    elif command == "hoard":
        np.ones(int(argument) * MIB, np.uint8)
    elif command == "bug":
        raise KeyError("a bug in preprocessing")
    elif command == "refuse":
        raise ClipTooLong("61 s")
    elif command == "lie":
        return {"report": "of another form"}, b""
    elif command == "write":
        with open(argument, "wb") as file:  # noqa: PTH123
            file.write(b"left behind")
    arrays: dict[str, Any] = {
        "size": np.array(len(order.video)),
        "limits": np.array([order.max_seconds, order.max_pixels, order.max_streams]),
        "nice": np.array(os.getpriority(os.PRIO_PROCESS, 0)),
        "core": np.array(resource.getrlimit(resource.RLIMIT_CORE)),
    }
    return REPORT, save(arrays)


@asynccontextmanager
async def pool(workers: int = 1, queue: int = 2) -> AsyncIterator[ExtractionPool]:
    running = ExtractionPool(
        workers=workers,
        limits=WorkerLimits(memory_bytes=200 * MIB, cpu_seconds=1),
        queue_clips=queue,
        metrics=Metrics(),
        handler=obey,
    )
    running.start()
    try:
        await until(lambda: running.ready == workers)
        yield running
    finally:
        await running.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  what tests wait for sets no event
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await test()

    asyncio.run(limited())


def test_a_clip_crosses_whole_and_limits_travel_along() -> None:
    async def test() -> None:
        async with pool() as workers:
            _, arrays = await workers.extract(job("answer", video=bytes(3 * MIB)))
            found = load(arrays)
            assert found["size"] == 3 * MIB
            assert found["limits"].tolist() == [1.0, 2.0, 3.0]
            assert found["nice"] > 0
            assert found["core"].tolist() == [0, 0]

    run(test)


@pytest.mark.parametrize(
    ("command", "error", "replaced"),
    [
        ("die", WorkerFailed, "died"),
        ("crash SIGSEGV", DecoderCrashed, "crashed"),
        ("crash SIGABRT", DecoderCrashed, "crashed"),
        ("leave 1", DecoderCrashed, "crashed"),
        ("spin", ClipTooCostly, "cpu_limit"),
        ("hoard 1000", ClipTooCostly, "memory_limit"),
        ("lie", WorkerFailed, "bad_answer"),
        ("bug", ExtractionFailed, None),
        ("refuse", ClipTooLong, None),
    ],
)
def test_a_bad_clip_costs_itself_only(
    command: str, error: type[Exception], replaced: str | None
) -> None:
    async def test() -> None:
        async with pool() as workers:
            bad = asyncio.create_task(workers.extract(job(command)))
            await asyncio.sleep(0)
            good = asyncio.create_task(workers.extract(job("answer")))
            with pytest.raises(error) as caught:
                await bad
            await good
            await until(lambda: workers.ready == 1)
            reasons = {
                sample.labels["reason"]
                for metric in workers._metrics.worker_restarts.collect()
                for sample in metric.samples
                if sample.value
            }
            assert reasons == ({replaced} if replaced else set())
            if command == "bug":
                assert "a bug in preprocessing" in caught.value.__notes__[0]
                assert "a bug in preprocessing" not in str(caught.value)

    run(test)


def test_a_worker_can_write_no_file(tmp_path: Any) -> None:
    async def test() -> None:
        async with pool() as workers:
            with pytest.raises(ExtractionFailed):
                await workers.extract(job(f"write {tmp_path / 'left'}"))

    run(test)
    assert not (tmp_path / "left").exists()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async def test() -> None:
        async with pool(queue=2) as workers:
            waiting = [asyncio.create_task(workers.extract(job("sleep 0.3"))) for _ in range(3)]
            await until(lambda: workers.waiting == 2)
            with pytest.raises(Overloaded) as refused:
                await workers.extract(job("answer"))
            assert refused.value.retry_after_seconds is not None
            assert refused.value.retry_after_seconds >= 1
            await asyncio.gather(*waiting)
            await workers.extract(job("answer"))

    run(test)


def test_abandoned_clips_free_their_place_and_their_worker() -> None:
    async def test() -> None:
        async with pool(queue=1) as workers:
            running = asyncio.create_task(workers.extract(job("sleep 600")))
            await until(lambda: workers.waiting == 0)
            queued = asyncio.create_task(workers.extract(job("sleep 600")))
            await until(lambda: workers.waiting == 1)
            queued.cancel()
            await asyncio.gather(queued, return_exceptions=True)
            assert workers.waiting == 0
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await workers.extract(job("answer"))

    run(test)


def restarts(workers: ExtractionPool) -> dict[str, float]:
    return {
        sample.labels["reason"]: sample.value
        for metric in workers._metrics.worker_restarts.collect()
        for sample in metric.samples
    }


def test_a_clip_whose_worker_is_killed_from_outside_gets_another_one() -> None:
    async def test() -> None:
        async with pool() as workers:
            (victim,) = workers.worker_pids
            answer = asyncio.create_task(workers.extract(job("sleep 0.5", video=b"clip")))
            await until(lambda: workers.busy == 1)
            os.kill(victim, signal.SIGKILL)
            _, arrays = await answer
            assert load(arrays)["size"] == 4
            assert restarts(workers) == {"died": 1}

    run(test)


def test_a_clip_does_not_take_more_workers_than_it_may() -> None:
    async def test() -> None:
        async with pool(workers=2) as workers:
            with pytest.raises(DecoderCrashed):
                await workers.extract(job("crash SIGSEGV"))
            await until(lambda: workers.ready == 2)
            assert restarts(workers) == {"crashed": 1}
            with pytest.raises(WorkerFailed):
                await workers.extract(job("die"))
            await until(lambda: workers.ready == 2)
            assert restarts(workers) == {"crashed": 1, "died": 2}

    run(test)


def test_no_second_worker_where_the_machine_is_short_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = iter(range(100))
    monkeypatch.setattr("service.extraction.kills_for_memory", lambda: next(counts))

    async def test() -> None:
        async with pool() as workers:
            with pytest.raises(WorkerFailed):
                await workers.extract(job("die"))
            await until(lambda: workers.ready == 1)
            assert restarts(workers) == {"died": 1}

    run(test)


def test_an_idle_worker_that_is_killed_is_replaced() -> None:
    async def test() -> None:
        async with pool(workers=2) as workers:
            victim = workers.worker_pids[0]
            os.kill(victim, signal.SIGKILL)
            await until(lambda: workers.ready == 1 or victim not in workers.worker_pids)
            await until(lambda: workers.ready == 2)
            assert victim not in workers.worker_pids
            await asyncio.gather(*[workers.extract(job("answer")) for _ in range(4)])

    run(test)


def test_closing_answers_whoever_waits() -> None:
    async def test() -> None:
        async with pool() as workers:
            tasks = [asyncio.create_task(workers.extract(job("sleep 600"))) for _ in range(2)]
            await until(lambda: workers.waiting == 1)
            await workers.close()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, WorkerFailed)

    run(test)
