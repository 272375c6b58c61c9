"""The gate between the paths, eq. 31-34."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PathGate(nn.Module):
    """FG = softmax(FC(GELU(FC([f_global, f_local])))), f = FG_0 f_global + FG_1 f_local."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 2))

    def forward(self, f_global: Tensor, f_local: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse (B, d) and (B, d) to f_fused (B, d); the weights (B, 2) sum to 1 a row."""
        weights = self.weigh(torch.cat([f_global, f_local], dim=-1)).softmax(dim=-1)
        return weights[:, :1] * f_global + weights[:, 1:] * f_local, weights
