"""What the muscles of a face do, in 26 numbers, from the mesh alone.

A small network stands for MediaPipe's blendshape model, which taught it
(`benchmarks/fit_expressions.py`): principal components of the mesh without pose and scale, one
hidden layer. Distances on a mesh mix what a brow or a cheek does with who it belongs to and how the
head is held; these numbers mix it less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import erf

Array = NDArray[np.float64]

WEIGHTS: Final = Path(__file__).with_name("expressions.safetensors")
"""Written by ``python -m benchmarks.fit_expressions``."""

NAMES: Final = (
    *("browDown", "browInnerUp", "browOuterUp"),
    *("cheekPuff", "cheekSquint"),
    *("eyeBlink", "eyeLookDown", "eyeSquint", "eyeWide"),
    *("jawForward", "jawOpen"),
    *("mouthClose", "mouthDimple", "mouthFrown", "mouthFunnel", "mouthLowerDown", "mouthPress"),
    *("mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
"""MediaPipe's names (those of ARKit) without their sides: left and right are averaged."""


@dataclass(frozen=True, slots=True)
class Student:
    """The network's numbers.

    Attributes:
        mean: (478, 3) mm, the mean mesh.
        basis: (components, 478, 3) per mm, directions in which faces differ, each of variance 1.
        hidden, hidden_bias: (hidden, components), (hidden,).
        out, out_bias: (len(NAMES), hidden), (len(NAMES),).
    """

    mean: NDArray[np.float16]
    basis: NDArray[np.float16]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    out_bias: NDArray[np.float32]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `tensors` was written to."""
        return cls(**load_file(path))

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """All arrays by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in self.__slots__}

    def expressions(self, frontal: Array) -> Array:
        """Expressions of faces.

        Args:
            frontal: (..., 478, 3) mm in head axes, `preprocessing.geometry.Head.frontal`.

        Returns:
            (..., len(NAMES)), 0-1 as the teacher's; a student may go beyond.
        """
        centred = (frontal - self.mean).reshape(*frontal.shape[:-2], -1)
        basis = self.basis.reshape(len(self.basis), -1).astype(np.float64)
        # Not by BLAS, which would wake a thread on every core for a tenth of a millisecond's work.
        components = np.einsum("...j,kj->...k", centred, basis, optimize=False)
        hidden = components @ self.hidden.T + self.hidden_bias
        # GELU (Hendrycks & Gimpel 2016).
        active = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        found: Array = active @ self.out.T + self.out_bias
        return found


def expressions(frontal: Array) -> dict[str, Array]:
    """Expressions by name, (...) each; `Student.expressions` has the shapes."""
    found = _student().expressions(frontal)
    return {name: found[..., index] for index, name in enumerate(NAMES)}


@cache
def _student() -> Student:
    return Student.load(WEIGHTS)
