"""The local path, eq. 26-30: whole sequences, audio and video asking the text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import DPDFConfig
from model.layers import CrossTransformer, projections


class SpatialAttention(nn.Module):
    """Depthwise separable attention along time on the visual features, eq. 26.

    Norm, 1x1 and then 3x1 depthwise convolution give an attention map that multiplies a 1x1 value
    map; a 1x1 projection follows. Padding is zeroed before the convolution that looks sideways.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(columns)
        self.point = nn.Linear(columns, columns)
        self.depthwise = nn.Conv1d(columns, columns, kernel_size=3, padding=1, groups=columns)
        self.value = nn.Linear(columns, columns)
        self.project = nn.Linear(columns, columns)

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """Map (B, Lv, columns) with mask (B, Lv) to the same shape."""
        normed = self.norm(video)
        point = self.point(normed).masked_fill(~mask[..., None], 0.0)
        attention = self.depthwise(point.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.project(attention * self.value(normed))
        return out


class LocalPath(nn.Module):
    """From the three sequences to f_local, eq. 26-30.

    Con = [H_a, H_v] along time are the queries, H_t keys and values. Audio and video rows have
    fixed places in the position table, so that padding one never moves the other.
    """

    def __init__(self, text_width: int, config: DPDFConfig) -> None:
        super().__init__()
        self.spatial = SpatialAttention(config.video_columns)
        self.project_text, self.project_audio, self.project_video = projections(text_width, config)
        self.swap = config.swap_cross_attention
        self.readout = config.local_readout
        self.video_start = config.global_tokens + config.audio_positions
        text_rows = config.global_tokens + config.text_positions
        other_rows = self.video_start + config.global_tokens + config.video_positions
        rows = (other_rows, text_rows) if self.swap else (text_rows, other_rows)
        self.cross = CrossTransformer(*rows, config.local_cross_depth, config)

    def forward(
        self,
        text: Tensor,
        text_mask: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        video: Tensor,
        video_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Map the arguments of `GlobalPath.forward`.

        Returns:
            f_local (B, d), and the gates of its query layers, of which it has none (B, 0, 3).
        """
        h_text, text_mask = self.project_text(text, text_mask)
        h_audio, audio_mask = self.project_audio(audio, audio_mask)
        attended = self.spatial(video, video_mask)
        h_video, video_mask = self.project_video(attended, video_mask)
        joint, joint_mask = (
            torch.cat([h_audio, h_video], dim=1),
            torch.cat([audio_mask, video_mask], dim=1),
        )
        index = torch.cat(
            [
                torch.arange(h_audio.shape[1], device=text.device),
                torch.arange(h_video.shape[1], device=text.device) + self.video_start,
            ]
        )
        if self.swap:
            out = self.cross(joint, h_text, joint_mask, source_index=index)
            feature = self.read(out, text_mask)
        else:
            out = self.cross(h_text, joint, text_mask, target_index=index)
            feature = self.read(out, joint_mask)
        return feature, feature.new_zeros(len(feature), 0, 3)

    def read(self, out: Tensor, target_mask: Tensor) -> Tensor:
        """f_local (B, d): row 0, or the mean over the own token and the real target positions.

        Args:
            out: (B, 1 + Lt, d), what the cross-attention made of the targets.
            target_mask: (B, Lt) bool.
        """
        if self.readout == "token":
            return out[:, 0]
        mask = torch.cat([target_mask.new_ones(out.shape[0], 1), target_mask], dim=1)
        weights = mask.to(out.dtype)[..., None]
        return (out * weights).sum(dim=1) / weights.sum(dim=1)
