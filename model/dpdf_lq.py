"""DPDF-LQ put together: two encoders, two paths, gate and head (Zhou et al., EMNLP 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import BertModel

from model.config import MODALITIES, DPDFConfig, Modality
from model.encoder import add_low_rank_changes, build_encoder
from model.global_path import GlobalPath
from model.inputs import ModelInputs
from model.local_path import LocalPath
from model.path_gate import PathGate
from model.side_by_side import Begin, results, when_asked

PathOutputs = tuple[Tensor, Tensor]
"""A path's vector f (B, d), and the gates of its query layers (B, layers, 3)."""


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """A batch's answers.

    Attributes:
        score: (B,) unclipped sentiment, the scale of the labels is -3..3.
        path_gate: (B, 2) weights of the global and the local path, sum 1.
        layer_gates: (B, layers, 3) weights of text, audio and video in each query layer, sum 1;
            no layers where the configuration has no DGLQA.
    """

    score: Tensor
    path_gate: Tensor
    layer_gates: Tensor

    def first(self, clips: int) -> ModelOutputs:
        """The first rows alone."""
        return ModelOutputs(self.score[:clips], self.path_gate[:clips], self.layer_gates[:clips])

    def cpu(self) -> ModelOutputs:
        """The same in float32 on the CPU, by one copy."""
        clips, layers = self.layer_gates.shape[:2]
        parts = (self.score[:, None], self.path_gate, self.layer_gates.flatten(1))
        rows = torch.cat([part.float() for part in parts], dim=1).cpu()
        return ModelOutputs(rows[:, 0], rows[:, 1:3], rows[:, 3:].reshape(clips, layers, 3))


class Standardise(nn.Module):
    """(x - mean) / std a column, by the training data's statistics; NaN becomes the mean.

    Fresh, it changes nothing but NaN.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, columns) to the same shape, without NaN."""
        return torch.nan_to_num((x - self.mean) / self.std, nan=0.0)


class DPDFLQ(nn.Module):
    """The whole model, eq. 1-35.

    Text goes through an encoder of its own in each path; audio and video are standardised. Where
    a path is switched off its gate weight is 0.

    Args:
        config: sizes and switches.
        global_encoder: BERT of the global path; None = built fresh, or not needed.
        local_encoder: BERT of the local path, likewise.

    Attributes:
        pinned: names of the parameters that stay the published encoder's; a checkpoint leaves
            them out.
    """

    def __init__(
        self,
        config: DPDFConfig,
        global_encoder: BertModel | None = None,
        local_encoder: BertModel | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        hidden = config.encoder_shape.hidden
        self.standardise_audio = Standardise(config.audio_columns)
        self.standardise_video = Standardise(config.video_columns)
        self.global_encoder = _adapted(global_encoder, config) if config.global_path else None
        self.local_encoder = _adapted(local_encoder, config) if config.local_path else None
        self.global_path = GlobalPath(hidden, config) if config.global_path else None
        self.local_path = LocalPath(hidden, config) if config.local_path else None
        both = config.global_path and config.local_path
        self.path_gate = PathGate(config.width) if both and config.path_gate else None
        self.head = _head(config)
        self.pinned = frozenset(
            name for name, tensor in self.named_parameters() if not tensor.requires_grad
        )

    def forward(self, inputs: ModelInputs, begin: Begin = when_asked) -> ModelOutputs:
        """Score a batch.

        Args:
            inputs: the batch.
            begin: how the second path is gone, its encoder included, while the first one is.

        Raises:
            ValueError: a sequence is longer than the configuration has positions for.
        """
        self.check_lengths(inputs)
        masks = self.masks(inputs)
        text_mask, rows = masks["text"], self.rows(inputs, masks)

        def go(encoder: BertModel, path: GlobalPath | LocalPath) -> PathOutputs:
            found: PathOutputs = path(
                encode(encoder, inputs.input_ids, text_mask), text_mask, *rows
            )
            return found

        pairs = zip(self.encoders, self.paths, strict=True)
        steps = [partial(go, encoder, path) for encoder, path in pairs]
        return self.conclude(results(steps, begin))

    def check_lengths(self, inputs: ModelInputs) -> None:
        """Refuse what the position tables cannot hold.

        Raises:
            ValueError: a sequence is longer than the configuration has positions for.
        """
        for name in MODALITIES:
            length = getattr(inputs, f"{name}_mask").shape[1]
            most = getattr(self.config, f"{name}_positions")
            if length > most:
                raise ValueError(f"{name} of {length} positions; this model takes at most {most}")

    @property
    def encoders(self) -> list[BertModel]:
        """The text encoders in use: the global path's, then the local path's."""
        return [e for e in (self.global_encoder, self.local_encoder) if e is not None]

    @property
    def paths(self) -> list[GlobalPath | LocalPath]:
        """The paths in use, in the order of `encoders`."""
        return [path for path in (self.global_path, self.local_path) if path is not None]

    def join(
        self, text: list[Tensor], text_mask: Tensor, rows: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> ModelOutputs:
        """Everything behind the text encoders.

        Args:
            text: (B, T, encoder width) of each of `encoders`.
            text_mask: (B, T) bool.
            rows: what `rows` gives.
        """
        pairs = zip(self.paths, text, strict=True)
        return self.conclude([path(states, text_mask, *rows) for path, states in pairs])

    def conclude(self, found: Sequence[PathOutputs]) -> ModelOutputs:
        """Gate and head: from what each of `paths` found to the outputs."""
        fused, path_gate = self.fuse([feature for feature, _ in found])
        # Of both paths the first alone has query layers.
        return ModelOutputs(self.head(fused).squeeze(-1), path_gate, found[0][1])

    def masks(self, inputs: ModelInputs) -> dict[Modality, Tensor]:
        """Masks (B, L) of the modalities that this configuration uses; False for the others."""
        return {
            name: getattr(inputs, f"{name}_mask") & (name in self.config.modalities)
            for name in MODALITIES
        }

    def rows(
        self, inputs: ModelInputs, masks: dict[Modality, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sound and face as the paths read them: audio, its mask, video, its mask.

        Standardised, the sound with its changes where the configuration wants them, and 0 where
        masked.
        """
        audio = self.standardise_audio(inputs.audio)
        if self.config.audio_changes:
            audio = with_changes(audio)
        return (
            audio.masked_fill(~masks["audio"][..., None], 0.0),
            masks["audio"],
            self.standardise_video(inputs.video).masked_fill(~masks["video"][..., None], 0.0),
            masks["video"],
        )

    def fuse(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Join f_global and f_local, as far as there are both, by the gate, eq. 31-34.

        Returns:
            The joint vector (B, d), and the weights of both paths (B, 2).
        """
        first = features[0]
        if self.path_gate is not None:
            fused, weights = self.path_gate(*features)
            return fused, weights
        fixed = (self.config.global_path, self.config.local_path)
        weights = first.new_tensor(fixed).expand(first.shape[0], 2) / len(features)
        return torch.stack(features).mean(dim=0), weights


def with_changes(rows: Tensor) -> Tensor:
    """Put beside each row its change since the one before and that change's size; 0 for the first.

    Averaged over a clip the first is its trend, the second its liveliness. (B, L, columns) to
    (B, L, 3 columns).
    """
    changes = nn.functional.pad(rows[:, 1:] - rows[:, :-1], (0, 0, 1, 0))
    return torch.cat([rows, changes, changes.abs()], dim=-1)


def _adapted(encoder: BertModel | None, config: DPDFConfig) -> BertModel:
    if encoder is None:
        encoder = build_encoder(config.encoder_shape, pooler=config.encoder_pooler)
    if config.encoder_rank is not None:
        add_low_rank_changes(encoder, config.encoder_rank)
    return encoder


def encode(encoder: BertModel, input_ids: Tensor, mask: Tensor) -> Tensor:
    """Token states (B, T, encoder width) of the encoder's last layer."""
    # A clip without text still goes through BERT with the batch; one visible position keeps its
    # attention defined, and the mask keeps what comes out of it from being used.
    visible = mask.clone()
    visible[:, 0] = True
    # A finished (B, 1, T, T) mask: from a (B, T) one transformers makes its own by asking the
    # device whether anything is padded, which stalls CUDA and is impossible on `meta`.
    length = input_ids.shape[1]
    pairs = visible[:, None, None, :].expand(-1, 1, length, length)
    states: Tensor = encoder(input_ids=input_ids, attention_mask=pairs).last_hidden_state
    return states


def _head(config: DPDFConfig) -> nn.Module:
    """ŷ of eq. 35: one linear map, or the authors' d -> hidden -> 1 with ReLU and dropout."""
    if config.head_hidden is None:
        return nn.Linear(config.width, 1)
    return nn.Sequential(
        nn.Linear(config.width, config.head_hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.head_hidden, 1),
    )
