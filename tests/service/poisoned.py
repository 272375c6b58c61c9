"""The service with a model whose device is lost at the first clip: ``python -m`` this module."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.inputs import Sample
from model.predictor import Prediction, Predictor
from service.__main__ import run


def predict(_: Predictor, samples: Sequence[Sample]) -> list[Prediction]:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


if __name__ == "__main__":
    # What cannot be had on a machine without a GPU: everything around it is real.
    setattr(Predictor, "warm_up", lambda *_: None)  # noqa: B010  mypy forbids the plain form
    setattr(Predictor, "predict", predict)  # noqa: B010
    run()
