"""A clip of any length as a stream: the sound and the pictures of one stretch after the other.

Sound and pictures are decoded side by side, each by itself, so that it does not matter how the file
mixes them. What lies before the stretch that is asked for is decoded and dropped; what is held is
the sound of one stretch, one picture, and what the decoders hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocessing.clip import SOUND_RATE, Frame, Sound
from preprocessing.decode import ClipReader
from preprocessing.grid import TICK_TOLERANCE, tick_of

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Samples = NDArray[np.float32]


class ClipStream:
    """Goes through a clip once, forwards; made by `streamed`.

    Attributes:
        heard: time up to which sound has been decoded (s since the clip's start).
        looked: time up to which pictures have been decoded (s since the clip's start).
        begun: whether anything has been decoded.
    """

    def __init__(
        self,
        sound: Iterator[tuple[float, Samples]],
        pictures: Iterator[tuple[VideoFrame, float, int, float]],
        convert: Callable[[VideoFrame], tuple[NDArray[np.uint8], float] | None],
    ) -> None:
        self.heard = self.looked = 0.0
        self.begun = False
        self._sound = sound
        self._pictures = pictures
        self._convert = convert
        self._rest: tuple[float, Samples] | None = None
        self._waiting: tuple[VideoFrame, float, int] | None = None
        self._silent_end = self._blind_end = False

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to decode."""
        return self._silent_end and self._blind_end

    @property
    def end(self) -> float:
        """How far decoding has come, once it has ended the clip's end (s since its start)."""
        return max(self.heard, self.looked)

    def skip(self, until: float) -> None:
        """Go on to a time (s) without giving anything out."""
        self._drop_sound(until)
        self._drop_pictures(until)

    def sound(self, start: float, end: float) -> Sound | None:
        """The sound from `start` to `end` (s); None where there is none.

        A pause in the timestamps is left out, as `ClipReader.sound` does.
        """
        self._drop_sound(start)
        pieces = [samples for _, samples in self._sounds(end)]
        return Sound(np.concatenate(pieces)) if pieces else None

    def frames(self, start: float, end: float, rate: float) -> Iterator[Frame]:
        """The pictures from `start` to `end` (s) on a regular grid.

        The grid begins with the first picture of the stretch, as it does in a clip that is cut out
        there: see `preprocessing.decode`. Times and numbers count from this picture.

        Args:
            start: of the stretch (s).
            end: of the stretch (s).
            rate: grid ticks per second.
        """
        self._drop_pictures(start)
        first: tuple[float, int] | None = None
        due = 0
        while (found := self._next_picture(end)) is not None:
            frame, place, index = found
            first = first or (place, index)
            seconds = place - first[0]
            tick = tick_of(seconds, rate)
            if tick >= due and (made := self._convert(frame)):
                due = tick + 1
                yield Frame(made[0], seconds, index - first[1], made[1])

    def _drop_sound(self, until: float) -> None:
        for _ in self._sounds(until):
            pass

    def _drop_pictures(self, until: float) -> None:
        while self._next_picture(until) is not None:
            pass

    def _sounds(self, until: float) -> Iterator[tuple[float, Samples]]:
        """Pieces of sound that lie before a time; the last is cut there, its rest kept."""
        while True:
            piece, self._rest = self._rest or next(self._sound, None), None
            if piece is None:
                self._silent_end = True
                return
            self.begun = True
            place, samples = piece
            self.heard = max(self.heard, place + len(samples) / SOUND_RATE)
            count = min(max(0, round((until - place) * SOUND_RATE)), len(samples))
            if count:
                yield place, samples[:count]
            if count < len(samples):
                self._rest = place + count / SOUND_RATE, samples[count:]
                return

    def _next_picture(self, until: float) -> tuple[VideoFrame, float, int] | None:
        """The next picture, if it comes before a time (s): itself, its time and its number."""
        if self._waiting is None:
            found = next(self._pictures, None)
            if found is None:
                self._blind_end = True
                return None
            self.begun = True
            frame, seconds, index, offset = found
            self._waiting = frame, offset + seconds, index
            self.looked = max(self.looked, offset + seconds)
        if self._waiting[1] + TICK_TOLERANCE >= until:
            return None
        taken, self._waiting = self._waiting, None
        return taken


@contextmanager
def streamed(reader: ClipReader) -> Iterator[ClipStream]:
    """Open both streams of a clip, and close them."""
    sound, pictures = reader.placed_sound(), reader.placed_pictures()
    try:
        yield ClipStream(sound, pictures, reader.picture)
    finally:
        for stream in (sound, pictures):
            if isinstance(stream, Generator):
                stream.close()
