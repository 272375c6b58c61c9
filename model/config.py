"""One frozen configuration builds every DPDF-LQ: the paper's, ours, and Table 2's ablations.

    paper-mosi, paper-mosei   two BERT-base encoders, widths and depths of the authors' settings
    default                   two low-rank adapted all-MiniLM-L6-v2 encoders: the shipped checkpoint

Sizes follow the paper's letters where it has them: width d, global tokens l_t, heads n_h, head
width d_h, DGLQA layers n, channel reduction r.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

Modality = Literal["text", "audio", "video"]

MODALITIES: tuple[Modality, ...] = ("text", "audio", "video")
"""The order of modalities in concatenations and gates, eq. 5 and 13."""

QueryAttention = Literal["dglqa", "standard", "hyper_modality", "none"]


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of a BERT encoder (Devlin et al., 2019), enough to build it without its weights.

    Attributes:
        hub_name: name on the model hub, where a network is.
        hidden: width of a token.
        layers: transformer layers.
        heads: attention heads.
        feed_forward: inner width of a layer's feed-forward part.
        vocabulary: WordPieces.
        positions: longest text in tokens.
        weights_sha256: digest of the pinned ``model.safetensors`` (hex), or None where any
            weights of this shape may be used.
    """

    hub_name: str
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int = 30_522
    positions: int = 512
    weights_sha256: str | None = None


ENCODERS = {
    "bert-base-uncased": EncoderShape("google-bert/bert-base-uncased", 768, 12, 12, 3072),
    "bert-large-uncased": EncoderShape("google-bert/bert-large-uncased", 1024, 24, 16, 4096),
    "all-MiniLM-L6-v2": EncoderShape(
        "sentence-transformers/all-MiniLM-L6-v2",
        384,
        6,
        12,
        1536,
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    # Small enough to train in a test; no published weights have this shape.
    "tiny-bert-test": EncoderShape("", 16, 2, 2, 32, vocabulary=200, positions=64),
}


@dataclass(frozen=True, slots=True)
class DPDFConfig:
    """Everything that shapes a DPDF-LQ.

    Attributes:
        encoder: key of `ENCODERS`; both paths have one of their own.
        encoder_rank: rank of the trained change to each of the encoder's matrices; None trains
            the matrices themselves, as the paper does.
        encoder_pooler: keep BERT's pooler, which nothing calls, so that the parameter count is
            the one the paper reports.
        audio_columns: columns a sound row, d_a.
        video_columns: columns a face row, d_v.
        text_positions: longest text (tokens).
        audio_positions: longest sound (rows).
        video_positions: longest face track (rows).
        width: d, common width of all projected sequences.
        global_tokens: l_t, learnable tokens before each projected sequence, eq. 3.
        heads: n_h of every attention.
        head_width: d_h of ordinary attention.
        query_head_width: d_h of DGLQA.
        feed_forward: inner width of the transformers' feed-forward parts.
        projection_depth: layers of Trans, eq. 2 and 28.
        query_depth: n, DGLQA layers; the text encoder of eq. 4 has n - 1.
        global_cross_depth: layers of the cross-attention of eq. 21 and 25.
        local_cross_depth: layers of the cross-attention of eq. 30.
        channel_reduction: r, eq. 17.
        head_hidden: hidden units of the regression head in the authors' settings; None is
            the single linear map of eq. 35.
        local_readout: "token" is eq. 30's ``[0, :]``. As no target position attends to another,
            that token sees the text alone, and voice and face cannot reach f_local through it;
            "mean" averages over all target positions instead, so that they can.
        audio_changes: give beside each sound row its change since the row before, and the size of
            that change: a mood is in a voice's trend and movement, which attention alone hardly
            finds in the thousand clips at hand.
        clip_summaries: add to a voice's and a face's learnable tokens what a small network makes of
            the mean, the spread and the means of the thirds of their rows; not in the paper. A
            mood is in them, and regressions on them learn from a thousand clips what attention
            learns from far more.
        dropout: dropout rate of attention outputs, feed-forward parts and the head.
        query_start: LQ_0, "ones" in the authors' settings, "random" in the paper's text.
        position_std: standard deviation of fresh position embeddings; 1 in the authors'
            settings, small where positions beyond the trained lengths must stay harmless.
        modalities: those the model may use; the others are treated as absent (Table 2).
        global_path: switch, Table 2 "w/o GPath".
        local_path: switch, Table 2 "w/o LPath".
        path_gate: switch, Table 2 "w/o Gate": both paths then weigh 1/2.
        query_attention: DGLQA, or in its place standard attention over all tokens, adaptive
            hyper-modality learning (Zhang et al., 2023), or no attention (Table 2).
        global_cross_attention: switch, Table 2 "w/o GPath CA": mean over tokens instead.
        swap_cross_attention: source and target change places in both paths (Table 2).
    """

    encoder: str
    audio_columns: int
    video_columns: int
    encoder_rank: int | None = None
    encoder_pooler: bool = True
    text_positions: int = 50
    audio_positions: int = 500
    video_positions: int = 500
    width: int = 128
    global_tokens: int = 8
    heads: int = 8
    head_width: int = 64
    query_head_width: int = 16
    feed_forward: int = 128
    projection_depth: int = 1
    query_depth: int = 3
    global_cross_depth: int = 4
    local_cross_depth: int = 2
    channel_reduction: int = 4
    head_hidden: int | None = 64
    local_readout: Literal["token", "mean"] = "token"
    audio_changes: bool = False
    clip_summaries: bool = False
    dropout: float = 0.0
    query_start: Literal["ones", "random"] = "ones"
    position_std: float = 1.0
    modalities: tuple[Modality, ...] = MODALITIES
    global_path: bool = True
    local_path: bool = True
    path_gate: bool = True
    query_attention: QueryAttention = "dglqa"
    global_cross_attention: bool = True
    swap_cross_attention: bool = False

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder {self.encoder!r} is unknown; known: {sorted(ENCODERS)}")
        if not (self.global_path or self.local_path):
            raise ValueError("a model needs the global path, the local path or both")
        if not self.modalities or set(self.modalities) - set(MODALITIES):
            raise ValueError(f"modalities must be some of {MODALITIES}, not {self.modalities}")
        longest = self.encoder_shape.positions
        if self.text_positions > longest:
            raise ValueError(f"{self.encoder} takes {longest} tokens, not {self.text_positions}")

    @property
    def encoder_shape(self) -> EncoderShape:
        """Sizes of each of the two text encoders."""
        return ENCODERS[self.encoder]

    @property
    def audio_inputs(self) -> int:
        """Width of a sound row as the paths read it."""
        return self.audio_columns * (3 if self.audio_changes else 1)

    def to_json(self) -> str:
        """JSON with every field."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DPDFConfig:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a field is missing or unknown.
            ValueError: a field is out of range.
        """
        values = json.loads(text)
        return cls(**(values | {"modalities": tuple(values["modalities"])}))


_PAPER_MOSEI = DPDFConfig(encoder="bert-base-uncased", audio_columns=74, video_columns=35)

PROFILES = {
    "paper-mosei": _PAPER_MOSEI,
    "paper-mosi": replace(_PAPER_MOSEI, audio_columns=5, video_columns=20, global_cross_depth=2),
    "default": DPDFConfig(
        encoder="all-MiniLM-L6-v2",
        encoder_rank=64,
        encoder_pooler=False,
        audio_columns=35,
        video_columns=119,
        text_positions=256,
        global_cross_depth=2,
        local_readout="mean",
        audio_changes=True,
        clip_summaries=True,
        dropout=0.1,
        query_start="random",
        position_std=0.02,
    ),
}

ABLATIONS: dict[str, dict[str, object]] = {
    "w/o V": {"modalities": ("text", "audio")},
    "w/o A": {"modalities": ("text", "video")},
    "w/o T": {"modalities": ("audio", "video")},
    "w/o A&V": {"modalities": ("text",)},
    "w/o T&V": {"modalities": ("audio",)},
    "w/o T&A": {"modalities": ("video",)},
    "w/o LPath": {"local_path": False},
    "w/o GPath": {"global_path": False},
    "w/o Gate": {"path_gate": False},
    "w/o DGLQA": {"query_attention": "none"},
    "w/o GPath CA": {"global_cross_attention": False},
    "LPath CA <-> GPath CA": {"swap_cross_attention": True},
    "DGLQA -> Std.A": {"query_attention": "standard"},
    "DGLQA -> AHL": {"query_attention": "hyper_modality"},
}
"""The rows of the paper's Table 2 as changes to a configuration: ``replace(config, **change)``."""
