"""The documents tell the truth: what they list is what is there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from model.checkpoint import DEFAULT_CHECKPOINT, read_header
from model.config import PROFILES
from service.settings import settings_table

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = ("py", "yml", "json", "html", "css", "js", "svg")
README = (ROOT / "README.md").read_text()


def test_the_readme_lists_every_setting_as_it_is() -> None:
    assert settings_table() in README, "paste the output of: python -m service --settings"


def test_the_readme_s_tree_names_every_source_file_and_no_other() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *(f"*.{suffix}" for suffix in SUFFIXES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    there = {
        Path(name).name
        for name in listed.stdout.split()
        if not name.startswith("tests/") and not name.endswith("__init__.py")
    }
    tree = README[README.index("## The tree") :]
    named = set(re.findall(rf"^ *([\w.-]+\.(?:{'|'.join(SUFFIXES)}))\b", tree, flags=re.MULTILINE))
    assert named == there


@pytest.mark.parametrize(
    "name", ["README.md", "MODEL_CARD.md", "CONTRIBUTING.md", "docs/guide.md", "docs/training.md"]
)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def warning_codes() -> set[str]:
    """Every code that a warning is made with, in preprocessing and in the service."""
    found = set()
    for path in [*(ROOT / "preprocessing").glob("*.py"), *(ROOT / "service").glob("*.py")]:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
        named = {
            ast.unparse(target): node.value
            for node in nodes
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("Caution", "CautionReport")
            ):
                given = [word.value for word in node.keywords if word.arg == "code"] or node.args
                code = named.get(ast.unparse(given[0]), given[0])
                if isinstance(code, ast.Constant):
                    found.add(str(code.value))
                else:
                    # Passed on from one of the others.
                    assert ast.unparse(code).endswith(".code"), f"{path.name}:{node.lineno}"
    return found


def test_the_guide_and_the_page_say_what_to_do_about_every_warning() -> None:
    codes = warning_codes()
    assert {"no_face", "openface_failed"} < codes
    guide = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/guide.md").read_text(), re.MULTILINE)
    page = re.findall(r"^  (\w+): ", (ROOT / "service/page/advice.js").read_text(), re.MULTILINE)
    assert codes <= set(guide)
    assert codes <= set(page)


def test_the_guide_s_pictures_are_those_that_its_script_makes() -> None:
    shown = set(re.findall(r"\(pictures/([\w.]+)\)", (ROOT / "docs/guide.md").read_text()))
    kept = {path.name for path in (ROOT / "docs/pictures").iterdir()}
    made = set(re.findall(r'"(\w+\.png)"', (ROOT / "examples/guide_pictures.py").read_text()))
    assert shown == kept == made


def test_the_model_card_is_of_the_shipped_weights() -> None:
    card = (ROOT / "MODEL_CARD.md").read_text()
    header = read_header(DEFAULT_CHECKPOINT)
    # Who goes on from the shipped weights by this profile's name keeps all of them.
    assert header.config == PROFILES["default"]
    assert card.startswith(f"# Model card: {header.name}\n")
    assert header.config.encoder in card
    assert DEFAULT_CHECKPOINT.stat().st_size <= 25_000_000
