from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.answer_cache import AnswerCache, key_of
from service.uploads import Upload
from tests.service.running import CHECKPOINT, Service

UPLOAD = Upload(b"clip", b"words", ".txt", None)


@pytest.mark.parametrize(
    "other",
    [
        replace(UPLOAD, video=b"clips"),
        replace(UPLOAD, transcript=b"word"),
        replace(UPLOAD, transcript_suffix=".srt"),
        replace(UPLOAD, openface=b""),
        replace(UPLOAD, openface=b"None"),
        replace(UPLOAD, video=b"clipw", transcript=b"ords"),
    ],
)
def test_all_that_decides_an_answer_is_in_its_key(other: Upload) -> None:
    assert key_of(UPLOAD, ("a",)) == key_of(replace(UPLOAD), ("a",))
    assert key_of(UPLOAD, ("a",)) != key_of(other, ("a",))


def test_other_weights_are_another_key() -> None:
    assert key_of(UPLOAD, ("a", "b")) != key_of(UPLOAD, ("ab",))


def test_the_least_recently_asked_for_goes_first() -> None:
    cache = AnswerCache[int](2, ())
    for number in (1, 2):
        cache.put(bytes([number]), number)
    assert cache.get(b"\1") == 1
    cache.put(b"\3", 3)
    assert [cache.get(bytes([number])) for number in (1, 2, 3)] == [1, None, 3]


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("caching")
    with Service(
        folder, checkpoint=CHECKPOINT, workers=1, cache_answers=2, deadline_seconds=600
    ) as running:
        running.wait_for("/readyz")
        yield running


def test_the_same_bytes_are_answered_again_without_work(caching: Service, clip: bytes) -> None:
    first, second = (caching.predict(clip, "a fine day").json() for _ in range(2))
    assert set(second["timings_ms"]) == {"upload", "cache", "total"}
    assert "cache" not in first["timings_ms"]
    assert first["request_id"] != second["request_id"]
    for own in ("timings_ms", "request_id"):
        del first[own], second[own]
    assert first == second
    other = caching.predict(clip, "a dull day").json()
    assert "cache" not in other["timings_ms"]
    assert other["score"] != first["score"]
    assert "dpdf_cached_answers_total 1.0" in caching.client.get("/metrics").text


def test_errors_are_not_kept(caching: Service) -> None:
    for _ in range(2):
        assert caching.predict(b"no clip").status_code == 422
