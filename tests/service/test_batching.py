from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from model.config import Modality
from model.explanation import Explanation
from model.inputs import Sample
from model.predictor import Prediction
from service.batching import Batcher, is_poison
from service.engine import Engine
from service.errors import ModelFailed, NotReady, Overloaded
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.settings import Settings


def sample(tokens: int) -> Sample:
    return Sample(
        np.zeros(tokens, np.int64), np.zeros((0, 35), np.float32), np.zeros((0, 17), np.float32)
    )


def prediction(score: float) -> Prediction:
    return Prediction(score, 0.5, 0.5, (), None)


class Model:
    """Scores a clip by its number of tokens; fails on request."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        self.gate.wait(30)
        self.batches.append(len(samples))
        self.threads.add(threading.get_ident())
        lengths = [len(sample.input_ids) for sample in samples]
        if 13 in lengths:
            raise ValueError("thirteen")
        if 666 in lengths:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return [prediction(float("nan") if n == 99 else float(n)) for n in lengths]

    def explain(self, sample: Sample) -> tuple[Prediction, Explanation]:
        (found,) = self.predict([sample])
        self.batches[-1] *= -1
        parts: dict[Modality, float] = {"text": 0.0, "audio": 0.0, "video": 0.0}
        nothing = np.empty(0, np.float32)
        return found, Explanation(
            float(len(sample.input_ids)), parts, parts, nothing, nothing, nothing
        )


def run(
    test: Callable[[Batcher, Model, list[Exception]], object],
    *,
    batch_clips: int = 4,
    queue_clips: int = 8,
    patience: Callable[[], float] = lambda: 0.02,
) -> None:
    async def running() -> None:
        model, poison = Model(), list[Exception]()
        batcher = Batcher(
            model.predict,
            model.explain,
            batch_clips=batch_clips,
            queue_clips=queue_clips,
            metrics=Metrics(),
            on_poison=poison.append,
            patience=patience,
        )
        async with asyncio.timeout(60):
            await test(batcher, model, poison)  # type: ignore[misc]
        await batcher.close()

    asyncio.run(running())


def test_clips_that_come_together_are_scored_together_each_with_its_own() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        answers = await asyncio.gather(*[batcher.score(sample(n)) for n in range(1, 8)])
        assert [answer.prediction.raw_score for answer in answers] == list(range(1, 8))
        assert model.batches == [4, 3]
        assert len(model.threads) == 1
        assert answers[0].batch_clips == 4

    run(test)


def test_a_lone_clip_does_not_wait_for_a_full_batch() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        await batcher.score(sample(1))
        assert model.batches == [1]

    run(test)


def test_nobody_waits_for_a_clip_that_cannot_come() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        await batcher.score(sample(1))
        assert model.batches == [1]

    run(test, patience=lambda: 0.0)


def test_under_load_a_batch_waits_longer() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        first = asyncio.create_task(batcher.score(sample(1)))
        await asyncio.sleep(0.1)
        await asyncio.gather(first, *[batcher.score(sample(n)) for n in (2, 3, 4)])
        assert model.batches == [4]

    # An hour is longer than the test may take: a full batch waits no longer.
    run(test, patience=lambda: 3600.0)


@pytest.mark.parametrize(
    ("waiting", "seconds", "busy", "expected"),
    [
        (0, 0.0, 0, 0.0),
        (0, 0.0, 2, 0.004),
        (1, 0.001, 2, 0.004),
        (3, 0.15, 2, 0.15),
        (40, 7.0, 2, 2.0),
    ],
)
def test_a_batch_waits_about_as_long_as_clips_wait_for_a_worker(
    monkeypatch: pytest.MonkeyPatch, waiting: int, seconds: float, busy: int, expected: float
) -> None:
    for name, value in (("waiting", waiting), ("seconds_waiting", seconds), ("busy", busy)):
        monkeypatch.setattr(ExtractionPool, name, value)
    engine = Engine(Settings(batch_wait_ms=4, workers=2), Metrics(), on_fatal=lambda: None)
    assert engine.patience() == pytest.approx(expected)


def test_an_explanation_is_made_alone_after_a_batch_and_others_do_not_wait_for_the_next() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        answers = await asyncio.gather(
            *[batcher.score(sample(n), explain=n in {1, 2, 3, 13}) for n in (1, 2, 13, 3, 4, 5)],
            *[batcher.score(sample(n)) for n in (6, 7)],
            return_exceptions=True,
        )
        # Negative: one clip, explained.
        assert model.batches == [4, -1, -1, 1, -1]
        explained = [a.explanation for a in answers if not isinstance(a, BaseException)]
        assert [e and e.baseline for e in explained] == [1, 2, 3, None, None, None, None]
        assert isinstance(answers[2], ModelFailed)

    run(test)


def test_an_abandoned_explanation_is_not_computed() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        model.gate.clear()
        first = asyncio.create_task(batcher.score(sample(1)))
        gone = asyncio.create_task(batcher.score(sample(2), explain=True))
        await asyncio.sleep(0.1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        model.gate.set()
        await first
        assert (await batcher.score(sample(3))).explanation is None
        assert model.batches == [1, 1]

    run(test)


def test_patience_ends_when_there_is_nobody_left_to_wait_for() -> None:
    patience = [3600.0]

    async def test(batcher: Batcher, model: Model, _: object) -> None:
        first = asyncio.create_task(batcher.score(sample(1)))
        await asyncio.sleep(0.1)
        assert model.batches == []
        patience[0] = 0.0
        await first
        assert model.batches == [1]

    run(test, patience=lambda: patience[0])


def test_abandoned_clips_are_not_computed() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        model.gate.clear()
        first = asyncio.create_task(batcher.score(sample(1)))
        await asyncio.sleep(0.1)
        gone = [asyncio.create_task(batcher.score(sample(2))) for _ in range(3)]
        stays = asyncio.create_task(batcher.score(sample(3)))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        model.gate.set()
        await asyncio.gather(first, stays)
        assert model.batches == [1, 1]

    run(test)


def test_a_failing_batch_takes_its_own_waiters_only() -> None:
    async def test(batcher: Batcher, _: object, poison: list[Exception]) -> None:
        outcomes = await asyncio.gather(
            *[batcher.score(sample(n)) for n in (1, 13)], return_exceptions=True
        )
        assert all(isinstance(outcome, ModelFailed) for outcome in outcomes)
        assert (await batcher.score(sample(5))).prediction.raw_score == 5
        assert poison == []

    run(test)


def test_a_score_that_is_no_number_is_an_error() -> None:
    async def test(batcher: Batcher, _: object, __: object) -> None:
        good, bad = await asyncio.gather(
            batcher.score(sample(1)), batcher.score(sample(99)), return_exceptions=True
        )
        assert not isinstance(good, BaseException)
        assert isinstance(bad, ModelFailed)

    run(test)


def test_a_lost_device_is_reported() -> None:
    async def test(batcher: Batcher, _: object, poison: list[Exception]) -> None:
        with pytest.raises(ModelFailed):
            await batcher.score(sample(666))
        assert len(poison) == 1

    run(test)


def test_a_full_queue_refuses() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        model.gate.clear()
        tasks = [asyncio.create_task(batcher.score(sample(1)))]
        await asyncio.sleep(0.1)
        tasks += [asyncio.create_task(batcher.score(sample(1))) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.score(sample(1))
        model.gate.set()
        await asyncio.gather(*tasks)

    run(test)


def test_closing_answers_whoever_waits() -> None:
    async def test(batcher: Batcher, model: Model, _: object) -> None:
        model.gate.clear()
        tasks = [asyncio.create_task(batcher.score(sample(n))) for n in range(6)]
        await asyncio.sleep(0.1)
        await batcher.close()
        model.gate.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, NotReady)
        with pytest.raises(NotReady):
            await batcher.score(sample(1))

    run(test)


def test_which_errors_lose_the_device() -> None:
    assert is_poison(torch.AcceleratorError("CUDA error: device-side assert triggered"))
    assert is_poison(RuntimeError("CUDA error: unspecified launch failure"))
    assert not is_poison(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_poison(ValueError("shapes"))
