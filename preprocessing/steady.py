"""A head's rotation is averaged over the pictures around it.

A mesh is of one picture, and what it says of the head's pitch trembles from picture to picture,
where OpenFace's tracker goes on from the last one. Averaged over a tenth of a second, rotations
correlate with OpenFace's better on each axis of both pairs that have one (`docs/openface.md`);
translations do not and are left as they are, as is all else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.openface_columns import INDEX, group, indices

Rows = NDArray[np.float32]

NEAR_SECONDS: Final = 0.1
"""How far away, before and after, a picture no longer counts (s); the nearer, the more."""

_ROTATIONS: Final = indices((*group("pose_rotation").columns, "p_rx", "p_ry", "p_rz"))


def steadied(pictures: Iterable[Rows]) -> Iterator[Rows]:
    """The rows of a clip with each face's rotations averaged, behind by `NEAR_SECONDS`.

    Args:
        pictures: (faces, 714) each, in the order of time, faces numbered.

    Yields:
        As many, new arrays.
    """
    near: deque[Rows] = deque()
    due = 0
    for rows in pictures:
        near.append(rows)
        while _seconds(near[due]) + NEAR_SECONDS < _seconds(rows):
            yield _averaged(near, due)
            due += 1
        while _seconds(near[0]) + NEAR_SECONDS < _seconds(near[due]):
            near.popleft()
            due -= 1
    for rest in range(due, len(near)):
        yield _averaged(near, rest)


def _seconds(rows: Rows) -> float:
    return float(rows[0, INDEX["timestamp"]])


def _averaged(near: deque[Rows], at: int) -> Rows:
    """One picture's rows, averaged over those of `near`."""
    rows, now = near[at].copy(), _seconds(near[at])
    around = np.concatenate(near)
    around = around[around[:, INDEX["success"]] == 1]
    for row in rows:
        if row[INDEX["success"]] != 1:
            continue
        same = around[around[:, INDEX["face_id"]] == row[INDEX["face_id"]]]
        weights = 1 - np.abs(same[:, INDEX["timestamp"]] - now) / NEAR_SECONDS
        # The short way round, for a head that is upside down.
        away = (same[:, _ROTATIONS] - row[_ROTATIONS] + np.pi) % (2 * np.pi) - np.pi
        row[_ROTATIONS] += np.average(away, axis=0, weights=np.maximum(weights, 0))
    return rows
