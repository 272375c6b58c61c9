"""Subsets, Shapley's value and integrated gradients against the model itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import ABLATIONS, MODALITIES, DPDFConfig
from model.dpdf_lq import DPDFLQ
from model.explainer import Explainer
from model.explanation import (
    ALL,
    SUBSETS,
    Subset,
    Window,
    shapley_values,
    sum_spans,
    sum_windows,
)
from model.inputs import PAD_ID, Sample, collate
from tests.model.conftest import TINY, make_model, make_sample

MEAN = replace(TINY, local_readout="mean", audio_changes=True)
CONFIGS = {
    "default": MEAN,
    "paper": TINY,
    "summaries": replace(MEAN, clip_summaries=True),
    **{
        name: replace(MEAN, **ABLATIONS[name])  # type: ignore[arg-type]
        for name in (
            "w/o LPath",
            "w/o GPath",
            "w/o A",
            "w/o DGLQA",
            "w/o GPath CA",
            "LPath CA <-> GPath CA",
            "DGLQA -> Std.A",
        )
    },
}
SAMPLES = {
    "whole": make_sample(1),
    "no video": make_sample(2, 13, 5, 0),
    "words": make_sample(3, 4, 0, 0),
    "voice and face": make_sample(4, 0, 4, 7),
    "nothing": make_sample(5, 0, 0, 0),
}


def only(sample: Sample, subset: Subset) -> Sample:
    """The clip without what is not in the subset."""
    return Sample(
        sample.input_ids if "text" in subset else sample.input_ids[:0],
        sample.audio if "audio" in subset else sample.audio[:0],
        sample.video if "video" in subset else sample.video[:0],
    )


def scores_of(model: DPDFLQ, sample: Sample) -> dict[Subset, float]:
    """The score of each subset by the model's own forward."""
    with torch.no_grad():
        return {
            subset: float(model(collate([only(sample, subset)])).score[0]) for subset in SUBSETS
        }


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_batch_of_8_is_8_forwards(config: DPDFConfig, sample: Sample) -> None:
    model = make_model(config)
    expected = scores_of(model, sample)
    outputs, explanation = Explainer(model).explain(sample)
    with torch.no_grad():
        whole = model(collate([sample]))
    torch.testing.assert_close(outputs.score, whole.score, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.path_gate, whole.path_gate, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.layer_gates, whole.layer_gates, atol=1e-5, rtol=0)
    assert explanation.baseline == pytest.approx(expected[frozenset()], abs=1e-5)
    for name in MODALITIES:
        assert explanation.without[name] == pytest.approx(expected[ALL - {name}], abs=1e-5)
    values = shapley_values(expected)
    assert explanation.shapley == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_shapley_s_values_sum_to_the_score_less_the_baseline(sample: Sample) -> None:
    outputs, explanation = Explainer(make_model(MEAN)).explain(sample)
    total = explanation.baseline + sum(explanation.shapley.values())
    assert total == pytest.approx(float(outputs.score[0]), abs=1e-6)
    for name in set(MODALITIES) - sample.modalities:
        assert explanation.shapley[name] == 0
        assert explanation.without[name] == pytest.approx(float(outputs.score[0]), abs=1e-6)


def test_shapley_s_values_by_hand() -> None:
    # Words 2, a voice 1, and 6 more where words and face come together: half to each of the two.
    worth = {
        s: 2.0 * ("text" in s) + 1.0 * ("audio" in s) + 6.0 * (s >= {"text", "video"}) + 0.5
        for s in SUBSETS
    }
    assert shapley_values(worth) == pytest.approx({"text": 5.0, "audio": 1.0, "video": 3.0})


def test_shares_are_the_slope_of_the_way_from_nothing_to_the_clip() -> None:
    model, sample = make_model(MEAN).double(), SAMPLES["whole"]
    explainer = Explainer(model)
    explanation = explainer.explain(sample)[1]
    inputs = collate([sample])
    masks = model.masks(inputs)
    audio, audio_mask, video, video_mask = model.rows(inputs, masks)

    def score(share: float) -> float:
        with torch.no_grad():
            text = []
            for encoder in model.encoders:
                nothing = torch.full_like(inputs.input_ids, PAD_ID)
                x, blank = (explainer._lower(encoder, i) for i in (inputs.input_ids, nothing))
                point = blank + share * (x - blank)
                point[:, [0, -1]] = x[:, [0, -1]]
                text.append(explainer._upper(encoder, point))
            rows = (share * audio, audio_mask, share * video, video_mask)
            return float(model.join(text, masks["text"], rows).score[0])

    slope = (score(0.5 + 1e-5) - score(0.5 - 1e-5)) / 2e-5
    shares = (explanation.tokens, explanation.audio, explanation.video)
    assert [len(x) for x in shares] == [7, 11, 3]
    # The explainer's [PAD]s are as many as the model has positions; these are 7.
    assert sum(float(x.sum()) for x in shares) == pytest.approx(slope, rel=0.05)
    assert explanation.tokens[0] == explanation.tokens[-1] == 0
    assert np.abs(explanation.tokens[1:-1]).min() > 0


def test_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="text of 18 positions"):
        Explainer(make_model(MEAN)).explain(make_sample(1, tokens=18))


def test_spans_and_windows_by_hand() -> None:
    shares = np.array([0, 1, 2, 4, 8, 0], np.float32)
    assert sum_spans(shares, [(1, 2), (2, 5), (5, 5)]) == [1, 14, 0]
    steps = np.array([0, 9, 10, 35, 36, 37])
    assert sum_windows(shares, steps, 10) == [
        Window(0, 10, 1),
        Window(10, 20, 2),
        Window(30, 38, 12),
    ]
    assert sum_windows(shares[:0], steps[:0], 10) == []
