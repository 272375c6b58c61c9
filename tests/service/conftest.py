from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.sample_clip import sample_clip
from tests.service.running import CHECKPOINT, KEY, Service


@pytest.fixture(scope="session")
def clip() -> bytes:
    return sample_clip(seconds=1.5)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it comes, with two workers."""
    folder = tmp_path_factory.mktemp("service")
    with Service(
        folder, checkpoint=CHECKPOINT, workers=2, log_level="debug", deadline_seconds=600
    ) as running:
        running.wait_for("/readyz")
        yield running


@pytest.fixture(scope="session")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that admits very little."""
    folder = tmp_path_factory.mktemp("tight")
    with Service(
        folder,
        checkpoint=CHECKPOINT,
        workers=1,
        queue_clips=1,
        max_upload_mib=4,
        max_held_mib=6,
        max_transcript_kib=1,
        upload_timeout_seconds=2,
        max_clip_seconds=3,
        deadline_seconds=600,
        max_timeline_seconds=7,
        max_timeline_upload_mib=1,
        timeline_deadline_seconds=0.05,
    ) as running:
        running.wait_for("/readyz")
        yield running


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for a key."""
    with Service(
        tmp_path_factory.mktemp("keyed"),
        checkpoint=CHECKPOINT,
        workers=1,
        api_keys=f"{KEY},another-key",
        log_level="debug",
        deadline_seconds=600,
    ) as service:
        service.wait_for("/readyz")
        yield service
