"""The pool with handlers that misbehave on purpose, in real processes."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from preprocessing.errors import ClipTooLong
from preprocessing.shared_file import SharedFile
from service.errors import ClipTooCostly, DecoderCrashed, ExtractionFailed, Overloaded, WorkerFailed
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.reports import EndingReport, ProgressReport, StretchReport
from service.worker_jobs import Job, TimelineJob
from service.worker_limits import WorkerLimits

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


ENDING: dict[str, Any] = {"ending": {"cautions": []}}


def obey_in_parts(order: TimelineJob) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Read the file that was handed over, give parts, and then do what the transcript says."""
    with SharedFile(order.clip).open() as file:
        content = file.read()
    os.close(order.clip)
    command, _, argument = order.transcript.decode().partition(" ")
    for index in range(int(argument or 3)):
        stretch = {"start": index, "end": index + 1, "total": 9, "text": "a", "report": REPORT}
        yield {"stretch": stretch}, content
        if command == "spin":
            # Half of what one answer may cost; all of them cost more.
            until = time.process_time() + 0.5
            while time.process_time() < until:
                pass
    yield {"progress": {"seconds": 5.0, "total": 9.0}}, b""
    if command == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif command == "refuse":
        raise ClipTooLong("1801 s")
    elif command == "bug":
        raise KeyError("a bug in preprocessing")
    elif command == "lie":
        yield {"stretch": {"start": float("nan")}}, b""
    elif command == "report":
        yield {"report": REPORT}, b""
    elif command == "sleep":
        time.sleep(600)
    yield ENDING, b""


def timeline_job(command: str, file: Any) -> TimelineJob:
    return TimelineJob(
        clip=file.fileno(),
        transcript=command.encode(),
        transcript_suffix=".vtt",
        max_seconds=1.0,
        max_pixels=2,
        max_streams=3,
    )


@asynccontextmanager
async def pool(
    workers: int = 1, queue: int = 2, handler: Any = obey
) -> AsyncIterator[ExtractionPool]:
    running = ExtractionPool(
        workers=workers,
        limits=WorkerLimits(memory_bytes=200 * MIB, cpu_seconds=1),
        queue_clips=queue,
        metrics=Metrics(),
        handler=handler,
        # One fork server serves all tests of this process, and others need a warm one.
        preload=("service.worker_warm",),
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


def test_a_timeline_is_answered_in_parts_and_its_file_is_handed_over(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"content")

    async def test() -> None:
        async with pool(handler=obey_in_parts) as workers:
            for _ in range(2):
                with clip.open("rb") as file:
                    stream = workers.stream(timeline_job("answer 20", file))
                    parts = [part async for part in stream]
                *stretches, (progress, _), (ending, _) = parts
                assert len(stretches) == 20
                for index, (stretch, arrays) in enumerate(stretches):
                    assert isinstance(stretch, StretchReport)
                    assert stretch.start == index
                    assert arrays == b"content"
                assert progress == ProgressReport(seconds=5, total=9)
                assert ending == EndingReport(cautions=())
                assert clip not in open_files(workers.worker_pids[0])

    run(test)


def open_files(pid: int) -> list[Path]:
    return [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.mark.parametrize(
    ("command", "error", "replaced"),
    [
        ("die", WorkerFailed, "died"),
        ("lie", WorkerFailed, "bad_answer"),
        ("bug", ExtractionFailed, None),
        ("refuse", ClipTooLong, None),
        ("report", WorkerFailed, "bad_answer"),
    ],
)
def test_a_timeline_that_fails_in_the_middle_gives_what_it_had_and_an_error(
    tmp_path: Path, command: str, error: type[Exception], replaced: str | None
) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"content")

    async def test() -> None:
        async with pool(handler=obey_in_parts) as workers:
            with clip.open("rb") as file:
                stream = workers.stream(timeline_job(command, file))
                for _ in range(4):
                    await anext(stream)
                with pytest.raises(error):
                    await anext(stream)
                again = [part async for part in workers.stream(timeline_job("answer", file))]
            assert len(again) == 5
            restarts = [
                sample.labels["reason"]
                for metric in workers._metrics.worker_restarts.collect()
                for sample in metric.samples
                if sample.value
            ]
            assert restarts == ([replaced] if replaced else [])

    run(test)


def test_every_stretch_has_the_processor_time_of_a_clip(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"content")

    async def test() -> None:
        async with pool(handler=obey_in_parts) as workers:
            with clip.open("rb") as file:
                parts = [part async for part in workers.stream(timeline_job("spin 5", file))]
            assert len(parts) == 7

    run(test)


def test_a_timeline_that_nobody_takes_waits_and_one_that_is_left_frees_its_worker(
    tmp_path: Path,
) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(bytes(MIB))

    async def test() -> None:
        async with pool(handler=obey_in_parts) as workers:
            with clip.open("rb") as file:
                async with aclosing(workers.stream(timeline_job("answer 50", file))) as stream:
                    await anext(stream)
                    (pid,) = workers.worker_pids
                    status = Path(f"/proc/{pid}/stat")
                    await until(lambda: status.read_text().rpartition(")")[2].split()[0] == "S")
                    assert workers.waiting == 0
                waiting = workers.stream(timeline_job("sleep", file))
                await anext(waiting)
                await waiting.aclose()
                parts = [part async for part in workers.stream(timeline_job("answer", file))]
                assert len(parts) == 5

    run(test)


def test_a_clip_is_not_answered_in_parts() -> None:
    async def test() -> None:
        async with pool(handler=in_parts) as workers:
            with pytest.raises(WorkerFailed):
                await workers.extract(job("answer"))

    run(test)


def in_parts(_: Job) -> Iterator[tuple[dict[str, Any], bytes]]:
    yield {"progress": {"seconds": 5.0, "total": 9.0}}, b""
