"""The global path, eq. 1-25: tokens of each modality, learnable query, guidance by the text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import DPDFConfig
from model.layers import CrossTransformer, projections
from model.learnable_query import LearnableQueryEncoder


class DepthwiseConvolution(nn.Module):
    """Kernel 3 a channel over the positions, GELU, batch norm; keeps the length, eq. 20."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel_size=3, padding=1, groups=width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, query: Tensor) -> Tensor:
        """Map (B, l_t, d) to (B, l_t, d)."""
        convolved = nn.functional.gelu(self.convolution(query.transpose(1, 2)))
        out: Tensor = self.norm(convolved).transpose(1, 2)
        return out


class GlobalPath(nn.Module):
    """From the three sequences to f_global, eq. 1-25.

    G = σ(FC([LQ', h_t, f])), LQ'' = G ⊙ LQ' + (1 - G) ⊙ h_t, f = CrossAttn(LQ', h_t)[0] and
    f_global = CrossAttn(LQ'', h_t)[0] by the same cross-attention block; f is a vector, repeated
    for every position in the concatenation.
    """

    def __init__(self, text_width: int, config: DPDFConfig) -> None:
        super().__init__()
        self.project_text, self.project_audio, self.project_video = projections(text_width, config)
        self.query_encoder = LearnableQueryEncoder(config)
        self.convolution = DepthwiseConvolution(config.width)
        self.gate = nn.Linear(3 * config.width, config.width)
        self.tokens = config.global_tokens
        self.swap = config.swap_cross_attention
        self.cross = (
            CrossTransformer(self.tokens, self.tokens, config.global_cross_depth, config)
            if config.global_cross_attention
            else None
        )

    def forward(
        self,
        text: Tensor,
        text_mask: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        video: Tensor,
        video_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Summarise a batch.

        Args:
            text: (B, T, encoder width); text_mask: (B, T) bool; likewise for the others.
            text_mask: (B, T) bool.
            audio: (B, La, audio columns), standardised.
            audio_mask: (B, La) bool.
            video: (B, Lv, video columns), standardised.
            video_mask: (B, Lv) bool.

        Returns:
            f_global (B, d) and the gates of the query's layers (B, layers, 3).
        """
        present = torch.stack([m.any(dim=1) for m in (text_mask, audio_mask, video_mask)], dim=1)
        h_text, h_audio, h_video = (
            project.own_tokens(x, mask)
            for project, x, mask in (
                (self.project_text, text, text_mask),
                (self.project_audio, audio, audio_mask),
                (self.project_video, video, video_mask),
            )
        )
        return self.gather(h_text, h_audio, h_video, present)

    def gather(
        self, h_text: Tensor, h_audio: Tensor, h_video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """From the modalities' own tokens on, eq. 4-25.

        Args:
            h_text: (B, l_t, d) tokens of eq. 3; likewise the others.
            h_audio: (B, l_t, d).
            h_video: (B, l_t, d).
            present: (B, 3) bool, which of text, audio, video the clip has.

        Returns:
            As `forward`.
        """
        query, level, gates = self.query_encoder(h_text, h_audio, h_video, present)
        query = self.convolution(query)
        found = self._cross(query, level)[:, None].expand_as(query)
        gate = self.gate(torch.cat([query, level, found], dim=-1)).sigmoid()
        query = gate * query + (1 - gate) * level
        return self._cross(query, level), gates

    def _cross(self, query: Tensor, text: Tensor) -> Tensor:
        """CrossAttn(query, text)[0], or the mean of both where Table 2 leaves it out; (B, d)."""
        if self.cross is None:
            return torch.cat([query, text], dim=1).mean(dim=1)
        # The target, which is the other one, has no part in row 0 (`CrossTransformer`).
        out: Tensor = self.cross(text if self.swap else query, None)[:, 0]
        return out
