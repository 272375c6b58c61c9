"""The network that stands for MediaPipe's blendshapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from examples.sample_clip import sample_clip
from preprocessing.clip import DecodeLimits
from preprocessing.decode import ClipReader
from preprocessing.expressions import NAMES, WEIGHTS, Student, expressions
from preprocessing.features import tracker
from preprocessing.geometry import VERTICES, Camera, Head


def small(generator: np.random.Generator) -> Student:
    """3 components, 2 hidden; the third expression answers alone."""
    return Student(
        mean=np.zeros((VERTICES, 3), np.float16),
        basis=generator.normal(0, 0.01, (3, VERTICES, 3)).astype(np.float16),
        hidden=generator.normal(0, 1, (2, 3)).astype(np.float32),
        hidden_bias=np.array([0.5, -0.5], np.float32),
        out=np.eye(len(NAMES), 2, k=-2).astype(np.float32),
        out_bias=np.zeros(len(NAMES), np.float32),
    )


def test_it_is_what_torch_computes() -> None:
    generator = np.random.default_rng(0)
    student = small(generator)
    faces = generator.normal(0, 20, (5, VERTICES, 3))
    found = student.expressions(faces)
    assert found.shape == (5, len(NAMES))
    flat = torch.tensor(faces.reshape(5, -1) @ student.basis.reshape(3, -1).T.astype(np.float64))
    hidden = torch.nn.functional.gelu(
        flat @ torch.tensor(student.hidden.T).double() + torch.tensor(student.hidden_bias).double()
    )
    np.testing.assert_allclose(found[:, 2:4], hidden.numpy(), atol=1e-9)
    assert not found[:, 4:].any()


def test_one_face_is_as_among_many() -> None:
    generator = np.random.default_rng(1)
    faces = generator.normal(0, 20, (2, 3, VERTICES, 3))
    found = expressions(faces)
    assert tuple(found) == NAMES
    one = expressions(faces[1, 0])
    assert all(found[name][1, 0] == pytest.approx(float(one[name])) for name in NAMES)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    student = small(np.random.default_rng(2))
    save_file(student.tensors(), tmp_path / "student.safetensors")
    again = Student.load(tmp_path / "student.safetensors")
    for name, tensor in student.tensors().items():
        np.testing.assert_array_equal(getattr(again, name), tensor)


def test_the_shipped_weights_are_small_and_read_the_sample_as_a_smile() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    reader = ClipReader(sample_clip(seconds=0.2), DecodeLimits())
    rgb = next(iter(reader.frames(10))).rgb
    sight = tracker().look(rgb)[0]
    height, width = rgb.shape[:2]
    found = expressions(Head(sight.mesh, Camera.default(width, height)).frontal)
    assert found["mouthSmile"] > 0.5
    assert found["eyeBlink"] < 0.3
    assert found["mouthFrown"] < 0.2
