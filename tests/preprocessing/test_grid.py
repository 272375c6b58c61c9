"""The grid's pictures are the same whether or not those between them are decoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from examples.sample_clip import timed_portraits, write_clip
from preprocessing.clip import DecodeLimits, Frame
from preprocessing.decode import ClipReader
from preprocessing.grid import MOST_SPARED, SparePictures, tick_of

LIMITS = DecodeLimits()
PICTURES = 60


def grid(reader: ClipReader, rate: float) -> Iterator[Frame]:
    """The grid's pictures with every picture of the clip decoded."""
    due = 0
    for picture, seconds, index, _ in reader.placed_pictures():
        if seconds + 1e-6 >= due / rate and (made := reader.picture(picture)):
            due = int((seconds + 1e-6) * rate) + 1
            yield Frame(made[0], seconds, index, made[1])


def made_of(codec: str, container: str, *, even: bool = True) -> bytes:
    random = np.random.default_rng(5)
    gaps = np.full(PICTURES, 0.04) if even else random.uniform(0.01, 0.3, PICTURES)
    times = np.round(np.cumsum(gaps) - gaps[0], 3).tolist()
    return write_clip(
        timed_portraits(times),
        fps=25 if even else None,
        container=container,
        video_codec=codec,
    )


def assert_same_grid(source: bytes | Path, rate: float) -> None:
    reader = ClipReader(source, LIMITS)
    spared, whole = list(reader.frames(rate)), list(grid(reader, rate))
    assert [(f.index, f.seconds, f.scale) for f in spared] == [
        (f.index, f.seconds, f.scale) for f in whole
    ]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(spared, whole, strict=True))


@pytest.mark.parametrize("rate", [1, 5, 10, 24, 1000])
@pytest.mark.parametrize(
    ("codec", "container"),
    [("libx264", "mp4"), ("libx264", "mpegts"), ("mpeg4", "avi"), ("libvpx-vp9", "webm")],
)
def test_codecs_and_rates(codec: str, container: str, rate: float) -> None:
    assert_same_grid(made_of(codec, container), rate)


@pytest.mark.parametrize("rate", [2, 5])
def test_uneven_pictures(rate: float) -> None:
    assert_same_grid(made_of("libx264", "matroska", even=False), rate)


@pytest.mark.parametrize("rate", [5, 10])
@pytest.mark.parametrize(
    "name",
    [
        "mosi_Oz06ZWiO20M_6_h264_480x360.mp4",
        "grid_bbaf2n.mpg",
        "hdtf_katiehill_8s_mpeg4.mp4",
        "vretalk_face1_700px_vfr.mp4",
        "lp_d12_expressive_loud.mp4",
        "pyfeat_face_then_noface_hevc.mov",
        "grid_bbaf2n_vp9_opus.webm",
        "moviepy_rotation180_noface.mp4",
    ],
)
def test_real_clips(real_clips: Path, name: str, rate: float) -> None:
    assert_same_grid(real_clips / name, rate)


def test_pictures_that_no_tick_needs_are_not_decoded() -> None:
    reader = ClipReader(made_of("libx264", "mp4"), LIMITS)
    decoded = sum(1 for _ in reader.placed_pictures(SparePictures(5)))
    assert decoded < 0.8 * PICTURES
    assert sum(1 for _ in reader.placed_pictures()) == PICTURES


def test_interlaced_pictures_are_all_decoded() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=25, options={"x264-params": "tff=1"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 640, 480, "yuv420p"
        for _, picture in timed_portraits(index / 25 for index in range(PICTURES)):
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
    reader = ClipReader(target.getvalue(), LIMITS)
    assert all(frame.interlaced_frame for frame, *_ in reader.placed_pictures())
    assert sum(1 for _ in reader.placed_pictures(SparePictures(5))) == PICTURES
    assert_same_grid(target.getvalue(), 5)


def test_a_tick_is_the_last_that_is_not_after_the_time() -> None:
    assert [tick_of(seconds, 5) for seconds in (0.0, 0.19, 0.2 - 1e-9, 0.2, 0.41)] == [
        *(0, 0, 1, 1, 2)
    ]


@dataclass(frozen=True)
class Stamped:
    """A packet of which nothing but its time matters, in hundredths of a second."""

    pts: int | None
    time_base: Fraction = Fraction(1, 100)
    size: int = 1


@pytest.mark.parametrize("rest", [[40, None], [40, 8]])
def test_nothing_is_spared_where_timestamps_are_missing_or_double(rest: list[int | None]) -> None:
    spare = SparePictures(rate=5)
    spare.origin = 0.0
    stamps = [0, 16, 8, 4, *rest]
    judged = list(spare.judged(map(Stamped, stamps)))
    assert judged[2][1] is False
    assert [spared for _, spared in SparePictures(5).judged(map(Stamped, stamps[:4]))] == [
        False
    ] * 4


def test_what_was_left_out_is_counted_once() -> None:
    spare = SparePictures(rate=5)
    spare.origin = 0.0
    judged = list(spare.judged(map(Stamped, [0, 16, 8, 4, 20])))
    assert [spared for _, spared in judged] == [False, True, True, True, False]
    assert [spare.left_out_before(pts) for pts in (0, 8, 20, 20)] == [0, 1, 1, 0]


def test_times_that_a_file_makes_up_bound_what_is_spared() -> None:
    spare = SparePictures(rate=5)
    spare.origin = 0.0
    # Two thousand pictures in a moment, none of which is ever shown.
    made = (Stamped(pts, Fraction(1, 1_000_000)) for pts in range(2000))
    assert sum(spared for _, spared in spare.judged(made)) == MOST_SPARED
