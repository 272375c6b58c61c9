"""The service with a model whose device is lost at the first clip: ``python -m`` this module.

What cannot be had on a machine without a GPU; everything around it is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service import engine
from service.__main__ import run

if TYPE_CHECKING:
    from model.inputs import Sample
    from model.predictor import Prediction, Predictor
    from service.settings import Settings

load = engine.load_predictor


def load_and_poison(settings: Settings) -> Predictor:
    predictor = load(settings)
    setattr(predictor, "predict", predict)  # noqa: B010  mypy forbids the plain form
    return predictor


def predict(samples: Sequence[Sample]) -> list[Prediction]:
    import torch

    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


if __name__ == "__main__":
    setattr(engine, "load_predictor", load_and_poison)  # noqa: B010
    run()
