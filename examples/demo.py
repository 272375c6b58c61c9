"""Start the service, send it a clip, print the answer, stop the service: what `make demo` does.

    python -m examples.demo [--clip my.mp4 --transcript "what is said in it"]

CLIP and TRANSCRIPT may also come from the environment, as `make` passes them.

Exit code 0 if a score came back, 1 if not; then the problem is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import httpx

ROOT = Path(__file__).resolve().parents[1]

START_SECONDS = 600.0
"""Longest time for the service to get ready (s): the first start on a machine compiles."""


class DemoError(RuntimeError):
    """No score came back; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Score one clip with a service of its own.")
    parser.add_argument(
        "--clip",
        default=os.environ.get("CLIP", ""),
        help="a video of a person speaking (default: $CLIP, else a made-up one)",
    )
    parser.add_argument(
        "--transcript",
        default=os.environ.get("TRANSCRIPT", ""),
        help="the words that are spoken in it (default: $TRANSCRIPT)",
    )
    options = parser.parse_args(arguments)
    path = Path(options.clip) if options.clip else None
    try:
        name, clip, transcript = choose_clip(path, options.transcript)
        with tempfile.TemporaryFile() as log:
            answer = ask_own_service(name, clip, transcript, log)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print_answer(name, transcript, answer)
    return 0


def choose_clip(path: Path | None, transcript: str) -> tuple[str, bytes, str]:
    """Name, bytes and transcript: the user's, or the sample's.

    Raises:
        DemoError: there is no such file, or no transcript for it.
    """
    if path is None:
        # `python examples/demo.py` has this folder on its path, `python -m` the root.
        sys.path.insert(0, str(ROOT))
        from examples.sample_clip import TRANSCRIPT, sample_clip

        print("Making the sample clip: a portrait and a synthesised voice ...")
        return "sample.mp4", sample_clip(), transcript or TRANSCRIPT
    if not path.is_file():
        raise DemoError(f"There is no file {path}.")
    if not transcript:
        raise DemoError('Say what is spoken in the clip, too: TRANSCRIPT="...".')
    return path.name, path.read_bytes(), transcript


def ask_own_service(name: str, clip: bytes, transcript: str, log: IO[bytes]) -> dict[str, Any]:
    """Start a service on a free port, ask it, stop it.

    Raises:
        DemoError: it did not start, or answered with a problem.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, "DPDF_HOST": "127.0.0.1", "DPDF_PORT": str(port)},
        stderr=log,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            wait_until_ready(client, process)
            print(f"Sending {name} ({len(clip) / 1e6:.1f} MB) to POST /predict ...")
            response = client.post(
                "/predict", files={"video": (name, clip)}, data={"transcript": transcript}
            )
    except (DemoError, httpx.TransportError) as error:
        log.seek(0)
        tail = log.read().decode(errors="replace")[-3000:]
        raise DemoError(f"{error}\nThe service's log ends with:\n{tail}") from error
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    if response.status_code != httpx.codes.OK:
        problem = response.json()
        raise DemoError(f"{problem['status']} {problem['code']}: {problem['detail']}")
    answer: dict[str, Any] = response.json()
    return answer


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """Show the reasons of /readyz until it turns green.

    Raises:
        DemoError: the process ended, or was not ready in time.
    """
    started = time.monotonic()
    shown = ""
    while (waited := time.monotonic() - started) < START_SECONDS:
        if process.poll() is not None:
            raise DemoError(f"The service ended with exit code {process.returncode}.")
        try:
            health = client.get("/readyz").json()
        except httpx.TransportError:
            health = {"status": "loading", "reasons": ["starting"]}
        if health["status"] == "ready":
            print(f"\r  {waited:5.1f} s  ready{' ' * 60}")
            return
        if health["status"] == "not_ready":
            raise DemoError(f"The service cannot start: {'; '.join(health['reasons'])}.")
        state = "; ".join(health["reasons"])
        # On a terminal one line that counts; in a log one line for each new state.
        if sys.stdout.isatty():
            print(f"\r  {waited:5.1f} s  {state:<60}", end="", flush=True)
        elif state != shown:
            print(f"  {waited:5.1f} s  {state}", flush=True)
        shown = state
        time.sleep(0.2)
    raise DemoError(f"The service was not ready after {START_SECONDS:g} s: {shown}.")


def print_answer(name: str, transcript: str, answer: dict[str, Any]) -> None:
    """The answer for reading: score, gates, what was seen, warnings, times."""
    score, seen, gate = answer["score"], answer["seen"], answer["gate"]
    text, audio, video = seen["text"], seen["audio"], seen["video"]
    marker = round((score + 3) / 6 * 40)
    voice = f"{audio['seconds']:.1f} s at {audio['level_dbfs'] or 0:.0f} dBFS"
    face = f"a face in {video['face_share']:.0%} of {video['frames']} pictures ({video['source']})"
    model = answer["model"]
    print(f'\n  {name}: "{transcript[:70]}"\n')
    print(f"  score     {score:+.2f}  {answer['label']}")
    print(f"            -3 [{'-' * marker}#{'-' * (40 - marker)}] +3")
    if answer["interval"]:
        ends, share = answer["interval"], answer["interval"]["coverage"]
        print(f"            {share:.0%} interval {ends['low']:+.2f} to {ends['high']:+.2f}")
    print(f"  gate      global path {gate['global']:.2f}, local path {gate['local']:.2f}")
    print("  queries   channel gates a layer (no attribution):")
    for number, gates in enumerate(answer["query_channel_gates"], 1):
        shares = ", ".join(f"{key} {value:.2f}" for key, value in gates.items())
        print(f"            {number}: {shares}")
    cut = ", cut" if text["truncated"] else ""
    print(f"  seen      text:  {text['tokens']} tokens{cut}")
    print(f"            audio: {voice if audio['present'] else 'not considered'}")
    print(f"            video: {face if video['present'] else 'not considered'}")
    for warning in answer["warnings"] or [{"code": "none", "message": ""}]:
        print(f"  warning   {warning['code']}  {warning['message']}")
    times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in answer["timings_ms"].items())
    print(f"  ms        {times}")
    print(f"  model     {model['name']} {model['version']} ({model['encoder']})")


if __name__ == "__main__":
    sys.exit(main())
