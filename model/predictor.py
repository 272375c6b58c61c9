"""A checkpoint resident on its device: samples in, predictions out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from model.block import Longest, exact_shape, fixed_shape, pack, unpack
from model.checkpoint import CheckpointHeader, file_sha256, load_checkpoint
from model.dpdf_lq import DPDFLQ, ModelOutputs
from model.encoder import merge_low_rank_changes
from model.explainer import Explainer
from model.explanation import Explanation
from model.inputs import FeatureSchema, ModelInputs, Sample
from model.onednn import make_programs, use_onednn
from model.side_by_side import Beside, when_asked

Precision = Literal["float32", "bfloat16", "float16"]

PRECISIONS: dict[Precision, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Types of matrix products, None as they are; norms and sums stay in float32 (torch.autocast)."""

FEW = 4
"""Most clips of a batch whose paths are gone side by side: more come together only where the other
cores have clips to read, and two threads take from one another's caches."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One clip's answer.

    Attributes:
        raw_score: the model's output, unclipped; the sentiment scale is -3..3.
        global_weight: weight of the global path, eq. 33, 0..1.
        local_weight: weight of the local path; the two sum to 1.
        layer_gates: a row a learnable-query layer: weights of (text, audio, video), eq. 13, each
            row sums to 1; an absent modality has 0.
        interval: (low, high) within -3..3 that holds the label in 9 of 10 validation clips with the
            same modalities; None where the checkpoint was not calibrated.
    """

    raw_score: float
    global_weight: float
    local_weight: float
    layer_gates: tuple[tuple[float, float, float], ...]
    interval: tuple[float, float] | None


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

    Attributes:
        identity: which weights these are.
        schema: the features they take.
        device: where they are.
    """

    def __init__(
        self,
        model: DPDFLQ,
        header: CheckpointHeader,
        checkpoint_sha256: str,
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        for encoder in (model.global_encoder, model.local_encoder):
            if encoder is not None:
                merge_low_rank_changes(encoder)
        self._model = model.to(device).eval().requires_grad_(requires_grad=False)
        self.device = device
        self._reduced = PRECISIONS[precision]
        if self._reduced is not None:
            # Autocast alone would convert every weight anew in every forward.
            for module in model.modules():
                if isinstance(module, nn.Linear):
                    module.to(self._reduced)
        if device.type == "cpu":
            use_onednn(model)
        # A second core is idle while one clip alone is scored.
        cores = len(os.sched_getaffinity(0)) if device.type == "cpu" else 1
        self._beside = Beside() if cores > 1 and torch.get_num_threads() == 1 else None
        with self._autocast():
            self._explainer = Explainer(self._model, self._beside or when_asked)
        positions = header.config
        self._longest = Longest(
            min(positions.text_positions, header.schema.max_tokens),
            positions.audio_positions,
            positions.video_positions,
        )
        self.schema = header.schema
        self._intervals = header.intervals
        self.identity = ModelIdentity(
            name=header.name,
            version=header.version,
            encoder=header.config.encoder,
            checkpoint_sha256=checkpoint_sha256,
        )

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        *,
        schema: FeatureSchema,
        device: str = "auto",
        precision: Precision = "float32",
        encoder_folder: Path | None = None,
    ) -> Predictor:
        """Load weights, check that they were trained on `schema`, move them to the device.

        Args:
            checkpoint: a ``.safetensors`` file written by training.
            schema: the features in force.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
            precision: of matrix products.
            encoder_folder: where the pinned encoder is; None = the installed package or the hub.

        Raises:
            CheckpointError: missing or damaged file, or another schema.
            EncoderUnavailable: the pinned encoder cannot be had.
            RuntimeError: the device is not there.
        """
        model, header = load_checkpoint(checkpoint, schema=schema, encoder_folder=encoder_folder)
        return cls(model, header, file_sha256(checkpoint), choose_device(device), precision)

    @torch.inference_mode()
    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Score a batch (at least one sample); a sample's score does not depend on the others."""
        # The one place where the CPU waits for the device.
        outputs = self.launch(samples).cpu()
        return self._predictions(samples, outputs)

    def explain(self, sample: Sample) -> tuple[Prediction, Explanation]:
        """Score one clip and tell what its parts add to the raw score.

        The parts sum to the score of the same batch, whatever the precision; the cost is told by
        `benchmarks/explanation_cost.py`.
        """
        apart = self._beside.apart() if self._beside else nullcontext()
        with self._autocast(), apart:
            outputs, explanation = self._explainer.explain(sample)
        (prediction,) = self._predictions([sample], outputs)
        return prediction, explanation

    def _predictions(self, samples: Sequence[Sample], outputs: ModelOutputs) -> list[Prediction]:
        return [
            Prediction(
                raw_score=float(score),
                global_weight=float(gate[0]),
                local_weight=float(gate[1]),
                layer_gates=tuple((float(t), float(a), float(v)) for t, a, v in layers),
                interval=self._interval(sample, float(score)),
            )
            for sample, score, gate, layers in zip(
                samples, outputs.score, outputs.path_gate, outputs.layer_gates, strict=True
            )
        ]

    @torch.inference_mode()
    def launch(self, samples: Sequence[Sample]) -> ModelOutputs:
        """Start a batch: one copy to the device, then kernels; nothing waits for them.

        Returns:
            The outputs on the device, a row a sample.
        """
        on_cpu = self.device.type == "cpu"
        shape = exact_shape(samples) if on_cpu else fixed_shape(samples, self._longest)
        block = pack(samples, shape, pinned=self.device.type == "cuda")
        inputs = ModelInputs(**unpack(block.to(self.device, non_blocking=True), shape))
        beside = self._beside if len(samples) <= FEW else None
        with self._autocast(), beside.apart() if beside else nullcontext():
            outputs: ModelOutputs = self._model(inputs, beside or when_asked)
        return outputs.first(len(samples))

    def _autocast(self) -> AbstractContextManager[object]:
        reduced = self._reduced
        return torch.autocast(self.device.type, reduced) if reduced else nullcontext()

    def _interval(self, sample: Sample, score: float) -> tuple[float, float] | None:
        rule = self._intervals.get(sample.modalities)
        return None if rule is None else rule.around(score)

    def warm_up(self, batch_sizes: Sequence[int] = (1, 2)) -> None:
        """Run batches of made-up clips, so that the first request pays for no first time."""
        make_programs(self._model)
        schema = self.schema
        sample = Sample(
            input_ids=np.full(16, 100, np.int64),
            audio=np.zeros((30, len(schema.audio_columns)), np.float32),
            video=np.zeros((30, len(schema.video_columns)), np.float32),
        )
        for size in batch_sizes:
            self.predict([sample] * size)
        self.explain(sample)


def choose_device(name: str) -> torch.device:
    """The device called by name; ``"auto"`` is CUDA if present, else the CPU.

    Raises:
        RuntimeError: no such device, or CUDA asked for where there is none.
    """
    cuda = torch.cuda.is_available()
    device = torch.device(("cuda" if cuda else "cpu") if name == "auto" else name)
    if device.type == "cuda" and not cuda:
        raise RuntimeError(
            f"The device {name!r} was asked for, but PyTorch sees no CUDA here: check the driver, "
            "the container's GPU reservation and PyTorch's build, or choose cpu or auto."
        )
    return device
