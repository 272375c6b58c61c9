"""Hostile cases over several connections to a service, and what is wrong with its answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from benchmarks.hostile.corpus import Case

SLACK_SECONDS = 10.0
"""Beyond the deadline, for sending the file and for a machine that is busy."""

BUSY = 429
BOUNDARY = b"----hostile-boundary-7f3a"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the service answered a case.

    Attributes:
        case: category and name.
        status: of the answer; 0 where there was none.
        code: the problem's code; empty for a score.
        seconds: from the first byte sent.
        wrong: what is wrong with that; empty if nothing is.
    """

    case: tuple[str, str]
    status: int
    code: str
    seconds: float
    wrong: str = ""


def post_all(
    cases: Iterable[Case], address: str, *, connections: int, deadline: float, secrets: list[bytes]
) -> Iterator[Outcome]:
    """Send every case, a few at a time.

    Args:
        cases: drawn as they are needed.
        address: of the service, ``"http://127.0.0.1:PORT"``.
        connections: requests at a time.
        deadline: the service's own (s).
        secrets: bytes that no answer may hold.
    """
    with (
        httpx.Client(base_url=address, timeout=deadline + 2 * SLACK_SECONDS) as client,
        ThreadPoolExecutor(connections) as threads,
    ):
        waiting: set[Future[Outcome]] = set()
        for case in cases:
            waiting.add(threads.submit(_post, client, case, deadline, secrets))
            if len(waiting) >= connections:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in wait(waiting).done)


def _post(client: httpx.Client, case: Case, deadline: float, secrets: list[bytes]) -> Outcome:
    name = (case.category, case.name)
    head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    started = time.monotonic()
    try:
        answer = client.post("/predict", content=_form(case), headers=head)
        while answer.status_code == BUSY:
            time.sleep(0.2)
            started = time.monotonic()
            answer = client.post("/predict", content=_form(case), headers=head)
    except httpx.HTTPError as error:
        return Outcome(name, 0, "", time.monotonic() - started, f"no answer: {error!r}")
    seconds = time.monotonic() - started
    wrong = _wrong(answer, secrets)
    if not wrong and seconds > deadline + SLACK_SECONDS:
        wrong = "after the deadline"
    code = "" if answer.is_success else _code(answer)
    return Outcome(name, answer.status_code, code, seconds, wrong)


def _form(case: Case) -> bytes:
    """The form by hand: clients would make names harmless."""
    name = case.filename.encode("utf-8", "surrogatepass")
    head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
    parts = [(b"video", name, case.video)]
    if case.openface is not None:
        parts.append((b"openface", b"face.csv", case.openface))
    lines = [b"--" + BOUNDARY + b"\r\n" + head % (part, file) + body for part, file, body in parts]
    words = b'\r\n\r\nContent-Disposition: form-data; name="transcript"\r\n\r\nreally good'
    lines.append(b"--" + BOUNDARY + words[2:])
    return b"\r\n".join([*lines, b"--" + BOUNDARY + b"--\r\n"])


def _wrong(answer: httpx.Response, secrets: list[bytes]) -> str:
    if any(secret in answer.content for secret in secrets):
        return "the answer shows what it may not know"
    if answer.is_success:
        score = answer.json()["score"]
        return "" if -3 <= score <= 3 else f"the score is {score}"
    if not answer.is_client_error:
        return f"{answer.status_code} {_code(answer)}"
    shape = {"type", "title", "status", "detail", "code", "request_id"}
    if answer.headers["content-type"] != "application/problem+json" or shape - set(answer.json()):
        return "not a problem document"
    return ""


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", ""))
    except json.JSONDecodeError:
        return answer.text[:80]


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """An address that nobody may ask for: its port, and what was said to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    line.settimeout(1)
                    heard.append(line.recv(200))

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
