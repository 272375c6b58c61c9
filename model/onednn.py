"""Linear layers on a CPU by oneDNN.

PyTorch multiplies float32 matrices by MKL, which takes about twice as long on an AMD processor with
AVX-512 as oneDNN does, which PyTorch carries for its other types. The sums are the same but for
their last bits; `benchmarks/precisions.py` has both times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneDnnLinear(nn.Linear):
    """The same tensors as a linear layer; float32 on the CPU only.

    Where a gradient is wanted, PyTorch's own product is used: oneDNN's has none.

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
        if torch.is_grad_enabled():
            return super().forward(x)
        # What torch.compile makes of a linear layer on a CPU, without a compiler on the machine.
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def use_onednn(model: nn.Module) -> None:
    """Let a model's linear layers go by oneDNN, changed in place.

    Nothing happens where this PyTorch lacks it or `torch.backends.mkldnn.enabled` is false.
    """
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, OneDnnLinear(child))
