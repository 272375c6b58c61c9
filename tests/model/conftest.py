"""What the model's tests share: a tiny configuration in prime sizes, and the equations in numpy.

The references below are written from the paper for one clip without padding, in float64, and
share no code with `model`. Arrays are (positions, width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config import ENCODERS, DPDFConfig
from model.dpdf_lq import DPDFLQ
from model.encoder import build_encoder
from model.inputs import FeatureSchema, ModelInputs, Sample

Array = NDArray[np.float64]
Weights = Mapping[str, Array]

TINY = DPDFConfig(
    encoder="tiny-bert-test",
    encoder_pooler=False,
    audio_columns=5,
    video_columns=3,
    text_positions=17,
    audio_positions=23,
    video_positions=19,
    width=13,
    global_tokens=2,
    heads=3,
    head_width=5,
    query_head_width=7,
    feed_forward=11,
    global_cross_depth=2,
    head_hidden=7,
)
"""Sizes that differ wherever they mean different things, so that a swapped axis fails."""

SCHEMA = FeatureSchema(
    name="test-1",
    tokenizer="0" * 64,
    max_tokens=17,
    steps_per_second=10,
    audio_columns=tuple(f"sound_{i}" for i in range(5)),
    video_columns=tuple(f"face_{i}" for i in range(3)),
    audio_rule="none",
    video_rule="none",
)


def make_sample(seed: int, tokens: int = 7, sounds: int = 11, frames: int = 3) -> Sample:
    """A clip of random content with these lengths; 0 = absent."""
    random = np.random.default_rng(seed)
    return Sample(
        random.integers(1, 200, tokens),
        random.normal(size=(sounds, 5)).astype(np.float32),
        random.uniform(0, 5, (frames, 3)).astype(np.float32),
    )


def fill_at_random(module: nn.Module, seed: int = 3, scale: float = 0.3) -> None:
    """Give every trained weight and statistic of a module a value that is not its fresh one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, module.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for name, tensor in module.named_buffers():
            if name.endswith(("running_mean", "mean")):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
            elif name.endswith(("running_var", "std")):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def put(module: nn.Module, values: Mapping[str, float | Sequence[object]]) -> None:
    """Set parameters by name; a single number fills the parameter."""
    with torch.no_grad():
        for name, value in values.items():
            parameter = module.get_parameter(name)
            if isinstance(value, (int, float)):
                parameter.fill_(value)
            else:
                given = torch.tensor(value, dtype=torch.float32)
                assert given.shape == parameter.shape, name
                parameter.copy_(given)


def make_model(config: DPDFConfig = TINY, seed: int = 4) -> DPDFLQ:
    """A model in evaluation mode with random weights everywhere behind its encoders.

    Their spread lets the scores of clips differ by tenths, far above what rounding can do.
    """
    torch.manual_seed(seed)
    model = DPDFLQ(config)
    for name, child in model.named_children():
        if not name.endswith("_encoder"):
            fill_at_random(child, seed, scale=0.4)
    return model.eval()


def meta_inputs(config: DPDFConfig, *, batch: int = 1, steps: int = 50) -> ModelInputs:
    """Full-length inputs without content: `steps` tokens, sound rows and face rows a clip."""
    with torch.device("meta"):
        mask = torch.ones(batch, steps, dtype=torch.bool)
        return ModelInputs(
            input_ids=torch.ones(batch, steps, dtype=torch.long),
            text_mask=mask,
            audio=torch.ones(batch, steps, config.audio_columns),
            audio_mask=mask.clone(),
            video=torch.ones(batch, steps, config.video_columns),
            video_mask=mask.clone(),
        )


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT, saved as hub models are."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(11)
    build_encoder(ENCODERS["tiny-bert-test"], pooler=False).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Labelled:
    """An item of a feature file."""

    sample: Sample
    score: float
    name: str = "item"
    split: str = "train"
    speaker: str = ""
    text: str = ""


def write_corpus(path: Path, items: Sequence[Labelled], schema: FeatureSchema = SCHEMA) -> Path:
    """Write a feature file as `model.corpus` documents it."""
    arrays: dict[str, NDArray[np.generic]] = {
        "id": np.array([item.name for item in items], np.str_),
        "speaker": np.array([item.speaker for item in items], np.str_),
        "split": np.array([item.split for item in items], np.str_),
        "text": np.array([item.text for item in items], np.str_),
        "score": np.array([item.score for item in items], np.float32),
        "schema": np.array(schema.to_json()),
    }
    for name in ("input_ids", "audio", "video"):
        rows = [getattr(item.sample, name) for item in items]
        arrays[name] = np.concatenate(rows)
        arrays[f"{name}_length"] = np.array([len(row) for row in rows], np.int64)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path


def as_array(x: Tensor) -> Array:
    """A tensor in float64 numpy."""
    array: Array = x.detach().double().numpy()
    return array


def assert_agrees(found: Tensor, expected: Array) -> None:
    """A float32 tensor equals a reference to rounding."""
    np.testing.assert_allclose(as_array(found), expected, rtol=1e-4, atol=1e-5)


def weights_of(module: nn.Module) -> dict[str, Array]:
    """Every tensor of a module by its name."""
    return {name: as_array(tensor) for name, tensor in module.state_dict().items()}


def part(weights: Weights, prefix: str) -> dict[str, Array]:
    """The weights of a submodule."""
    start = prefix + "."
    return {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}


def linear(weights: Weights, x: Array) -> Array:
    """W x + b."""
    return np.asarray(x @ weights["weight"].T + weights.get("bias", 0.0))


def layer_norm(weights: Weights, x: Array) -> Array:
    """Each position to mean 0 and variance 1 over its channels, then scaled and shifted."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    y: Array = centred / spread * weights["weight"] + weights["bias"]
    return y


def softmax(x: Array) -> Array:
    """exp(x) / sum exp(x) along the last axis."""
    e = np.exp(x)
    y: Array = e / e.sum(axis=-1, keepdims=True)
    return y


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    y: Array = 1 / (1 + np.exp(-x))
    return y


def gelu(x: Array) -> Array:
    """x Φ(x), Φ the normal distribution function."""
    y: Array = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return y


def attend(query: Array, key: Array, value: Array, heads: int) -> Array:
    """softmax(Q Kᵀ / √d_h) V head by head; heads lie side by side along the width."""
    size = query.shape[1] // heads
    outs = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        outs.append(softmax(query[:, own] @ key[:, own].T / math.sqrt(size)) @ value[:, own])
    return np.concatenate(outs, axis=1)


def attention(weights: Weights, query: Array, source: Array, heads: int) -> Array:
    """Pre-norm attention, projected back."""
    out = attend(
        linear(part(weights, "to_query"), layer_norm(part(weights, "norm_query"), query)),
        linear(part(weights, "to_key"), layer_norm(part(weights, "norm_key"), source)),
        linear(part(weights, "to_value"), layer_norm(part(weights, "norm_value"), source)),
        heads,
    )
    return linear(part(weights, "to_out"), out)


def feed_forward(weights: Weights, x: Array) -> Array:
    """Norm, linear, GELU, linear."""
    inner = gelu(linear(part(weights, "1"), layer_norm(part(weights, "0"), x)))
    return linear(part(weights, "4"), inner)


def transformer_layer(weights: Weights, x: Array, source: Array | None, heads: int) -> Array:
    """x + attention, then + feed-forward."""
    x = x + attention(part(weights, "attention"), x, x if source is None else source, heads)
    return x + feed_forward(part(weights, "feed_forward"), x)


def projection(weights: Weights, x: Array, heads: int, depth: int) -> Array:
    """Trans([tokens, FC(x)] + positions), eq. 1-2 and 27-28."""
    hidden: Array = np.concatenate([weights["tokens"], linear(part(weights, "project"), x)])
    hidden = hidden + weights["positions"][: len(hidden)]
    for index in range(depth):
        hidden = transformer_layer(part(weights, f"layers.{index}"), hidden, None, heads)
    return hidden


def cross_attention(
    weights: Weights,
    source: Array,
    target: Array,
    heads: int,
    depth: int,
    target_places: Sequence[int] | None = None,
) -> Array:
    """CrossAttn(source, target) of eq. 21, 25 and 30, all rows."""
    places = list(target_places or range(len(target)))
    source_table, target_table = weights["source_positions"], weights["target_positions"]
    source = np.concatenate(
        [weights["token"] + source_table[:1], source + source_table[1 : 1 + len(source)]]
    )
    target = np.concatenate(
        [weights["token"] + target_table[:1], target + target_table[[1 + p for p in places]]]
    )
    for index in range(depth):
        target = transformer_layer(part(weights, f"layers.{index}"), target, source, heads)
    return target
