"""Faces in pictures with MediaPipe (Apache-2.0), as OpenFace's 714 columns.

Faces are looked for every 3.2 s and followed in between; stretches of that length do not
depend on one another, so that they can be measured side by side. MediaPipe's own way of following,
from the first picture of a clip to the last, was tried on the pairs of
`benchmarks/openface_concordance.py`: it misses small faces (act409_clip2: found in 38 % of the
pictures, by this way in 98 %), and its values hang on how a clip began.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from threading import Barrier, Lock, Semaphore
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing import action_units
from preprocessing.clip import FaceFeatures, Frame, Sound
from preprocessing.face_rows import Seen, rows_of
from preprocessing.geometry import Camera
from preprocessing.grid import tick_of
from preprocessing.openface_columns import INDEX, empty_rows
from preprocessing.schema import FOLLOWED_SECONDS
from preprocessing.sight import FaceGraphs, Picture, Sight
from preprocessing.speaker import Box, FaceNumbers, first_face, rank_faces
from preprocessing.steady import steadied

RowMaker = Callable[[Sequence[Seen]], list[NDArray[np.float32]]]

HELD_BYTES: Final = 32 * 1024 * 1024
"""Of a stretch's pictures that may wait: the decoder then waits, too."""

NICENESS: Final = 2
"""Of the threads that look for faces: the decoder, whom they all wait for, comes first."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """A picture's faces before they are numbered: a row and a box each."""

    seconds: float
    boxes: list[Box]
    rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Pictures that follow one another, handed over one by one as they are decoded.

    Attributes:
        end: before which they lie (s).
        shape: of every one.
        room: for pictures that wait.
        pictures: that wait; None ends them.
    """

    end: float
    shape: tuple[int, ...]
    room: Semaphore
    pictures: SimpleQueue[Frame | None] = field(default_factory=SimpleQueue)

    @classmethod
    def beginning_with(cls, frame: Frame) -> Self:
        """The stretch of a picture that is looked at anew."""
        room = Semaphore(max(1, HELD_BYTES // frame.rgb.nbytes))
        return cls(frame.seconds + FOLLOWED_SECONDS, frame.rgb.shape, room)

    def goes_on_with(self, frame: Frame) -> bool:
        """Whether a picture belongs to it."""
        return frame.seconds < self.end and frame.rgb.shape == self.shape

    def put(self, frame: Frame) -> None:
        """Hand a picture over, as soon as there is room."""
        self.room.acquire()
        self.pictures.put(frame)

    def close(self) -> None:
        """There are no more pictures."""
        self.pictures.put(None)

    def __iter__(self) -> Iterator[Frame]:
        """The pictures as they come; each has left the room when it is given."""
        while (frame := self.pictures.get()) is not None:
            self.room.release()
            yield frame


class FaceTracker:
    """Reusable for any number of clips and stills, one at a time; keeps nothing between them.

    Args:
        threads: how many pictures of a clip are looked at side by side, besides the caller's own
            thread, which decodes meanwhile. Results do not depend on it.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._graphs: list[FaceGraphs] = []
        self._free: SimpleQueue[FaceGraphs] = SimpleQueue()
        self._starting = Lock()
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="face", initializer=self._start_thread
        )
        # Threads start with their first tasks; workers give up the right to have more memory than
        # they have when they are ready, and more.
        together = Barrier(threads)
        for started in [self._pool.submit(together.wait) for _ in range(threads)]:
            started.result()

    def _start_thread(self) -> None:
        """Make graphs in the thread that uses them: their own threads are as nice as it is."""
        os.nice(NICENESS)
        # MediaPipe's noise is caught with a descriptor of the whole process.
        with self._starting:
            graphs = FaceGraphs()
        self._graphs.append(graphs)
        self._free.put(graphs)

    def rows(
        self,
        frames: Iterable[Frame],
        *,
        pictures_per_second: float,
        camera: Camera | None = None,
        complete: bool = True,
    ) -> Iterator[NDArray[np.float32]]:
        """Facial rows of a clip picture by picture, keeping only places and the last few rows.

        The first picture at or after each tick of 1/pictures_per_second is analysed. The action
        units are estimates that `preprocessing.action_units.settle` has to calibrate; rotations are
        averaged over neighbouring pictures (`preprocessing.steady`).

        Args:
            frames: pictures of one clip in the order of time.
            pictures_per_second: analysis rate (1/s).
            camera: that took the clip; None = OpenFace's guess.
            complete: every column that there is an estimate for; else `MODEL_COLUMNS` alone.

        Yields:
            (faces, 714) a row a face, numbered by `FaceNumbers`; one row without a face where none
            was found.
        """
        measured = self._measure_all(
            _ticks(frames, pictures_per_second), partial(rows_of, camera=camera, complete=complete)
        )
        numbered = _numbered(measured)
        yield from steadied(numbered) if complete else numbered

    def analyse(
        self, frames: Iterable[Frame], *, pictures_per_second: float, sound: Sound | None = None
    ) -> FaceFeatures:
        """Facial rows of a clip, one for each picture analysed: `rows`, then `of_one_face`.

        Args:
            frames: pictures of one clip in the order of time.
            pictures_per_second: analysis rate (1/s).
            sound: the clip's.
        """
        return of_one_face(list(self.rows(frames, pictures_per_second=pictures_per_second)), sound)

    def analyse_still(self, rgb: Picture) -> FaceFeatures:
        """Facial row of a still that is known to be of a face: see `look_still`.

        Args:
            rgb: (height, width, 3) uint8; of a small cut-out, what `enlarge_small_still` returns.

        Returns:
            One row, at 0 s.
        """
        still = Frame(rgb, seconds=0.0, index=0)
        sight = self.look_still(rgb)
        found = int(sight is not None)
        (row,) = rows_of([Seen.of(still, [sight] if sight else [])])
        action_units.settle(row)
        return FaceFeatures(row, 1, found, found, source="built-in")

    def close(self) -> None:
        """End the threads and free the graphs."""
        self._pool.shutdown()
        for graphs in self._graphs:
            graphs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def look_still(self, rgb: Picture) -> Sight | None:
        """Find the face in a picture known to be of one.

        Where no detector is sure, the mesh is tried on the whole picture.
        """
        return self._graphs[0].look_still(rgb)

    def look(self, rgb: Picture) -> list[Sight]:
        """Find the faces in a picture, the largest first, at most `MOST_FACES`.

        A box counts as a face once a mesh fits into it.

        Args:
            rgb: (height, width, 3) uint8.
        """
        graphs = self._free.get()
        try:
            return graphs.look(rgb)
        finally:
            self._free.put(graphs)

    def _measure(self, stretch: _Stretch, rows: RowMaker) -> list[_Measured]:
        """Look for faces in a stretch's first picture, and follow them through the others."""
        seen: list[Seen] = []
        graphs = self._free.get()
        pictures = iter(stretch)
        try:
            # No picture is held once it has been looked at.
            for frame in pictures:
                seen.append(
                    Seen.of(frame, graphs.follow(frame.rgb, seen[-1].faces if seen else ()))
                )
        except BaseException:
            # Whoever decodes may wait for room, and will be told only afterwards.
            deque(pictures, maxlen=0)
            raise
        finally:
            self._free.put(graphs)
        return [
            _Measured(one.seconds, [face.box for face in one.faces], of_picture)
            for one, of_picture in zip(seen, rows(seen), strict=True)
        ]

    def _measure_all(self, frames: Iterable[Frame], rows: RowMaker) -> Iterator[_Measured]:
        """Measure stretches of pictures side by side; they come out as they went in."""
        begun: deque[Future[list[_Measured]]] = deque()
        stretch: _Stretch | None = None
        try:
            for frame in frames:
                if stretch is None or not stretch.goes_on_with(frame):
                    if stretch is not None:
                        stretch.close()
                    # One more than there are threads, so that none waits for the decoder.
                    if len(begun) > self._threads:
                        yield from begun.popleft().result()
                    stretch = _Stretch.beginning_with(frame)
                    begun.append(self._pool.submit(self._measure, stretch, rows))
                stretch.put(frame)
            if stretch is not None:
                stretch.close()
            while begun:
                yield from begun.popleft().result()
        finally:
            # Whoever stops early finds the graphs free again.
            if stretch is not None:
                stretch.close()
            for measuring in begun:
                measuring.cancel()
            wait(begun)


def _numbered(pictures: Iterable[_Measured]) -> Iterator[NDArray[np.float32]]:
    """The rows of each picture, with the numbers of their faces."""
    numbers = FaceNumbers()
    for picture in pictures:
        if picture.boxes:
            picture.rows[:, INDEX["face_id"]] = numbers.assign(picture.boxes, picture.seconds)
        yield picture.rows


def of_one_face(pictures: Sequence[NDArray[np.float32]], sound: Sound | None) -> FaceFeatures:
    """The rows of the face that counts, one for each picture of a clip.

    Of several faces the one whose mouth moves with the sound is taken, without sound the largest;
    in pictures in which it is not seen, the next (`rank_faces`).

    Args:
        pictures: what `FaceTracker.rows` gives.
        sound: the clip's.
    """
    if not pictures:
        return FaceFeatures(empty_rows(0), 0, 0, 0, source="built-in")
    every = np.concatenate(pictures)
    ranking, why = rank_faces(every, sound)
    values = np.stack([first_face(rows, ranking) for rows in pictures])
    action_units.settle(values, action_units.resting(every))
    found = values[:, INDEX["success"]] == 1
    most = max(int(rows[:, INDEX["success"]].sum()) for rows in pictures)
    # One person who comes back elsewhere has two numbers, and there was no choice.
    why = why if most > 1 else "only"
    return FaceFeatures(values, len(values), int(found.sum()), most, "built-in", why)


def enlarge_small_still(grey: Picture) -> Picture:
    """Make a small cut-out face, such as FER2013's of 48x48 px, fit for the tracker.

    Detectors expect some room around a face. It is enlarged to 192 px (bicubic) with a border of
    48 px that repeats the edge. A mesh is found in 97 % of FER2013's test pictures.

    Args:
        grey: (height, width) uint8.

    Returns:
        (288, 288, 3) uint8.
    """
    large = cv2.resize(grey, (192, 192), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
    return np.repeat(large[..., None], 3, axis=2)


def _ticks(frames: Iterable[Frame], pictures_per_second: float) -> Iterator[Frame]:
    """Pass on the first frame at or after each tick; none twice."""
    due = 0
    for frame in frames:
        tick = tick_of(frame.seconds, pictures_per_second)
        if tick >= due:
            due = tick + 1
            yield frame
