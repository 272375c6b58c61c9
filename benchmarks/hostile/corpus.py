"""The corpus: every way in which a file can lie that we could think of, from one small clip.

Everything is made from the sample clip with a seeded generator: the same numbers give the same
bytes, so that a finding can be looked at again.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from benchmarks.hostile import boxes
from benchmarks.hostile.boxes import box, ebml, matroska, number, track
from examples.sample_clip import Picture, timed_portraits, voice, write_clip

MIB = 1024 * 1024

FORMATS = {
    "mp4": ("mp4", "libx264", "aac"),
    "mov": ("mov", "mpeg4", "pcm_s16le"),
    "mkv": ("matroska", "libx264", "flac"),
    "webm": ("webm", "libvpx", "libopus"),
    "avi": ("avi", "mpeg4", "libmp3lame"),
    "mpg": ("mpeg", "mpeg2video", "mp2"),
    "ts": ("mpegts", "libx264", "aac"),
    "wmv": ("asf", "wmv2", "libmp3lame"),
    "flv": ("flv", "flv", "libmp3lame"),
}
"""Formats of picture and sound: extension to container and codecs."""

SOUNDS = {
    "wav": ("wav", "pcm_s16le"),
    "aiff": ("aiff", "pcm_s16be"),
    "caf": ("caf", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "aac": ("adts", "aac"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "flac"),
}
"""Formats of sound alone."""


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile upload.

    Attributes:
        category: what kind of attack it is.
        name: what it is, unique with the category.
        video: the bytes.
        filename: the name it is sent under.
        openface: an OpenFace CSV to send along.
    """

    category: str
    name: str
    video: bytes
    filename: str = "clip.mp4"
    openface: bytes | None = None


@cache
def base(extension: str) -> bytes:
    """The sample, one second of 160x120 at 10 pictures a second, in a format."""
    sound = voice(1.0)
    if extension in SOUNDS:
        container, codec = SOUNDS[extension]
        return write_clip(samples=sound, container=container, audio_codec=codec)
    container, picture_codec, sound_codec = FORMATS[extension]
    pictures = [(when, picture[::4, ::4]) for when, picture in _portraits()]
    rate = 48_000 if sound_codec == "libopus" else 44_100
    return write_clip(
        pictures,
        sound,
        container=container,
        video_codec=picture_codec,
        audio_codec=sound_codec,
        rate=rate,
        fps=25 if extension == "mpg" else 10,
    )


def _portraits() -> Iterator[tuple[float, Picture]]:
    return timed_portraits(index / 10 for index in range(10))


def corpus(*, flips: int, seed: int, canary: str) -> Iterator[Case]:
    """Every case, one after the other.

    Args:
        flips: mutants with flipped bits, spread over all formats.
        seed: of everything random.
        canary: an address and a path nobody may ask for, ``"http://127.0.0.1:PORT/x"``.
    """
    chance = random.Random(seed)  # noqa: S311  a corpus, no cryptography
    yield from _truncated(chance)
    yield from _flipped(flips, chance)
    for makers in (_lies, _bombs, _crowds, _endless, _polyglots, _archives):
        for name, video in makers():
            yield Case(makers.__name__.strip("_"), name, video)
    for name, video in _references(canary):
        yield Case("references", name, video)
    for name in _names(canary):
        yield Case("names", repr(name)[:60], base("mp4"), filename=name)
    for name, table in _tables():
        yield Case("tables", name, base("mp4"), openface=table)


def _truncated(chance: random.Random) -> Iterator[Case]:
    clip = base("mp4")
    edges = {edge for found in boxes.boxes_of(clip) for edge in (found.start, found.body)}
    for cut in sorted({edge + near for edge in edges for near in (-1, 0, 1, 4)}):
        if 0 <= cut < len(clip):
            yield Case("truncated", f"mp4 at {cut}", clip[:cut])
    for extension in (*FORMATS, *SOUNDS):
        whole = base(extension)
        for cut in sorted(chance.sample(range(len(whole)), 6)):
            yield Case("truncated", f"{extension} at {cut}", whole[:cut])


def _flipped(count: int, chance: random.Random) -> Iterator[Case]:
    extensions = [*["mp4"] * 8, *FORMATS, *FORMATS, *SOUNDS]
    for index in range(count):
        extension = extensions[index % len(extensions)]
        clip = bytearray(base(extension))
        # Headers steer parsers; in an MP4 of ours they stand at the end.
        head = (len(clip) - 3000, len(clip)) if extension == "mp4" else (0, 1500)
        where = head if chance.random() < 0.5 else (0, len(clip))
        for _ in range(2 ** chance.randrange(8)):
            position = chance.randrange(max(0, where[0]), min(len(clip), where[1]))
            clip[position] ^= 1 << chance.randrange(8)
        yield Case("flipped", f"{extension} {index}", bytes(clip))


def _lies() -> Iterator[tuple[str, bytes]]:
    """Headers that claim what is not there."""
    clip = base("mp4")
    huge, wide = b"\xff" * 4, struct.pack(">HH", 30_000, 30_000)
    for kind, offset in (
        *((b"stsz", 8), (b"stts", 4), (b"stsc", 4), (b"stco", 4), (b"stss", 4), (b"ctts", 4)),
        *((b"mvhd", 12), (b"mvhd", 16), (b"mdhd", 12), (b"mdhd", 16), (b"stsd", 4), (b"elst", 4)),
    ):
        for value in (huge, b"\x7f\xff\xff\xff", bytes(4)):
            try:
                place = boxes.find(clip, kind)
            except IndexError:
                continue
            lie = boxes.patched(clip, place.body + offset, value)
            yield f"{kind.decode()} +{offset} = {value.hex()}", lie
    for found in boxes.boxes_of(clip):
        for size in (0, 1, 7, 2**31 - 1, 2**32 - 1):
            named = f"{found.kind.decode()} of {size} bytes"
            yield named, boxes.patched(clip, found.start, struct.pack(">I", size))
    picture = boxes.find(clip, b"stsd")
    yield "30000x30000 in the header", boxes.patched(clip, picture.body + 8 + 32, wide)
    spaced = boxes.find(clip, b"stts")
    yield "1,000,000 fps", boxes.patched(clip, spaced.body + 12, struct.pack(">I", 0))
    timescale = boxes.find(clip, b"mdhd").body + 12
    for ticks in (1, 1_000_000_000):
        yield f"time scale {ticks}", boxes.patched(clip, timescale, struct.pack(">I", ticks))
    yield "1,000,000 real pictures a second", _crowded_pictures()
    for rate in (0, 1, 7, 768_000, 2**31 - 1, 2**32 - 1):
        yield f"wav of {rate} Hz", boxes.wav(rate, bytes(range(256)) * 200)
    for channels in (0, 255, 65_535):
        yield f"wav of {channels} channels", boxes.wav(44_100, bytes(65_536), channels=channels)
    yield "wav of 4 GB in 1 KB", boxes.wav(8000, bytes(1024), size=2**32 - 1)
    avi = base("avi")
    for name, position in (("rate", 36), ("frames", 48), ("streams", 56), ("width", 64)):
        yield f"avi {name}", boxes.patched(avi, position, b"\xff\xff\xff\x7f")
    for name, settings in (
        ("infinite", ebml(0x4489, struct.pack(">d", float("inf")))),
        ("negative", ebml(0x4489, struct.pack(">d", -1.0))),
        ("no number", ebml(0x4489, struct.pack(">d", float("nan")))),
    ):
        shown = _png_track(1, 16, 16)
        segment = (ebml(0x1549A966, settings), ebml(0x1654AE6B, shown), boxes.cluster(_tiny()))
        yield f"mkv lasts {name}", matroska(*segment)


def _png_track(index: int, width: int, height: int, *settings: bytes) -> bytes:
    """A Matroska track of PNG pictures: Video for Windows' header says so."""
    size = ebml(0xE0, number(0xB0, width) + number(0xBA, height))
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    return track(index, b"V_MS/VFW/FOURCC", size, ebml(0x63A2, form), *settings)


@cache
def _tiny() -> bytes:
    return boxes.png(16, 16)


@cache
def _crowded_pictures() -> bytes:
    """60,000 pictures within 60 ms, a microsecond from each other."""
    blocks = [ebml(0xA3, b"\x81\x00\x00\x80" + _tiny()) for _ in range(60_000)]
    together = ebml(0x1F43B675, number(0xE7, 0) + b"".join(blocks))
    shown = _png_track(1, 16, 16, number(0x23E383, 1000))
    return matroska(ebml(0x1549A966, number(0x2AD7B1, 1000)), ebml(0x1654AE6B, shown), together)


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Little that unpacks to much."""
    for side in (4000, 16_000, 30_000):
        picture = boxes.png(side, side)
        shown = ebml(0x1654AE6B, _png_track(1, side, side))
        yield f"png {side}x{side} in mkv", matroska(shown, boxes.cluster(picture))
        lying = ebml(0x1654AE6B, _png_track(1, 16, 16))
        yield f"png {side}x{side} said to be 16x16", matroska(lying, boxes.cluster(picture))
    yield (
        "300 png of 3000x3000",
        matroska(
            ebml(0x1654AE6B, _png_track(1, 3000, 3000)),
            boxes.cluster(*[boxes.png(3000, 3000)] * 300),
        ),
    )
    packed = zlib.compress(bytes(200 * MIB), 9)
    encoding = ebml(0x6D80, ebml(0x6240, ebml(0x5034, number(0x4254, 0))))
    shown = ebml(0x1654AE6B, _png_track(1, 16, 16, encoding))
    yield "200 MiB in a zlib block of mkv", matroska(shown, boxes.cluster(packed))
    header = box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", 2**31 - 1) + packed)
    yield "movie header of 2 GiB", box(b"ftyp", b"qt  ") + box(b"moov", box(b"cmov", *header))
    deep = b""
    for _ in range(3000):
        deep = box(b"moov", deep)
    yield "3000 boxes in each other", box(b"ftyp", b"isom") + deep
    nested = b""
    for _ in range(300):
        nested = ebml(0x1654AE6B, nested)
    yield "300 elements in each other", matroska(nested)
    hour = write_clip(samples=voice(1.0)[:1].repeat(44_100 * 600), container="flac",
                      audio_codec="flac")  # fmt: skip
    yield "10 minutes of silence in flac", hour
    yield "tags of 4 MiB", base("mp4") + box(b"moov", box(b"udta", b"x" * 4 * MIB))


def _crowds() -> Iterator[tuple[str, bytes]]:
    """Thousands of streams."""
    for count in (33, 1000, 20_000):
        tracks = [_png_track(i + 1, 16, 16) for i in range(count)]
        yield (
            f"mkv of {count} tracks",
            matroska(ebml(0x1654AE6B, b"".join(tracks)), boxes.cluster(_tiny())),
        )
    clip = base("mp4")
    moov, trak = boxes.find(clip, b"moov"), boxes.find(clip, b"trak")
    for count in (40, 3000):
        copies = clip[trak.start : trak.end] * count
        yield f"mp4 of {count} tracks", boxes.replaced(clip, moov, box(b"moov", copies))
    entries = b"".join(struct.pack(">BHH", 0x1B, 0xE000 | pid, 0xF000) for pid in range(64, 90))
    programs = b"".join(struct.pack(">HH", n, 0xE000 | (0x20 + n % 8000)) for n in range(1, 40))
    yield "ts of 1000 streams", b"".join(
        [boxes.ts_packet(0, b"\0" + _section(0, programs), first=True)]
        + [boxes.ts_packet(0x20 + n, b"\0" + _section(2, b"\xe0\x40\xf0\0" + entries), first=True)
           for n in range(1, 40)]
    )  # fmt: skip
    pages = [_ogg_page(serial, b"\x7fFLAC\1\0") for serial in range(3000)]
    yield "ogg of 3000 streams", b"".join(pages)
    yield (
        "avi of 5000 headers",
        boxes.riff(b"AVI ", chunk_list(b"hdrl", boxes.chunk(b"strh", b"vids" + bytes(52)) * 5000)),
    )


def chunk_list(kind: bytes, content: bytes) -> bytes:
    """A RIFF list."""
    return boxes.chunk(b"LIST", kind + content)


def _section(table: int, content: bytes) -> bytes:
    body = struct.pack(">HBBB", 1, 0xC1, 0, 0) + content + bytes(4)
    return struct.pack(">BH", table, 0xB000 | len(body)) + body


def _ogg_page(serial: int, packet: bytes) -> bytes:
    head = struct.pack("<4sBBqIII", b"OggS", 0, 2, 0, serial, 0, 0)
    return head + bytes([1, len(packet)]) + packet


def _endless() -> Iterator[tuple[str, bytes]]:
    """Streams that never come to the point, or never end."""
    yield "null packets of a ts", boxes.ts_packet(0x1FFF, b"") * (20 * MIB // 188)
    yield "a transport stream again and again", base("ts") * 200
    yield "adts again and again", base("aac") * 300
    yield "mp3 again and again", base("mp3") * 300
    yield "mpeg again and again", base("mpg") * 60
    yield "zeros", bytes(20 * MIB)
    yield "noise", random.Random(1).randbytes(20 * MIB)  # noqa: S311
    yield (
        "mkv of unknown size",
        matroska(
            ebml(0x1654AE6B, _png_track(1, 16, 16)),
            *[boxes.cluster(*[_tiny()] * 100)] * 100,
            size=-1,
        ),
    )
    yield (
        "ogg pages without a packet's end",
        base("ogg")[:200]
        + (b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255 + bytes(255 * 255)) * 100,
    )
    yield "id3 of 200 MiB", b"ID3\4\0\0\x64\0\0\0" + bytes(MIB)
    yield "flv of empty tags", base("flv")[:13] + (b"\x12" + bytes(14)) * 500_000
    yield "asf of nothing", base("wmv")[:200] + bytes(5 * MIB)


def _polyglots() -> Iterator[tuple[str, bytes]]:
    """Files that are several things at once."""
    clip, archive = base("mp4"), _zip({"a.mp4": base("mp4")})
    yield "mp4 and zip", clip + archive
    yield "html in front", box(b"free", b"<script>alert(1)</script>") + clip
    yield "mp4 after html", b"<html><script>alert(1)</script>" + clip
    yield "pdf", b"%PDF-1.7\n" + clip
    yield "gif and mp4", b"GIF89a\1\0\1\0\x80\0\0" + clip
    yield "mp3 with an mp4 inside", base("mp3") + clip + base("mp3")
    yield "riff and ebml", boxes.riff(b"AVI ", boxes.chunk(b"JUNK", base("mkv")))
    yield "wav in which an avi hides", boxes.riff(b"WAVE", boxes.chunk(b"LIST", base("avi")))
    yield "shell script", b"#!/bin/sh\ntouch /tmp/owned\n" + clip
    yield "elf", b"\x7fELF\2\1\1" + clip
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'


def _archives() -> Iterator[tuple[str, bytes]]:
    """Archives, in archives."""
    inner = base("mp4")
    for _ in range(6):
        inner = _zip({"clip.mp4": inner})
    yield "zip in zip, six times", inner
    yield "zip that climbs out", _zip({"../../../../owned": b"x", "/owned": b"x"})
    bomb = gzip.compress(bytes(100 * MIB))
    yield "100 MiB in gzip", bomb
    yield "gzip in gzip", gzip.compress(gzip.compress(bomb))
    yield "mp4 in gzip", gzip.compress(base("mp4"))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:xz") as folder:
        link = tarfile.TarInfo("clip.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        folder.addfile(link)
    yield "tar with a link", target.getvalue()
    yield "zip bomb", _zip({"a": bytes(100 * MIB)})


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def _references(canary: str) -> Iterator[tuple[str, bytes]]:
    """Playlists, and files that name other files or addresses."""
    for target in (canary, "/etc/passwd", "file:///etc/passwd"):
        yield from _playlists(target)
        yield from _movies_that_refer(target)
        yield from _attachments(target)


def _playlists(target: str) -> Iterator[tuple[str, bytes]]:
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n"
    texts = {
        "hls": f"{head}#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "hls by parts": f"{head}#EXTINF:9,\n#EXT-X-BYTERANGE:99@0\n{target}\n",
        "hls with a key": f'{head}#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:9,\n{target}\n',
        "hls through concat": f"{head}#EXTINF:9,\nconcat:{target}|{target}\n",
        "hls master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{target}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "dash": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:'
        f'isoff-main:2011"><Period><BaseURL>{target}</BaseURL></Period></MPD>',
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=x:{target}\n"
        "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "asx": f'<asx version="3"><entry><ref href="{target}"/></entry></asx>',
        "asf reference": f"[Reference]\nRef1={target}\n",
        "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
        "smil": f'<smil><body><video src="{target}"/></body></smil>',
        "xspf": f"<playlist><trackList><track><location>{target}</location></track></trackList>"
        "</playlist>",
        "imf": f"<CompositionPlaylist><Id>{target}</Id></CompositionPlaylist>",
        "filter graph": f"movie={target}",
        "rtsp text": f"rtsptext\n{target}\n",
        "ass": f"[Script Info]\nVideo File: {target}\n",
        "ffmetadata": f";FFMETADATA1\ntitle={target}\n",
        "srt": f"1\n00:00:00,000 --> 00:00:09,000\n{target}\n",
        "xml entity": f'<!DOCTYPE x [<!ENTITY e SYSTEM "{target}">]><MPD>&e;</MPD>',
    }
    for kind, text in texts.items():
        yield f"{kind} to {target}", text.encode()
        yield f"{kind} to {target}, in a ts", boxes.ts_packet(0, text.encode()) + text.encode()


def _movies_that_refer(target: str) -> Iterator[tuple[str, bytes]]:
    clip, name = base("mp4"), target.encode()
    dref = boxes.find(clip, b"dref")
    for kind in (b"url ", b"urn ", b"alis", b"rsrc"):
        entry = box(kind, bytes(4), name + b"\0", name.rjust(200, b"\0"))
        table = box(b"dref", struct.pack(">II", 0, 1), entry)
        yield f"dref {kind.decode()} to {target}", boxes.replaced(clip, dref, table)
    named = box(b"rdrf", bytes(4), b"url ", struct.pack(">I", len(name) + 1), name + b"\0")
    movie = box(b"moov", box(b"rmra", box(b"rmda", named)))
    yield f"reference movie to {target}", box(b"ftyp", b"qt  ") + movie


def _attachments(target: str) -> Iterator[tuple[str, bytes]]:
    name = target.encode()
    shown = ebml(0x1654AE6B, _png_track(1, 16, 16))
    file = ebml(0x466E, name) + ebml(0x4660, b"application/x-truetype-font") + ebml(0x465C, b"x")
    attached = ebml(0x1941A469, ebml(0x61A7, file + number(0x46AE, 1)))
    names = ebml(0x3CB923, bytes(16)) + ebml(0x3C83AB, name) + ebml(0x3E83BB, name)
    linked = ebml(0x1549A966, names)
    yield f"attachment named {target}", matroska(shown, attached, boxes.cluster(_tiny()))
    yield f"segments linked to {target}", matroska(linked, shown, boxes.cluster(_tiny()))


def _names(canary: str) -> Iterator[str]:
    """Names under which a harmless clip is sent."""
    yield from (
        *("../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", canary, "concat:a|b"),
        *("a\0.mp4", "a\r\nX-Evil: 1\r\n\r\n.mp4", 'a"; name="transcript', "\x1b[31mred\x07.mp4"),
        *("-i", "| touch /tmp/owned", "$(touch /tmp/owned)", "`id`", "%s%n%00", "..", ".", " "),
        *("CON", "a" * 60_000, "\u202egpj.4pm", "\ud7ff\U0010ffff.mp4", "'; DROP TABLE clips;--"),
    )


def _tables() -> Iterator[tuple[str, bytes]]:
    """OpenFace files that lie, beside a harmless clip."""
    head = b"frame, face_id, timestamp, confidence, success, AU12_r\n"
    row = b"1, 0, 0.0, 0.9, 1, 1.0\n"
    yield "empty lines", b"\n" * MIB
    yield "a line of 8 MiB", b"x" * 8 * MIB
    yield "a million columns", b",".join(b"AU%d_r" % n for n in range(1_000_000))
    yield "a million rows", head + row * 1_000_000
    yield "quotes that never close", head + b'"' + row * 10_000
    for value in (b"inf", b"-inf", b"nan", b"1e400", b"9" * 5000, b"=cmd()", b"\0", b"\xff"):
        yield f"value {value[:8]!r}", head + row.replace(b"1.0", value)
    yield "zip", _zip({"a.csv": head + row})
    yield "same frame for ever", head + row * 400


def subset(cases: Iterable[Case], count: int, seed: int) -> list[Case]:
    """A few cases of every category, `count` in all where there are as many."""
    chance = random.Random(seed)  # noqa: S311
    by_category: dict[str, list[Case]] = {}
    for case in cases:
        by_category.setdefault(case.category, []).append(case)
    share = -(-count // len(by_category))
    chosen = [
        case
        for group in by_category.values()
        for case in chance.sample(group, min(share, len(group)))
    ]
    return chosen[:count]
