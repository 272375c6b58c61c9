"""Who may import whom: the tree is the data's path, from upload to response, one direction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = (
    "model",
    "preprocessing",
    "service",
    "score",
    "tests",
    "client",
    "examples",
    "benchmarks",
)

ALLOWED = {
    "model": ("model",),
    "preprocessing": ("preprocessing", "model.inputs", "model.corpus"),
    "service": ("service", "preprocessing", "model"),
    "score": ("score", "preprocessing", "model"),
    "client": ("client",),
    "examples": ("examples", "client", "service", "preprocessing", "model"),
    "docker": ("docker", "preprocessing"),
}
"""Which of our own modules, and those below them, each folder may import."""

HTTP = ("fastapi", "fastapi_offline", "starlette", "uvicorn", "httpx", "http", "python_multipart")
"""What only the service may know."""

NOT_IN_SERVICE = ("model.training", "preprocessing.prepare", "preprocessing.corpora")
"""What the running service has no use for."""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.Module, module: str) -> Iterator[str]:
    """Every module a file imports, wherever in it; `module` is its own dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            # The name may be a module of the package or something in it: judge both readings alike.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def imports_of(folder: str) -> Iterator[tuple[str, str]]:
    for path in sources(folder):
        where = path.relative_to(ROOT)
        tree = ast.parse(path.read_bytes(), str(where))
        for name in imported(tree, ".".join(where.with_suffix("").parts)):
            yield str(where), name


@pytest.mark.parametrize("folder", ALLOWED)
def test_folders_import_only_what_lies_before_them(folder: str) -> None:
    wrong = [
        f"{where} imports {name}"
        for where, name in imports_of(folder)
        if within(name, PACKAGES) and not within(name, ALLOWED[folder])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["model", "preprocessing", "score"])
def test_only_the_service_knows_http(folder: str) -> None:
    wrong = [f"{where} imports {name}" for where, name in imports_of(folder) if within(name, HTTP)]
    assert not wrong, "\n".join(wrong)


def test_the_service_does_not_carry_training() -> None:
    wrong = [
        f"{where} imports {name}"
        for folder in ("service", "model", "preprocessing")
        for where, name in imports_of(folder)
        if within(name, NOT_IN_SERVICE)
        and not where.startswith("model/training/")
        # Preparing training data is a program of its own beside the library.
        and not where.startswith(("preprocessing/prepare", "preprocessing/corpora"))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rules_see_every_way_to_import() -> None:
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\nif 1:\n    import h"
    found = list(imported(ast.parse(source), "x.y.z"))
    assert sorted(found) == ["a.b", "c.d", "h", "x.f.g", "x.y.e"]


def test_the_generic_names_hide_no_package() -> None:
    # With one, `import docker` would find this folder and not the Docker SDK.
    assert not list((ROOT / "docker").rglob("__init__.py"))
    folders = [ROOT / "tests", *(ROOT / "tests").rglob("*/")]
    missing = [f for f in folders if any(f.glob("*.py")) and not (f / "__init__.py").is_file()]
    assert not missing
