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
from typing import Final

from av.packet import Packet

TICK_TOLERANCE: Final = 1e-6
"""Seconds that a picture may come before its tick: times are fractions that floats round."""

LOOK_AHEAD: Final = 17
"""Packets read ahead: H.264 and HEVC show a picture at most 16 later than they decode it."""


def tick_of(seconds: float, rate: float) -> int:
    """The last tick of a grid of `rate` a second that is not after a time (s)."""
    return math.floor((seconds + TICK_TOLERANCE) * rate)


class SparePictures:
    """Judges the packets of one video stream in the order in which they are decoded.

    Nothing is spared as long as the grid's origin is not known, or timestamps are missing or
    double: what they mean is then seen in the pictures alone.

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

    def judged(self, packets: Iterator[Packet]) -> Iterator[tuple[Packet, bool]]:
        """Each packet, and whether its picture may be left out: one before it serves its tick."""
        before: deque[Packet] = deque(maxlen=LOOK_AHEAD)
        ahead: deque[Packet] = deque()
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
        self, packet: Packet, before: deque[Packet], ahead: deque[Packet]
    ) -> tuple[Packet, bool]:
        spare = self._is_spare(packet, [*before, *ahead])
        before.append(packet)
        if spare and packet.pts is not None:
            self._spared.add(packet.pts)
        return packet, spare

    def _is_spare(self, packet: Packet, others: list[Packet]) -> bool:
        if self.origin is None or packet.pts is None or packet.time_base is None:
            return False
        base = float(packet.time_base)
        tick = tick_of(packet.pts * base - self.origin, self._rate)
        spare = False
        for other in others:
            if not other.size:
                # The end of the stream.
                continue
            if other.pts is None or other.pts == packet.pts:
                return False
            if other.pts < packet.pts:
                spare |= tick_of(other.pts * base - self.origin, self._rate) == tick
        return spare
