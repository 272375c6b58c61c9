"""A checkpoint resident on its device: samples in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.inputs import FeatureSchema, Sample


@dataclass(frozen=True, slots=True)
class Prediction:
    """One clip's answer.

    Attributes:
        raw_score: the model's output, unclipped; the sentiment scale is -3..3.
        global_weight: weight of the global path, eq. 33, 0..1.
        local_weight: weight of the local path; the two sum to 1.
        layer_gates: a row a learnable-query layer: weights of (text, audio, video), eq. 13, each
            row sums to 1.
    """

    raw_score: float
    global_weight: float
    local_weight: float
    layer_gates: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights answered: name, version, encoder, sha256 of the checkpoint file (hex)."""

    name: str
    version: str
    encoder: str
    checkpoint_sha256: str


class Predictor:
    """DPDF-LQ with trained weights, on CUDA if present, else on the CPU.

    Not thread-safe: one caller at a time (the service's micro-batcher).
    """

    identity: ModelIdentity
    schema: FeatureSchema

    @classmethod
    def load(cls, checkpoint: Path, *, schema: FeatureSchema, device: str = "auto") -> Predictor:
        """Load weights, check that they were trained on `schema`, move them to the device.

        Args:
            checkpoint: a ``.safetensors`` file written by training.
            schema: the features in force.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

        Raises:
            CheckpointError: missing or damaged file, or another schema.
        """
        raise NotImplementedError

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Score a batch (at least one sample); a sample's score does not depend on the others."""
        raise NotImplementedError
