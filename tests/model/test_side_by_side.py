"""Steps beside one another: the same results to the bit, in two threads at once."""

from __future__ import annotations

import os
import threading
from functools import partial
from unittest import mock

import pytest
import torch

from model.checkpoint import CheckpointHeader
from model.dpdf_lq import DPDFLQ
from model.explainer import Explainer
from model.inputs import collate
from model.predictor import FEW, Predictor
from model.side_by_side import Begin, Beside, results, when_asked
from tests.model.conftest import SCHEMA, TINY, make_model, make_sample

SECONDS = 60


@pytest.mark.parametrize("begin", [when_asked, Beside()])
def test_results_come_in_the_order_of_the_steps(begin: Begin) -> None:
    assert results([lambda: 1, lambda: 2, lambda: 3], begin) == [1, 2, 3]
    assert results([lambda: 4], begin) == [4]


def test_two_steps_are_done_at_once() -> None:
    both = threading.Barrier(2)
    # Either would wait in vain for the other if they were done in turn.
    assert sorted(results([lambda: both.wait(SECONDS)] * 2, Beside())) == [0, 1]


def test_a_step_s_error_is_raised_where_its_result_is_asked_for() -> None:
    def failing() -> int:
        raise ValueError("no such path")

    result = Beside()(failing)
    with pytest.raises(ValueError, match="no such path"):
        result()


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_step_has_the_modes_of_the_caller_s_thread(
    mode: type[torch.no_grad], reduced: bool
) -> None:
    def modes() -> tuple[object, ...]:
        return (
            torch.is_inference_mode_enabled(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
        )

    begin = Beside()
    with mode(), torch.autocast("cpu", torch.float16, enabled=reduced):
        assert begin(modes)() == modes()
    # And none of it stays in that thread.
    assert begin(modes)() == modes()


@pytest.fixture(scope="module")
def model() -> DPDFLQ:
    return make_model(TINY)


def test_both_paths_side_by_side_give_the_same_bits(model: DPDFLQ) -> None:
    inputs = collate([make_sample(seed, tokens=9) for seed in range(3)])
    with torch.inference_mode():
        alone, beside = model(inputs), model(inputs, Beside())
    for name in ("score", "path_gate", "layer_gates"):
        assert torch.equal(getattr(alone, name), getattr(beside, name)), name


def test_an_explanation_side_by_side_is_the_same_to_the_bit(model: DPDFLQ) -> None:
    sample = make_sample(1, tokens=9)
    (one, alone), (other, beside) = (
        Explainer(model, begin).explain(sample) for begin in (when_asked, Beside())
    )
    assert torch.equal(one.score, other.score)
    assert (alone.baseline, alone.without, alone.shapley) == (
        beside.baseline,
        beside.without,
        beside.shapley,
    )
    for name in ("tokens", "audio", "video"):
        assert getattr(alone, name).tolist() == getattr(beside, name).tolist(), name


@pytest.mark.parametrize(
    ("cores", "threads", "clips", "expected"),
    [
        (2, 1, 1, True),
        (2, 1, FEW, True),
        # Full batches come when the other cores are busy.
        (2, 1, FEW + 1, False),
        # No core for a second thread, or every operation has it already.
        (1, 1, 1, False),
        (2, 2, 1, False),
    ],
)
def test_few_clips_have_a_second_core_if_there_is_one(
    cores: int, threads: int, clips: int, expected: bool
) -> None:
    model = make_model(TINY)
    names = []
    for path in model.paths:
        path.register_forward_hook(lambda *_: names.append(threading.current_thread().name))
    with (
        mock.patch("os.sched_getaffinity", return_value=set(range(cores))),
        mock.patch("torch.get_num_threads", return_value=threads),
    ):
        predictor = Predictor(
            model, CheckpointHeader("test", "1", TINY, SCHEMA), "0" * 64, torch.device("cpu")
        )
        predictor.predict([make_sample(seed) for seed in range(clips)])
    assert len(names) == 2
    assert (len(set(names)) == 2) == expected


def test_apart_each_thread_has_cores_that_the_other_has_not() -> None:
    beside, cores = Beside(), os.sched_getaffinity(0)
    if len(cores) == 1:
        pytest.skip("there is no second core")
    with beside.apart():
        here, there = os.sched_getaffinity(0), beside(partial(os.sched_getaffinity, 0))()
    assert len(here) == 1
    assert there == cores - here
    assert os.sched_getaffinity(0) == cores


def test_after_an_error_the_caller_has_all_its_cores_again() -> None:
    cores = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), Beside().apart():
        1 / 0  # noqa: B018
    assert os.sched_getaffinity(0) == cores


def test_where_cores_cannot_be_chosen_the_steps_are_done_all_the_same() -> None:
    beside = Beside()
    with mock.patch("os.sched_setaffinity", side_effect=PermissionError), beside.apart():
        assert beside(lambda: 5)() == 5
