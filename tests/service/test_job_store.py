"""The store of the jobs by itself: on SQLite, and on PostgreSQL where there is one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from service.errors import IdempotencyKeyReused, JobStoreFull, JobStoreUnavailable, Overloaded
from service.job_records import JobRecord, NewJob
from service.job_store import RESERVE_BYTES, JobStore
from service.job_tables import METADATA
from service.job_uploads import PIECE_BYTES
from service.uploads import JobUpload
from tests.service.postgres import postgres
from tests.service.running import CHECKPOINT, Service
from tests.service.test_jobs import accepted, begun, finished

CLIP = b"clip" * 5000


def upload(video: bytes = CLIP, openface: bytes | None = b"columns") -> JobUpload:
    return JobUpload(BytesIO(video), b"words", ".srt", openface)


def read(store: JobStore, job: JobRecord) -> tuple[bytes, JobUpload] | None:
    file = BytesIO()
    found = store.upload(job, file)
    return None if found is None else (file.getvalue(), found)


Connect = Callable[..., JobStore]
"""Opens the store of a test, each time as another process would."""


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    with postgres() as url:
        yield url


def opened(folder: Path, **settings: Any) -> JobStore:
    defaults: dict[str, Any] = {
        "url": None,
        "directory": folder / "jobs",
        "most_jobs": 100,
        "most_bytes": 10_000_000,
        "keep_seconds": 100,
        "lease_seconds": 100,
    }
    return JobStore(**(defaults | settings))


@pytest.fixture(params=["sqlite", "postgresql"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    url = None if request.param == "sqlite" else request.getfixturevalue("shared")
    stores: list[JobStore] = []

    def connected(**settings: Any) -> JobStore:
        stores.append(opened(tmp_path, url=url, **settings))
        stores[-1].create()
        return stores[-1]

    yield connected
    for store in stores:
        METADATA.drop_all(store._engine)
        store.close()


def new(identity: str, key: str | None = None, fingerprint: str = "f", owner: str = "") -> NewJob:
    return NewJob(identity, "predict", owner, "request", key, fingerprint, None)


@pytest.mark.parametrize("openface", [b"columns", None])
@pytest.mark.parametrize("size", [1, PIECE_BYTES, 2 * PIECE_BYTES + 7])
def test_an_upload_comes_back_as_it_was_and_goes_with_its_job(
    connect: Connect, size: int, openface: bytes | None
) -> None:
    one, other = connect(), connect()
    video = os.urandom(size)
    one.add(new("a"), upload(video, openface))
    one.add(new("b"), upload())
    job = other.claim("predict")
    assert job is not None
    read_back = read(one, job)
    assert read_back is not None
    content, found = read_back
    assert content == video
    assert (found.transcript, found.transcript_suffix) == (b"words", ".srt")
    assert found.openface == openface
    assert other.finish(job, result='{"score": 1}')
    assert read(one, job) is None
    record = one.get("a", "")
    assert record is not None
    assert (record.state, record.progress, record.result) == ("done", 1.0, '{"score": 1}')
    assert one.get("a", "somebody else") is None
    second = one.claim("predict")
    assert second is not None
    kept = read(other, second)
    assert kept is not None
    assert kept[0] == CLIP


def test_each_job_is_taken_once_and_the_oldest_first(connect: Connect) -> None:
    stores = [connect() for _ in range(3)]
    names = [f"job-{number:02}" for number in range(30)]
    for name in names:
        stores[0].add(new(name), upload())
    first = stores[1].claim("predict")
    assert first is not None
    assert first.id == names[0]

    def take(store: JobStore) -> list[str]:
        taken, misses = [], 0
        while misses < 3:  # a claim may lose a race and find nothing
            job = store.claim("predict")
            misses = 0 if job else misses + 1
            taken += [job.id] if job else []
        return taken

    with ThreadPoolExecutor(6) as threads:
        taken = [name for names in threads.map(take, stores * 2) for name in names]
    assert sorted(taken) == names[1:]


def test_what_a_vanished_holder_had_is_taken_again_and_has_one_result(connect: Connect) -> None:
    store = connect(lease_seconds=0.3)
    store.add(new("a"), upload())
    lost = store.claim("predict")
    assert lost is not None
    assert store.renew(lost, 0.5)
    assert store.claim("predict") is None
    time.sleep(0.4)
    again = store.claim("predict")
    assert again is not None
    assert (again.id, again.attempt, again.crashes, again.progress) == ("a", 2, 1, 0.0)
    # The first one was only slow, and comes back.
    assert not store.renew(lost, 0.9)
    assert not store.finish(lost, result='"first"')
    assert not store.release(lost)
    assert store.finish(again, result='"second"')
    found = store.get("a", "")
    assert found is not None
    assert found.result == '"second"'


def test_a_released_job_is_no_crash_unless_it_is_said_to_be(connect: Connect) -> None:
    store = connect()
    store.add(new("a"), upload())
    for crashed, crashes in ((False, 0), (True, 1), (False, 1)):
        job = store.claim("predict")
        assert job is not None
        assert store.release(job, crashed=crashed)
        found = store.get("a", "")
        assert found is not None
        assert (found.state, found.crashes) == ("queued", crashes)


def test_a_cancelled_job_is_its_holder_s_no_more(connect: Connect) -> None:
    store = connect()
    store.add(new("a"), upload())
    job = store.claim("predict")
    assert job is not None
    cancelled = store.cancel_or_forget(job)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert not store.renew(job, 0.5)
    assert not store.finish(job, result="{}")
    assert read(store, job) is None
    assert store.cancel_or_forget(job) is None
    assert store.get("a", "") is None


def test_a_key_stands_for_one_job_of_one_owner(connect: Connect) -> None:
    store = connect(most_jobs=3)
    assert store.add(new("a", "key"), upload()).id == "a"
    assert store.add(new("b", "key"), upload()).id == "a"
    assert store.add(new("c", "key", owner="other"), upload()).id == "c"
    with pytest.raises(IdempotencyKeyReused):
        store.add(new("d", "key", fingerprint="g"), upload())

    def add(number: int) -> str:
        return store.add(new(f"e{number}", "at once"), upload()).id

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(add, range(8)))) == 1
    # Full, and a repeated request is still answered.
    assert store.add(new("f", "key"), upload()).id == "a"
    with pytest.raises(Overloaded):
        store.add(new("f"), upload())


def test_room_is_bounded_by_jobs_and_by_bytes(connect: Connect) -> None:
    store = connect(most_jobs=2, most_bytes=50_000)
    store.add(new("a"), upload())
    store.check_room()
    with pytest.raises(Overloaded):
        store.add(new("b"), upload(bytes(40_000)))
    store.add(new("c"), upload())
    with pytest.raises(Overloaded):
        store.check_room()
    job = store.claim("predict")
    assert job is not None
    store.finish(job, result="{}")
    store.check_room()


def test_what_has_expired_is_forgotten_with_its_key(connect: Connect) -> None:
    store = connect(keep_seconds=0.2)
    store.add(new("a", "key"), upload())
    job = store.claim("predict")
    assert job is not None
    store.finish(job, result="{}")
    assert store.get("a", "") is not None
    time.sleep(0.3)
    assert store.get("a", "") is None
    assert store.add(new("b", "key", fingerprint="g"), upload()).id == "b"
    assert store.sweep() == {"queued": 1, "running": 0}


def test_callbacks_are_due_until_they_are_settled(connect: Connect) -> None:
    store = connect()
    store.add(replace(new("a"), callback_url="https://a.example"), upload())
    job = store.claim("predict")
    assert job is not None
    assert store.take_callback((0.0,)) is None
    store.finish(job, problem="{}")
    for tries in (1, 2):
        due = store.take_callback((0.0,))
        assert due is not None
        assert (due.id, due.callback_tries, due.state) == ("a", tries, "failed")
    # No pause is left after the last try.
    assert store.take_callback((0.0,)) is None
    store.add(replace(new("b"), callback_url="https://a.example"), upload())
    job = store.claim("predict")
    assert job is not None
    store.finish(job, result="{}")
    due = store.take_callback((0.0, 0.0))
    assert due is not None
    store.settle_callback(due)
    assert store.take_callback((0.0, 0.0)) is None


def test_a_deleted_clip_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create()
    store.add(new("a"), upload())
    files = list((tmp_path / "jobs").iterdir())
    assert any(CLIP[:4000] in file.read_bytes() for file in files)
    job = store.claim("predict")
    assert job is not None
    store.finish(job, result="{}")
    for file in (tmp_path / "jobs").iterdir():
        assert b"clipclip" not in file.read_bytes()
        assert file.stat().st_size < len(CLIP) + 40_000
    store.close()


def test_a_full_disk_refuses_a_job_and_harms_no_other(tmp_path: Path) -> None:
    store = opened(tmp_path)

    def little_room(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 40")  # of 4 KiB

    event.listen(store._engine, "connect", little_room)
    store.create()
    store.add(new("a"), upload())

    async def add() -> None:
        await store.call(store.add, new("b"), upload(bytes(500_000)))

    with pytest.raises(JobStoreFull):
        asyncio.run(add())
    assert store.get("b", "") is None
    store.add(new("c"), upload())
    assert store.sweep() == {"queued": 2, "running": 0}
    store.close()


def test_some_room_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.create()
    usage = shutil.disk_usage(tmp_path)
    little = type(usage)(usage.total, usage.used, RESERVE_BYTES + len(CLIP))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    store.check_room()
    store.add(new("a"), upload())
    with pytest.raises(JobStoreFull):
        store.add(new("b"), upload(CLIP + b"more"))
    store.close()


@pytest.mark.parametrize("url", [None, "postgresql://user:swordfish@127.0.0.1:9/none"])
def test_a_store_out_of_reach_says_so_and_no_password(tmp_path: Path, url: str | None) -> None:
    (tmp_path / "jobs").write_text("a file where a folder should be")
    store = opened(tmp_path, url=url)

    async def ask() -> None:
        await store.call(store.check_room)

    with pytest.raises(JobStoreUnavailable) as caught:
        asyncio.run(ask())
    assert caught.value.retry_after_seconds is not None
    assert "swordfish" not in f"{caught.value!r} {caught.value.__cause__!r}"
    store.close()


@pytest.mark.slow
def test_replicas_share_their_jobs(
    tmp_path: Path, shared: str, clip: bytes, talking_clip: bytes
) -> None:
    settings: dict[str, Any] = {
        "checkpoint": CHECKPOINT,
        "workers": 1,
        "job_store": shared,
        "job_lease_seconds": 2,
    }
    with (
        Service(tmp_path / "one", **settings) as one,
        Service(tmp_path / "two", **settings) as two,
    ):
        one.wait_for("/readyz")
        two.wait_for("/readyz")
        locations = [accepted(one, talking_clip) for _ in range(6)]
        begun(two, locations[0])
        # One dies in the middle of its work; what it accepted is done all the same.
        one.terminate(signal.SIGKILL)
        jobs = [finished(two, location) for location in locations]
        assert {job["state"] for job in jobs} == {"done"}
        assert len({job["result"]["score"] for job in jobs}) == 1
        assert finished(two, accepted(two, clip))["state"] == "done"
