"""From a clip and its transcript to `ClipFeatures`: the one call that the service makes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocessing import audio
from preprocessing.clip import (
    AudioFeatures,
    Caution,
    ChosenBy,
    ClipFeatures,
    DecodeLimits,
    FaceFeatures,
    Frame,
    Sound,
    TextFeatures,
)
from preprocessing.decode import ClipReader
from preprocessing.errors import EmptyTranscript, UndecodableClip
from preprocessing.schema import MAX_TOKENS, PICTURES_PER_SECOND
from preprocessing.text import WordPiece

if TYPE_CHECKING:
    from preprocessing.face import FaceTracker

__all__ = ["AudioFeatures", "Caution", "ClipFeatures", "FaceFeatures", "TextFeatures", "extract"]

SHORT_SOUND_SECONDS = 0.5
"""Shorter sound is too little to hear a mood in (s)."""

SOUND_NICENESS = 2
"""Of the thread that hears: as those that look for faces. Where it came before them a short clip's
face was late, whose pictures follow one another; where it came last a long clip's sound was."""

STAGES = ("features", "decode", "text", "audio", "face")
"""Keys of `ClipFeatures.timings_ms`."""

_CHOSEN: dict[ChosenBy, str] = {
    "speech": "the one whose mouth moves with the sound",
    "size": "the largest one",
    "confidence": "the one that the OpenFace file is surest of",
}

FEW_FACES = 0.5
"""Share of the analysed pictures below which the face counts as hardly seen."""


def extract(
    video: bytes | Path | None,
    transcript: str | None,
    *,
    limits: DecodeLimits | None = None,
    openface_csv: bytes | None = None,
    tokenizer: WordPiece | None = None,
) -> ClipFeatures:
    """Measure everything that the model takes from a clip and its words.

    Args:
        video: bytes of the media file, or its path; None for words alone.
        transcript: the words, as `preprocessing.transcript.read_transcript` returns them; None
            only in training data without words.
        limits: how much of the clip is decoded; the defaults of `DecodeLimits` if None.
        openface_csv: an OpenFace 2.x CSV of the clip; its columns replace the built-in face
            features, and the pictures are then not decoded.
        tokenizer: of the model's encoder; the default encoder's if None.

    Returns:
        The features, with a caution for each thing that is missing, cut or damaged.

    Raises:
        EmptyTranscript: a transcript without any word.
        UndecodableClip: neither sound nor a picture could be decoded.
        ClipTooLong: sound or pictures go on beyond the limit.
        ClipTooLarge: too many streams, or too large pictures.
        InvalidOpenFaceCsv: the CSV cannot be used.
    """
    started = time.perf_counter()
    limits = limits or DecodeLimits()
    timings = dict.fromkeys(STAGES, 0.0)
    text: TextFeatures | None = None
    if transcript is not None:
        with timed(timings, "text"):
            if not any(character.isalnum() for character in transcript):
                raise EmptyTranscript("The transcript holds no word.")
            text = (tokenizer or default_tokenizer()).encode(transcript)
    heard, face, damage = _Heard(), None, None
    if video is None and openface_csv is not None:
        with timed(timings, "face"):
            face = _from_openface(openface_csv, limits, clip_seconds=0.0)
    if video is not None:
        with timed(timings, "decode"):
            reader = ClipReader(video, limits)
        heard, face = _heard_and_seen(reader, openface_csv, limits, timings)
        if heard.sound is None and face is None:
            raise UndecodableClip(
                f"Nothing in the file can be decoded ({reader.codecs}; {reader.damaged} broken "
                "packets). The file is damaged; export or record it again."
            )
        damage = damage_of(reader)
    timings["features"] = 1000 * (time.perf_counter() - started)
    return ClipFeatures(
        text=text,
        audio=heard.features,
        face=face,
        cautions=tuple(cautions_of(text, heard.features, face, damage)),
        timings_ms=timings,
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    """A clip's sound and its analysis; both None where there is none."""

    sound: Sound | None = None
    features: AudioFeatures | None = None
    milliseconds: float = 0.0


def _hear(reader: ClipReader) -> _Heard:
    started = time.perf_counter()
    sound = reader.sound()
    features = None if sound is None else audio.analyse(sound)
    return _Heard(sound, features, 1000 * (time.perf_counter() - started))


def _heard_and_seen(
    reader: ClipReader,
    openface_csv: bytes | None,
    limits: DecodeLimits,
    timings: dict[str, float],
) -> tuple[_Heard, FaceFeatures | None]:
    """Sound in a thread of its own, pictures meanwhile: neither needs the other until the end."""
    pictures: Pictures = []
    hearing = _sound_thread().submit(_hear, reader)
    try:
        if openface_csv is None and reader.has_video:
            pictures = faces_in(reader.frames(PICTURES_PER_SECOND), timings)
    finally:
        # Where both are at fault, the sound's fault is told, whichever is met first.
        heard = hearing.result()
    timings["audio"] = heard.milliseconds
    with timed(timings, "face"):
        if openface_csv is not None:
            seconds = heard.sound.seconds if heard.sound else reader.promised
            return heard, _from_openface(openface_csv, limits, clip_seconds=seconds)
        return heard, chosen(pictures, heard.sound)


Pictures = list[NDArray[np.float32]]
"""(faces, 714) a picture, as `FaceTracker.rows` gives them."""


def faces_in(frames: Iterator[Frame], timings: dict[str, float]) -> Pictures:
    """All faces in pictures that are being decoded.

    Args:
        frames: at `PICTURES_PER_SECOND`.
        timings: wall time by stage (ms), to which ``decode`` and ``face`` are added.
    """
    with timed(timings, "face"):
        seen = tracker().rows(
            timed_frames(frames, timings), pictures_per_second=PICTURES_PER_SECOND, complete=False
        )
        return list(seen)


def chosen(pictures: Pictures, sound: Sound | None) -> FaceFeatures | None:
    """The one face that counts; None without a picture."""
    if not pictures:
        return None
    # Imported late, as in `tracker`.
    from preprocessing.face import of_one_face

    return of_one_face(pictures, sound)


def _from_openface(csv: bytes, limits: DecodeLimits, clip_seconds: float) -> FaceFeatures:
    from preprocessing.openface_csv import read_csv

    return read_csv(
        csv,
        pictures_per_second=PICTURES_PER_SECOND,
        longest_seconds=limits.seconds,
        clip_seconds=clip_seconds,
    )


def warm_up(face_threads: int = 1) -> None:
    """Load what a process needs for itself: the tokenizer, and the tracker and the other threads.

    Args:
        face_threads: pictures of one clip that are looked at side by side from now on.
    """
    default_tokenizer()
    # It starts here, as workers give up the right to be nicer.
    _sound_thread().submit(int).result()
    _use_tracker(face_threads)
    nothing = Frame(np.zeros((480, 640, 3), np.uint8), seconds=0.0, index=0)
    tracker().analyse([nothing] * face_threads, pictures_per_second=PICTURES_PER_SECOND)


@cache
def _sound_thread() -> ThreadPoolExecutor:
    """The thread that hears; one a process, for one clip at a time."""
    return ThreadPoolExecutor(
        1, thread_name_prefix="sound", initializer=os.nice, initargs=(SOUND_NICENESS,)
    )


@cache
def default_tokenizer() -> WordPiece:
    """The default encoder's tokenizer; one a process."""
    return WordPiece()


_trackers: list[FaceTracker] = []


def tracker() -> FaceTracker:
    """The built-in face tracker; one a process, for one clip at a time."""
    if not _trackers:
        _use_tracker(threads=1)
    return _trackers[0]


def _use_tracker(threads: int) -> None:
    # Imported late: MediaPipe is heavy, and sound and words alone do without it.
    from preprocessing.face import FaceTracker

    for former in _trackers:
        former.close()
    _trackers[:] = [FaceTracker(threads)]


def cautions_of(
    text: TextFeatures | None,
    sound: AudioFeatures | None,
    face: FaceFeatures | None,
    damage: str | None = None,
) -> Iterator[Caution]:
    """What is missing, cut or damaged, each in a sentence."""
    if text is not None and text.truncated:
        yield Caution(
            "text_truncated",
            f"The transcript has {text.tokens} tokens; only the first {MAX_TOKENS} were used.",
        )
    if sound is None:
        yield Caution("no_audio", "The clip has no sound; the voice was not considered.")
    elif sound.silent:
        yield Caution("silent_audio", "The sound is silent; the voice was not considered.")
    elif sound.seconds < SHORT_SOUND_SECONDS:
        yield Caution("short_audio", f"The sound lasts only {sound.seconds:.2f} seconds.")
    if face is None:
        yield Caution("no_video", "The clip has no video; the face was not considered.")
    elif not face.frames_with_face:
        yield Caution("no_face", "No face was found; the face was not considered.")
    elif face.frames_with_face < FEW_FACES * face.frames:
        yield Caution(
            "few_faces",
            f"A face was found in only {face.frames_with_face} of {face.frames} pictures.",
        )
    if face is not None and face.faces > 1:
        yield Caution(
            "several_faces",
            f"Up to {face.faces} faces were seen at once; {_CHOSEN[face.chosen_by]} was used.",
        )
    if damage is not None:
        yield Caution("clip_damaged", damage)


def damage_of(reader: ClipReader, *, whole: bool = True) -> str | None:
    """What is broken in a file, in a sentence; None where nothing is.

    Args:
        reader: that has decoded it.
        whole: whether it was decoded to its end.
    """
    if whole and reader.ended_early:
        return f"The file ends after {reader.reached:.1f} of {reader.promised:.1f} seconds."
    if reader.damaged:
        return f"{reader.damaged} broken pieces of the file were left out of the analysis."
    return None


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add the block's wall time (ms), without what another stage counted meanwhile."""
    others = sum(timings.values()) - timings[stage]
    started = time.perf_counter()
    yield
    inner = sum(timings.values()) - timings[stage] - others
    timings[stage] += 1000 * (time.perf_counter() - started) - inner


def timed_frames(frames: Iterator[Frame], timings: dict[str, float]) -> Iterator[Frame]:
    """Pass pictures on, counting their decoding as decoding although the tracker asks for them."""
    while True:
        with timed(timings, "decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
