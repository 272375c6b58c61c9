"""How far scores move when fewer pictures of a clip are looked at.

    python -m benchmarks.picture_rates [--clips FOLDER ...] [--checkpoint FILE]

Every real clip with a face is scored with a neutral sentence, its sound and the pictures of several
rates, and with its pictures alone; differences are from the scores at ten pictures a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import Sample
from model.predictor import Predictor
from preprocessing import audio
from preprocessing.clip import ClipFeatures, DecodeLimits
from preprocessing.decode import ClipReader
from preprocessing.errors import PreprocessingError
from preprocessing.face import FaceTracker
from preprocessing.features import default_tokenizer
from preprocessing.schema import feature_schema
from preprocessing.tensors import to_sample

FOLDERS: Final = (Path("../shared/clips"), Path("../shared/openface"))
SENTENCE: Final = "It was on the table."
FINEST: Final = 10.0
RATES: Final = (FINEST, 5.0, 4.0, 2.5)
"""Pictures a second; the others are compared with the first."""

FEWEST: Final = 3
"""Pictures with a face that a clip needs at every rate to be compared."""


def samples(clip: Path, tracker: FaceTracker) -> list[Sample] | None:
    """The clip at each of `RATES`; None where it shows too few faces, or is no clip."""
    schema = feature_schema(default_tokenizer().sha256)
    try:
        reader = ClipReader(clip, DecodeLimits())
        sound = reader.sound()
        faces = [
            tracker.analyse(reader.frames(rate), pictures_per_second=rate, sound=sound)
            for rate in RATES
        ]
    except PreprocessingError:
        return None
    if min(face.frames_with_face for face in faces) < FEWEST:
        return None
    text = default_tokenizer().encode(SENTENCE)
    heard = None if sound is None else audio.analyse(sound)
    return [to_sample(ClipFeatures(text, heard, face), schema) for face in faces]


def clips_in(folders: Sequence[Path]) -> Iterator[Path]:
    """Files that may be clips, in the order of their names."""
    kinds = {".mp4", ".mpg", ".mov", ".webm", ".avi", ".mkv"}
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.suffix in kinds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores of every clip and the mean differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture_rates", description=__doc__)
    parser.add_argument("--clips", type=Path, nargs="+", default=FOLDERS)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    options = parser.parse_args(arguments)
    predictor = Predictor.load(
        options.checkpoint, device="cpu", schema=feature_schema(default_tokenizer().sha256)
    )
    found: list[list[list[float]]] = []
    with FaceTracker() as tracker:
        for clip in clips_in(options.clips):
            if (made := samples(clip, tracker)) is None:
                continue
            face = [replace(s, input_ids=s.input_ids[:0], audio=s.audio[:0]) for s in made]
            scores = [[p.raw_score for p in predictor.predict(of)] for of in (made, face)]
            found.append(scores)
            print(f"{clip.name:40}", *(f"{score:+6.2f}" for score in [*scores[0], *scores[1]]))
    if not found:
        print("No clips with faces here: give their folder with --clips. Nothing was measured.")
        return
    moved = np.abs(np.array(found) - np.array(found)[:, :, :1])
    print(f"{len(found)} clips; scores moved from those at {FINEST:g} pictures a second:")
    for index, rate in enumerate(RATES[1:], start=1):
        whole, alone = moved[:, 0, index], moved[:, 1, index]
        print(
            f"  {rate:g} a second: {whole.mean():.2f} on average, at most {whole.max():.2f}; "
            f"face alone {alone.mean():.2f}, at most {alone.max():.2f}"
        )


if __name__ == "__main__":
    main()
