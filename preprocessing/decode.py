"""The bytes of a clip to sound and upright pictures, with FFmpeg's libraries (PyAV).

Nothing that a file says about itself is believed: length, rate and size are counted on what has
been decoded. FFmpeg reads what it is handed and opens nothing by itself, so that no file name,
playlist or reference inside a clip can make it read anything else.

Which pictures: those of a grid (`preprocessing.grid`). Pictures without a usable timestamp
(missing, or not later than the one before) follow their predecessor at the stream's nominal
distance. Sound is taken without gaps, whatever its timestamps; where its place in the clip matters
it is told by them (`ClipReader.placed_sound`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, TypeVar

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocessing.clip import SOUND_RATE, DecodeLimits, Frame, Sound
from preprocessing.errors import ClipTooLarge, ClipTooLong, UndecodableClip
from preprocessing.grid import SparePictures, tick_of
from preprocessing.pictures import PictureConverter
from preprocessing.shared_file import SharedFile

CONTAINERS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "asf", "flv", "ogg"),
    *("wav", "aiff", "caf", "mp3", "aac", "amr", "flac"),
)
"""FFmpeg's names of the container formats that are read: no playlists, scripts or image series."""

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Formats whose header tells the duration; in others it is a guess."""

EARLY_END = 1.5
"""Seconds missing at the end from which a clip counts as cut off."""

SLACK = 0.1
"""Seconds beyond the limit still accepted: codecs pad sound to whole packets."""

LEAST_GAP = 0.1
"""Seconds that sound must come later than it is due for its timestamps to be followed."""

MOST_PICTURES_PER_SECOND = 240
"""Pictures decoded per second of the limit, for clips whose timestamps hide their length."""

StreamT = TypeVar("StreamT", AudioStream, VideoStream)


class ClipReader:
    """A clip opened for decoding: one sound and one video stream, the default ones of several.

    Attributes:
        damaged: packets that could not be decoded so far, broken ends of the file included.
        promised: duration in the file's header (s), 0 where it has none; only ever compared.
        reached: time up to which something has been decoded (s).
        codecs: what the chosen streams are, for messages, e.g. ``"h264 video, aac audio"``.
        has_sound: whether there is a sound stream with a known codec.
        has_video: whether there is a video stream with a known codec; cover art is none.
    """

    def __init__(self, source: bytes | Path | SharedFile, limits: DecodeLimits) -> None:
        """Open the container and choose the streams; nothing is decoded yet.

        Args:
            source: the bytes of the file, or the file itself: read as decoding goes on.
            limits: see `DecodeLimits`.

        Raises:
            UndecodableClip: empty, no known container, or without sound and video.
            ClipTooLarge: too many streams, or pictures beyond the limit.
        """
        self.damaged = 0
        self.promised = self.reached = 0.0
        # Sound and pictures may be decoded by two threads.
        self._counting = Lock()
        self._limits = limits
        self._source = source
        self._converter = PictureConverter()
        self._size = _size(source)
        with self._open() as container:
            streams = list(container.streams)
            if len(streams) > limits.streams:
                raise ClipTooLarge(
                    f"The file has {len(streams)} streams, at most {limits.streams} are accepted. "
                    "Send one video and one sound stream."
                )
            video = _choose(container.streams.video)
            sound = _choose(container.streams.audio)
            chosen = [stream for stream in (video, sound) if stream is not None]
            if not chosen:
                kinds = ", ".join(sorted({stream.type for stream in streams})) or "nothing"
                raise UndecodableClip(
                    f"The file ({container.format.name}) holds no sound or video that can be "
                    f"decoded, only: {kinds}. Send a clip of a person speaking."
                )
            if video is not None:
                self._check_size(video.codec_context.width, video.codec_context.height)
            if container.format.name in INDEXED:
                self.promised = (container.duration or 0) / av.time_base
            self.codecs = ", ".join(f"{s.codec_context.name} {s.type}" for s in chosen)
            self.has_video = video is not None
            self.has_sound = sound is not None

    @property
    def ended_early(self) -> bool:
        """Whether what has been decoded ends long before the header says: a broken transfer."""
        return self.promised - self.reached > EARLY_END

    def sound(self) -> Sound | None:
        """Decode the sound, mixed to mono and resampled.

        Returns:
            All of it, or None where there is no sound stream or nothing in it decodes.

        Raises:
            ClipTooLong: more samples than the limit admits.
        """
        chunks = [samples for _, samples in self._sound_blocks()]
        return Sound(_finite(np.concatenate(chunks))) if chunks else None

    def placed_sound(self) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Decode the sound piece by piece, keeping none.

        Yields:
            When the piece begins, in seconds since the clip's start, and its (samples,) mono at
            `SOUND_RATE`. Pieces come in the order of time and do not overlap.

        Raises:
            ClipTooLong: the sound goes on beyond the limit.
        """
        for place, samples in self._sound_blocks():
            self._check_seconds(place)
            yield place, _finite(samples)

    def _sound_blocks(self) -> Iterator[tuple[float, NDArray[np.float32]]]:
        resampler: AudioResampler | None = None
        setup: tuple[str, str, int] | None = None
        seconds = 0.0
        # When the frame in hand is due, and when the next sample out of the resampler is.
        due, place = math.nan, 0.0
        with self._open() as container:
            stream = _choose(container.streams.audio)
            start = _start(container)
            for frame in () if stream is None else self._frames(container, stream):
                if not isinstance(frame, AudioFrame) or frame.sample_rate <= 0:
                    self._count_damage()
                    continue
                stamp = math.nan if frame.time is None else frame.time - start
                if math.isnan(due):
                    due = place = 0.0 if math.isnan(stamp) else max(0.0, stamp)
                elif stamp - due > LEAST_GAP:
                    place += stamp - due
                    due = stamp
                due += frame.samples / frame.sample_rate
                seconds += frame.samples / frame.sample_rate
                self._check_seconds(seconds)
                chunks: list[NDArray[np.float32]] = []
                if setup != (setup := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    # Some broadcasts change their format on the way; a resampler has only one.
                    chunks += self._resampled(resampler, None)
                    resampler = AudioResampler(
                        format="flt",
                        layout="mono",
                        rate=SOUND_RATE,
                        # The mean of the channels, which cannot exceed full scale as a sum can.
                        options={"rematrix_maxval": "1"},
                    )
                frame.pts = None
                chunks += self._resampled(resampler, frame)
                for samples in chunks:
                    yield place, samples
                    place += len(samples) / SOUND_RATE
            for samples in self._resampled(resampler, None):
                yield place, samples
                place += len(samples) / SOUND_RATE

    def frames(self, rate: float) -> Iterator[Frame]:
        """Decode the video and give the pictures of a regular grid, one at a time.

        Args:
            rate: grid ticks per second.

        Raises:
            ClipTooLong: a picture comes later than the limit, or there are too many of them.
            ClipTooLarge: a picture has more pixels than the limit admits.
        """
        due = 0
        for frame, seconds, index, _ in self.placed_pictures(SparePictures(rate)):
            tick = tick_of(seconds, rate)
            if tick >= due and (made := self.picture(frame)):
                due = tick + 1
                yield Frame(made[0], seconds, index, made[1])

    def picture(self, frame: VideoFrame) -> tuple[NDArray[np.uint8], float] | None:
        """Convert a picture of `placed_pictures`.

        Returns:
            As `PictureConverter.convert`; None where it cannot, which counts as damage.
        """
        try:
            return self._converter.convert(frame)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            # A pixel format or a size that cannot be converted.
            self._count_damage()
            return None

    def placed_pictures(
        self, spare: SparePictures | None = None
    ) -> Iterator[tuple[VideoFrame, float, int, float]]:
        """Decode the video picture by picture, converting and keeping none.

        Args:
            spare: which pictures may be left out; None = none.

        Yields:
            The picture; seconds since the first picture; its number, from 0, those that were left
            out counted, too; and seconds from the clip's start to the first picture.

        Raises:
            ClipTooLong, ClipTooLarge: as `frames` says.
        """
        with self._open() as container:
            stream = _choose(container.streams.video)
            if stream is None:
                return
            nominal = float(stream.guessed_rate or 25)
            step = 1 / min(max(nominal, 1), MOST_PICTURES_PER_SECOND)
            start, offset = _start(container), 0.0
            origin, seconds, index = math.nan, -step, -1
            for frame in self._frames(container, stream, spare):
                if not isinstance(frame, VideoFrame):
                    continue
                index += 1
                stamp = frame.time if frame.pts is not None else math.nan
                if math.isnan(origin) and not math.isnan(stamp):
                    origin = stamp - (seconds + step)
                    offset = max(0.0, origin - start)
                    # Of interlaced pictures the halves may be packets of their own.
                    if spare is not None and not frame.interlaced_frame:
                        spare.origin = origin
                if spare is not None and frame.pts is not None:
                    index += spare.left_out_before(frame.pts)
                # False for NaN as well, a missing timestamp.
                later = stamp - origin > seconds
                seconds = stamp - origin if later else seconds + step
                self._check_seconds(seconds)
                self._check_seconds(index / MOST_PICTURES_PER_SECOND)
                self._check_size(frame.width, frame.height)
                yield frame, seconds, index, offset

    @contextmanager
    def _open(self) -> Iterator[InputContainer]:
        if not self._size:
            raise UndecodableClip("The file is empty (0 bytes). Send a clip of a person speaking.")
        guard = {"max_pixels": str(4 * self._limits.pixels)}
        with ExitStack() as opened:
            source = opened.enter_context(_file(self._source))
            try:
                container = av.open(
                    source,
                    mode="r",
                    # For the streams' probing, which decodes pictures before their size can be
                    # seen.
                    options=guard,
                    container_options={
                        "format_whitelist": ",".join(CONTAINERS),
                        "protocol_whitelist": "none",
                    },
                    metadata_errors="replace",
                )
            except av.error.ArgumentError as error:
                raise UndecodableClip(
                    "The file's container format is not accepted. Send MP4, MOV, WebM, MKV, AVI, "
                    "MPEG, ASF, FLV, OGG, WAV, MP3, AAC or FLAC."
                ) from error
            except av.error.FFmpegError as error:
                # "Cannot allocate memory" included: headers that announce impossible sizes end so.
                raise UndecodableClip(
                    f"The file ({self._size} bytes) is not recognised as media, or its beginning "
                    f"or index is missing ({error.strerror}). Send a complete file."
                ) from error
            yield opened.enter_context(container)

    def _frames(
        self,
        container: InputContainer,
        stream: AudioStream | VideoStream,
        spare: SparePictures | None = None,
    ) -> Iterator[AudioFrame | VideoFrame]:
        """Decode packet by packet, so that a broken one costs no more than itself."""
        # Threads of the decoder's own hold a picture each, and what they make of a damaged file is
        # not always the same. The other cores look for faces meanwhile.
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(4 * self._limits.pixels)}
        packets = self._packets(container, stream)
        for packet, is_spare in spare.judged(packets) if spare else zip(packets, repeat(False)):
            stream.codec_context.skip_frame = "NONREF" if is_spare else "DEFAULT"
            try:
                frames = packet.decode()
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self._count_damage()
                continue
            if packet.is_corrupt:
                self._count_damage()
            for frame in frames:
                if isinstance(frame, AudioFrame | VideoFrame):
                    yield frame

    def _packets(
        self, container: InputContainer, stream: AudioStream | VideoStream
    ) -> Iterator[Packet[Any]]:
        """A stream's packets up to the end of what can be read."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:
                # PyAV's end of a file in whose middle streams appeared: it looks for these in the
                # list of the beginning. Our own stream comes before them and has been given whole.
                self._count_damage()
                return
            except av.error.MemoryError:
                # The worker's limit, not damage: whoever set the limit answers for it.
                raise
            except av.error.FFmpegError:
                self._count_damage()
                return
            yield packet

    def _resampled(
        self, resampler: AudioResampler | None, frame: AudioFrame | None
    ) -> list[NDArray[np.float32]]:
        """Mono samples of a frame; with None those that the resampler still holds."""
        if resampler is None:
            return []
        try:
            made = resampler.resample(frame)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            # More channels than can be mixed, or a rate that no filter can bridge.
            self._count_damage()
            return []
        return [out.to_ndarray()[0].astype(np.float32) for out in made]

    def _count_damage(self) -> None:
        with self._counting:
            self.damaged += 1

    def _check_seconds(self, seconds: float) -> None:
        with self._counting:
            self.reached = max(self.reached, seconds)
        if seconds > self._limits.seconds + SLACK:
            raise ClipTooLong(
                f"The clip is longer than {self._limits.seconds:g} seconds. "
                "Send a shorter part of it."
            )

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.pixels:
            raise ClipTooLarge(
                f"The pictures are {width}x{height}, at most {self._limits.pixels} pixels are "
                "accepted. Scale the video down."
            )


def read_sound(source: bytes | Path, limits: DecodeLimits) -> Sound | None:
    """Decode the sound of a clip: `ClipReader.sound` for those who want nothing else."""
    return ClipReader(source, limits).sound()


def read_frames(source: bytes | Path, limits: DecodeLimits, rate: float) -> Iterator[Frame]:
    """Decode the pictures of a clip: `ClipReader.frames` for those who want nothing else."""
    return ClipReader(source, limits).frames(rate)


def _choose(streams: Sequence[StreamT]) -> StreamT | None:
    known = [
        stream
        for stream in streams
        # PyAV leaves the context out where FFmpeg has no decoder, whatever its types say.
        if getattr(stream, "codec_context", None) is not None
        and not stream.disposition & Disposition.attached_pic
    ]
    defaults = [stream for stream in known if stream.disposition & Disposition.default]
    return next(iter(defaults or known), None)


def _size(source: bytes | Path | SharedFile) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    return source.size if isinstance(source, SharedFile) else len(source)


def _file(source: bytes | Path | SharedFile) -> BinaryIO:
    if isinstance(source, Path):
        return source.open("rb")
    return source.open() if isinstance(source, SharedFile) else io.BytesIO(source)


def _start(container: InputContainer) -> float:
    """When the clip begins on its own clock (s): captions count from there, as players do."""
    return (container.start_time or 0) / av.time_base


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(samples, copy=False, posinf=0.0, neginf=0.0)
