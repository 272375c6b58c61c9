"""The parts that both paths are built from: attention, transformers, cross-attention.

Sequences are (batch, positions, width) tensors with a boolean mask (batch, positions), True where
a position is real. Masked positions are never attended to, so their content cannot reach a score.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import DPDFConfig


class Attention(nn.Module):
    """Multi-head attention with pre-norm on query, key and value.

    softmax(Q Kᵀ / √d_h) V, projected back to the width; no bias in Q, K and V.

    Symbols: n_h = heads (8), d_h = head width (64); the inner width n_h·d_h may exceed d.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm_query = nn.LayerNorm(width)
        self.norm_key = nn.LayerNorm(width)
        self.norm_value = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, inner, bias=False)
        self.to_key = nn.Linear(width, inner, bias=False)
        self.to_value = nn.Linear(width, inner, bias=False)
        self.to_out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Attend from query (B, Lq, d) to source (B, Ls, d); returns (B, Lq, d)."""
        attended = scaled_attention(
            self.to_query(self.norm_query(query)),
            self.to_key(self.norm_key(source)),
            self.to_value(self.norm_value(source)),
            heads=self.heads,
            key_mask=source_mask,
        )
        out: Tensor = self.dropout(self.to_out(attended))
        return out


def scaled_attention(
    query: Tensor, key: Tensor, value: Tensor, *, heads: int, key_mask: Tensor | None = None
) -> Tensor:
    """softmax(Q Kᵀ / √d_h) V a head, eq. 10-11; (B, L, n_h·d_h) in and out.

    Args:
        query: (B, Lq, n_h·d_h).
        key: (B, Lk, n_h·d_h).
        value: (B, Lk, n_h·d_h).
        heads: n_h.
        key_mask: (B, Lk) bool, at least one True a row; None = all real.
    """
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = None if key_mask is None else key_mask[:, None, None, :]
    attend = functional.scaled_dot_product_attention
    if slow_in_halves(query):
        with torch.autocast("cpu", enabled=False):
            out = attend(query.float(), key.float(), value.float(), attn_mask=mask)
    else:
        out = attend(query, key, value, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


def slow_in_halves(query: Tensor) -> bool:
    """Whether a CPU would take longer over this attention's gradient than in float32."""
    return query.requires_grad and query.device.type == "cpu" and query.dtype == torch.bfloat16


class FeedForward(nn.Sequential):
    """Pre-norm position-wise network: d -> inner -> d with GELU."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, inner),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(inner, width),
            nn.Dropout(dropout),
        )


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each with a residual; self-attention where source is None."""

    def __init__(self, config: DPDFConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.heads, config.head_width, config.dropout)
        self.feed_forward = FeedForward(config.width, config.feed_forward, config.dropout)

    def forward(self, x: Tensor, source: Tensor | None, source_mask: Tensor | None) -> Tensor:
        """Map (B, L, d) to (B, L, d); no row depends on another but through the source."""
        x = x + self.attention(x, x if source is None else source, source_mask)
        out: Tensor = x + self.feed_forward(x)
        return out


def position_table(positions: int, config: DPDFConfig) -> nn.Parameter:
    """Learnable position embeddings (positions, d)."""
    return nn.Parameter(torch.randn(positions, config.width) * config.position_std)


class ClipSummary(nn.Module):
    """A clip's mean row, its spread, and the means of its thirds, added to each learnable token.

    Not in the paper: the numbers that regressions on voice and face read (`clip_summaries`).
    """

    def __init__(self, columns: int, config: DPDFConfig) -> None:
        super().__init__()
        self.tokens = config.global_tokens
        self.make = nn.Sequential(
            nn.Linear(5 * columns, config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, config.global_tokens * config.width),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, L, columns) with mask (B, L) to (B, l_t, d); masked rows count as absent."""
        place = (mask.cumsum(dim=1) - 1) * 3 // mask.sum(dim=1, keepdim=True).clamp(min=1)
        parts = [mask, *(mask & (place == third) for third in range(3))]
        weights = torch.stack(parts, dim=1).to(x.dtype)
        # Of a clip with fewer than three rows some thirds are empty: they count as 0, the mean.
        means = (weights / weights.sum(dim=2, keepdim=True).clamp(min=1)) @ x
        squares = (weights[:, 0, :, None] * (x - means[:, :1]) ** 2).sum(dim=1)
        variance = squares / weights[:, 0].sum(dim=1, keepdim=True).clamp(min=1)
        # The root has no slope at 0, where a still picture is.
        spread: Tensor = (variance + 1e-4).sqrt() - 1e-2
        made = self.make(torch.cat([means.flatten(1), spread], dim=1))
        out: Tensor = made.unflatten(-1, (self.tokens, -1))
        return out


class ModalityProjection(nn.Module):
    """FC to the common width, then Trans over learnable tokens and the sequence, eq. 1-2, 27-28.

    The authors' settings put the same 8 tokens before each sequence in both paths; the global
    path keeps those tokens alone (eq. 3), the local path everything. With `summary` the tokens
    start from a `ClipSummary`.
    """

    def __init__(
        self, columns: int, positions: int, config: DPDFConfig, *, summary: bool = False
    ) -> None:
        super().__init__()
        self.summary = ClipSummary(columns, config) if summary else None
        self.tokens = nn.Parameter(torch.zeros(config.global_tokens, config.width))
        self.positions = position_table(config.global_tokens + positions, config)
        self.project = nn.Linear(columns, config.width)
        self.layers = nn.ModuleList(
            TransformerLayer(config) for _ in range(config.projection_depth)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, L, columns) to H (B, l_t + L, d) with its mask (B, l_t + L)."""
        hidden, mask = self._embed(x, mask)
        for layer in self.layers:
            hidden = layer(hidden, None, mask)
        return hidden, mask

    def own_tokens(self, x: Tensor, mask: Tensor) -> Tensor:
        """The learnable tokens' rows of H alone, eq. 3: (B, l_t, d).

        What `forward` gives, without the last layer's rows that nobody reads.
        """
        hidden, mask = self._embed(x, mask)
        own = len(self.tokens)
        if not len(self.layers):
            return hidden[:, :own]
        *layers, last = self.layers
        for layer in layers:
            hidden = layer(hidden, None, mask)
        out: Tensor = last(hidden[:, :own], hidden, mask)
        return out

    def _embed(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What goes into the first layer, and its mask."""
        batch = x.shape[0]
        tokens = self.tokens.expand(batch, -1, -1)
        if self.summary is not None:
            tokens = tokens + self.summary(x, mask)
        hidden = torch.cat([tokens, self.project(x)], dim=1)
        hidden = hidden + self.positions[: hidden.shape[1]]
        return hidden, torch.cat([mask.new_ones(batch, tokens.shape[1]), mask], dim=1)


def projections(
    text_width: int, config: DPDFConfig
) -> tuple[ModalityProjection, ModalityProjection, ModalityProjection]:
    """A path's own projections of text, audio and video."""
    summary = config.clip_summaries
    return (
        ModalityProjection(text_width, config.text_positions, config),
        ModalityProjection(config.audio_inputs, config.audio_positions, config, summary=summary),
        ModalityProjection(config.video_columns, config.video_positions, config, summary=summary),
    )


class CrossTransformer(nn.Module):
    """CrossAttn(source, target) of eq. 21, 25 and 30 (after Zhang et al., 2023).

    A token of its own and position embeddings are put before source and target; targets are the
    queries, the source gives keys and values and stays as it is from layer to layer.
    """

    def __init__(
        self, source_positions: int, target_positions: int, depth: int, config: DPDFConfig
    ) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, config.width))
        self.source_positions = position_table(1 + source_positions, config)
        self.target_positions = position_table(1 + target_positions, config)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(depth))

    def forward(
        self,
        source: Tensor,
        target: Tensor | None,
        source_mask: Tensor | None = None,
        source_index: Tensor | None = None,
        target_index: Tensor | None = None,
    ) -> Tensor:
        """Attend from target (B, Lt, d) to source (B, Ls, d).

        The target needs no mask: its positions do not attend to one another. It follows that row
        0, which eq. 21, 25 and 30 read, depends on the source alone.

        Args:
            source: keys and values.
            target: queries; None where row 0 is all that is read.
            source_mask: (B, Ls) bool; None = all real.
            source_index: (Ls,) rows of the position table; None = 0..Ls-1.
            target_index: (Lt,) likewise.

        Returns:
            (B, 1 + Lt, d), or (B, 1, d) without targets; row 0 is the own token's, the ``[0, :]``
            of the equations.
        """
        source = self._embed(source, self.source_positions, source_index)
        if target is None:
            asking = self._own(self.target_positions, len(source))
        else:
            asking = self._embed(target, self.target_positions, target_index)
        if source_mask is not None:
            own = source_mask.new_ones(source_mask.shape[0], 1)
            source_mask = torch.cat([own, source_mask], dim=1)
        for layer in self.layers:
            asking = layer(asking, source, source_mask)
        return asking

    def _embed(self, x: Tensor, table: Tensor, index: Tensor | None) -> Tensor:
        body = table[1 : 1 + x.shape[1]] if index is None else table[1 + index]
        return torch.cat([self._own(table, x.shape[0]), x + body], dim=1)

    def _own(self, table: Tensor, batch: int) -> Tensor:
        """The own token in its place, (B, 1, d)."""
        return (self.token + table[:1]).expand(batch, -1, -1)
