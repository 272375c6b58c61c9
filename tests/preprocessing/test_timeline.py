"""Long clips stretch by stretch: each as if it were cut out, in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.timeline_memory import repeated
from examples.sample_clip import sample_clip, timed_portraits, voice, write_clip
from preprocessing.captions import Caption
from preprocessing.clip import DecodeLimits
from preprocessing.decode import ClipReader
from preprocessing.errors import ClipTooLong, InvalidTranscript, UndecodableClip
from preprocessing.features import extract
from preprocessing.schema import AUDIO_COLUMNS, feature_schema
from preprocessing.shared_file import SharedFile
from preprocessing.stream import streamed
from preprocessing.tensors import to_sample
from preprocessing.timeline import Ending, Progress, Stretch, measure
from tests.cutting import cut

SCHEMA = feature_schema("0" * 64)
LIMITS = DecodeLimits(seconds=1800)


@pytest.fixture(scope="module")
def talk() -> bytes:
    return sample_clip(seconds=9.0)


def run(
    clip: bytes | Path, *captions: tuple[float, float, str], limits: DecodeLimits = LIMITS
) -> tuple[list[Stretch], list[Progress], Ending]:
    steps = list(measure(clip, [Caption(*caption) for caption in captions], limits=limits))
    ending = steps.pop()
    assert isinstance(ending, Ending)
    stretches = [step for step in steps if isinstance(step, Stretch)]
    return stretches, [step for step in steps if isinstance(step, Progress)], ending


def codes(cautions: Sequence[object]) -> list[str]:
    return [getattr(caution, "code", "") for caution in cautions]


@pytest.mark.parametrize("start", [0.0, 2.3, 4.01])
def test_a_stretch_is_measured_as_if_it_were_cut_out(talk: bytes, start: float) -> None:
    (stretch,), _, ending = run(talk, (start, start + 3.1, "so good"))
    alone = extract(cut(talk, start, start + 3.1), "so good")
    assert ending.cautions == stretch.features.cautions == alone.cautions == ()
    one, other = (to_sample(features, SCHEMA) for features in (stretch.features, alone))
    np.testing.assert_array_equal(one.input_ids, other.input_ids)
    np.testing.assert_array_equal(one.video, other.video)
    assert one.audio.shape == other.audio.shape
    # The resampler starts anew in the cut clip: its first milliseconds differ, and with them the
    # level that all of it is scaled to, by little.
    loudness = AUDIO_COLUMNS.index("rms_db")
    assert np.abs(one.audio[:, loudness] - other.audio[:, loudness]).max() < 0.1
    difference = np.nanmean(np.abs(one.audio - other.audio), axis=0)
    spread = np.nanstd(other.audio, axis=0)
    assert (difference < 0.05 * spread).all()


def test_readers_of_one_file_have_each_their_own_place(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(bytes(range(256)) * 100)
    with target.open("rb") as file:
        shared = SharedFile(file.fileno())
        assert shared.size == 25_600
        with shared.open() as one, shared.open() as other:
            one.seek(-3, io.SEEK_END)
            assert other.read(2) == b"\x00\x01"
            assert one.read() == b"\xfd\xfe\xff"
            other.seek(2, io.SEEK_CUR)
            assert (other.tell(), other.read(1)) == (4, b"\x04")
            assert len(other.read()) == 25_595
        assert file.tell() == 0


def test_stretches_come_in_order_and_each_has_its_own(talk: bytes, tmp_path: Path) -> None:
    file = tmp_path / "talk.mp4"
    file.write_bytes(talk)
    stretches, _, ending = run(file, (3, 6, "second"), (0, 3, "first"), (6.5, 8.5, "third one"))
    assert [(s.words.start, s.words.end, s.words.text) for s in stretches] == [
        (0, 3, "first"),
        (3, 6, "second"),
        (6.5, 8.5, "third one"),
    ]
    assert codes(ending.cautions) == ["captions_unsorted"]
    for stretch, length in zip(stretches, (3, 3, 2), strict=True):
        assert stretch.total == 8.5
        assert stretch.features.audio is not None
        assert stretch.features.audio.seconds == pytest.approx(length, abs=0.001)
        assert stretch.features.face is not None
        assert stretch.features.face.frames == 5 * length
    pitches = [np.nanmean(to_sample(s.features, SCHEMA).audio) for s in stretches]
    assert len(set(pitches)) == 3


def test_times_count_from_the_clip_s_start_whatever_its_clock_says() -> None:
    pictures = list(timed_portraits(index / 25 for index in range(100)))
    stream = write_clip(pictures, voice(4.0), container="mpegts")
    plain = write_clip(pictures, voice(4.0))
    (one,), _, _ = run(stream, (2, 4, "words"))
    (other,), _, _ = run(plain, (2, 4, "words"))
    assert one.features.face is not None
    assert other.features.face is not None
    # The same pictures, but for what the encoder made of them.
    np.testing.assert_allclose(
        one.features.face.values[:, -35:], other.features.face.values[:, -35:], atol=0.3
    )


def test_sound_lies_where_its_timestamps_say() -> None:
    # Half a second of tone, two seconds of nothing at all, and a tone again.
    whole = repeated_with_a_gap()
    with streamed(ClipReader(whole, LIMITS)) as stream:
        assert stream.sound(0.6, 2.0) is None
        later = stream.sound(2.0, 3.0)
    assert later is not None
    assert later.seconds == pytest.approx(0.5, abs=0.06)


def repeated_with_a_gap() -> bytes:
    piece = write_clip((), voice(0.5), container="matroska", audio_codec="pcm_s16le")
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        written = None
        for shift in (0.0, 2.5):
            with av.open(io.BytesIO(piece), "r") as source:
                stream = source.streams.audio[0]
                written = written or output.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.pts is not None and packet.time_base is not None:
                        packet.pts += round(shift / packet.time_base)
                        packet.dts = packet.pts
                        packet.stream = written
                        output.mux(packet)
    return target.getvalue()


def test_captions_beyond_the_end_are_left_out_or_cut_and_said(talk: bytes) -> None:
    stretches, _, ending = run(talk, (0, 3, "a"), (7, 12, "b"), (20, 24, "c"), (30, 34, "d"))
    assert [s.words.text for s in stretches] == ["a", "b"]
    assert codes(ending.cautions) == ["captions_beyond_end"]
    assert ending.cautions[0].message.endswith("(9.0 s): 2.")
    assert codes(stretches[0].features.cautions) == []
    assert codes(stretches[1].features.cautions) == ["caption_beyond_end"]
    assert stretches[1].words.end == pytest.approx(9.0, abs=0.05)
    with pytest.raises(InvalidTranscript, match=r"begins at 20.0 s, the clip ends at 9.0 s"):
        run(talk, (20, 24, "c"))


def test_what_a_stretch_lacks_is_said_of_it_alone() -> None:
    pictures = list(timed_portraits(index / 5 for index in range(10)))
    stretches, _, _ = run(write_clip(pictures, voice(5.0), fps=5), (0, 2, "a"), (2.5, 5, "b"))
    assert [codes(s.features.cautions) for s in stretches] == [[], ["no_video"]]


def test_pauses_are_gone_through_with_progress() -> None:
    long = repeated(write_clip((), voice(5.0), container="matroska", audio_codec="flac"), 9)
    stretches, progress, _ = run(long, (0, 3, "a"), (31, 35, "b"))
    assert [s.words.text for s in stretches] == ["a", "b"]
    assert [round(p.seconds) for p in progress] == [13, 23]
    assert {p.total for p in progress} == {35}


def test_what_is_too_long_or_broken_is_refused(talk: bytes) -> None:
    with pytest.raises(ClipTooLong, match="9 seconds long, at most 5"):
        run(talk, (0, 3, "a"), limits=DecodeLimits(seconds=5))
    # A stream of AAC frames tells no length.
    hidden = write_clip((), voice(9.0), container="adts")
    with pytest.raises(ClipTooLong, match="longer than 5 seconds"):
        run(hidden, (0, 3, "a"), (6, 9, "b"), limits=DecodeLimits(seconds=5))
    wav = write_clip((), voice(1.0), container="wav", audio_codec="pcm_s16le")
    with pytest.raises(UndecodableClip, match="pcm_s16le audio"):
        run(wav[: wav.index(b"data") + 8], (0, 1, "a"))
    broken = write_clip((), voice(9.0), container="matroska")
    _, _, ending = run(broken[: len(broken) // 2], (0, 3, "a"), (3, 9, "b"))
    assert codes(ending.cautions) == ["clip_damaged"]
