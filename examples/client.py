"""Ask a running service for the sentiment of a clip.

python examples/client.py http://127.0.0.1:8000 clip.mp4 "what is said in it"
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import httpx

ATTEMPTS = 5


def predict(service: str, clip: Path, transcript: str) -> dict[str, Any]:
    """Send one clip; try again when the service says that it is worth it.

    Raises:
        RuntimeError: the problem that the service answered with.
    """
    for _ in range(ATTEMPTS):
        with clip.open("rb") as file:
            response = httpx.post(
                f"{service}/predict",
                files={"video": (clip.name, file)},
                data={"transcript": transcript},
                timeout=120,
            )
        if response.status_code == httpx.codes.OK:
            answer: dict[str, Any] = response.json()
            return answer
        if "Retry-After" not in response.headers:
            break
        time.sleep(int(response.headers["Retry-After"]))
    problem = response.json()
    raise RuntimeError(f"{problem['code']}: {problem['detail']} ({problem['request_id']})")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    found = predict(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    print(f"{found['score']:+.2f} {found['label']}", *(w["code"] for w in found["warnings"]))
