"""The regular grid of times at which pictures are taken, and the pictures that it can do without.

With a rate of R per second tick k lies k/R after the first picture, and each tick gives the first
picture at or after it; a picture that serves several ticks is given once. Between two of them lie
others, and of these many are there for themselves alone (B-pictures that no other refers to): a
decoder that is told so leaves them out, which saves a third of the decoding of usual H.264. What
the grid gets does not change.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, Protocol, TypeVar

TICK_TOLERANCE: Final = 1e-6
"""Seconds that a picture may come before its tick: times are fractions that floats round."""

LOOK_AHEAD: Final = 17
"""Packets read ahead: H.264 and HEVC show a picture at most 16 later than they decode it."""

MOST_SPARED: Final = 240
"""Pictures spared at once, while none is shown: what a file says of their times bounds nothing."""


class TimedPacket(Protocol):
    """What is asked of a packet, PyAV's or a test's."""

    @property
    def pts(self) -> int | None:
        """When its picture is shown, in units of `time_base`; None where it does not say."""

    @property
    def time_base(self) -> Fraction:
        """Seconds."""

    @property
    def size(self) -> int:
        """Bytes; 0 of the one that ends the stream."""


PacketT = TypeVar("PacketT", bound=TimedPacket)


def tick_of(seconds: float, rate: float) -> int:
    """The last tick of a grid of `rate` a second that is not after a time (s)."""
    return math.floor((seconds + TICK_TOLERANCE) * rate)


class SparePictures:
    """Judges the packets of one video stream in the order in which they are decoded.

    Nothing is spared as long as the grid's origin is not known, or timestamps are missing or
    double: what they mean is then seen in the pictures alone. `ClipReader` does not tell the origin
    of interlaced pictures.

    Args:
        rate: ticks of the grid per second.

    Attributes:
        origin: presentation time of the first picture (s), where the grid begins; set by whoever
            sees it.
    """

    def __init__(self, rate: float) -> None:
        self.origin: float | None = None
        self._rate = rate
        self._spared: set[int] = set()

    def judged(self, packets: Iterator[PacketT]) -> Iterator[tuple[PacketT, bool]]:
        """Each packet, and whether its picture may be left out: one before it serves its tick."""
        before: deque[int | None] = deque(maxlen=LOOK_AHEAD)
        ahead: deque[PacketT] = deque()
        for packet in packets:
            ahead.append(packet)
            if len(ahead) > LOOK_AHEAD:
                yield self._judge(ahead.popleft(), before, ahead)
        while ahead:
            yield self._judge(ahead.popleft(), before, ahead)

    def left_out_before(self, pts: int) -> int:
        """How many spared pictures were not shown before this one, since the last question."""
        self._spared.discard(pts)
        gone = {spared for spared in self._spared if spared < pts}
        self._spared -= gone
        return len(gone)

    def _judge(
        self, packet: PacketT, before: deque[int | None], ahead: deque[PacketT]
    ) -> tuple[PacketT, bool]:
        # The last packet ends the stream, and has no picture.
        others = [*before, *(other.pts for other in ahead if other.size)]
        before.append(packet.pts)
        if packet.pts is None or not self._is_spare(packet.pts, float(packet.time_base), others):
            return packet, False
        self._spared.add(packet.pts)
        return packet, True

    def _is_spare(self, pts: int, time_base: float, others: list[int | None]) -> bool:
        if self.origin is None or len(self._spared) >= MOST_SPARED:
            return False
        tick = tick_of(pts * time_base - self.origin, self._rate)
        spare = False
        for other in others:
            if other is None or other == pts:
                return False
            if other < pts:
                spare |= tick_of(other * time_base - self.origin, self._rate) == tick
        return spare
