"""Every setting of the service, read from environment variables with the prefix ``DPDF_``."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import httpx
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
"""Bytes in a mebibyte."""

PREFIX = "DPDF_"

SECRET_BYTES = 24
"""Shortest secret for signatures, as Standard Webhooks has it (bytes)."""


MOST_FACE_THREADS = 4
"""Above, one clip's decoder cannot keep the threads busy, and each takes 50 MB."""

MOST_FACE_THREADS_OF_ALL = 96
"""Of all workers, one a core: each brings three threads of MediaPipe's for every core with it."""


class Settings(BaseSettings):
    """What an operator may choose; units are in the names.

    Raises:
        pydantic.ValidationError: a value is out of form or range.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; `0.0.0.0` in a container."
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="TCP port; 0 lets the system choose."
    )
    checkpoint: Path = Field(
        default=Path("model/weights/default.safetensors"),
        description="The weights to serve, a .safetensors file written by training.",
    )
    api_keys: SecretStr | None = Field(
        default=None,
        description="Keys that may ask for predictions, separated by commas; without any, none "
        "is asked for.",
    )
    key_requests_per_minute: int = Field(
        default=0, ge=0, description="Most predictions a key may ask for in a minute; 0 = no limit."
    )
    cors_origins: str = Field(
        default="",
        description="Origins of web pages that may call the service, separated by commas, e.g. "
        "`https://app.example.org`; `*` = all.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`auto` (CUDA if present), `cpu`, `cuda` or `cuda:N`.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Of the model's matrix products; the halves are for GPUs, float16 for older "
        "ones, bfloat16 also for CPUs with AVX512-BF16.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Processes that decode clips; 0 = one for each usable core.",
    )
    clip_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Threads of each worker that look for faces in one clip's pictures; 0 = one "
        "for each usable core, at most 4, fewer from 25 cores on.",
    )
    max_upload_mib: float = Field(
        default=64.0, gt=0, description="Largest request body, counted while it streams in (MiB)."
    )
    max_held_mib: float = Field(
        default=512.0,
        gt=0,
        description="Most memory for the bodies of all open requests together (MiB).",
    )
    max_transcript_kib: float = Field(default=256.0, gt=0, description="Largest transcript (KiB).")
    upload_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Longest time for a request body to arrive (s)."
    )
    deadline_seconds: float = Field(
        default=60.0, gt=0, description="Longest time from the whole body to the answer (s)."
    )
    max_clip_seconds: float = Field(
        default=50.0,
        gt=0,
        le=50.0,
        description="Longest clip (s); the model has 500 positions at 10 /s.",
    )
    max_clip_pixels: int = Field(
        default=4096 * 2304, ge=1, description="Most pixels a frame, width x height (px)."
    )
    max_clip_streams: int = Field(default=32, ge=1, description="Most streams in a container.")
    max_timeline_seconds: float = Field(
        default=1800.0, gt=0, description="Longest clip of a timeline (s)."
    )
    max_timeline_upload_mib: float = Field(
        default=512.0, gt=0, description="Largest request body of a timeline (MiB)."
    )
    max_timeline_held_mib: float = Field(
        default=2048.0,
        gt=0,
        description="Most memory for the bodies of all open timelines together (MiB).",
    )
    timeline_upload_seconds: float = Field(
        default=600.0, gt=0, description="Longest time for a timeline's body to arrive (s)."
    )
    timeline_deadline_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Longest time from a timeline's whole body to its answer (s).",
    )
    timeline_workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Processes that decode timelines, beside the others and after them; started "
        "with the first timeline.",
    )
    queue_timelines: int = Field(
        default=4, ge=1, description="Timelines that may wait for a worker; more are answered 429."
    )
    openface_binary: Path | None = Field(
        default=None,
        description="OpenFace's FeatureExtraction, to be used in place of the built-in tracker.",
    )
    openface_seconds: float = Field(
        default=40.0, gt=0, description="Longest time that OpenFace may take for one clip (s)."
    )
    queue_clips: int = Field(
        default=32, ge=1, description="Clips that may wait for a worker; more are answered 429."
    )
    worker_memory_mib: int = Field(
        default=4096,
        ge=1024,
        description="Address space of a worker beyond what it starts with (MiB).",
    )
    worker_cpu_seconds: int = Field(
        default=120,
        ge=1,
        description="CPU time that one clip, or stretch of a timeline, may take in a worker (s).",
    )
    worker_sandbox: Literal["auto", "require", "off"] = Field(
        default="auto",
        description="Files and system calls are taken from workers: `auto` as far as the kernel "
        "can, `require` or no worker starts, `off`.",
    )
    batch_clips: int = Field(
        default=16, ge=1, le=256, description="Most clips in one call of the model."
    )
    batch_wait_ms: float = Field(
        default=4.0,
        ge=0,
        le=1000,
        description="How long the first clip of a batch waits for others (ms): not at all where "
        "there are none; while clips wait for a worker, as long as these will, up to 500 times as "
        "long.",
    )
    batch_queue_clips: int = Field(
        default=64, ge=1, description="Clips that may wait for the model."
    )
    job_store: SecretStr | None = Field(
        default=None,
        description="URL of a PostgreSQL that several replicas share, "
        "`postgresql://user:password@host/database`; without it jobs are kept in a file.",
    )
    job_directory: Path = Field(
        default=Path("build/jobs"), description="Folder of the file with the jobs (SQLite)."
    )
    job_queue: int = Field(
        default=100, ge=1, description="Jobs that may be queued or running; more are answered 429."
    )
    job_store_mib: float = Field(
        default=2048.0, gt=0, description="Most room for the clips of all such jobs together (MiB)."
    )
    jobs_at_once: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Jobs of each kind that this process works on at once, beside plain requests.",
    )
    job_deadline_seconds: float = Field(
        default=3600.0, gt=0, description="Longest time that a job may run (s)."
    )
    job_keep_seconds: float = Field(
        default=86400.0, gt=0, description="How long a finished job can be asked for (s)."
    )
    job_lease_seconds: float = Field(
        default=30.0,
        ge=1,
        description="After how long without a sign of life a running job is started again (s).",
    )
    callback_secret: SecretStr | None = Field(
        default=None,
        description="Signs callbacks: `whsec_` and base64 of 24 bytes or more; none, no callbacks.",
    )
    callback_origins: str = Field(
        default="",
        description="Where callbacks may go, separated by commas, e.g. `https://hooks.example.org`.",
    )
    cache_answers: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Answers kept in memory and given again for the same clip and words; 0 = none. "
        "Clips and words are not kept.",
    )
    grace_seconds: float = Field(
        default=30.0, gt=0, description="After SIGTERM, time for the work in flight to finish (s)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="`json`: one object a line; `console`: for reading."
    )

    @field_validator("job_store")
    @classmethod
    def _job_store_is_known(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith("postgresql://"):
            raise ValueError("a URL that begins with postgresql://, or nothing")
        return url

    @field_validator("callback_secret")
    @classmethod
    def _secret_is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            prefix, _, rest = secret.get_secret_value().partition("_")
            try:
                size = len(b64decode(rest, validate=True))
            except ValueError:
                size = 0
            if prefix != "whsec" or size < SECRET_BYTES:
                raise ValueError(f"whsec_ and the base64 of at least {SECRET_BYTES} bytes")
        return secret

    @field_validator("callback_origins")
    @classmethod
    def _origins_are_signed_for(cls, origins: str, info: ValidationInfo) -> str:
        for origin in _items(origins):
            origin_of(origin)
        if bool(_items(origins)) != (info.data.get("callback_secret") is not None):
            raise ValueError("needs DPDF_CALLBACK_SECRET, as that needs this")
        return origins

    @property
    def worker_count(self) -> int:
        """Number of worker processes, at least 1."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def face_threads(self) -> int:
        """Threads of a worker that look for faces, at least 1."""
        cores = len(os.sched_getaffinity(0))
        return self.clip_threads or max(
            1, min(MOST_FACE_THREADS, cores, MOST_FACE_THREADS_OF_ALL // cores)
        )

    @property
    def keys(self) -> list[str]:
        """The API keys."""
        return _items(self.api_keys.get_secret_value() if self.api_keys else "")

    @property
    def origins(self) -> list[str]:
        """The origins that may call the service from a browser."""
        return _items(self.cors_origins)

    @property
    def allowed_callbacks(self) -> list[str]:
        """The origins to which callbacks may go."""
        return _items(self.callback_origins)

    @property
    def max_upload_bytes(self) -> int:
        """Largest request body (bytes)."""
        return int(self.max_upload_mib * MIB)

    @property
    def max_timeline_upload_bytes(self) -> int:
        """Largest request body of a timeline (bytes)."""
        return int(self.max_timeline_upload_mib * MIB)

    @property
    def max_timeline_held_bytes(self) -> int:
        """Most memory for the bodies of all timelines (bytes)."""
        return int(self.max_timeline_held_mib * MIB)

    @property
    def max_held_bytes(self) -> int:
        """Most memory for all request bodies (bytes)."""
        return int(self.max_held_mib * MIB)

    @property
    def job_store_bytes(self) -> int:
        """Most room for the uploads of jobs (bytes)."""
        return int(self.job_store_mib * MIB)

    @property
    def max_transcript_bytes(self) -> int:
        """Largest transcript (bytes)."""
        return int(self.max_transcript_kib * 1024)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address for callbacks.

    Raises:
        ValueError: it is none; the message goes on after its name.
    """
    # Read by the library that will call it: two readers may differ on where an address leads.
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError("is no http or https address") from error
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if default is None or not parts.host:
        raise ValueError("is no http or https address")
    if parts.userinfo:
        raise ValueError("holds a name or password")
    return parts.scheme, parts.host, parts.port or default


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names with our prefix that are no setting: almost always a slip of the pen."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def secret_variables(environment: Mapping[str, str]) -> list[str]:
    """Names of the settings that hold a password or a key, in whatever case they are written."""
    secret = {
        PREFIX + name.upper()
        for name, field in Settings.model_fields.items()
        if SecretStr in get_args(field.annotation)
    }
    return [name for name in environment if name.upper() in secret]


def settings_table() -> str:
    """All settings as the Markdown table of the README: variable, default, meaning."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
