"""Explains a score: every subset of the modalities, and one gradient for words and moments.

Modalities: the encoders run once, the 8 subsets are one batch behind them, because what a path
makes of a modality depends on that modality alone until the paths join them.

Words and moments: integrated gradients by the midpoint rule with one point, on the way from a clip
without content to the clip. Text is followed through the last third of the encoders' layers, where
what [PAD] tokens have become stands for no words; a sound or face row without content is the
training mean. That costs a third of a way from the first layer, and the words it names matter more:
`benchmarks/explanation_deletion.py`, `benchmarks/explanation_cost.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertModel

from model.config import MODALITIES
from model.dpdf_lq import DPDFLQ, ModelOutputs, PathOutputs
from model.encoder import run_layers
from model.explanation import ALL, SUBSETS, Explanation, shapley_values
from model.global_path import GlobalPath
from model.inputs import PAD_ID, Sample, collate
from model.layers import ModalityProjection
from model.local_path import LocalPath
from model.side_by_side import Begin, results, when_asked

Rows = tuple[Tensor, Tensor, Tensor, Tensor]
"""Audio, its mask, video, its mask, as `DPDFLQ.rows` gives them."""


class Explainer:
    """Explains scores of one model.

    Not thread-safe, as the model is not.

    Args:
        model: in evaluation mode, on its device, its encoders' low-rank changes merged.
        begin: how what does not need one another is done.
    """

    def __init__(self, model: DPDFLQ, begin: Begin = when_asked) -> None:
        self._model = model
        self._begin = begin
        self._start = model.config.encoder_shape.layers * 2 // 3
        device = next(model.parameters()).device
        nothing = torch.full((1, model.config.text_positions), PAD_ID, device=device)
        with torch.no_grad():
            self._blank = [self._lower(encoder, nothing) for encoder in model.encoders]

    @torch.no_grad()
    def explain(self, sample: Sample) -> tuple[ModelOutputs, Explanation]:
        """Score one clip and explain the score.

        Returns:
            The clip's outputs (a batch of one, on the CPU) and the explanation.

        Raises:
            ValueError: a sequence is longer than the configuration has positions for.
        """
        model = self._model
        inputs = collate([sample]).to(next(model.parameters()).device)
        model.check_lengths(inputs)
        masks = model.masks(inputs)
        rows = model.rows(inputs, masks)
        steps = [partial(self._lower, encoder, inputs.input_ids) for encoder in model.encoders]
        lower = results(steps, self._begin)
        shares = self._begin(lambda: self._shares(lower, masks["text"], rows))
        outputs = self._subsets(lower, masks["text"], rows).cpu()
        found = dict(zip(SUBSETS, outputs.score.tolist(), strict=True))
        there = {name for name, mask in masks.items() if mask.any()}
        # Equal but for rounding where a modality is absent; taken from one of them, exactly equal.
        scores = {subset: found[subset & there] for subset in SUBSETS}
        tokens, audio, video = shares()
        whole = ModelOutputs(outputs.score[-1:], outputs.path_gate[-1:], outputs.layer_gates[-1:])
        return whole, Explanation(
            baseline=scores[frozenset()],
            without={name: scores[ALL - {name}] for name in MODALITIES},
            shapley=shapley_values(scores),
            tokens=tokens,
            audio=audio,
            video=video,
        )

    def _lower(self, encoder: BertModel, input_ids: Tensor) -> Tensor:
        embedded: Tensor = encoder.embeddings(input_ids)
        return run_layers(encoder, embedded, slice(self._start))

    def _upper(self, encoder: BertModel, states: Tensor) -> Tensor:
        return run_layers(encoder, states, slice(self._start, None))

    def _subsets(self, lower: list[Tensor], text_mask: Tensor, rows: Rows) -> ModelOutputs:
        """The outputs of a batch of 8: the clip with each of `SUBSETS` alone."""
        model = self._model
        text = [self._upper(encoder, x) for encoder, x in zip(model.encoders, lower, strict=True)]
        audio, audio_mask, video, video_mask = rows
        sound, face = audio[:, audio_mask[0]], video[:, video_mask[0]]
        there = {
            "text": bool(text_mask.any()), "audio": sound.shape[1] > 0, "video": face.shape[1] > 0
        }  # fmt: skip
        # A modality that the clip has not got is absent with and without it: the same inputs.
        chosen = torch.tensor(
            [[name in subset and there[name] for name in MODALITIES] for subset in SUBSETS],
            device=audio.device,
        )
        return model.conclude(
            [
                _path(path, states[:, text_mask[0]], sound, face, chosen)
                for path, states in zip(model.paths, text, strict=True)
            ]
        )

    def _shares(
        self, lower: list[Tensor], text_mask: Tensor, rows: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Integrated gradients of tokens, sound rows and face rows: (end - start) · gradient."""
        model = self._model
        audio, audio_mask, video, video_mask = rows
        ways = []
        for states, blank in zip(lower, self._blank, strict=True):
            way = states - blank[:, : states.shape[1]]
            # [CLS] and [SEP] are there without words, too.
            way[:, [0, -1]] = 0
            ways.append(way)
        points = [(x - way / 2).requires_grad_() for x, way in zip(lower, ways, strict=True)]
        points += [(audio / 2).requires_grad_(), (video / 2).requires_grad_()]
        with torch.enable_grad():
            *halves, sound, face = points
            text = [self._upper(e, x) for e, x in zip(model.encoders, halves, strict=True)]
            score = model.join(text, text_mask, (sound, audio_mask, face, video_mask)).score
            gradients = torch.autograd.grad(score.sum(), points, materialize_grads=True)
        shares = [
            (way * gradient).sum(dim=-1)[0]
            for way, gradient in zip([*ways, audio, video], gradients, strict=True)
        ]
        masks = (text_mask, audio_mask, video_mask)
        joined = (torch.stack(shares[:-2]).sum(dim=0), *shares[-2:])
        tokens, sounds, faces = (
            share[mask[0]].float().cpu().numpy() for share, mask in zip(joined, masks, strict=True)
        )
        return tokens, sounds, faces


def _tokens(project: ModalityProjection, x: Tensor, chosen: Tensor) -> Tensor:
    """A modality's own tokens (8, l_t, d) of eq. 3, with or without its rows (1, L, columns)."""
    present, absent = (project.own_tokens(part, _all_real(part)) for part in (x, x[:, :0]))
    return torch.where(chosen[:, None, None], present, absent)


def _path(
    path: GlobalPath | LocalPath, text: Tensor, audio: Tensor, video: Tensor, chosen: Tensor
) -> PathOutputs:
    """What a path finds for each of the subsets."""
    if isinstance(path, LocalPath):
        return _local(path, text, audio, video, chosen)
    return path.gather(
        _tokens(path.project_text, text, chosen[:, 0]),
        _tokens(path.project_audio, audio, chosen[:, 1]),
        _tokens(path.project_video, video, chosen[:, 2]),
        chosen,
    )


def _local(
    path: LocalPath, text: Tensor, audio: Tensor, video: Tensor, chosen: Tensor
) -> PathOutputs:
    """f_local (8, d) of the subsets, and no gates.

    Source and target hold every modality twice, projected with its rows and without; masks choose
    one of the two. Targets do not see one another, so that only different sources cost anything.
    """
    if video.shape[1]:
        video = path.spatial(video, _all_real(video))
    words = _side([(path.project_text, text, 0, chosen[:, 0])])
    others = _side(
        [
            (path.project_audio, audio, 0, chosen[:, 1]),
            (path.project_video, video, path.video_start, chosen[:, 2]),
        ]
    )
    source, target = (others, words) if path.swap else (words, others)
    masks, which = source.shown.unique(dim=0, return_inverse=True)
    out = path.cross(
        source.hidden.expand(len(masks), -1, -1),
        target.hidden.expand(len(masks), -1, -1),
        masks,
        source_index=source.places,
        target_index=target.places,
    )
    feature = path.read(out[which], target.shown)
    return feature, feature.new_zeros(len(feature), 0, 3)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of the local path's cross-attention for all subsets at once.

    Attributes:
        hidden: (1, L, d).
        places: (L,) rows of the position table.
        shown: (8, L) bool, what each subset has of it.
    """

    hidden: Tensor
    places: Tensor
    shown: Tensor


def _side(blocks: Sequence[tuple[ModalityProjection, Tensor, int, Tensor]]) -> _Side:
    """Join blocks of: projection, its rows (1, L, columns), first place, and who has them (8,)."""
    hidden, places, shown = [], [], []
    for project, x, start, chosen in blocks:
        for part, having in ((x, chosen), (x[:, :0], ~chosen)):
            projected, _ = project(part, _all_real(part))
            length = projected.shape[1]
            hidden.append(projected)
            places.append(torch.arange(length, device=x.device) + start)
            shown.append(having[:, None].expand(-1, length))
    return _Side(torch.cat(hidden, dim=1), torch.cat(places), torch.cat(shown, dim=1))


def _all_real(x: Tensor) -> Tensor:
    """A mask (1, L) that hides nothing."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
