"""Ask a running service for the sentiment of a clip.

python -m examples.client http://127.0.0.1:8000 clip.mp4 "what is said in it"   (or words.vtt)
DPDF_KEY is the API key, where the service asks for one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from client.sentiment import SentimentClient, SentimentError


def main(service: str, clip: Path, words: str) -> None:
    """Print the score, what it owes to words, voice and face, and what to know about it."""
    transcript = Path(words) if words.endswith((".txt", ".vtt", ".srt")) else words
    with SentimentClient(service, api_key=os.environ.get("DPDF_KEY")) as client:
        answer = client.predict(clip, transcript, explain=True)
    print(f"{answer['score']:+.2f} {answer['label']}", *(w["code"] for w in answer["warnings"]))
    if answer["explanation"]:
        print(*(f"{name} {value:+.2f}" for name, value in answer["explanation"]["shapley"].items()))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except (SentimentError, OSError) as error:
        sys.exit(str(error))
