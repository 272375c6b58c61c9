"""The training loop: the loss of a batch."""

from __future__ import annotations

import pytest
import torch

from model.training.loop import distance
from tests.model.runs import tiny_recipe


@pytest.mark.parametrize(
    ("label", "taught", "squared", "expected"),
    [
        (2.0, None, False, 3.0),
        (2.0, 0.0, False, 0.75 * 3 + 0.25 * 1),
        (None, 0.5, False, 1.5),
        (2.0, None, True, 9.0),
        (2.0, 0.5, True, 0.75 * 9 + 0.25 * 2.25),
    ],
)
def test_the_loss_is_shared_between_label_and_teacher(
    label: float | None, taught: float | None, squared: bool, expected: float
) -> None:
    # The answer is -1: 3 from the label of 2, and the teacher weighs a quarter.
    row = [float("nan") if value is None else value for value in (label, taught)]
    recipe = tiny_recipe(teacher_weight=0.25)
    loss = distance(torch.tensor([-1.0]), torch.tensor([row]), torch.tensor([squared]), recipe)
    assert float(loss) == pytest.approx(expected)


def test_each_corpus_has_its_loss() -> None:
    # Errors of 3 by both: the mean of 3 and 9.
    targets = torch.tensor([[2.0, float("nan")]] * 2)
    loss = distance(torch.tensor([-1.0, -1]), targets, torch.tensor([False, True]), tiny_recipe())
    assert float(loss) == pytest.approx(6)
