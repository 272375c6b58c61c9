"""Containers taken apart and put together wrongly: MP4 boxes, EBML elements, RIFF, PNG, TS.

Written after ISO/IEC 14496-12 (boxes), RFC 8794 and 9559 (EBML, Matroska), the RIFF description of
Microsoft and IBM, RFC 2083 (PNG) and ISO/IEC 13818-1 (transport streams).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta"})
"""Boxes that hold boxes and nothing else."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box of an MP4 file lies.

    Attributes:
        kind: its four letters.
        start: position of its size field.
        body: position of its content.
        end: position after it.
    """

    kind: bytes
    start: int
    body: int
    end: int


def boxes_of(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """All boxes, parents before their children."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            return
        found = Box(kind, start, start + 8, start + size)
        yield found
        if kind in PARENTS:
            yield from boxes_of(data, found.body, found.end)
        start += size


def find(data: bytes, kind: bytes, number: int = 0) -> Box:
    """The box of a kind, the first of several unless a number says which."""
    return [box for box in boxes_of(data) if box.kind == kind][number]


def patched(data: bytes, position: int, new: bytes) -> bytes:
    """The file with other bytes at a position."""
    return data[:position] + new + data[position + len(new) :]


def replaced(data: bytes, old: Box, new: bytes) -> bytes:
    """The file with a box exchanged or, with nothing, taken out; its parents' sizes follow."""
    change = len(new) - (old.end - old.start)
    for parent in boxes_of(data):
        if parent.start < old.start and parent.end >= old.end:
            size = parent.end - parent.start + change
            data = patched(data, parent.start, struct.pack(">I", size))
    return data[: old.start] + new + data[old.end :]


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of a kind around its contents."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def ebml(identity: int, content: bytes, *, size: int | None = None) -> bytes:
    """An EBML element; `size` is what it claims, -1 for unknown."""
    code = identity.to_bytes((identity.bit_length() + 7) // 8)
    if size == -1:
        return code + b"\x01" + b"\xff" * 7 + content
    return code + ((1 << 56) | (len(content) if size is None else size)).to_bytes(8) + content


def number(identity: int, value: int) -> bytes:
    """An EBML element that holds an unsigned integer."""
    return ebml(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def matroska(*segment: bytes, size: int | None = None) -> bytes:
    """A Matroska file with these elements in its segment."""
    head = ebml(0x1A45DFA3, ebml(0x4282, b"matroska") + number(0x4287, 4) + number(0x4285, 2))
    return head + ebml(0x18538067, b"".join(segment), size=size)


def track(index: int, codec: bytes, *settings: bytes, kind: int = 1) -> bytes:
    """A TrackEntry; kind 1 is video, 2 sound, 17 subtitles."""
    head = number(0xD7, index) + number(0x73C5, index) + number(0x83, kind) + ebml(0x86, codec)
    return ebml(0xAE, head + b"".join(settings))


def cluster(*blocks: bytes) -> bytes:
    """A cluster at time 0 of SimpleBlocks of track 1, all key frames, a millisecond apart."""
    written = [
        ebml(0xA3, b"\x81" + struct.pack(">h", at) + b"\x80" + block)
        for at, block in enumerate(blocks)
    ]
    return ebml(0x1F43B675, number(0xE7, 0) + b"".join(written))


def riff(kind: bytes, *chunks: bytes) -> bytes:
    """A RIFF file."""
    body = kind + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(kind: bytes, content: bytes, *, size: int | None = None) -> bytes:
    """A RIFF chunk; `size` is what it claims."""
    return kind + struct.pack("<I", len(content) if size is None else size) + content


def wav(rate: int, samples: bytes, *, channels: int = 1, size: int | None = None) -> bytes:
    """A WAV file of 8 bits a sample that claims any rate and number of channels."""
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels) % 2**32, channels % 2**16, 8)
    return riff(b"WAVE", chunk(b"fmt ", form), chunk(b"data", samples, size=size))


def png(width: int, height: int) -> bytes:
    """A black picture, one bit a pixel: a thousand times smaller than what it unpacks to."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", pixels))
    written = b"\x89PNG\r\n\x1a\n"
    for kind, content in (*parts, (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        written += struct.pack(">I", len(content)) + kind + content + checksum
    return written


def ts_packet(pid: int, payload: bytes, *, first: bool = False) -> bytes:
    """A packet of a transport stream, 188 bytes."""
    head = struct.pack(">BHB", 0x47, pid | (0x4000 if first else 0), 0x10)
    return head + payload[:184].ljust(184, b"\xff")
