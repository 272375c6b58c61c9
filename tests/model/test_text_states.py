"""Kept answers of frozen encoders are the encoders' own, and are given only where they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.dpdf_lq import DPDFLQ, ModelOutputs
from model.inputs import Sample, collate
from model.training.text_states import TextStates
from tests.model.conftest import TINY, make_model, make_sample

CLIPS = [
    make_sample(1, tokens=7),
    make_sample(2, tokens=3, sounds=5),
    make_sample(3, tokens=0),
    make_sample(4, tokens=17, frames=0),
]


@contextmanager
def _texts_read(model: DPDFLQ) -> Iterator[list[int]]:
    """Collects how many texts each call of an encoder reads."""
    read: list[int] = []

    def note(_module: object, _arguments: object, answer: object) -> None:
        states = answer.last_hidden_state  # type: ignore[attr-defined]
        read.append(len(states))

    hooks = [encoder.register_forward_hook(note) for encoder in model.encoders]
    yield read
    for hook in hooks:
        hook.remove()


def _same(found: ModelOutputs, expected: ModelOutputs) -> None:
    pairs: list[tuple[Tensor, Tensor]] = [
        (found.score, expected.score),
        (found.path_gate, expected.path_gate),
        (found.layer_gates, expected.layer_gates),
    ]
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY, replace(TINY, modalities=("audio", "video"))])
def test_scores_are_the_model_s_own_the_first_time_and_every_time(config: object) -> None:
    model = make_model(config)  # type: ignore[arg-type]
    texts = TextStates()
    for chosen in (CLIPS[:2], CLIPS, CLIPS[::-1], CLIPS[2:3]):
        inputs = collate(chosen)
        _same(texts.score(model, inputs), model(inputs))


@torch.no_grad()
def test_a_text_is_read_once_by_each_encoder() -> None:
    model, texts = make_model(), TextStates()
    with _texts_read(model) as read:
        texts.score(model, collate(CLIPS[:3]))
        # Two of the three have words; two paths have an encoder each.
        assert read == [2, 2]
        other: Sample = replace(CLIPS[0], audio=CLIPS[1].audio)
        texts.score(model, collate([other, CLIPS[3]]))
        assert read == [2, 2, 1, 1]


@torch.no_grad()
def test_models_share_what_the_same_encoders_answered_and_nothing_else() -> None:
    whole, texts = make_model(), TextStates()
    inputs = collate(CLIPS)
    texts.score(whole, inputs)
    part = make_model(replace(TINY, local_path=False))
    assert part.global_encoder is not None
    assert whole.global_encoder is not None
    part.global_encoder.load_state_dict(whole.global_encoder.state_dict())
    with _texts_read(part) as read:
        _same(texts.score(part, inputs), part(inputs))
        assert read == [len(CLIPS)]  # by `part` itself, for comparison
    stranger = make_model(seed=5)
    with _texts_read(stranger) as read:
        _same(texts.score(stranger, inputs), stranger(inputs))
        assert len(read) == 4


def test_what_is_behind_the_encoders_learns() -> None:
    model = make_model()
    TextStates().score(model, collate(CLIPS)).score.sum().backward()
    assert all(p.grad is None for e in model.encoders for p in e.parameters())
    assert model.global_path is not None
    assert model.global_path.project_text.project.weight.grad is not None
