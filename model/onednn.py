"""Linear layers on a CPU by oneDNN, in few shapes.

PyTorch multiplies float32 matrices by MKL, which takes about twice as long on an AMD processor with
AVX-512 as oneDNN does, by which PyTorch multiplies bfloat16. On Intel's own processors MKL is the
faster one, and stays. The sums are the same but for their last bits; `benchmarks/precisions.py` has
both times.

oneDNN makes a program for every number of rows that it meets and keeps a thousand of them, most of
a megabyte each, and clips differ in their numbers of rows. So rows go in blocks of few sizes;
`service/__main__.py` bounds how many programs are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (256, 128, 64, 48, 32, 16)
"""Numbers of rows that are multiplied at once; what is left of a clip is filled up to the next."""

LEAST_PRODUCTS = 2_000_000
"""Multiplications below which a layer's product gains nothing, and its program is small."""

PROCESSOR = Path("/proc/cpuinfo")
"""Where Linux names the processor's maker."""


class OneDnnLinear(nn.Linear):
    """The same tensors as a linear layer, float32 or bfloat16 on the CPU; they get no gradient.

    Args:
        linear: whose weight and bias are shared.
    """

    def __init__(self, linear: nn.Linear) -> None:
        bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias, device="meta")
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        rows = x.numel() // self.in_features
        if rows * self.weight.numel() < LEAST_PRODUCTS:
            return super().forward(x)
        x = x.to(self.weight.dtype)
        if torch.is_grad_enabled():
            out: Tensor = _WithGradient.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return out
        return in_blocks(x, self.weight, self.bias)


class _WithGradient(torch.autograd.Function):
    """`in_blocks`, and the gradient of what it maps."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(weight)
        return in_blocks(x, weight, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = context.saved_tensors
        return in_blocks(gradient, weight.t(), None), None, None


def in_blocks(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., in), at least one row, to (..., out) by a weight (out, in), block by block."""
    rows = x.numel() // weight.shape[1]
    *full, last = blocks_of(rows)
    left = rows - sum(full)
    blocks = list(x.reshape(rows, -1).split([*full, left]))
    if left < last:
        blocks[-1] = functional.pad(blocks[-1], (0, 0, 0, last - left))
    products = [product(block, weight, bias) for block in blocks]
    products[-1] = products[-1][:left]
    out = products[0] if len(products) == 1 else torch.cat(products)
    return out.view(*x.shape[:-1], len(weight))


def product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (rows, in) to (rows, out) by a weight (out, in)."""
    # What torch.compile makes of a linear layer on a CPU, without a compiler on the machine.
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


def blocks_of(rows: int) -> list[int]:
    """Sizes of the blocks that hold so many rows (at least 1), each of `BLOCKS`, largest first."""
    blocks = []
    for size in BLOCKS[:3]:
        blocks += [size] * (rows // size)
        rows %= size
    if rows:
        blocks.append(min(size for size in BLOCKS if size >= rows))
    return blocks


@torch.inference_mode()
def make_programs(model: nn.Module) -> None:
    """Have oneDNN make what it needs for every kind of layer and size of block, beforehand.

    For as many threads as the calling thread has now; others are programs of their own.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, OneDnnLinear)]
    kinds = {(layer.weight.shape, layer.bias is None): layer for layer in layers}
    for layer in kinds.values():
        if BLOCKS[0] * layer.weight.numel() >= LEAST_PRODUCTS:
            for rows in BLOCKS:
                zeros = torch.zeros(rows, layer.in_features, dtype=layer.weight.dtype)
                product(zeros, layer.weight, layer.bias)


def is_intel() -> bool:
    """Whether the processor is one of Intel's, for which Intel's MKL was made."""
    return PROCESSOR.is_file() and "GenuineIntel" in PROCESSOR.read_text()


def use_onednn(model: nn.Module) -> None:
    """Let a model's linear layers go by oneDNN, changed in place.

    Nothing happens where this PyTorch lacks it, `torch.backends.mkldnn.enabled` is false, the
    weights are of a type that the processor has no products for, or MKL is the faster: float32 on
    an Intel.
    """
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return
    faster = set()
    if not is_intel():
        faster.add(torch.float32)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        faster.add(torch.bfloat16)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and child.weight.dtype in faster:
                setattr(module, name, OneDnnLinear(child))
