"""The DGLQA encoder: a learnable query that gathers text, audio and video layer by layer.

Symbols: LQ query (l_t x d), h_t^i text of layer i, h_a, h_v audio and video tokens (l_t x d),
n layers, n_h heads, d_h head width, r reduction. Equations 4-19; and the two attentions that
Table 2 puts in DGLQA's place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import DPDFConfig
from model.layers import TransformerLayer, position_table, scaled_attention


class TextLevels(nn.Module):
    """h_t-list of eq. 4: the text tokens and what each of n - 1 layers makes of them."""

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        self.positions = position_table(config.global_tokens, config)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.query_depth - 1))

    def forward(self, text: Tensor) -> list[Tensor]:
        """Map h_t (B, l_t, d) to [h_t^0, ..., h_t^(n-1)], each (B, l_t, d)."""
        levels = [text + self.positions]
        for layer in self.layers:
            levels.append(layer(levels[-1], None, None))
        return levels


class ChannelAttention(nn.Module):
    """Scale each channel by what the query holds on average, with a residual, eq. 16-19.

    z = mean over positions, s = σ(W_2 GELU(W_1 z)), LQ + LQ ⊙ s; W_1: d -> d/r, W_2: d/r -> d.
    """

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        narrow = config.width // config.channel_reduction
        self.weigh = nn.Sequential(
            nn.Linear(config.width, narrow),
            nn.GELU(),
            nn.Linear(narrow, config.width),
            nn.Sigmoid(),
        )

    def forward(self, query: Tensor) -> Tensor:
        """Map (B, l_t, d) to (B, l_t, d)."""
        weights: Tensor = self.weigh(query.mean(dim=1, keepdim=True))
        return query + query * weights


class GatedQueryAttention(nn.Module):
    """DGLQA, eq. 5-15: one attention a modality, summed by a softmax gate.

    Con = [h_t, h_a, h_v] (l_t x 3d) gives, through one linear map each, the keys and values of
    all three modalities (3d -> 3·n_h·d_h, then split in three). Pre-norm as in `Attention`.
    Gate = softmax(W_g · mean over positions of Con). Where the paper is silent: a modality that
    is absent has gate 0, the others share its weight.
    """

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        width, inner = config.width, config.heads * config.query_head_width
        self.heads = config.heads
        self.norm_query = nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.to_query = nn.Linear(width, inner, bias=False)
        self.to_key = nn.Linear(3 * width, 3 * inner, bias=False)
        self.to_value = nn.Linear(3 * width, 3 * inner, bias=False)
        self.to_gate = nn.Linear(3 * width, 3, bias=False)
        self.to_out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, query: Tensor, text: Tensor, audio: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update the query.

        Args:
            query: LQ_(i-1), (B, l_t, d).
            text: h_t^(i-1), (B, l_t, d).
            audio: h_a, (B, l_t, d).
            video: h_v, (B, l_t, d).
            present: (B, 3) bool, which of text, audio, video the clip has.

        Returns:
            LQ_i before channel attention (B, l_t, d), and the gate (B, 3).
        """
        joint = torch.cat(
            [norm(x) for norm, x in zip(self.norms, (text, audio, video), strict=True)], dim=-1
        )
        gate = masked_gate(self.to_gate(joint.mean(dim=1)), present)
        normed_query = self.to_query(self.norm_query(query))
        fused = torch.zeros_like(normed_query)
        keys, values = self.to_key(joint).chunk(3, dim=-1), self.to_value(joint).chunk(3, dim=-1)
        for index, (key, value) in enumerate(zip(keys, values, strict=True)):
            attended = scaled_attention(normed_query, key, value, heads=self.heads)
            fused = fused + gate[:, index, None, None] * attended
        return query + self.dropout(self.to_out(fused)), gate


def masked_gate(logits: Tensor, present: Tensor) -> Tensor:
    """Softmax over modalities (B, 3), 0 for absent ones; uniform where none is present."""
    masked = logits.masked_fill(~present & present.any(dim=1, keepdim=True), float("-inf"))
    return masked.softmax(dim=-1)


class StandardQueryAttention(nn.Module):
    """Table 2, "DGLQA -> Std.A": the query attends to all 3·l_t tokens at once, without a gate."""

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        inner = config.heads * config.query_head_width
        self.heads = config.heads
        self.norm_query = nn.LayerNorm(config.width)
        self.norm_source = nn.LayerNorm(config.width)
        self.to_query = nn.Linear(config.width, inner, bias=False)
        self.to_key = nn.Linear(config.width, inner, bias=False)
        self.to_value = nn.Linear(config.width, inner, bias=False)
        self.to_out = nn.Linear(inner, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, query: Tensor, text: Tensor, audio: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `GatedQueryAttention.forward`; the gate is even over the modalities present."""
        source = self.norm_source(torch.cat([text, audio, video], dim=1))
        mask = present | ~present.any(dim=1, keepdim=True)
        attended = scaled_attention(
            self.to_query(self.norm_query(query)),
            self.to_key(source),
            self.to_value(source),
            heads=self.heads,
            key_mask=mask.repeat_interleave(text.shape[1], dim=1),
        )
        return query + self.dropout(self.to_out(attended)), even_gate(query, present)


class HyperModalityAttention(nn.Module):
    """Table 2, "DGLQA -> AHL": text asks audio and video (Zhang et al., 2023, ALMT).

    LQ_i = LQ_(i-1) + FC(softmax(Q_t K_aᵀ/√d_h) V_a + softmax(Q_t K_vᵀ/√d_h) V_v).
    """

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        inner = config.heads * config.query_head_width
        self.heads = config.heads
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(3))
        self.to_query = nn.Linear(config.width, inner, bias=False)
        self.to_key = nn.ModuleList(nn.Linear(config.width, inner, bias=False) for _ in range(2))
        self.to_value = nn.ModuleList(nn.Linear(config.width, inner, bias=False) for _ in range(2))
        self.to_out = nn.Linear(inner, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, query: Tensor, text: Tensor, audio: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `GatedQueryAttention.forward`; the gate is even over the modalities present."""
        text, *others = (n(x) for n, x in zip(self.norms, (text, audio, video), strict=True))
        asked = self.to_query(text)
        fused = torch.zeros_like(asked)
        for index, other in enumerate(others):
            found = scaled_attention(
                asked, self.to_key[index](other), self.to_value[index](other), heads=self.heads
            )
            fused = fused + present[:, 1 + index, None, None] * found
        return query + self.dropout(self.to_out(fused)), even_gate(query, present)


def even_gate(query: Tensor, present: Tensor) -> Tensor:
    """The gate of attentions that have none: even over the modalities present (B, 3)."""
    return masked_gate(query.new_zeros(present.shape), present)


QUERY_ATTENTIONS = {
    "dglqa": GatedQueryAttention,
    "standard": StandardQueryAttention,
    "hyper_modality": HyperModalityAttention,
}


class LearnableQueryEncoder(nn.Module):
    """n layers of query attention and channel attention over a learnable query, eq. 4-19.

    Without attention (Table 2, "w/o DGLQA") LQ_n is the mean of the present modalities' tokens.
    """

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        self.text_levels = TextLevels(config)
        shape = (config.global_tokens, config.width)
        self.query = nn.Parameter(
            torch.ones(shape) if config.query_start == "ones" else torch.randn(shape)
        )
        kind = config.query_attention
        depth = 0 if kind == "none" else config.query_depth
        self.attentions = nn.ModuleList(QUERY_ATTENTIONS[kind](config) for _ in range(depth))
        self.channels = nn.ModuleList(ChannelAttention(config) for _ in range(depth))

    def forward(
        self, text: Tensor, audio: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gather the modalities.

        Args:
            text: h_t, (B, l_t, d); audio: h_a; video: h_v, likewise.
            audio: h_a, (B, l_t, d).
            video: h_v, (B, l_t, d).
            present: (B, 3) bool.

        Returns:
            LQ_n (B, l_t, d), h_t^(n-1) (B, l_t, d), and the layers' gates (B, layers, 3).
        """
        levels = self.text_levels(text)
        if not self.attentions:
            weights = even_gate(text, present)
            stacked = torch.stack([levels[-1], audio, video], dim=1)
            query = (weights[:, :, None, None] * stacked).sum(dim=1)
            return query, levels[-1], weights[:, :0, None].expand(-1, 0, 3)
        query = self.query.expand(text.shape[0], -1, -1)
        gates = []
        for level, attend, channel in zip(levels, self.attentions, self.channels, strict=True):
            query, gate = attend(query, level, audio, video, present)
            query = channel(query)
            gates.append(gate)
        return query, levels[-1], torch.stack(gates, dim=1)
