"""What a worker makes of a job: preprocessing's features as a report and as the model's arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from service.worker_jobs import Answer, Job, TimelineJob

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.inputs import FeatureSchema
    from preprocessing.clip import ClipFeatures


def extract_clip(job: Job) -> Answer:
    """Run preprocessing on one clip.

    Returns:
        The report (`service.reports.Report` reads it) and the arrays ``input_ids``, ``audio``
        and ``video`` of the `Sample` as safetensors.

    Raises:
        PreprocessingError: the input is at fault.
    """
    from preprocessing.clip import DecodeLimits
    from preprocessing.features import extract
    from preprocessing.tracks import tracks_of
    from preprocessing.transcript import read_transcript

    transcript = read_transcript(job.transcript, job.transcript_suffix)
    features = extract(
        job.video,
        transcript,
        limits=DecodeLimits(job.max_seconds, job.max_pixels, job.max_streams),
        openface_csv=job.openface,
    )
    report = _report(features)
    if job.explain:
        report["places"] = _places(transcript, features)
    if job.tracks:
        report["tracks"] = asdict(tracks_of(features))
    return report, _arrays(features)


def extract_timeline(job: TimelineJob) -> Iterator[Answer]:
    """Run preprocessing on a long clip, stretch by stretch.

    Yields:
        Answers of which the last is the ending; the arrays of a stretch are those of a clip.

    Raises:
        PreprocessingError: the input is at fault.
    """
    from preprocessing.captions import read_captions
    from preprocessing.clip import DecodeLimits
    from preprocessing.shared_file import SharedFile
    from preprocessing.timeline import Progress, Stretch, measure

    try:
        captions = read_captions(job.transcript, job.transcript_suffix)
        limits = DecodeLimits(job.max_seconds, job.max_pixels, job.max_streams)
        for step in measure(SharedFile(job.clip), captions, limits=limits):
            if isinstance(step, Stretch):
                words = step.words
                stretch = {
                    "start": words.start,
                    "end": words.end,
                    "total": step.total,
                    "text": words.text,
                    "report": _report(step.features),
                }
                yield {"stretch": stretch}, _arrays(step.features)
            elif isinstance(step, Progress):
                yield {"progress": asdict(step)}, b""
            else:
                yield {"ending": asdict(step)}, b""
    finally:
        os.close(job.clip)


def _report(features: ClipFeatures) -> dict[str, Any]:
    text, audio, face = features.text, features.audio, features.face
    return {
        "text": text and {"tokens": text.tokens, "truncated": text.truncated},
        "audio": audio
        and {"seconds": audio.seconds, "level_dbfs": audio.level_dbfs, "silent": audio.silent},
        "face": face
        and {
            "frames": face.frames,
            "frames_with_face": face.frames_with_face,
            "faces": face.faces,
            "source": face.source,
            "chosen_by": face.chosen_by,
        },
        "cautions": [asdict(caution) for caution in features.cautions],
        "timings_ms": features.timings_ms,
    }


def _arrays(features: ClipFeatures) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    from preprocessing.tensors import to_sample

    sample = to_sample(features, feature_schema_of_workers())
    arrays: dict[str, NDArray[Any]] = {
        "input_ids": sample.input_ids,
        "audio": sample.audio,
        "video": sample.video,
    }
    # What is written is the memory as it lies: chosen columns lie column by column.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _places(transcript: str, features: ClipFeatures) -> dict[str, Any]:
    """Where what the model sees is in transcript and clip: `service.reports.PlacesReport`."""
    from preprocessing.features import default_tokenizer
    from preprocessing.tensors import audio_steps, face_steps

    return {
        "transcript": transcript,
        "words": [asdict(word) for word in default_tokenizer().words(transcript)],
        "audio_steps": audio_steps(features.audio).tolist(),
        "video_steps": face_steps(features.face).tolist(),
    }


@cache
def feature_schema_of_workers() -> FeatureSchema:
    """The schema that samples are made for: the default encoder's; one a process."""
    from preprocessing.features import default_tokenizer
    from preprocessing.schema import feature_schema

    return feature_schema(default_tokenizer().sha256)
