"""One micro-batcher in front of the model: bounded, and every waiter gets an answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from service.errors import ModelFailed, NotReady, Overloaded
from service.metrics import Metrics

if TYPE_CHECKING:
    from model.explanation import Explanation
    from model.inputs import Sample
    from model.predictor import Prediction

log = structlog.stdlib.get_logger(__name__)

LONGEST_STEP_SECONDS = 0.02
"""How often a batch that waits for more clips asks whether any can still come (s)."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction and how it came about.

    Attributes:
        prediction: the model's answer.
        batch_clips: clips in the same call of the model.
        wait_ms: time in the queue (ms).
        model_ms: time of the call (ms).
        explanation: why this score, where that was asked for.
    """

    prediction: Prediction
    batch_clips: int
    wait_ms: float
    model_ms: float
    explanation: Explanation | None = None


@dataclass(slots=True, eq=False)
class _Entry:
    sample: Sample
    answer: asyncio.Future[Scored]
    explain: bool = False
    queued: float = field(default_factory=time.perf_counter)


class Batcher:
    """Collects samples for a few ms and scores them in one call, in one thread of its own.

    A clip whose score is to be explained is no part of a batch. After each batch one such clip has
    its turn, so that nobody waits for more than one explanation, and each is given in the end.

    Args:
        predict: scores a batch; called from one thread only.
        explain: scores and explains one clip; called from the same thread.
        batch_clips: most clips in a call.
        queue_clips: most clips that wait; more are refused.
        metrics: batch sizes and stage times.
        on_poison: called with the error if the device is lost for this process.
        patience: how long a batch's first clip may wait for others, as things are now (s): 0 where
            no other can come. Asked again and again while it waits.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Sample]], list[Prediction]],
        explain: Callable[[Sample], tuple[Prediction, Explanation]],
        *,
        batch_clips: int,
        queue_clips: int,
        metrics: Metrics,
        on_poison: Callable[[Exception], None],
        patience: Callable[[], float],
    ) -> None:
        self._predict = predict
        self._explain = explain
        self._patience = patience
        self._batch_clips = batch_clips
        self._queue_clips = queue_clips
        self._metrics = metrics
        self._on_poison = on_poison
        self._entries: deque[_Entry] = deque()
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._seconds_a_batch = 0.1
        self._loop = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Clips in the queue."""
        return len(self._entries)

    @property
    def alive(self) -> bool:
        """Whether batches are still being taken from the queue."""
        return not self._loop.done()

    async def score(self, sample: Sample, *, explain: bool = False) -> Scored:
        """Score one clip; cancelling this call takes it out of the queue.

        Args:
            sample: the clip.
            explain: whether to tell why it gets this score.

        Raises:
            Overloaded: the queue is full.
            ModelFailed: the batch that held this clip failed.
            NotReady: the batcher has been closed.
        """
        if not self.alive:
            raise NotReady("The model takes no more work.")
        if len(self._entries) >= self._queue_clips:
            seconds = self._seconds_a_batch * len(self._entries) / self._batch_clips
            raise Overloaded(
                f"{len(self._entries)} clips wait for the model; try again later.",
                retry_after_seconds=max(1, math.ceil(seconds)),
            )
        entry = _Entry(sample, asyncio.get_running_loop().create_future(), explain)
        self._entries.append(entry)
        self._arrival.set()
        try:
            return await entry.answer
        finally:
            if entry in self._entries:
                self._entries.remove(entry)

    async def close(self) -> None:
        """Stop; whoever still waits is answered with `NotReady`."""
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        batch: list[_Entry] = []
        try:
            while True:
                batch = await self._collect()
                plain = [entry for entry in batch if not entry.explain]
                if plain:
                    await self._score(plain)
                for entry in batch:
                    if entry.explain and not entry.answer.done():
                        await self._score([entry])
        finally:
            # Also where this task dies of a bug: nobody is left hanging, readiness turns red.
            for entry in [*batch, *self._entries]:
                _fail(entry, NotReady("The model takes no more work."))
            self._entries.clear()

    async def _collect(self) -> list[_Entry]:
        """Wait for a first clip, then for others as long as it may wait; drop the abandoned.

        Returns:
            At most a batch, and with it at most one clip whose score is to be explained.
        """
        while not self._entries:
            self._arrival.clear()
            await self._arrival.wait()
        first = self._entries[0].queued
        while len(self._entries) < self._batch_clips:
            left = first + self._patience() - time.perf_counter()
            if left <= 0:
                break
            self._arrival.clear()
            try:
                # In steps: the others may be gone before its patience is.
                await asyncio.wait_for(self._arrival.wait(), min(left, LONGEST_STEP_SECONDS))
            except TimeoutError:
                continue
        waiting = [entry for entry in self._entries if not entry.answer.done()]
        plain = [entry for entry in waiting if not entry.explain][: self._batch_clips]
        taken = plain + [entry for entry in waiting if entry.explain][:1]
        self._entries = deque(entry for entry in waiting if entry not in taken)
        return taken

    async def _score(self, batch: list[_Entry]) -> None:
        started = time.perf_counter()
        self._metrics.batch_clips.observe(len(batch))
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answers, batch
            )
        except Exception as error:
            log.exception("the model failed on a batch", batch_clips=len(batch))
            for entry in batch:
                _fail(entry, ModelFailed("The model failed on the batch that held this clip."))
            if is_poison(error):
                self._on_poison(error)
            return
        seconds = time.perf_counter() - started
        self._seconds_a_batch += 0.1 * (seconds - self._seconds_a_batch)
        self._metrics.stage_seconds.labels("model").observe(seconds)
        for entry, (prediction, explanation) in zip(batch, answers, strict=True):
            wait = started - entry.queued
            self._metrics.stage_seconds.labels("wait_for_model").observe(wait)
            if not math.isfinite(prediction.raw_score):
                _fail(entry, ModelFailed("The model's score for this clip is not a number."))
            elif not entry.answer.done():
                entry.answer.set_result(
                    Scored(prediction, len(batch), 1000 * wait, 1000 * seconds, explanation)
                )

    def _answers(self, batch: list[_Entry]) -> list[tuple[Prediction, Explanation | None]]:
        """The model's answers, in the model's thread."""
        if batch[0].explain:
            return [self._explain(entry.sample) for entry in batch]
        predictions = self._predict([entry.sample for entry in batch])
        return [(prediction, None) for prediction in predictions]


def is_poison(error: Exception) -> bool:
    """Whether no later call on this device can succeed: after a CUDA error, none can.

    Running out of device memory is not poison: the next, smaller batch may fit.
    """
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and "CUDA error" in str(error)
    )


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)
