"""Decoding of clips of known content: made here, broken here, and real ones."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.hostile.boxes import wav
from examples.sample_clip import VOICE_RATE, portrait, timed_portraits, voice, write_clip
from preprocessing.clip import SOUND_RATE, DecodeLimits, Frame
from preprocessing.decode import ClipReader, read_frames, read_sound
from preprocessing.errors import ClipTooLarge, ClipTooLong, PreprocessingError, UndecodableClip
from preprocessing.grid import SparePictures
from preprocessing.pictures import LONGEST_SIDE

LIMITS = DecodeLimits()
RATE = 10


def every_40_ms(count: int) -> list[float]:
    return [index / 25 for index in range(count)]


def quadrants(width: int, height: int) -> NDArray[np.uint8]:
    """Red, green / blue, white: any turn or flip shows."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2, 0] = 255
    picture[: height // 2, width // 2 :, 1] = 255
    picture[height // 2 :, : width // 2, 2] = 255
    picture[height // 2 :, width // 2 :] = 255
    return picture


def sine(frequency: float, seconds: float, rate: int) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def peak_frequency(samples: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * SOUND_RATE / len(samples)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize(
    ("container", "video_codec", "audio_codec"),
    [
        ("mp4", "libx264", "aac"),
        ("mov", "libx264", "aac"),
        ("webm", "libvpx-vp9", "libopus"),
        ("matroska", "libx264", "flac"),
        ("avi", "mpeg4", "mp3"),
        ("mpeg", "mpeg1video", "mp2"),
        ("mpegts", "libx264", "aac"),
        ("flv", "flv", "aac"),
    ],
)
def test_containers_and_codecs(container: str, video_codec: str, audio_codec: str) -> None:
    rate = 48_000 if audio_codec == "libopus" else VOICE_RATE
    clip = write_clip(
        timed_portraits(every_40_ms(15)),
        sine(441.0, 0.6, rate),
        container=container,
        video_codec=video_codec,
        audio_codec=audio_codec,
        rate=rate,
    )
    reader = ClipReader(clip, LIMITS)
    frames = list(reader.frames(RATE))
    sound = reader.sound()
    assert sound is not None
    assert sound.seconds == pytest.approx(0.6, abs=0.1)
    assert peak_frequency(sound.samples) == pytest.approx(441.0, abs=3)
    assert 6 <= len(frames) <= 7
    assert difference(frames[0].rgb, portrait(0.0)) < 8
    assert reader.damaged == 0
    assert not reader.ended_early


@pytest.mark.parametrize(
    ("container", "audio_codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("mp3", "mp3"), ("adts", "aac"), ("flac", "flac")],
)
def test_sound_alone(container: str, audio_codec: str) -> None:
    clip = write_clip((), voice(0.5), container=container, audio_codec=audio_codec)
    reader = ClipReader(clip, LIMITS)
    assert (reader.has_sound, reader.has_video) == (True, False)
    assert list(reader.frames(RATE)) == []
    sound = reader.sound()
    assert sound is not None
    assert sound.seconds == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 96_000])
def test_any_rate_and_layout_becomes_mono_at_one_rate(rate: int) -> None:
    left = sine(300.0, 1.0, rate)
    stereo = np.stack([left, np.zeros_like(left)])
    clip = write_clip((), stereo, container="wav", audio_codec="pcm_s16le", rate=rate)
    sound = read_sound(clip, LIMITS)
    assert sound is not None
    assert sound.samples.dtype == np.float32
    assert len(sound.samples) == pytest.approx(SOUND_RATE, abs=40)
    assert peak_frequency(sound.samples) == pytest.approx(300.0, abs=1)
    assert np.abs(sound.samples).max() == pytest.approx(0.25, abs=0.01)


def test_three_channels_without_a_name() -> None:
    samples = np.stack([sine(300.0, 0.5, 8000)] * 2)
    wav = bytearray(write_clip((), samples, container="wav", audio_codec="pcm_s16le", rate=8000))
    # The same samples declared as three channels: block align 6, byte rate 48000.
    at = wav.index(b"fmt ") + 8
    wav[at + 2 : at + 4] = (3).to_bytes(2, "little")
    wav[at + 8 : at + 14] = (48_000).to_bytes(4, "little") + (6).to_bytes(2, "little")
    sound = read_sound(bytes(wav), LIMITS)
    assert sound is not None
    assert sound.seconds == pytest.approx(1 / 3, abs=0.01)


def test_sound_that_is_no_number_is_silence() -> None:
    samples = voice(0.3)
    samples[1000:1100] = np.nan
    samples[1200] = np.inf
    sound = read_sound(
        write_clip((), samples, container="wav", audio_codec="pcm_f32le", rate=SOUND_RATE), LIMITS
    )
    assert sound is not None
    assert np.isfinite(sound.samples).all()
    assert (sound.samples[1000:1100] == 0).all()


def test_frames_are_the_first_at_or_after_each_tick() -> None:
    clip = write_clip(timed_portraits(every_40_ms(15)))
    frames = list(read_frames(clip, LIMITS, RATE))
    # Ticks 0, 0.1, ... 0.5 among frames 0, 0.04, ... 0.56.
    assert [frame.index for frame in frames] == [0, 3, 5, 8, 10, 13]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.12, 0.2, 0.32, 0.4, 0.52])
    assert [frame.scale for frame in frames] == [1.0] * 6
    assert difference(frames[-1].rgb, portrait(0.52)) < 8


def test_uneven_frames_are_taken_by_their_time_and_none_twice() -> None:
    times = [0.0, 0.031, 0.5, 0.52, 0.61, 1.2]
    clip = write_clip(timed_portraits(times), fps=None, container="matroska")
    frames = list(read_frames(clip, LIMITS, RATE))
    assert [(frame.index, round(frame.seconds, 3)) for frame in frames] == [
        (0, 0.0),
        (2, 0.5),
        (4, 0.61),
        (5, 1.2),
    ]


def test_missing_and_backward_timestamps_go_on_at_the_nominal_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stamps: list[float | None] = [5.0, 5.04, None, 4.0, 5.16, 5.2]
    reader = ClipReader(write_clip(timed_portraits(every_40_ms(6))), LIMITS)
    decode = reader._frames

    def restamped(
        container: av.container.InputContainer, stream: av.VideoStream, spare: SparePictures
    ) -> Iterator[av.AudioFrame | av.VideoFrame]:
        for frame, stamp in zip(decode(container, stream, spare), stamps, strict=True):
            assert frame.time_base is not None
            frame.pts = None if stamp is None else round(stamp / frame.time_base)
            yield frame

    monkeypatch.setattr(reader, "_frames", restamped)
    seconds = [frame.seconds for frame in reader.frames(rate=1000)]
    assert seconds == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16, 0.2])


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_pictures_come_upright(rotation: int) -> None:
    picture = quadrants(64, 48)
    (frame,) = read_frames(write_clip([(0.0, picture)], rotation=rotation), LIMITS, RATE)
    assert frame.rgb.shape == (48, 64, 3)
    assert difference(frame.rgb, picture) < 8
    assert frame.rgb.flags.c_contiguous


def test_no_picture_outlives_its_turn_until_garbage_is_collected() -> None:
    clip = write_clip(timed_portraits(every_40_ms(50)), rotation=90)
    gc.collect()
    gc.disable()
    try:
        kept = [
            sum(type(one) is VideoFrame for one in gc.get_objects())
            for _ in read_frames(clip, LIMITS, RATE)
        ]
    finally:
        gc.enable()
    assert len(kept) == 20
    assert max(kept) < 6


def test_large_pictures_shrink_and_say_so() -> None:
    picture = quadrants(LONGEST_SIDE * 2, 200)
    (frame,) = read_frames(write_clip([(0.0, picture)]), LIMITS, RATE)
    assert frame.rgb.shape == (100, LONGEST_SIDE, 3)
    assert frame.scale == 2.0


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    target = tmp_path / "cover.mp3"
    with av.open(str(target), "w", format="mp3") as output:
        sound = output.add_stream("mp3", rate=44_100, layout="mono")
        cover = output.add_stream("png", rate=1)
        assert isinstance(sound, av.AudioStream)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(quadrants(64, 48), format="rgb24")))
        block = av.AudioFrame.from_ndarray(voice(0.5)[None], format="fltp", layout="mono")
        block.sample_rate = 44_100
        output.mux(sound.encode(block))
        output.mux(sound.encode(None))
    reader = ClipReader(target, LIMITS)
    assert (reader.has_sound, reader.has_video) == (True, False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello " * 100, "not recognised"),
        (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 100, "not recognised"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", "not recognised"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not accepted"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n", "not accepted"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "not accepted"),
    ],
)
def test_what_is_no_clip_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableClip, match=reason):
        ClipReader(content, LIMITS)


def test_length_is_counted_not_read(talking_clip: bytes) -> None:
    short = DecodeLimits(seconds=1.5)
    reader = ClipReader(talking_clip, short)
    with pytest.raises(ClipTooLong, match=r"longer than 1\.5 seconds"):
        reader.sound()
    with pytest.raises(ClipTooLong):
        list(reader.frames(RATE))
    assert ClipReader(talking_clip, DecodeLimits(seconds=2.0)).sound() is not None


def test_a_sound_of_one_sample_a_second_is_too_long_not_too_much_memory() -> None:
    wav = bytearray(write_clip((), voice(0.5), container="wav", audio_codec="pcm_s16le"))
    at = wav.index(b"fmt ") + 8
    wav[at + 4 : at + 12] = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    with pytest.raises(ClipTooLong):
        read_sound(bytes(wav), LIMITS)


def test_pixels_and_streams_have_limits(talking_clip: bytes) -> None:
    with pytest.raises(ClipTooLarge, match="640x480"):
        ClipReader(talking_clip, DecodeLimits(pixels=640 * 480 - 1))
    with pytest.raises(ClipTooLarge, match="2 streams"):
        ClipReader(talking_clip, DecodeLimits(streams=1))


def test_a_clip_cut_off_in_transfer_gives_what_came() -> None:
    clip = write_clip(timed_portraits(every_40_ms(100)), voice(4.0), container="matroska")
    reader = ClipReader(clip[: len(clip) // 2], LIMITS)
    assert reader.sound() is not None
    frames = list(reader.frames(RATE))
    assert 0 < len(frames) < 40
    assert reader.ended_early


def test_broken_packets_are_skipped_and_counted(talking_clip: bytes) -> None:
    start = talking_clip.index(b"mdat") + 4
    broken = bytearray(talking_clip)
    random = np.random.default_rng(5)
    for position in random.integers(start, start + len(broken) // 2, 300):
        broken[position] = random.integers(256)
    reader = ClipReader(bytes(broken), LIMITS)
    reader.sound()
    frames = list(reader.frames(RATE))
    assert reader.damaged > 0
    assert frames


def test_a_header_that_asks_for_the_impossible_is_a_broken_file() -> None:
    broken = bytearray(write_clip((), voice(0.4)))
    count = broken.index(b"stts") + 8
    broken[count : count + 4] = (0x0FFFFFFF).to_bytes(4, "big")
    with pytest.raises(UndecodableClip, match="not recognised"):
        ClipReader(bytes(broken), LIMITS)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["mp4", "matroska", "mpegts"]),
    st.dictionaries(st.floats(0, 1, exclude_max=True), st.integers(0, 255), max_size=12),
    st.floats(0, 1),
)
def test_any_damage_is_survived_or_named(
    container: str, changes: dict[float, int], kept: float
) -> None:
    broken = bytearray(small_clip(container))
    for place, value in changes.items():
        broken[int(place * len(broken))] = value
    try:
        reader = ClipReader(bytes(broken[: int(kept * len(broken))]), LIMITS)
        reader.sound()
        for frame in reader.frames(RATE):
            assert frame.rgb.dtype == np.uint8
    except (PreprocessingError, MemoryError):
        # FFmpeg's word for sizes that cannot be; a worker answers it as a clip that costs too much.
        return


@cache
def small_clip(container: str) -> bytes:
    pictures = [(when, quadrants(64, 48)) for when in every_40_ms(5)]
    return write_clip(pictures, voice(0.2), container=container)


def test_frames_stream(talking_clip: bytes) -> None:
    frames = read_frames(talking_clip, LIMITS, RATE)
    assert isinstance(next(frames), Frame)
    assert isinstance(frames, Iterator)


EXPECTED: dict[str, tuple[float | None, int, tuple[int, ...] | None]] = {
    "mosi_Oz06ZWiO20M_6_h264_480x360.mp4": (7.44, 75, (360, 480, 3)),
    "mosi_03bSnISJMiM_1.wav": (3.33, 0, None),
    "grid_bbaf2n.mpg": (2.98, 30, (288, 360, 3)),
    "grid_swiz3n.mpg": (2.98, 30, (288, 360, 3)),
    "hdtf_katiehill_8s_mpeg4.mp4": (8.0, 80, (512, 512, 3)),
    "vretalk_face1_700px_vfr.mp4": (6.11, 61, (700, 700, 3)),
    "lp_d12_expressive_loud.mp4": (7.31, 73, (512, 512, 3)),
    "lp_d3_silent_audio_track.mp4": (11.8, 118, (512, 512, 3)),
    "pyfeat_face_then_noface_hevc.mov": (3.97, 64, (540, 960, 3)),
    "pyfeat_no_face.mp4": (3.97, 40, (540, 960, 3)),
    "two_faces_side_by_side.mp4": (2.97, 30, (288, 720, 3)),
    "grid_bbaf2n_vp9_opus.webm": (2.96, 30, (288, 360, 3)),
    "grid_brbk7n_noaudio.mp4": (None, 30, (288, 360, 3)),
    "grid_pwij3p_audio_only.m4a": (3.0, 0, None),
    "moviepy_no_duration_vp9_opus.webm": (4.86, 49, (720, 1280, 3)),
    "moviepy_rotation180_noface.mp4": (2.26, 23, (720, 1280, 3)),
    "moviepy_1x1px.mp4": (None, 5, (1, 1, 3)),
}
"""Seconds of sound, frames at 10 a second, shape of the frames."""


@pytest.mark.parametrize("name", EXPECTED)
def test_real_clips(real_clips: Path, name: str) -> None:
    seconds, count, shape = EXPECTED[name]
    reader = ClipReader(real_clips / name, LIMITS)
    sound = reader.sound()
    frames = [(frame.seconds, frame.rgb.shape) for frame in reader.frames(RATE)]
    assert (sound and sound.seconds) == (seconds and pytest.approx(seconds, abs=0.01))
    assert len(frames) == count
    assert {size for _, size in frames} == ({shape} if shape else set())
    assert all(late > early for (early, _), (late, _) in pairwise(frames))
    assert (reader.damaged, reader.ended_early) == (0, False)


def test_an_empty_file(real_clips: Path) -> None:
    with pytest.raises(UndecodableClip, match="empty"):
        ClipReader(real_clips / "moviepy_zero_bytes.webm", LIMITS)


@pytest.mark.parametrize("channels", [64, 255, 65_535])
def test_more_channels_than_can_be_mixed_are_damage(channels: int) -> None:
    reader = ClipReader(wav(44_100, bytes(65_536), channels=channels), DecodeLimits())
    assert reader.sound() is None
    assert reader.damaged


class StreamsAppear(ClipReader):
    """What PyAV 18.1 does at the end of a transport stream in whose middle streams appeared.

    It reads beyond a list made at the beginning, so that it happens by chance: one of some
    thousand hostile files (`benchmarks.hostile`), and not again for the same file.
    """

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with super()._open() as container:
            yield Container(container)


class Container:
    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, stream: Any) -> Iterator[Any]:
        yield from self._container.demux(stream)
        raise IndexError("list index out of range")


def test_streams_that_appear_in_the_middle_cost_nothing_else(talking_clip: bytes) -> None:
    plain, surprised = (kind(talking_clip, DecodeLimits()) for kind in (ClipReader, StreamsAppear))
    heard, also = plain.sound(), surprised.sound()
    assert heard is not None
    assert also is not None
    assert np.array_equal(heard.samples, also.samples)
    assert len(list(plain.frames(10))) == len(list(surprised.frames(10)))
    assert surprised.damaged == 2
