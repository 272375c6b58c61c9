"""OpenFace's action units, estimated from the mesh alone.

A mesh without pose and scale is reduced to distances in mm that the muscles of the face change
(Ekman & Friesen 1978). Each intensity is a linear function of a few of them, fitted to real
OpenFace output by `benchmarks/fit_action_units.py`; the coefficients are in
`action_units.json`. Wrinkles and bulges, which OpenFace reads from the picture, are not seen.

Of the pair that was held out of the fit, AU06, 07, 10, 12, 14, 25 and 45 correlate by .71 to .95
with OpenFace, AU15 by .65, AU26 by .39, the others not at all; AU20 and AU23 hardly do on any pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COEFFICIENTS = Path(__file__).with_name("action_units.json")
"""Intercept, weights (intensity per mm) and presence threshold of every unit."""

HIGHEST: Final = 5.0
"""Top of OpenFace's scale of intensities."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How one action unit follows from distances.

    Attributes:
        intercept: intensity at distances of zero.
        weights: intensity per mm, by the name of the distance.
        present_from: least intensity at which the unit counts as present.
    """

    intercept: float
    weights: Mapping[str, float]
    present_from: float


def distances(frontal: Array) -> dict[str, Array]:
    """Distances of the face that expressions change.

    Args:
        frontal: (..., 478, 3) mm in head axes, `preprocessing.geometry.Head.frontal`.

    Returns:
        (...) mm by name; left and right averaged; heights grow upwards. `eye_closed` alone is a
        share: 1 minus the lids' distance per width of the eye, scaled.
    """

    def at(*vertices: int) -> Array:
        mean: Array = frontal[..., list(vertices), :].mean(-2)
        return mean

    def above(upper: tuple[int, ...], lower: tuple[int, ...]) -> Array:
        height: Array = (at(*lower) - at(*upper))[..., 1]
        return height

    def between(left: int, right: int) -> Array:
        length: Array = np.linalg.norm(at(left) - at(right), axis=-1)
        return length

    def both(pairs: tuple[tuple[int, int], ...]) -> Array:
        mean: Array = np.mean([between(*pair) for pair in pairs], axis=0)
        return mean

    corners = (33, 133, 362, 263)
    lids = ((160, 144), (159, 145), (158, 153), (385, 380), (386, 374), (387, 373))
    opening = both(lids) / both(((33, 133), (362, 263)))
    mouth = (61, 291)
    return {
        "brow_inner": above((55, 107, 285, 336), corners),
        "brow_middle": above((52, 105, 282, 334), corners),
        "brow_outer": above((46, 70, 276, 300), corners),
        "brow_gap": both(((55, 285), (107, 336))),
        "brow_slope": above((55, 107, 285, 336), (46, 70, 276, 300)),
        "lid_upper": above((159, 158, 160, 386, 385, 387), corners),
        "lid_lower": above((145, 144, 153, 374, 380, 373), corners),
        # The upper lid covers the eye within a few frames; below this opening it is a blink.
        "eye_closed": np.clip(0.28 - opening, 0, None) * 20,
        "cheek": above((50, 101, 280, 330), corners),
        "cheek_depth": at(50, 205, 280, 425)[..., 2],
        "fold": above((206, 203, 426, 423), (2,)),
        "nose_wing": above((64, 129, 294, 358), corners),
        "nose_width": between(64, 294),
        "mouth_width": between(*mouth),
        "mouth_depth": at(*mouth)[..., 2],
        "corner_height": above(mouth, (13, 14)),
        "corner_to_nose": above(mouth, (2,)),
        "lip_gap": between(13, 14),
        "lip_upper": between(0, 13),
        "lip_lower": between(14, 17),
        "lip_to_nose": above((0,), (2,)),
        "lip_out": at(0, 17)[..., 2] - at(2)[..., 2],
        "chin": above((17,), (199, 175)),
        "jaw": above((2,), (152, 175)),
    }


def intensities(frontal: Array) -> dict[str, Array]:
    """Intensity of the 17 units, 0-5, by OpenFace's column name (``AU12_r``).

    Args:
        frontal: (..., 478, 3) mm in head axes.

    Returns:
        (...) each.
    """
    measured = distances(frontal)
    return {
        f"{name}_r": np.clip(
            unit.intercept + sum(weight * measured[key] for key, weight in unit.weights.items()),
            0,
            HIGHEST,
        )
        for name, unit in units().items()
    }


def presences(intensity: Mapping[str, Array]) -> dict[str, Array]:
    """Whether each unit is seen, 0 or 1, by OpenFace's column name (``AU12_c``).

    AU28 (lips sucked in) has no intensity in OpenFace and no estimate here.
    """
    return {
        f"{name}_c": (intensity[f"{name}_r"] >= unit.present_from).astype(np.float64)
        for name, unit in units().items()
    }


@cache
def units() -> Mapping[str, Unit]:
    """Read the coefficients of every unit from `COEFFICIENTS`, once."""
    table = json.loads(COEFFICIENTS.read_text("utf-8"))
    return {name: Unit(**values) for name, values in table.items()}
