"""A long clip with timed words to features, one stretch after the other.

Each stretch is measured as if it were a clip of its own, cut out there: the level of its speech,
the grid of its pictures and the choice of its face are its own. Nothing of a stretch is kept once
it has been given out, so that memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from preprocessing import audio
from preprocessing.captions import Caption
from preprocessing.clip import Caution, ClipFeatures, DecodeLimits
from preprocessing.decode import SLACK, ClipReader
from preprocessing.errors import ClipTooLong, InvalidTranscript, UndecodableClip
from preprocessing.features import (
    cautions_of,
    chosen,
    damage_of,
    default_tokenizer,
    faces_in,
    timed,
)
from preprocessing.schema import PICTURES_PER_SECOND
from preprocessing.shared_file import SharedFile
from preprocessing.stream import ClipStream, streamed
from preprocessing.stretches import stretches_of
from preprocessing.text import WordPiece

STEP: Final = 10.0
"""Longest time of a clip that goes by without a word to whoever waits (s)."""

SHORT_BY: Final = 0.5
"""Seconds of a stretch beyond the clip's end that are not worth a warning."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch, measured.

    Attributes:
        words: what is spoken, and when; its end is the clip's where the caption goes on beyond.
        features: as `preprocessing.features.extract` gives them for a clip.
        total: see `Progress`.
    """

    words: Caption
    features: ClipFeatures
    total: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far decoding has come in a pause between two stretches.

    Attributes:
        seconds: of the clip, so far.
        total: at which the last stretch will end, as far as is known (s).
    """

    seconds: float
    total: float


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when all stretches have been given out: what a reader should know of all."""

    cautions: tuple[Caution, ...]


def measure(
    video: bytes | Path | SharedFile,
    captions: Sequence[Caption],
    *,
    limits: DecodeLimits,
    tokenizer: WordPiece | None = None,
) -> Iterator[Stretch | Progress | Ending]:
    """Measure every stretch of a clip for which there are words.

    Args:
        video: bytes of the media file, or the file itself: read as decoding goes on.
        captions: at least one, in any order; `preprocessing.stretches` joins and cuts them. Those
            that begin after the clip's end are left out, with a caution.
        limits: how much of the clip is decoded.
        tokenizer: of the model's encoder; the default encoder's if None.

    Yields:
        At least every `STEP` seconds of the clip a stretch or the progress, in the order of time,
        and at last the ending.

    Raises:
        UndecodableClip: neither sound nor a picture could be decoded.
        ClipTooLong: sound or pictures go on beyond the limit, or the file says so.
        ClipTooLarge: too many streams, or too large pictures.
        InvalidTranscript: all captions begin after the clip's end.
    """
    stretches, cautions = stretches_of(captions)
    reader = ClipReader(video, limits)
    if reader.promised > limits.seconds + SLACK:
        raise ClipTooLong(
            f"The clip is {reader.promised:.0f} seconds long, at most {limits.seconds:g} are "
            "accepted. Send a shorter part of it."
        )
    total = stretches[-1].end
    if reader.promised:
        total = min(total, reader.promised)
    done = 0
    with streamed(reader) as stream:
        reached = 0.0
        for words in stretches:
            while words.start - reached > STEP and not stream.ended:
                reached += STEP
                stream.skip(reached)
                yield Progress(reached, total)
            found = _measured(words, stream, total, tokenizer or default_tokenizer())
            if found is None:
                break
            done += 1
            reached = words.end
            yield found
        if not stream.begun:
            raise UndecodableClip(
                f"Nothing in the file can be decoded ({reader.codecs}; {reader.damaged} broken "
                "packets). The file is damaged; export or record it again."
            )
        if not done:
            raise InvalidTranscript(
                f"The first caption begins at {stretches[0].start:.1f} s, the clip ends at "
                f"{stream.end:.1f} s. Send the transcript of this clip, with times since its start."
            )
        if left_out := len(stretches) - done:
            cautions.append(
                Caution(
                    "captions_beyond_end",
                    "Stretches left out because they begin after the clip's end "
                    f"({stream.end:.1f} s): {left_out}.",
                )
            )
        if damage := damage_of(reader, whole=stream.ended):
            cautions.append(Caution("clip_damaged", damage))
    yield Ending(tuple(cautions))


def _measured(
    words: Caption, stream: ClipStream, total: float, tokenizer: WordPiece
) -> Stretch | None:
    """A stretch as if it were a clip; None where the clip has ended before it."""
    timings = dict.fromkeys(("decode", "text", "audio", "face"), 0.0)
    with timed(timings, "text"):
        text = tokenizer.encode(words.text)
    with timed(timings, "decode"):
        sound = stream.sound(words.start, words.end)
    heard = None
    if sound is not None:
        with timed(timings, "audio"):
            heard = audio.analyse(sound)
    pictures = faces_in(stream.frames(words.start, words.end, PICTURES_PER_SECOND), timings)
    with timed(timings, "face"):
        face = chosen(pictures, sound)
    if stream.ended and heard is None and face is None:
        return None
    cautions = list(cautions_of(text, heard, face))
    end = words.end
    if stream.ended and words.end - stream.end > SHORT_BY:
        end = max(words.start, stream.end)
        cautions.append(
            Caution(
                "caption_beyond_end",
                f"The caption goes on to {words.end:.1f} s, the clip ends at {stream.end:.1f} s.",
            )
        )
    features = ClipFeatures(text, heard, face, tuple(cautions), timings)
    return Stretch(Caption(words.start, end, words.text), features, total)
