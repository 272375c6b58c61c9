"""What can be wrong with a clip, a transcript or an OpenFace file.

    PreprocessingError
    ├── UndecodableClip      nothing in the bytes can be decoded
    ├── ClipTooLong          longer than the configured limit
    ├── ClipTooLarge         too many pixels or streams
    ├── EmptyTranscript      no words in the transcript
    ├── InvalidTranscript    a VTT or SRT file that cannot be read, or text that is not UTF-8
    ├── TranscriptWithoutTimes  a transcript without times where its times are needed
    └── InvalidOpenFaceCsv   not OpenFace 2.x columns, or values out of form

Each message says what was wrong, what was expected and what to do; `code` is stable and is what
the service answers with. Everything else that goes wrong in preprocessing is a bug.
"""

from __future__ import annotations


class PreprocessingError(ValueError):
    """The input, not the program, is at fault. Pickles across the worker's process border."""

    code = "invalid_input"


class UndecodableClip(PreprocessingError):
    """No stream of the clip can be decoded."""

    code = "undecodable_clip"


class ClipTooLong(PreprocessingError):
    """The clip lasts longer than the limit (measured while decoding, not read from a header)."""

    code = "clip_too_long"


class ClipTooLarge(PreprocessingError):
    """The clip has more pixels a frame, or more streams, than the limits admit."""

    code = "clip_too_large"


class EmptyTranscript(PreprocessingError):
    """The transcript holds no word."""

    code = "empty_transcript"


class InvalidTranscript(PreprocessingError):
    """The transcript file cannot be read as what its name says it is."""

    code = "invalid_transcript"


class TranscriptWithoutTimes(PreprocessingError):
    """The transcript does not say when its words are spoken."""

    code = "transcript_without_times"


class InvalidOpenFaceCsv(PreprocessingError):
    """The uploaded file is not an OpenFace 2.x CSV that fits the clip."""

    code = "invalid_openface_csv"
