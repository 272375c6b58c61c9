"""Decoded frames to upright RGB pictures of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

LONGEST_SIDE: Final = 1920
"""Larger pictures are made smaller to this many pixels on their longer side: the face mesh looks
at 192 of them. At 1920x1080 scaling takes longer than the tracker would gain."""


class PictureConverter:
    """Converts the frames of one clip, in the order of time.

    Asking a frame for its side data, where its display matrix is, ties it into a ring with them,
    which nothing but a collection of all garbage unties; until then frames stay in memory. So only
    a frame is asked whose angle is not that of the frame before.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._matrix: NDArray[np.int32] | None = None

    def convert(self, frame: VideoFrame) -> tuple[Picture, float]:
        """Convert a frame.

        Returns:
            (height, width, 3) uint8, upright and at most `LONGEST_SIDE` long, and original pixels
            per pixel.

        Raises:
            av.error.FFmpegError: a pixel format or a size that cannot be converted.
        """
        scale = max(1.0, max(frame.width, frame.height) / LONGEST_SIDE)
        converted = frame.reformat(
            width=max(1, round(frame.width / scale)),
            height=max(1, round(frame.height / scale)),
            format="rgb24",
            interpolation="AREA" if scale > 1 else None,
            # Not a pool of threads for every picture.
            threads=1,
        )
        rgb = np.asarray(converted.to_ndarray(), np.uint8)
        matrix = self._display_matrix(frame)
        return rgb if matrix is None else _upright(rgb, matrix), scale

    def _display_matrix(self, frame: VideoFrame) -> NDArray[np.int32] | None:
        """(3, 3), or None where a picture is shown as it is."""
        if frame.rotation != self._angle:
            self._angle = frame.rotation
            # A mapping that PyAV types as a dict with one other key.
            side_data = cast("Mapping[str, Buffer]", frame.side_data)
            self._matrix = None
            if "DISPLAYMATRIX" in side_data:
                found = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)
                self._matrix = found.reshape(3, 3)
        return self._matrix


def _upright(rgb: Picture, matrix: NDArray[np.int32]) -> Picture:
    """Apply a display matrix: x' = a x + c y, y' = b x + d y, rounded to right angles."""
    (a, b), (c, d) = matrix[:2, :2].astype(np.int64).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
