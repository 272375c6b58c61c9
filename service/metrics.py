"""What an operator sees of the service: Prometheus metrics in a registry of the app's own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0)


class Metrics:
    """One object an app; labels are route templates and stable codes only, never input."""

    def __init__(self) -> None:
        # Twice the lines for a time that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dpdf_requests", "Requests answered.", ("method", "route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "dpdf_request_seconds", "Time from the request's first byte to the answer's last (s).",
            ("route",), buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "dpdf_stage_seconds", "Time a clip spends in each stage (s).",
            ("stage",), buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.rejected = Counter(
            "dpdf_rejected", "Requests refused or failed, by problem code.", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.open_requests = Gauge(
            "dpdf_open_requests", "Requests and jobs being worked on.", registry=self.registry
        )
        self.held_bytes = Gauge(
            "dpdf_held_bytes", "Memory held by request bodies (bytes).", registry=self.registry
        )
        self.batch_clips = Histogram(
            "dpdf_batch_clips", "Clips in one call of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self.registry,
        )  # fmt: skip
        self.cached_answers = Counter(
            "dpdf_cached_answers", "Answers given again for the same bytes.",
            registry=self.registry,
        )  # fmt: skip
        self.worker_restarts = Counter(
            "dpdf_worker_restarts", "Worker processes replaced, by reason.", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.jobs = Gauge(
            "dpdf_jobs", "Jobs in the store, by state.", ("state",), registry=self.registry
        )
        self.jobs_finished = Counter(
            "dpdf_jobs_finished", "Jobs that this process finished.", ("kind", "state"),
            registry=self.registry,
        )  # fmt: skip
        self.callbacks = Counter(
            "dpdf_callbacks", "Tries to tell of a job's end, by outcome.", ("outcome",),
            registry=self.registry,
        )  # fmt: skip
        self.job_store_up = self._gauge("dpdf_job_store_up", "1 while the job store can be used.")
        self._workers = self._gauge("dpdf_workers_ready", "Worker processes ready for a clip.")
        self._queue = Gauge(
            "dpdf_queue_clips", "Clips waiting, by queue.", ("queue",), registry=self.registry
        )
        self._ready = self._gauge("dpdf_ready", "1 while /readyz is green.")
        self._device = self._gauge("dpdf_device_memory_bytes", "Memory in use on the GPU (bytes).")

    def watch(
        self,
        *,
        waiting_for_worker: Callable[[], int],
        waiting_timelines: Callable[[], int],
        waiting_for_model: Callable[[], int],
        workers_ready: Callable[[], int],
        ready: Callable[[], bool],
        device_bytes: Callable[[], int],
    ) -> None:
        """Read these at each scrape instead of keeping counts in step by hand."""
        self._queue.labels("workers").set_function(waiting_for_worker)
        self._queue.labels("timelines").set_function(waiting_timelines)
        self._queue.labels("model").set_function(waiting_for_model)
        self._workers.set_function(workers_ready)
        self._ready.set_function(lambda: float(ready()))
        self._device.set_function(device_bytes)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)
