"""What the engine decides by itself."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from service.engine import Engine
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.settings import Settings


class Threads:
    """Stands for the model: keeps how many threads it was allowed."""

    allowed: int

    def allow_threads(self, threads: int) -> None:
        self.allowed = threads

    def predict(self, samples: object) -> list[Any]:
        return []


@pytest.mark.parametrize("busy", [0, 1])
def test_the_model_has_more_threads_only_while_no_worker_is_busy(
    busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExtractionPool, "busy", busy)
    model = Threads()
    settings = Settings(workers=1)

    async def predict() -> None:
        engine = Engine(settings, Metrics(), on_fatal=lambda: None)
        engine._predict(cast("Any", model), [])
        await engine.close()

    asyncio.run(predict())
    assert model.allowed == (1 if busy else settings.lone_model_threads)
