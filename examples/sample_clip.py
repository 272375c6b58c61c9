"""A clip of a person speaking, made of nothing but what packages ship: no footage, no recording.

The picture is scikit-image's portrait of the astronaut Eileen Collins (NASA, public domain), slowly
swaying as before a hand-held camera. The voice is a source-filter synthesis (Fant 1960): pulses
with a pitch contour, through the formants of one vowel after the other. It says nothing and moves
no lips; it makes every stage of the pipeline work. The tests make all of their media here too.

    python -m examples.sample_clip sample.mp4
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray
from scipy import signal

Picture = NDArray[np.uint8]
Samples = NDArray[np.float32]

VOICE_RATE = 44_100
"""Sample rate of the synthesised sound (Hz)."""

TRANSCRIPT = "What a wonderful day, I am so happy to be here."
"""Words to send with the sample."""

VOWELS = (
    ((730, 1090, 2440), (60, 90, 150)),
    ((270, 2290, 3010), (50, 100, 160)),
    ((300, 870, 2240), (50, 80, 140)),
    ((530, 1840, 2480), (60, 90, 150)),
    ((570, 840, 2410), (60, 80, 140)),
)
"""Formants and bandwidths (Hz) of a, i, u, e, o: adult averages of Peterson & Barney 1952."""

SYLLABLES_PER_SECOND = 4.0


def portrait(seconds: float, width: int = 640, height: int = 480) -> Picture:
    """Draw the portrait as it is seen at a time: (height, width, 3) uint8, the face upright."""
    zoom = width / 320 * (1 + 0.04 * math.sin(2 * math.pi * 0.3 * seconds))
    sway_x = 4 * math.sin(2 * math.pi * 0.2 * seconds)
    sway_y = 3 * math.sin(2 * math.pi * 0.35 * seconds)
    # The face lies around (225, 130) of the 512 x 512 original; it comes to the picture's middle.
    shift_x = width / 2 - zoom * (225 + sway_x)
    shift_y = height / 2 - zoom * (125 + sway_y)
    matrix = np.array([[zoom, 0, shift_x], [0, zoom, shift_y]])
    drawn = cv2.warpAffine(
        _astronaut(), matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(drawn, np.uint8)


@cache
def _astronaut() -> Picture:
    picture: Picture = np.asarray(skimage.data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    return picture


def voice(seconds: float, f0: float = 190.0) -> Samples:
    """Synthesise a voice: (samples,) at `VOICE_RATE`, peak 0.5, mean pitch `f0` (Hz)."""
    time = np.arange(round(seconds * VOICE_RATE)) / VOICE_RATE
    pitch = f0 * 2 ** (0.25 * np.sin(2 * np.pi * 0.6 * time))
    cycles = np.cumsum(pitch) / VOICE_RATE
    source = np.diff(np.floor(cycles), prepend=0.0)
    breath = np.random.default_rng(7).standard_normal(len(time))
    # Two poles near 0 Hz give the glottal pulse its fall of 12 dB an octave.
    pulses = signal.lfilter([1.0], np.poly([0.97, 0.97]), source + 0.002 * breath)
    syllable = time * SYLLABLES_PER_SECOND
    sound = np.zeros_like(time)
    for index, (formants, bandwidths) in enumerate(VOWELS):
        # Distance in syllables from this vowel's turn; neighbours are faded into each other.
        away = np.abs((syllable - index + len(VOWELS) / 2) % len(VOWELS) - len(VOWELS) / 2)
        sound += np.clip(1.2 - 2 * np.abs(away - 0.1), 0, 1) * _vowel(pulses, formants, bandwidths)
    sound *= 0.1 + 0.9 * np.sin(np.pi * (syllable + 0.5)) ** 2
    sound = signal.lfilter([1.0, -1.0], [1.0], sound)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def _vowel(
    source: NDArray[np.float64], formants: tuple[int, ...], bandwidths: tuple[int, ...]
) -> NDArray[np.float64]:
    for frequency, bandwidth in zip(formants, bandwidths, strict=True):
        radius = math.exp(-math.pi * bandwidth / VOICE_RATE)
        angle = 2 * math.pi * frequency / VOICE_RATE
        poles = [1.0, -2 * radius * math.cos(angle), radius**2]
        source = np.asarray(signal.lfilter([sum(poles)], poles, source))
    return source


def timed_portraits(times: Iterable[float]) -> Iterator[tuple[float, Picture]]:
    """Pair each time (s) with the portrait at that time."""
    for seconds in times:
        yield seconds, portrait(seconds)


def write_clip(
    pictures: Iterable[tuple[float, Picture]] = (),
    samples: Samples | None = None,
    *,
    container: str = "mp4",
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    rate: int = VOICE_RATE,
    fps: int | None = 25,
    rotation: int = 0,
) -> bytes:
    """Encode pictures and sound to a file in memory.

    Args:
        pictures: presentation time (s) and (height, width, 3) uint8 RGB, all of one even size.
        samples: (n,) mono sound, or (channels, n), full scale ±1; none if None.
        container: FFmpeg's name of the format, e.g. ``"mp4"``, ``"webm"``, ``"avi"``.
        video_codec: FFmpeg's name of an encoder.
        audio_codec: FFmpeg's name of an encoder.
        rate: sample rate of `samples` (Hz).
        fps: pictures per second where it is constant; None writes the times in milliseconds.
        rotation: the pictures are stored turned clockwise by this multiple of 90 degrees, with
            side data that tells the player to turn them back.
    """
    target = io.BytesIO()
    tick = Fraction(1, fps or 1000)
    with av.open(target, "w", format=container) as output:
        # Both streams exist before the first packet is written: then the header is.
        video = sound = None
        if shown := [(when, np.rot90(picture, -rotation // 90)) for when, picture in pictures]:
            video = output.add_stream(video_codec, rate=fps or 25)
        if samples is not None:
            layout = "mono" if samples.ndim == 1 else "stereo"
            sound = output.add_stream(audio_codec, rate=rate, layout=layout)
        if isinstance(video, VideoStream):
            video.height, video.width = shown[0][1].shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = tick
            video.codec_context.thread_count = 1
            if rotation:
                video.set_display_rotation(rotation)
            for when, picture in shown:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = round(when / tick), tick
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        if isinstance(sound, AudioStream) and samples is not None:
            planes = np.ascontiguousarray(np.atleast_2d(samples), np.float32)
            block = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            block.sample_rate, block.pts = rate, 0
            output.mux(sound.encode(block))
            output.mux(sound.encode(None))
    return target.getvalue()


def sample_clip(seconds: float = 4.0, fps: int = 25) -> bytes:
    """Make the sample: portrait and voice, 640x480, as MP4 with H.264 and AAC."""
    times = (index / fps for index in range(round(seconds * fps)))
    return write_clip(timed_portraits(times), voice(seconds), fps=fps)


def main() -> None:
    """Write the sample to a file."""
    parser = argparse.ArgumentParser(description="Write the sample clip.")
    parser.add_argument("target", type=Path, nargs="?", default=Path("sample.mp4"))
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    options.target.write_bytes(sample_clip(options.seconds))
    print(f"{options.target}: say {TRANSCRIPT!r} with it.")


if __name__ == "__main__":
    main()
