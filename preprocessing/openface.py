"""OpenFace's FeatureExtraction by the built-in tracker: ``python -m preprocessing.openface CLIP``.

    python -m preprocessing.openface clip.mp4 -o clip.csv
    python -m preprocessing.openface meeting.mp4 -o meeting.csv --faces all --rate 10
    python -m preprocessing.openface clip.mp4 -o clip.csv --fx 1400 --fy 1400 --cx 960 --cy 540

Writes OpenFace 2.x's 714 columns, a row a picture and face. Memory does not grow with the length of
the clip but for its sound, of which 10 minutes take 50 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from preprocessing.action_units import resting, settle
from preprocessing.clip import DecodeLimits, Frame, Sound
from preprocessing.decode import ClipReader
from preprocessing.errors import PreprocessingError
from preprocessing.face import FaceTracker
from preprocessing.geometry import Camera
from preprocessing.openface_columns import COLUMNS
from preprocessing.openface_csv import write_header, write_rows
from preprocessing.speaker import first_face, rank_faces

EVERY_PICTURE: Final = 1000
"""Ticks a second that leave no picture out."""

SAMPLED_ROWS: Final = 20_000
"""About so many rows are looked at to choose a face and to see it at rest (57 MB), spread over the
clip."""

Rows = NDArray[np.float32]


def write_faces(
    pictures: Iterable[Rows], target: TextIO, *, every_face: bool, sound: Sound | None = None
) -> None:
    """Write the rows of a clip.

    What a face's action units are at rest, and which face speaks, is known at the end, so the rows
    wait in a temporary file.

    Args:
        pictures: (faces, 714) a picture, as `FaceTracker.rows` gives them.
        target: a text file open for writing.
        every_face: write all faces; else one a picture: the one that speaks, without sound the
            largest, and where it is not seen the next.
        sound: the clip's.
    """
    write_header(target)
    with tempfile.TemporaryFile() as waiting:
        counts = []
        for rows in pictures:
            rows.astype(np.float32).tofile(waiting)
            counts.append(len(rows))
        if not counts:
            return
        waiting.flush()
        kept: NDArray[np.float32] = np.memmap(waiting, np.float32, "r").reshape(-1, len(COLUMNS))
        sample = np.asarray(kept[:: 1 + len(kept) // SAMPLED_ROWS])
        rest = resting(sample)
        ranking, _ = rank_faces(sample, sound)
        start = 0
        for count in counts:
            rows = np.array(kept[start : start + count])
            settle(rows, rest)
            write_rows(rows if every_face else first_face(rows, ranking)[None], target)
            start += count


def _shown(frames: Iterator[Frame], seconds: float) -> Iterator[Frame]:
    """Pass pictures on with a progress bar over the clip's seconds (0 = unknown)."""
    form = "{l_bar}{bar}| {n:.1f} of {total:.1f} s [{elapsed}<{remaining}]"
    with tqdm(
        total=seconds or None, desc="faces", bar_format=form if seconds else None, disable=None
    ) as bar:
        reached = 0.0
        for frame in frames:
            yield frame
            bar.update(frame.seconds - reached)
            reached = frame.seconds


def _camera(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Camera | None:
    given = [getattr(options, name) for name in ("fx", "fy", "cx", "cy")]
    if all(value is None for value in given):
        return None
    if any(value is None for value in given):
        parser.error("a camera needs all of --fx, --fy, --cx and --cy (px of the original picture)")
    return Camera(*given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a clip's CSV; the exit code says whether it worked."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocessing.openface",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="the CSV to write")
    parser.add_argument("--rate", type=float, help="pictures a second; all if left out")
    parser.add_argument(
        "--faces",
        choices=("speaker", "largest", "all"),
        default="speaker",
        help="whose rows to write: the face whose mouth moves with the sound, the largest, or all",
    )
    for name, what in (
        ("fx", "focal length"),
        ("fy", "focal length"),
        ("cx", "principal point"),
        ("cy", "principal point"),
    ):
        parser.add_argument(f"--{name}", type=float, help=f"camera's {what} (px)")
    options = parser.parse_args(arguments)
    camera = _camera(options, parser)
    partial = options.out.with_name(options.out.name + ".partial")
    try:
        reader = ClipReader(options.clip, DecodeLimits(seconds=float("inf")))
        sound = reader.sound() if options.faces == "speaker" else None
        rate = options.rate or EVERY_PICTURE
        frames = _shown(reader.frames(rate), reader.promised)
        with FaceTracker() as tracker, partial.open("w", encoding="utf-8", newline="") as target:
            pictures = tracker.rows(frames, pictures_per_second=rate, camera=camera)
            write_faces(pictures, target, every_face=options.faces == "all", sound=sound)
        partial.replace(options.out)
    except PreprocessingError as error:
        problem = f"{options.clip}: {error}"
    except OSError as error:
        # The file may be the CSV's, in a folder that is not there.
        problem = f"{error.filename or options.clip}: {error.strerror or error}"
    else:
        return 0
    partial.unlink(missing_ok=True)
    sys.stderr.write(f"{problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
