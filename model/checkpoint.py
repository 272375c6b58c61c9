"""Checkpoints: one safetensors file with the trained tensors, the configuration and the schema.

A checkpoint holds what the pinned encoder does not: trained tensors in half precision, buffers
as they are. Its metadata names the configuration, the feature schema and the model, so that a
file is all that serving needs. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import DPDFConfig
from model.dpdf_lq import DPDFLQ
from model.encoder import load_encoder
from model.inputs import FeatureSchema
from model.intervals import Intervals
from model.intervals import from_json as intervals_from_json
from model.intervals import to_json as intervals_to_json

FORMAT = "dpdf-lq/2"
DEFAULT_CHECKPOINT = Path(__file__).parent / "weights" / "default.safetensors"
"""The checkpoint that ships with the project."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be served: missing, damaged, or trained on other features."""


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    Attributes:
        name: model name, e.g. ``"dpdf-lq-default"``.
        version: version of these weights.
        config: the configuration that builds the model.
        schema: the features it was trained on.
        intervals: how far scores may be off, by the modalities a clip has; empty until
            `model.training.calibrate` has measured it.
    """

    name: str
    version: str
    config: DPDFConfig
    schema: FeatureSchema
    intervals: Intervals = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """As safetensors metadata."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "config": self.config.to_json(),
            "schema": self.schema.to_json(),
            "intervals": intervals_to_json(self.intervals),
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> CheckpointHeader:
        """Read what `to_metadata` wrote.

        Raises:
            CheckpointError: another format, or entries missing or damaged.
        """
        if metadata.get("format") != FORMAT:
            raise CheckpointError(
                f"The file's format is {metadata.get('format')!r}, expected {FORMAT!r}: "
                "it was not written by this project's training."
            )
        try:
            return cls(
                name=metadata["name"],
                version=metadata["version"],
                config=DPDFConfig.from_json(metadata["config"]),
                schema=FeatureSchema.from_json(metadata["schema"]),
                intervals=intervals_from_json(metadata["intervals"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The checkpoint's header is damaged: {error}") from error


def build_model(config: DPDFConfig, *, encoder_folder: Path | None = None) -> DPDFLQ:
    """A model on published encoder weights with everything else fresh, ready to be trained.

    Raises:
        EncoderUnavailable: the encoder's weights cannot be had.
    """
    encoder = load_encoder(config.encoder, pooler=config.encoder_pooler, folder=encoder_folder)
    return DPDFLQ(config, copy.deepcopy(encoder), encoder)


def save_checkpoint(path: Path, model: DPDFLQ, header: CheckpointHeader) -> None:
    """Write trained tensors in float16 and buffers as they are; the file is replaced at once."""
    tensors = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in model.named_parameters()
        if name not in model.pinned
    }
    tensors |= {name: tensor.cpu().contiguous() for name, tensor in _own_buffers(model).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=header.to_metadata())
    # safetensors writes for the owner alone; the service often runs as another user.
    partial.chmod(0o644)
    partial.replace(path)


def read_header(path: Path) -> CheckpointHeader:
    """What a checkpoint says of itself, without its tensors.

    Raises:
        CheckpointError: missing, damaged or foreign file.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            return CheckpointHeader.from_metadata(file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def load_checkpoint(
    path: Path, *, schema: FeatureSchema | None, encoder_folder: Path | None = None
) -> tuple[DPDFLQ, CheckpointHeader]:
    """The trained model in evaluation mode, float32, on the CPU, low-rank changes still apart.

    Args:
        path: the checkpoint.
        schema: the features in force; None only where features come from elsewhere, as in
            evaluation on MMSA files.
        encoder_folder: where the encoder's weights are; None = where `load_encoder` looks.

    Raises:
        CheckpointError: missing, damaged or foreign file, or another schema.
        EncoderUnavailable: the pinned encoder cannot be had.
    """
    header = read_header(path)
    columns = (len(header.schema.audio_columns), len(header.schema.video_columns))
    if columns != (header.config.audio_columns, header.config.video_columns):
        raise CheckpointError(
            f"{path} names {columns[0]} audio and {columns[1]} video columns, its configuration "
            f"has {header.config.audio_columns} and {header.config.video_columns}."
        )
    if schema is not None and header.schema.fingerprint != schema.fingerprint:
        raise CheckpointError(
            f"{path} was trained on features {header.schema.name} "
            f"({header.schema.fingerprint}), this program makes {schema.name} "
            f"({schema.fingerprint}): the same numbers would mean other things. Use a checkpoint "
            "trained on these features, or the program version that trained it."
        )
    if header.config.encoder_rank is None:
        model = DPDFLQ(header.config)
    else:
        model = build_model(header.config, encoder_folder=encoder_folder)
    with safe_open(path, framework="pt") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    expected = {name for name, _ in model.named_parameters()} - model.pinned
    expected |= set(_own_buffers(model))
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)
        raise CheckpointError(f"{path} does not fit its own configuration: {odd[:3]} ...")
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    misfits = [name for name, tensor in tensors.items() if tensor.shape != sizes[name]]
    if misfits:
        raise CheckpointError(f"{path} does not fit its own configuration: sizes of {misfits[:3]}")
    model.load_state_dict({name: _widen(tensor) for name, tensor in tensors.items()}, strict=False)
    return model.eval(), header


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_buffers(model: DPDFLQ) -> dict[str, Tensor]:
    """Statistics that training gathers; the encoders' buffers are constants of their shape."""
    return {
        name: tensor
        for name, tensor in model.named_buffers()
        if not name.startswith(("global_encoder.", "local_encoder."))
    }


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor
