"""The documents tell the truth: what they list is what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from model.checkpoint import DEFAULT_CHECKPOINT, read_header
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


@pytest.mark.parametrize("name", ["README.md", "MODEL_CARD.md", "CONTRIBUTING.md"])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"


def test_the_model_card_is_of_the_shipped_weights() -> None:
    card = (ROOT / "MODEL_CARD.md").read_text()
    header = read_header(DEFAULT_CHECKPOINT)
    assert card.startswith(f"# Model card: {header.name}\n")
    assert header.config.encoder in card
    assert DEFAULT_CHECKPOINT.stat().st_size <= 25_000_000
