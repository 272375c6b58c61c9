"""MMSA-FET's side of `benchmarks.against_fet`: run by the interpreter of its own environment.

python fet_runner.py JOB.json

The job names a configuration, clips, words, how often each clip is done, and folders. When warm it
writes ``{"warm": true}``, waits for a line on standard input, and writes a line a clip with the
seconds of each turn. Standard library and MMSA-FET only.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Do the job."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    tool_kit: Any = importlib.import_module("MSA_FET")
    folders = {name: Path(job[name]) for name in ("tmp_dir", "log_dir")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    tool = tool_kit.FeatureExtractionTool(job["config"], verbose=0, **folders)
    logging.getLogger().setLevel(logging.ERROR)
    shapes = {}
    for clip in job["clips"]:
        found = tool.run_single(clip, text=job["words"])
        shapes[clip] = {name: list(values.shape) for name, values in found.items()}
    print(json.dumps({"warm": True, "shapes": shapes}), flush=True)
    sys.stdin.readline()
    for clip in job["clips"]:
        seconds = []
        for _ in range(job["repeat"]):
            started = time.perf_counter()
            tool.run_single(clip, text=job["words"])
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"clip": clip, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
