"""A few of the hostile corpus against a real service; all of it: python -m benchmarks.hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hostile.corpus import corpus, subset
from benchmarks.hostile.post import listening, post_all
from benchmarks.hostile.traces import accesses
from tests.service.running import Service

SEED = 5


def test_a_sample_of_hostile_files_gets_answers_or_4xx_problems(service: Service) -> None:
    with listening() as (port, heard):
        canary = f"http://127.0.0.1:{port}/canary"
        cases = subset(corpus(flips=60, seed=SEED, canary=canary), 60, SEED)
        assert len({case.category for case in cases}) >= 10
        outcomes = list(
            post_all(
                cases,
                f"http://127.0.0.1:{service.port}",
                connections=3,
                deadline=600,
                secrets=[b"root:x:0:0", b"DPDF_"],
            )
        )
        assert heard == []
    assert {outcome.case: outcome.wrong for outcome in outcomes if outcome.wrong} == {}
    assert len(outcomes) == len(cases)
    assert {outcome.status for outcome in outcomes} >= {200, 422}
    assert service.client.get("/readyz").status_code == 200
    # The fork server keeps its socket there until the end.
    assert [p for p in service.temporary.iterdir() if not p.name.startswith("pymp-")] == []


def test_the_corpus_is_the_same_every_time() -> None:
    def names() -> list[tuple[str, bytes]]:
        return [
            (case.name, case.video[:64])
            for case in corpus(flips=9, seed=SEED, canary="http://x/")
            if case.category in {"flipped", "truncated", "lies"}
        ]

    assert names() == names()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('2 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 7', True),
        ('3 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 7', True),
        (f'2 openat(AT_FDCWD, "{Path(pytest.__file__).parent}/../x", O_RDONLY) = 7', True),
        ('2 openat(AT_FDCWD, "/usr/lib/gconv/ISO_6937.so", O_RDONLY) = 7', False),
        ('2 openat(AT_FDCWD, "/usr/lib/x86_64-linux-gnu/gconv/BIG5.so", O_RDONLY) = 7', False),
        ('2 openat(AT_FDCWD, "/tmp/usr/lib/gconv/ISO_6937.so", O_RDONLY) = 7', True),
        ("2 socket(AF_INET, SOCK_STREAM, 0) = 7", True),
        ('2 openat(AT_FDCWD, "/tmp/x", O_RDWR|O_CREAT, 0600) = 7', True),
        ('2 openat(AT_FDCWD, "/dev/null", O_WRONLY) = 7', False),
        (f'2 openat(AT_FDCWD, "{Path(pytest.__file__)}", O_RDONLY) = 7', False),
        ('1 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 7', False),
    ],
)
def test_a_trace_tells_what_a_warm_worker_did(tmp_path: Path, line: str, found: bool) -> None:
    trace = tmp_path / "trace"
    before = [
        '2 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 7',
        "2 prlimit64(0, RLIMIT_FSIZE, {rlim_cur=0, rlim_max=0}, NULL) = 0",
        "2 clone3({flags=CLONE_THREAD} => {parent_tid=[3]}, 88) = 3",
    ]
    trace.write_text("\n".join([*before, line]) + "\n")
    assert accesses(trace) == ([line] if found else [])
