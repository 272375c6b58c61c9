"""Fit `preprocessing/action_units.json` to real OpenFace output.

    python -m benchmarks.fit_action_units [--pairs ../shared/openface] [--data ../shared/data]

Each intensity is a linear function of a few distances, each with the sign that anatomy gives it
(non-negative least squares with a ridge). Two kinds of evidence, all weighted alike:

- within each pair of clip and CSV, deviations from the clip's means: what a movement is worth,
  whoever moves;
- between the seven classes of FER2013's stills, the medians of their distances against RAVDESS's
  mean OpenFace intensities for the same emotions: many people, few numbers.

The intercept is the mean over the pairs' own and three times that of neutral faces, so that a
neutral face of unknown identity is read as neutral. No clip is calibrated to its person: that
would need to know a neutral picture of them. The pair `HELD_OUT` is only looked at: its
correlations, and those of every other pair when it is left out, are printed. (The distances of
each unit were chosen by these four tables.)
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.openface_concordance import (
    CONFIDENT,
    HELD_OUT,
    PAIRS_FOLDER,
    Pair,
    find_pairs,
)
from preprocessing.action_units import COEFFICIENTS, HIGHEST, distances
from preprocessing.face import FaceTracker, enlarge_small_still
from preprocessing.geometry import Camera, Head
from preprocessing.openface_columns import INDEX, group, indices
from preprocessing.sight import Sight

Array = NDArray[np.float64]

TERMS = {
    "AU01": "+brow_inner +brow_slope",
    "AU02": "+brow_outer +brow_middle",
    "AU04": "-brow_inner -brow_gap -brow_middle -lid_upper +eye_closed",
    "AU05": "+lid_upper -lid_lower",
    "AU06": "+cheek +lid_lower +corner_height +mouth_width +fold +nose_width +mouth_depth",
    "AU07": "+lid_lower -lid_upper +lip_to_nose",
    "AU09": "+nose_wing +fold +lip_to_nose -brow_inner +lid_lower +nose_width",
    "AU10": "+lip_to_nose +nose_width +fold +nose_wing +lip_gap +corner_height",
    "AU12": "+corner_height +mouth_width +fold",
    "AU14": "+fold +mouth_width",
    "AU15": "-corner_to_nose",
    "AU17": "+chin -lip_gap -lip_lower -corner_height",
    "AU20": "+mouth_width",
    "AU23": "-lip_upper -lip_lower -lip_gap +fold -mouth_width",
    "AU25": "+lip_gap +mouth_width",
    "AU26": "+jaw",
    "AU45": "+eye_closed -lid_upper",
}
"""The distances that each unit may depend on, and in which direction."""

EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
"""FER2013's classes and RAVDESS's names for them."""

STILLS_PER_CLASS = 300
CLASSES_WEIGHT = 3.0
NEUTRAL_WEIGHT = 3
RIDGE = 0.1
SEED = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Distances (rows, distances), intensities (rows, 17), presences (rows, 17; of pairs)."""

    distances: Array
    intensities: Array
    presences: Array


def measure(sights: Sequence[Sight], camera: Camera) -> Array:
    """(sights, distances) mm."""
    frontal = np.array([Head(sight.mesh, camera).frontal for sight in sights])
    return np.column_stack(list(distances(frontal).values()))


def pair_evidence(pair: Pair, tracker: FaceTracker) -> Evidence:
    """All frames in which both see the face."""
    written = pair.openface()
    trusted = (written[:, INDEX["success"]] == 1) & (written[:, INDEX["confidence"]] >= CONFIDENT)
    openface = {int(row[INDEX["frame"]]): row for row in written[trusted]}
    sights, rows = [], []
    for frame in pair.frames():
        seen = tracker.look(frame.rgb)
        row = openface.get(frame.index + 1)
        if seen and row is not None:
            sights.append(seen[0])
            rows.append(row)
    # The mesh without pose does not depend on the camera.
    table = np.array(rows, np.float64)
    presences = [f"{unit}_c" for unit in TERMS]
    return Evidence(
        measure(sights, Camera.default(640, 480)),
        table[:, indices(group("au_intensity").columns)],
        table[:, indices(presences)],
    )


def class_evidence(data: Path, tracker: FaceTracker) -> Evidence:
    """Median distances of each class of stills, mean intensities of each class of clips."""
    clips = pd.read_csv(data / "ravdess" / "clips.csv")
    clips = clips[clips.file.str.startswith("speech")]
    columns = list(group("au_intensity").columns)
    means = [clips[clips.emotion == name][columns].mean() for name in EMOTIONS.values()]
    medians = []
    generator = np.random.default_rng(SEED)
    with zipfile.ZipFile(data / "fer2013.zip") as archive:
        for emotion in EMOTIONS:
            names = [n for n in archive.namelist() if n.startswith(f"train/{emotion}/")]
            stills = generator.choice(names, STILLS_PER_CLASS, replace=False)
            pictures = (np.frombuffer(archive.read(name), np.uint8) for name in stills)
            sights = [
                tracker.look_still(
                    enlarge_small_still(np.asarray(cv2.imdecode(p, cv2.IMREAD_GRAYSCALE)))
                )
                for p in pictures
            ]
            found = [sight for sight in sights if sight]
            medians.append(np.median(measure(found, Camera.default(288, 288)), axis=0))
    return Evidence(np.array(medians), np.array(means), np.empty((0, len(columns))))


def fit(
    unit: str, pairs: Sequence[Evidence], classes: Evidence, names: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Intercept and weights (per mm) of one unit."""
    target = list(TERMS).index(unit)
    terms = [(names.index(term[1:]), 1 if term[0] == "+" else -1) for term in TERMS[unit].split()]
    columns = [column for column, _ in terms]
    spread = np.sqrt(np.mean([pair.distances[:, columns].var(0) for pair in pairs], axis=0))
    signs = np.array([sign for _, sign in terms]) / spread
    blocks, goals = [np.eye(len(terms)) * np.sqrt(RIDGE)], [np.zeros(len(terms))]
    for evidence in (*pairs, classes):
        share = 1 if evidence is not classes else CLASSES_WEIGHT
        factor = np.sqrt(share / len(evidence.distances))
        x, y = evidence.distances[:, columns] * signs, evidence.intensities[:, target]
        blocks.append((x - x.mean(0)) * factor)
        goals.append((y - y.mean()) * factor)
    weights = nnls(np.vstack(blocks), np.concatenate(goals))[0] * signs
    neutral = list(EMOTIONS).index("neutral")
    rests = [
        pair.intensities[:, target].mean() - pair.distances[:, columns].mean(0) @ weights
        for pair in pairs
    ]
    rest = classes.intensities[neutral, target] - classes.distances[neutral, columns] @ weights
    used = {names[c]: float(w) for c, w in zip(columns, weights, strict=True) if w}
    return float(np.mean(rests + [rest] * NEUTRAL_WEIGHT)), used


def predict(
    distances_: Array, names: Sequence[str], fitted: tuple[float, Mapping[str, float]]
) -> Array:
    """(rows,) intensity 0-5."""
    intercept, weights = fitted
    sums = sum(distances_[:, names.index(name)] * weight for name, weight in weights.items())
    return np.clip(intercept + sums, 0, HIGHEST)


def presence_threshold(intensity: Array, present: Array) -> float:
    """Intensity from which a unit counts as present, by the best balanced accuracy."""
    if present.min() == present.max():
        return 1.0
    candidates = np.arange(0.1, 2.01, 0.1)
    scores = [
        (intensity[present == 1] >= c).mean() + (intensity[present == 0] < c).mean()
        for c in candidates
    ]
    return float(candidates[int(np.argmax(scores))])


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, print the correlation on pairs left out, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    parser.add_argument("--data", type=Path, default=PAIRS_FOLDER.parent / "data")
    options = parser.parse_args(arguments)
    names = list(distances(np.zeros((478, 3)) + np.arange(478)[:, None]))
    with FaceTracker() as tracker:
        pairs = {p.name: pair_evidence(p, tracker) for p in find_pairs(options.pairs)}
        classes = class_evidence(options.data, tracker)
    print("correlation on each pair, left out of the fit:", *pairs)
    table = {}
    for target, unit in enumerate(TERMS):
        left_out = []
        for name, held in pairs.items():
            others = [pair for other, pair in pairs.items() if other != name]
            estimate = predict(held.distances, names, fit(unit, others, classes, names))
            moves = min(held.intensities[:, target].std(), estimate.std()) > 0
            r = np.corrcoef(estimate, held.intensities[:, target])[0, 1] if moves else np.nan
            left_out.append(f"{r:6.2f}")
        print(unit, *left_out)
        used = [pair for name, pair in pairs.items() if name != HELD_OUT]
        fitted = fit(unit, used, classes, names)
        estimates = [predict(pair.distances, names, fitted) for pair in used]
        present = np.concatenate([pair.presences[:, target] for pair in used])
        table[unit] = {
            "intercept": round(fitted[0], 3),
            "weights": {name: round(weight, 4) for name, weight in fitted[1].items()},
            "present_from": round(presence_threshold(np.concatenate(estimates), present), 1),
        }
    COEFFICIENTS.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
