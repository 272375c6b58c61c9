"""OpenFace's action units, estimated from the mesh alone.

A mesh without pose and scale is reduced to distances in mm that the muscles of the face change
(Ekman & Friesen 1978), and to `preprocessing.expressions`. Each intensity is a linear function of
a few of both, fitted to real OpenFace output by `benchmarks/fit_action_units.py`; the coefficients
are in `action_units.json`. Wrinkles and bulges, which OpenFace reads from the picture, are unseen.

As OpenFace does, a clip is calibrated to its person: what a face shows when it shows least is
brought towards zero, the further the longer it was seen (`settle`). `docs/openface.md` says how
well the result agrees with OpenFace.
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

from preprocessing.expressions import expressions
from preprocessing.openface_columns import INDEX, group, indices
from preprocessing.schema import CALIBRATION_SECONDS, REST_QUANTILE

Array = NDArray[np.float64]

COEFFICIENTS = Path(__file__).with_name("action_units.json")
"""Intercept, weights and presence threshold of every unit."""

HIGHEST: Final = 5.0
"""Top of OpenFace's scale of intensities."""

INTENSITIES: Final = group("au_intensity").columns
"""``AU01_r`` to ``AU45_r``."""

PRESENCES: Final = tuple(f"{name.removesuffix('_r')}_c" for name in INTENSITIES)
"""``AU01_c`` to ``AU45_c``; AU28 (lips sucked in) has no intensity in OpenFace, none here."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How one action unit follows from the mesh.

    Attributes:
        intercept: intensity where all that it depends on is zero.
        weights: intensity per mm, or per whole expression, by the name of either.
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


def estimates(frontal: Array) -> Array:
    """Intensities of the 17 units before any calibration.

    Args:
        frontal: (..., 478, 3) mm in head axes.

    Returns:
        (..., 17) in OpenFace's order; a neutral face of nobody in particular has what OpenFace
        gives such faces on average. May be below 0 and above 5.
    """
    measured = distances(frontal) | expressions(frontal)
    return np.stack(
        [
            unit.intercept + sum(weight * measured[key] for key, weight in unit.weights.items())
            for unit in units().values()
        ],
        axis=-1,
    )


def settle(rows: NDArray[np.float32], rest: Mapping[int, Array] | None = None) -> None:
    """Calibrate estimates to their persons, bring them to 0-5, and say which units are present.

    Args:
        rows: (n, 714) rows of one clip with `estimates` as intensities; changed in place.
        rest: `resting` of the clip's faces by ``face_id``; of these rows if None. A face that is
            not among them is not calibrated.
    """
    rest = resting(rows) if rest is None else rest
    intensity, presence = indices(INTENSITIES), indices(PRESENCES)
    least = np.array([unit.present_from for unit in units().values()])
    seen = np.flatnonzero(rows[:, INDEX["success"]] == 1)
    unknown = np.zeros(len(intensity))
    offsets = [rest.get(int(face), unknown) for face in rows[seen, INDEX["face_id"]]]
    settled = np.clip(
        rows[np.ix_(seen, intensity)] - np.reshape(offsets, (-1, len(intensity))), 0, HIGHEST
    )
    rows[np.ix_(seen, intensity)] = settled
    rows[np.ix_(seen, presence)] = settled >= least


def resting(rows: NDArray[np.float32]) -> dict[int, Array]:
    """What is taken from each face's estimates: (17,) by ``face_id``.

    The `REST_QUANTILE` of what was seen of the face, times `calibration`: nothing for a still,
    nearly all for a long clip.

    Args:
        rows: (n, 714) rows of one clip with `estimates` as intensities.
    """
    seen = rows[rows[:, INDEX["success"]] == 1]
    rest = {}
    for face in np.unique(seen[:, INDEX["face_id"]]):
        own = seen[seen[:, INDEX["face_id"]] == face]
        seconds = float(np.ptp(own[:, INDEX["timestamp"]]))
        quantile = np.quantile(own[:, indices(INTENSITIES)], REST_QUANTILE, axis=0)
        rest[int(face)] = quantile * calibration(seconds)
    return rest


def calibration(seconds: float) -> float:
    """Share (0-1) of what a face shows at rest that is taken from it, seen for so long (s)."""
    return seconds / (seconds + CALIBRATION_SECONDS)


@cache
def units() -> Mapping[str, Unit]:
    """Read the coefficients of every unit from `COEFFICIENTS`, once."""
    table = json.loads(COEFFICIENTS.read_text("utf-8"))
    return {name: Unit(**values) for name, values in table.items()}
