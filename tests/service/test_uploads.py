"""Requests that are wrong, each in its own way, over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.form import read_form
from tests.service.running import Service, check_problem

TYPE = "multipart/form-data; boundary=line"
MIB = 1024 * 1024


def head_of(length: int) -> bytes:
    """Head of a request whose body is sent by hand."""
    lines = ("POST /predict HTTP/1.1", "Host: x", f"Content-Length: {length}", "Content-Type: ")
    return "\r\n".join(lines).encode() + TYPE.encode() + b"\r\n\r\n"


def part(header: str, content: bytes = b"x") -> bytes:
    return b"--line\r\n" + header.encode() + b"\r\n\r\n" + content + b"\r\n"


VIDEO = part('Content-Disposition: form-data; name="video"; filename="c.mp4"')
WORDS = part('Content-Disposition: form-data; name="transcript"', b"good")
EXPLAIN = part('Content-Disposition: form-data; name="explain"', b"yes")
END = b"--line--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code", "param"),
    [
        ("", b"", 415, "unsupported_media_type", None),
        ("application/json", b"{}", 415, "unsupported_media_type", None),
        (
            "multipart/mixed; boundary=line",
            VIDEO + WORDS + END,
            415,
            "unsupported_media_type",
            None,
        ),
        ("multipart/form-data", VIDEO + WORDS + END, 400, "malformed_request", None),
        ("multipart/form-data; boundary=" + "b" * 999, END, 400, "malformed_request", None),
        ("multipart/form-data; boundary=other", VIDEO + END, 400, "malformed_request", None),
        (TYPE, b"", 400, "malformed_request", None),
        (TYPE, b"no boundary at all", 400, "malformed_request", None),
        (TYPE, VIDEO + WORDS, 400, "malformed_request", None),
        (TYPE, VIDEO + WORDS[:-6], 400, "malformed_request", None),
        (TYPE, part("Content-Disposition: form-data") + END, 400, "malformed_request", None),
        (TYPE, part("X: y") + END, 400, "malformed_request", None),
        (TYPE, part("no colon here") + END, 400, "malformed_request", None),
        (TYPE, part("X: " + "y" * 99_999) + END, 400, "malformed_request", None),
        (TYPE, WORDS + END, 422, "missing_field", "video"),
        (TYPE, VIDEO + END, 422, "missing_field", "transcript"),
        (TYPE, END, 422, "missing_field", "video"),
        (TYPE, VIDEO + VIDEO + WORDS + END, 422, "unexpected_field", "video"),
        (TYPE, VIDEO + WORDS + EXPLAIN + END, 422, "invalid_field", "explain"),
        (
            TYPE,
            VIDEO + WORDS + EXPLAIN.replace(b"explain", b'tracks"; filename="x') + END,
            422,
            "invalid_field",
            "tracks",
        ),
        (
            TYPE,
            VIDEO + WORDS.replace(b"transcript", b"text") + END,
            422,
            "unexpected_field",
            "text",
        ),
        (
            TYPE,
            part('Content-Disposition: form-data; name="video"') + WORDS + END,
            422,
            "invalid_field",
            "video",
        ),
        (
            TYPE,
            VIDEO.replace(b"\r\n\r\n", b"\r\nContent-Type: image/png\r\n\r\n") + WORDS + END,
            415,
            "unsupported_media_type",
            "video",
        ),
        (
            TYPE,
            VIDEO + WORDS.replace(b'"transcript"', b'"transcript"; filename="words.docx"') + END,
            415,
            "unsupported_media_type",
            "transcript",
        ),
        (
            TYPE,
            VIDEO
            + WORDS
            + part('Content-Disposition: form-data; name="openface"; filename="o"', b"")
            + END,
            422,
            "missing_field",
            "openface",
        ),
        (
            TYPE,
            VIDEO
            + WORDS
            + part(
                'Content-Disposition: form-data; name="openface"; filename="o"\r\n'
                "Content-Type: application/zip"
            )
            + END,
            415,
            "unsupported_media_type",
            "openface",
        ),
        (
            TYPE,
            VIDEO + WORDS.replace(b"good", b"\xff\xfe") + END,
            422,
            "invalid_transcript",
            "transcript",
        ),
        (TYPE, VIDEO + WORDS + END, 422, "undecodable_clip", "video"),
    ],
)
def test_wrong_forms(
    service: Service, content_type: str, body: bytes, status: int, code: str, param: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = service.client.post("/predict", content=body, headers=headers)
    assert check_problem(response, status, code)["param"] == param


def test_wrong_paths_and_methods(service: Service) -> None:
    check_problem(service.client.get("/nothing"), 404, "not_found")
    response = service.client.get("/predict")
    check_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    check_problem(service.client.get("/v2/models/other"), 404, "not_found")


def endless(pieces: int) -> Iterator[bytes]:
    yield VIDEO[:-3]
    for _ in range(pieces):
        yield bytes(MIB // 4)


def test_a_body_over_the_limit_is_refused_with_a_length(tight: Service) -> None:
    check_problem(
        tight.client.post("/predict", content=bytes(5 * MIB), headers={"content-type": TYPE}),
        413,
        "upload_too_large",
    )


def test_a_body_over_the_limit_is_refused_without_a_length(tight: Service) -> None:
    response = tight.client.post("/predict", content=endless(40), headers={"content-type": TYPE})
    check_problem(response, 413, "upload_too_large")


def test_a_length_over_the_limit_is_refused_before_the_body(tight: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", tight.port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", TYPE)
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_transcript_over_its_limit_is_refused(tight: Service) -> None:
    response = tight.predict(b"x", "good " * 500)
    assert check_problem(response, 413, "upload_too_large")["param"] == "transcript"


def test_a_slow_upload_is_ended(tight: Service) -> None:
    with socket.create_connection(("127.0.0.1", tight.port), timeout=60) as line:
        line.sendall(head_of(1000) + VIDEO)
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")


def test_many_slow_uploads_hold_no_worker(tight: Service, clip: bytes) -> None:
    lines = [socket.create_connection(("127.0.0.1", tight.port), timeout=60) for _ in range(20)]
    try:
        for line in lines:
            line.sendall(head_of(999))
        assert tight.predict(clip).status_code == 200
    finally:
        for line in lines:
            line.close()


def test_uploads_together_have_a_limit_too(tight: Service) -> None:
    def half_sent() -> socket.socket:
        line = socket.create_connection(("127.0.0.1", tight.port), timeout=60)
        line.sendall(head_of(4 * MIB) + VIDEO[:-3] + bytes(3 * MIB))
        return line

    lines = [half_sent(), half_sent()]
    try:
        until = time.monotonic() + 30
        while (response := tight.predict(bytes(MIB))).status_code != 429:
            assert time.monotonic() < until
        check_problem(response, 429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
    finally:
        for line in lines:
            line.close()
    held = "dpdf_held_bytes 0.0"
    until = time.monotonic() + 30
    while held not in tight.client.get("/metrics").text:
        assert time.monotonic() < until


def test_a_full_queue_answers_429_and_loses_nothing(tight: Service, clip: bytes) -> None:
    async def together() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{tight.port}", timeout=120
        ) as client:
            files = {"video": ("c.mp4", clip)}
            data = {"transcript": "good"}
            return await asyncio.gather(
                *[client.post("/predict", files=files, data=data) for _ in range(12)]
            )

    responses = asyncio.run(together())
    codes = [response.status_code for response in responses]
    assert set(codes) == {200, 429}
    for response in responses:
        if response.status_code == 429:
            check_problem(response, 429, "overloaded")
            assert int(response.headers["retry-after"]) >= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.binary(max_size=200))
def test_a_form_means_the_same_however_it_is_cut(sizes: list[int], content: bytes) -> None:
    body = (
        part('Content-Disposition: form-data; name="video"; filename="c.mp4"', content)
        + WORDS
        + END
    )

    async def pieces() -> AsyncIterator[bytes]:
        rest, index = body, 0
        while rest:
            size = sizes[index % len(sizes)]
            yield rest[:size]
            rest, index = rest[size:], index + 1

    limits: dict[str, int | None] = {"video": None, "transcript": 10}
    parts: dict[str, Any] = asyncio.run(read_form(TYPE, pieces(), limits=limits))
    assert bytes(parts["video"].content) == content
    assert parts["video"].filename == "c.mp4"
    assert bytes(parts["transcript"].content) == b"good"
