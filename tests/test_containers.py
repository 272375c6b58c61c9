"""What can be known of the image and the compose files without a Docker engine."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.test_layering import imports_of

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMPOSE = ROOT / "docker-compose.yml"
CPU = ROOT / "docker" / "cpu.yml"
MONITORING = ROOT / "docker" / "monitoring.yml"


def load(name: str) -> ModuleType:
    """A program of docker/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docker_{name}", ROOT / "docker" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Reset:
    """The value of compose's `!reset` tag: takes away what an earlier file says."""


class ComposeLoader(yaml.SafeLoader):
    pass


ComposeLoader.add_constructor("!reset", lambda loader, node: Reset())


def merge(base: Any, over: Any) -> Any:
    """Compose's rule, as far as our files need it: mappings by key, everything else replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Reset):
            merged.pop(key)
        else:
            merged[key] = merge(base[key], value) if key in base else value
    return merged


def compose(*files: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in files:
        content = yaml.load(file.read_text(), ComposeLoader)  # noqa: S506 - a SafeLoader
        merged = merge(merged, content)
    return merged


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    found: dict[str, Any] = compose(COMPOSE)["services"]["service"]
    return found


@pytest.fixture(scope="module")
def rehearse() -> ModuleType:
    return load("rehearse")


@pytest.fixture(scope="module")
def dockerfile(rehearse: ModuleType) -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text()
    return [(step.word, step.rest) for step in rehearse.steps_of(text)]


def seconds(duration: str) -> float:
    found = re.fullmatch(r"([0-9.]+)s", duration)
    assert found is not None
    return float(found[1])


def of(dockerfile: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in dockerfile if found == word]


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "files", [[COMPOSE], [COMPOSE, CPU], [COMPOSE, MONITORING]], ids=["gpu", "cpu", "monitored"]
)
def test_the_compose_files_fit_the_specification(files: list[Path], tmp_path: Path) -> None:
    merged = tmp_path / "compose.json"
    merged.write_text(json.dumps(compose(*files)))
    command = [
        str(BIN / "check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        str(merged),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_specification_is_applied(tmp_path: Path) -> None:
    wrong = compose(COMPOSE)
    wrong["services"]["service"]["read_onely"] = True
    path = tmp_path / "compose.json"
    path.write_text(json.dumps(wrong))
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "read_onely" in done.stdout


def test_layers_are_ordered_by_how_often_they_change(dockerfile: list[tuple[str, str]]) -> None:
    words = [f"{word} {rest}" for word, rest in dockerfile]
    order = [
        "COPY requirements.txt",
        "pip install",
        "COPY service",
        "docker.warm_up",
        "COPY model/weights",
    ]
    places = [next(i for i, line in enumerate(words) if part in line) for part in order]
    assert places == sorted(places)
    assert of(dockerfile, "FROM") == ["${BASE_IMAGE}"]


def test_the_image_is_not_root(dockerfile: list[tuple[str, str]]) -> None:
    (user,) = of(dockerfile, "USER")
    uid, gid = user.split(":")
    assert int(uid) >= 10000
    assert int(gid) >= 10000
    words = [word for word, _ in dockerfile]
    text = (ROOT / "Dockerfile").read_text()
    # Training writes weights that only its user may read, and COPY keeps a file's mode.
    assert len(re.findall(r"^COPY --chmod=0(?:755|444) ", text, re.MULTILINE)) == text.count(
        "\nCOPY "
    )
    assert words.index("USER") > max(i for i, w in enumerate(words) if w in ("RUN", "COPY"))


def test_commands_are_in_exec_form(dockerfile: list[tuple[str, str]]) -> None:
    assert json.loads(of(dockerfile, "CMD")[0]) == ["python", "-m", "service"]
    assert json.loads(of(dockerfile, "ENTRYPOINT")[0]) == ["python", "docker/start.py"]
    (check,) = of(dockerfile, "HEALTHCHECK")
    assert json.loads(check.removeprefix("CMD "))[0] == "python"
    assert of(dockerfile, "STOPSIGNAL") == ["SIGTERM"]


def test_the_image_has_every_file_that_the_service_imports(
    rehearse: ModuleType, tmp_path: Path
) -> None:
    copying = rehearse.Rehearsal.__new__(rehearse.Rehearsal)
    copying.workdir = tmp_path
    copying._ignored = rehearse._ignore_rules((ROOT / ".dockerignore").read_text())
    weights = ROOT / "model" / "weights" / "default.safetensors"
    for step in rehearse.steps_of((ROOT / "Dockerfile").read_text()):
        if step.word == "COPY" and (weights.is_file() or str(weights.parent.name) not in step.rest):
            *sources, target = step.words
            copying._copy(sources, tmp_path / target)
    copied = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    for where, name in imports_of("service"):
        for file in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
            assert not (ROOT / file).is_file() or file in copied, f"{where} imports {name}"
    data = {
        str(path.relative_to(ROOT))
        for folder in ("service", "preprocessing")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert data <= copied
    assert not [path for path in copied if path.startswith(("tests", "build", ".git", "model/tr"))]


@pytest.mark.parametrize(
    ("pattern", "path", "kept"),
    [
        ("!service", "service/app.py", True),
        ("!docker/*.py", "docker/start.py", True),
        ("!docker/*.py", "docker/cpu.yml", False),
        ("!model/*.py", "model/training/train.py", False),
        ("!service\n**/__pycache__", "service/__pycache__/app.py", False),
    ],
)
def test_ignore_rules_are_read_as_docker_reads_them(
    rehearse: ModuleType, pattern: str, path: str, kept: bool
) -> None:
    copying = rehearse.Rehearsal.__new__(rehearse.Rehearsal)
    copying._ignored = rehearse._ignore_rules(f"*\n{pattern}\n")
    assert copying._in_context(ROOT / path) is kept


def test_dockerfile_steps_are_read(rehearse: ModuleType) -> None:
    text = '# c\nRUN --mount=type=cache,target=/x \\\n    a \\\n# c\n  && b\nCMD ["p", "q r"]\n'
    steps = rehearse.steps_of(text)
    assert [(step.word, step.rest) for step in steps] == [
        ("RUN", "a && b"),
        ("CMD", '["p", "q r"]'),
    ]
    assert steps[1].words == ["p", "q r"]


def test_the_container_may_do_nothing_it_need_not(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert "noexec" in service["tmpfs"][0]
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert limits["pids"] > 0
    # Nobody is asked for a key, so nobody but this machine is served unless the operator says so.
    assert service["ports"] == ["${PUBLISH:-127.0.0.1:8000}:8000"]


def test_all_else_that_is_written_lies_in_memory(
    dockerfile: list[tuple[str, str]], service: dict[str, Any]
) -> None:
    variables = dict(pair.split("=", 1) for rest in of(dockerfile, "ENV") for pair in rest.split())
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        assert variables[name].startswith(service["tmpfs"][0].split(":")[0] + "/")
    assert variables["NUMBA_CACHE_DIR"].startswith(variables["XDG_CACHE_HOME"])
    assert variables["NUMBA_CPU_NAME"] == "generic"
    assert variables[f"{PREFIX}PORT"] == of(dockerfile, "EXPOSE")[0]


def test_jobs_outlive_the_container(
    dockerfile: list[tuple[str, str]], service: dict[str, Any]
) -> None:
    variables = dict(pair.split("=", 1) for rest in of(dockerfile, "ENV") for pair in rest.split())
    folder = variables[f"{PREFIX}JOB_DIRECTORY"]
    (volume,) = service["volumes"]
    name, _, place = volume.partition(":")
    assert place == folder
    assert name in compose(COMPOSE)["volumes"]
    assert json.loads(of(dockerfile, "VOLUME")[0]) == [folder]
    # A named volume takes over the owner of the image's folder.
    assert any(
        f"--owner=dpdf --group=dpdf --mode=0700 {folder}" in r for r in of(dockerfile, "RUN")
    )


def test_there_is_time_to_stop_and_to_start(service: dict[str, Any]) -> None:
    grace = float(service["environment"]["DPDF_GRACE_SECONDS"])
    assert seconds(service["stop_grace_period"]) > grace
    health = service["healthcheck"]
    assert health["test"] == ["CMD", "python", "docker/health.py"]
    assert seconds(health["start_period"]) >= 120
    assert seconds(health["timeout"]) > load("health").TIMEOUT_SECONDS
    assert service["restart"] == "unless-stopped"


def test_every_setting_reaches_the_service(service: dict[str, Any]) -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    # Where it listens and keeps its jobs is the image's affair; the outside sees ports and volumes.
    inside = {f"{PREFIX}HOST", f"{PREFIX}PORT", f"{PREFIX}JOB_DIRECTORY"}
    assert set(service["environment"]) == settings - inside


def test_the_gpu_is_reserved_and_the_override_gives_it_back() -> None:
    gpu = compose(COMPOSE)["services"]["service"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert gpu["environment"]["DPDF_DEVICE"] == "${DPDF_DEVICE:-cuda}"
    cpu = compose(COMPOSE, CPU)["services"]["service"]
    assert "reservations" not in cpu["deploy"]["resources"]
    assert cpu["deploy"]["resources"]["limits"] == gpu["deploy"]["resources"]["limits"]
    assert cpu["environment"]["DPDF_DEVICE"] == "cpu"
    assert cpu["read_only"] is True


def test_start_copies_the_caches_once(tmp_path: Path) -> None:
    start = load("start")
    baked, target = tmp_path / "baked", tmp_path / "tmp"
    (baked / "numba").mkdir(parents=True)
    (baked / "numba" / "index").write_text("new")
    (baked / "numba" / "index").chmod(0o444)
    (baked / "numba").chmod(0o555)
    start.copy_caches(baked, target)
    assert all(path.stat().st_mode & 0o200 for path in (target, *target.rglob("*")))
    (target / "numba" / "index").write_text("grown")
    start.copy_caches(baked, target)
    assert (target / "numba" / "index").read_text() == "grown"
    assert {path.name for path in tmp_path.iterdir()} == {"baked", "tmp"}


def test_start_becomes_its_command(tmp_path: Path) -> None:
    (tmp_path / "baked").mkdir()
    environment = {
        "BAKED_CACHE": str(tmp_path / "baked"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, str(ROOT / "docker" / "start.py"), "sh", "-c", "echo $$; exit 7"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    assert int(output) == process.pid


def test_health_check_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DPDF_PORT", "1")
    assert load("health").main() == 1
    assert "no answer" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_passes_any_transcript_on_as_it_is(tmp_path: Path) -> None:
    for name in ("Makefile", "constraints.txt", *(p.name for p in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    program = '#!/usr/bin/env bash\nprintf "%s\\0" "$@"\n'
    (tools / "python").write_text(program)
    (tools / "python").chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    transcript = (
        """I paid $5, $$6 "really" `touch x` $(touch x) $(shell touch x) it's #1 \\ ; é -x"""
    )
    command = ["make", "-s", "demo", "CLIP=my clip's.mp4", f"TRANSCRIPT={transcript}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == [
        "-m",
        "examples.demo",
        "--clip=my clip's.mp4",
        f"--transcript={transcript}",
    ]
    assert not (tmp_path / "x").exists()
