"""What can be done as a job: the work of each plain route, with nobody waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel

from service.engine import Engine
from service.predict import predict_response
from service.uploads import Upload

Progress = Callable[[float], None]
"""Told how much is done, 0 .. 1; cheap, may be called at any rate."""

Kind = Callable[[Upload, Progress], Coroutine[Any, Any, BaseModel]]
"""What a kind of job does with an upload.

Returns what its plain route would answer, and raises what that would answer with a problem.
"""

DEFAULT_KIND = "predict"


def job_kinds(engine: Engine) -> dict[str, Kind]:
    """Every kind by its name."""

    async def predict(upload: Upload, _: Progress) -> BaseModel:
        # One clip has no parts by which to tell the progress.
        started = time.perf_counter()
        report, scored, timings = await engine.answer(upload)
        timings["total"] = 1000 * (time.perf_counter() - started)
        return predict_response(engine, report, scored, timings)

    return {DEFAULT_KIND: predict}
