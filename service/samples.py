"""What a worker sent, as the sample that the model is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load

from service.errors import WorkerFailed

if TYPE_CHECKING:
    from model.inputs import FeatureSchema, Sample


def sample_of(arrays: bytes, schema: FeatureSchema, *, longest_seconds: float) -> Sample:
    """Check the arrays that a worker sent against the schema.

    Args:
        arrays: ``input_ids``, ``audio`` and ``video`` as safetensors.
        schema: of the loaded weights.
        longest_seconds: most that sound and pictures may be of (s).

    Raises:
        WorkerFailed: they are not what a worker sends.
    """
    # Imported late: PyTorch comes with the weights, beside the start of the service.
    from model.inputs import Sample

    try:
        found = load(arrays)
        sample = Sample(found["input_ids"], found["audio"], found["video"])
    except (SafetensorError, KeyError) as error:
        raise WorkerFailed("A worker sent no readable sample.") from error
    steps = int(longest_seconds * schema.steps_per_second) + 1
    shapes = (
        (sample.input_ids, "int64", schema.max_tokens, ()),
        (sample.audio, "float32", steps, (len(schema.audio_columns),)),
        (sample.video, "float32", steps, (len(schema.video_columns),)),
    )
    for array, dtype, longest, columns in shapes:
        if array.dtype != dtype or len(array) > longest or array.shape[1:] != columns:
            raise WorkerFailed("A worker sent a sample that does not fit the schema.")
    return sample
