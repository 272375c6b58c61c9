"""What is loaded once and kept: the model behind its batcher, and the workers; and its state."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from service.answer_cache import AnswerCache
from service.batching import Batcher, Scored
from service.errors import Draining, NotReady
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.openface_runner import OpenFaceRunner
from service.reports import Report
from service.settings import MIB, Settings
from service.worker import prepare_worker
from service.worker_extraction import extract_clip, extract_timeline
from service.worker_jobs import Handler
from service.worker_limits import NICENESS, WorkerLimits

if TYPE_CHECKING:
    from model.predictor import Predictor

log = structlog.stdlib.get_logger(__name__)

TIMELINE_NICENESS = 10
"""Timelines take hours of clip; whoever waits for a single one comes first."""

RETRY_WHILE_LOADING_SECONDS = 5
"""Retry-After of a request that comes before the service is ready (s)."""

PATIENCE_UNDER_LOAD = 500.0
"""Most by which a batch's wait is prolonged while clips wait for a worker: to 2 s by default."""


class Engine:
    """The parts that answer a clip (`service.scoring`), and whether they can.

    Attributes:
        predictor: None until the weights are loaded and warm.
        pool: the workers for clips.
        timelines: the workers for timelines, which are started with the first one.
        draining: set once, when the service begins to shut down.
        openface: the operator's OpenFace; None if there is none.
        answers: what has been answered; None if none is kept, or until the weights are loaded.
        open_requests: requests that have been accepted and not answered yet.
        idle: set while there are none.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, *, on_fatal: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.predictor: Predictor | None = None
        self.draining = False
        self.open_requests = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._on_fatal = on_fatal
        self._batcher: Batcher | None = None
        self._broken: str | None = None
        self._loading: asyncio.Task[None] | None = None
        # Not the event loop's own threads, which it waits for when it closes.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self.pool = self._workers(
            settings.worker_count, settings.queue_clips, extract_clip, NICENESS
        )
        self.timelines = self._workers(
            settings.timeline_workers,
            settings.queue_timelines,
            extract_timeline,
            TIMELINE_NICENESS,
        )
        self.openface = (
            OpenFaceRunner(
                settings.openface_binary,
                seconds=settings.openface_seconds,
                at_once=settings.worker_count,
            )
            if settings.openface_binary
            else None
        )
        self.answers: AnswerCache[tuple[Report, Scored]] | None = None
        metrics.watch(
            waiting_for_worker=lambda: self.pool.waiting,
            waiting_timelines=lambda: self.timelines.waiting,
            waiting_for_model=lambda: self._batcher.waiting if self._batcher else 0,
            workers_ready=lambda: self.pool.ready,
            ready=lambda: not self.reasons(),
            device_bytes=self._device_bytes,
        )

    def _workers(self, count: int, queue: int, handler: Handler, niceness: int) -> ExtractionPool:
        settings = self.settings
        return ExtractionPool(
            workers=count,
            limits=WorkerLimits(
                memory_bytes=settings.worker_memory_mib * MIB,
                cpu_seconds=settings.worker_cpu_seconds,
                niceness=niceness,
                sandbox=settings.worker_sandbox,
            ),
            queue_clips=queue,
            metrics=self.metrics,
            prepare=partial(prepare_worker, settings.face_threads),
            handler=handler,
            preload=("service.worker_warm",),
        )

    @property
    def model(self) -> Predictor:
        """The loaded weights.

        Raises:
            NotReady: there are none yet.
        """
        if self.predictor is None:
            raise NotReady("The model is not loaded.")
        return self.predictor

    @property
    def batcher(self) -> Batcher:
        """What the model is asked through.

        Raises:
            NotReady: the weights are not loaded yet.
        """
        if self._batcher is None:
            raise NotReady("The model is not loaded.")
        return self._batcher

    def start(self) -> None:
        """Begin to load in the background; `reasons` is empty when all is warm."""
        self.pool.start()
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """Stop everything; what is still waiting is answered with an error."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._loader.shutdown(wait=False, cancel_futures=True)
        await self.pool.close()
        await self.timelines.close()
        if self._batcher is not None:
            await self._batcher.close()

    def reasons(self) -> list[str]:
        """Why no clip can be answered now; empty if one can."""
        reasons = []
        if self.draining:
            reasons.append("shutting down")
        if self._broken is not None:
            reasons.append(self._broken)
        elif self._batcher is None:
            reasons.append("loading the model")
        elif not self._batcher.alive:
            reasons.append("the model's batcher has stopped")
        if self.pool.failure is not None:
            reasons.append(f"workers do not start: {self.pool.failure}")
        elif not self.pool.warm:
            reasons.append("no worker is warm yet")
        if self.openface is not None and (reason := self.openface.reason()):
            reasons.append(reason)
        return reasons

    @property
    def loading(self) -> bool:
        """Whether it is still the first start that makes the service not ready."""
        if self._broken is not None or self.pool.failure is not None:
            return False
        return self._batcher is None or not self.pool.warm

    @contextmanager
    def accepted(self, pool: ExtractionPool | None = None) -> Iterator[None]:
        """Hold a request's place until it is answered; refuse it before its body is read.

        Args:
            pool: the workers that it needs; those for clips if None.

        Raises:
            Draining, NotReady: see `reasons`.
            Overloaded: the queue is full.
        """
        self._check_ready()
        pool = pool or self.pool
        if pool.failure is not None:
            raise NotReady(f"Workers do not start: {pool.failure}.")
        if pool.full:
            raise pool.overloaded()
        with self.occupied():
            yield

    @contextmanager
    def accepted_for_later(self) -> Iterator[None]:
        """The same for a request whose clip is put by: busy workers do not matter.

        Raises:
            Draining, NotReady: see `reasons`.
        """
        self._check_ready()
        with self.occupied():
            yield

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Let a shutdown wait for what is done meanwhile."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.open_requests += change
        self.metrics.open_requests.set(self.open_requests)
        if self.open_requests:
            self.idle.clear()
        else:
            self.idle.set()

    def _check_ready(self) -> None:
        if self.draining:
            raise Draining("The service is shutting down.", retry_after_seconds=1)
        if reasons := self.reasons():
            raise NotReady(
                f"The service cannot answer yet: {'; '.join(reasons)}.",
                retry_after_seconds=RETRY_WHILE_LOADING_SECONDS,
            )

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            predictor = await asyncio.get_running_loop().run_in_executor(
                self._loader, load_predictor, self.settings
            )
        except Exception as error:
            # Whatever it is, the process lives on to say it: /readyz stays red with the reason.
            log.exception("the model cannot be loaded")
            self._broken = f"the model cannot be loaded: {error}"
            return
        self.predictor = predictor
        self.answers = self._answer_cache(predictor)
        self._batcher = Batcher(
            predictor.predict,
            predictor.explain,
            batch_clips=self.settings.batch_clips,
            queue_clips=self.settings.batch_queue_clips,
            metrics=self.metrics,
            on_poison=self._on_poison,
            patience=self.patience,
        )
        log.info(
            "the model is loaded",
            model=predictor.identity.name,
            version=predictor.identity.version,
            device=str(predictor.device),
            precision=self.settings.precision,
            seconds=round(time.perf_counter() - started, 1),
        )

    def patience(self) -> float:
        """How long a batch may wait for more clips now (s).

        The larger a batch, the less a clip costs, and what it costs is missing in workers. So a
        score waits as long as others do for a worker, within bounds.
        """
        wait = self.settings.batch_wait_ms / 1000
        if self.pool.waiting:
            return min(max(wait, self.pool.seconds_waiting), PATIENCE_UNDER_LOAD * wait)
        return wait if self.pool.busy else 0.0

    def _answer_cache(self, predictor: Predictor) -> AnswerCache[tuple[Report, Scored]] | None:
        settings = self.settings
        if not settings.cache_answers:
            return None
        circumstances = (
            predictor.identity.checkpoint_sha256,
            predictor.schema.fingerprint,
            settings.precision,
            str(settings.openface_binary),
        )
        return AnswerCache(settings.cache_answers, circumstances)

    def _on_poison(self, error: Exception) -> None:
        self._broken = f"the device is lost: {type(error).__name__}"
        log.critical("the device is lost; the process ends so that it is started anew")
        self._on_fatal()

    def _device_bytes(self) -> int:
        if self.predictor is None or self.predictor.device.type != "cuda":
            return 0
        import torch

        return torch.cuda.memory_allocated(self.predictor.device)


def load_predictor(settings: Settings) -> Predictor:
    """The weights of the settings, warm."""
    from model.predictor import Predictor
    from preprocessing.schema import feature_schema
    from preprocessing.text import WordPiece

    predictor = Predictor.load(
        settings.checkpoint,
        schema=feature_schema(WordPiece().sha256),
        device=settings.device,
        precision=settings.precision,
    )
    predictor.warm_up()
    # What was loaded stays: a full collection that goes through it finds nothing, and nobody is
    # answered meanwhile.
    gc.collect()
    gc.freeze()
    return predictor
