"""The clips that speed is measured on: the sample's portrait and voice by length and size.

``python -m benchmarks.speed_clips`` makes those of `PROFILED` (a minute and a half on two cores);
whoever needs one finds it in ``build/speed``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from examples.sample_clip import TRANSCRIPT, portrait, voice, write_clip

FOLDER: Final = Path("build/speed")
FRAMES_PER_SECOND: Final = 25
SIZES: Final = {360: (640, 360), 720: (1280, 720), 1080: (1920, 1080)}
"""Width and height (px) by name."""

PROFILED: Final = tuple((seconds, lines) for seconds in (3, 10, 20) for lines in SIZES)
"""Seconds and lines of the nine clips of a profile."""

WORDS: Final = TRANSCRIPT


def speed_clip(seconds: int, lines: int) -> Path:
    """An MP4 with H.264 and AAC, 25 frames a second; made at the first call."""
    path = FOLDER / f"{seconds}s_{lines}p.mp4"
    if not path.exists():
        width, height = SIZES[lines]
        times = (index / FRAMES_PER_SECOND for index in range(seconds * FRAMES_PER_SECOND))
        pictures = ((when, portrait(when, width, height)) for when in times)
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(write_clip(pictures, voice(seconds), fps=FRAMES_PER_SECOND))
        partial.rename(path)
    return path


if __name__ == "__main__":
    for one in PROFILED:
        print(speed_clip(*one))
