"""No pickle is loaded where requests are served: not by our code, not by what it calls."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.sample_clip import sample_clip
from tests.service.running import ROOT
from tests.test_layering import imports_of

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

SERVED = ("service", "preprocessing", "model")


def test_the_served_code_imports_no_unpickler() -> None:
    wrong = [
        f"{where} imports {name}"
        for folder in SERVED
        for where, name in imports_of(folder)
        if name.split(".")[0] in UNPICKLERS and not where.startswith("model/training/")
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", SERVED)
def test_loaders_that_could_unpickle_are_told_not_to(folder: str) -> None:
    told = {"load": "allow_pickle", "torch.load": "weights_only"}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in {"np.load", "numpy.load", "torch.load"}:
                wanted = told["torch.load" if name == "torch.load" else "load"]
                values = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert values.get(wanted) in {"False", "True"}, f"{path}:{node.lineno}"
                assert (wanted, values[wanted]) != ("allow_pickle", "True"), f"{path}:{node.lineno}"


CODE = """
import json, sys
seen = []
def watch(event, arguments):
    if event == "pickle.find_class":
        seen.append(list(map(str, arguments)))
sys.addaudithook(watch)
from preprocessing.schema import feature_schema
from preprocessing.text import WordPiece
from model.predictor import Predictor
from model.checkpoint import DEFAULT_CHECKPOINT
from service.worker_extraction import extract_clip
from service.worker_jobs import Job
from model.inputs import Sample
from safetensors.numpy import load
import service.worker_warm
clip = open(sys.argv[1], "rb").read()
# Until here numba has read its own cache, which it pickles; from here on it is about requests.
seen.clear()
schema = feature_schema(WordPiece().sha256)
predictor = Predictor.load(DEFAULT_CHECKPOINT, schema=schema, device="cpu")
job = Job(clip, b"good", ".txt", None, 50.0, 9437184, 32)
_, arrays = extract_clip(job)
found = load(arrays)
predictor.predict([Sample(found["input_ids"], found["audio"], found["video"])])
print(json.dumps(seen))
"""


@pytest.mark.slow
def test_no_pickle_is_loaded_from_checkpoint_to_score(tmp_path: Path) -> None:
    """Python itself tells of every name that an unpickler looks up (its audit event)."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(sample_clip(1.0))
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(clip)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout.splitlines()[-1]) == []
