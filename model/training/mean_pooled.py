"""The teacher's architecture: a text encoder's mean token state and one linear map to a score.

Larger and plainer than DPDF-LQ, and never served: it scores sentences that have no label, or a
noisy one, for the shipped model to learn from (`model.training.teacher`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from model.dpdf_lq import ModelOutputs
from model.encoder import encoder_folder, quiet_transformers
from model.inputs import ModelInputs

_SPECIAL = {"[PAD]": "<pad>", "[CLS]": "<s>", "[SEP]": "</s>"}
"""BERT's special pieces in the vocabulary of encoders that name them otherwise (MPNet)."""


class MeanPooled(nn.Module):
    """score = w · mean over tokens of encoder(text) + b.

    Feature files hold the ids of the shipped encoder's vocabulary; they are looked up in this
    encoder's own by the pieces they stand for.

    Args:
        encoder: any transformers model that gives a ``last_hidden_state``.
        id_map: (vocabulary of the feature files,) int64.
    """

    id_map: Tensor

    def __init__(self, encoder: nn.Module, id_map: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        config: Any = encoder.config
        self.head = nn.Linear(config.hidden_size, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("id_map", id_map)

    @classmethod
    def from_folder(cls, folder: Path, vocabulary: Path | None = None) -> MeanPooled:
        """The encoder's published weights with a fresh head.

        Args:
            folder: of the encoder, with ``vocab.txt``.
            vocabulary: ``vocab.txt`` of the feature files; the shipped encoder's if None.

        Raises:
            FileNotFoundError: a vocabulary is missing.
            KeyError: a piece of the feature files is not in the encoder's vocabulary.
        """
        own = encoder_folder("all-MiniLM-L6-v2")
        if vocabulary is None and own is not None:
            vocabulary = own / "vocab.txt"
        pieces = {p: i for i, p in enumerate((folder / "vocab.txt").read_text().splitlines())}
        read = (vocabulary or folder / "vocab.txt").read_text().splitlines()
        wanted = [_SPECIAL[p] if _SPECIAL.get(p) in pieces else p for p in read]
        with quiet_transformers():
            encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        return cls(encoder, torch.tensor([pieces[piece] for piece in wanted]))

    def forward(self, inputs: ModelInputs) -> ModelOutputs:
        """Score a batch by its text alone; it has no paths and no layers whose gates to tell."""
        mask = inputs.text_mask
        ids = self.id_map[inputs.input_ids]
        states = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        weights = mask[..., None].to(states.dtype)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
        score = self.head(mean).squeeze(-1)
        return ModelOutputs(
            score, score.new_full((len(score), 2), torch.nan), score.new_zeros(len(score), 0, 3)
        )


def save_mean_pooled(path: Path, model: MeanPooled) -> None:
    """Write all tensors in float16; the file is replaced at once."""
    tensors = {
        name: tensor.cpu().half().contiguous() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in model.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)


def load_mean_pooled(path: Path, folder: Path) -> MeanPooled:
    """The trained model in evaluation mode, float32.

    Args:
        path: what `save_mean_pooled` wrote.
        folder: of the encoder it was trained from.
    """
    model = MeanPooled.from_folder(folder)
    model.load_state_dict(load_file(path))
    return model.eval()
