"""A multipart/form-data body as it streams in, part by part, in memory or into open files.

python-multipart does the parsing; this file decides what is kept. Starlette's own form reader is
not used because it writes file parts to temporary files, reads text that is no UTF-8 as Latin-1,
and looks at names only when everything has arrived.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import MalformedRequest, UnexpectedField, UnsupportedMedia, UploadTooLarge

NAME_LENGTH = 100
"""Characters of a client's own names that error messages repeat."""


@dataclass(slots=True)
class Part:
    """One part of a form.

    Attributes:
        name: the field's name.
        filename: None for a text field.
        media_type: its content type without parameters, lower case; empty if it names none.
        content: its bytes; none where they went to a file.
        size: how many there are.
    """

    name: str
    filename: str | None
    media_type: str
    content: bytearray = field(default_factory=bytearray)
    size: int = 0


async def read_form(
    content_type: str,
    body: AsyncIterator[bytes],
    *,
    limits: Mapping[str, int | None],
    files: Mapping[str, BinaryIO] | None = None,
) -> dict[str, Part]:
    """Read a form of known fields, each at most once.

    Args:
        content_type: the request's header.
        body: the body, in pieces.
        limits: the known names, each with its most bytes (None = the body's own limit).
        files: where the bytes of some of them are written as they come.

    Raises:
        UnsupportedMedia: the content type is not multipart/form-data.
        MalformedRequest: no boundary, or a body that does not follow it to its end.
        UnexpectedField: an unknown name, or one that comes twice.
        UploadTooLarge: a part has more bytes than its limit.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMedia(
            "Send multipart/form-data with the fields video and transcript; this request has the "
            f"content type {content_type[:NAME_LENGTH]!r}."
        )
    if not options.get(b"boundary"):
        raise MalformedRequest("The Content-Type header of a multipart request names a boundary.")
    collector = _Collector(limits, files or {})
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": collector.on_part_begin,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_headers_finished": collector.on_headers_finished,
                "on_part_data": collector.on_part_data,
                "on_end": collector.on_end,
            },
        )
        async for piece in body:
            parser.write(piece)
    except FormParserError as error:
        raise MalformedRequest(f"The multipart body cannot be read: {error}") from error
    if not collector.ended:
        raise MalformedRequest("The multipart body stops before its closing boundary.")
    return collector.parts


class _Collector:
    """python-multipart's callbacks."""

    def __init__(self, limits: Mapping[str, int | None], files: Mapping[str, BinaryIO]) -> None:
        self.parts: dict[str, Part] = {}
        self.ended = False
        self._limits = limits
        self._files = files
        self._part = Part("", None, "")
        self._headers: dict[str, str] = {}
        self._name = bytearray()
        self._value = bytearray()

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get("content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise MalformedRequest(
                "Each part of the form needs the header Content-Disposition: form-data with a name."
            )
        name = _text(options[b"name"])
        shown = name[:NAME_LENGTH]
        if name not in self._limits:
            raise UnexpectedField(
                f"There is no field {shown!r}; the fields are {', '.join(self._limits)}.",
                param=shown,
            )
        if name in self.parts:
            raise UnexpectedField(f"The field {name} came more than once.", param=name)
        filename = options.get(b"filename")
        media_type, _ = parse_options_header(self._headers.get("content-type"))
        part = Part(
            name=name,
            filename=None if filename is None else _text(filename),
            media_type=_text(media_type).lower(),
        )
        self.parts[name] = part
        self._part = part

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        piece = memoryview(data)[start:end]
        if part.name in self._files:
            self._files[part.name].write(piece)
        else:
            part.content += piece
        part.size += len(piece)
        limit = self._limits[part.name]
        if limit is not None and part.size > limit:
            raise UploadTooLarge(f"{part.name} is larger than {limit} bytes.", param=part.name)

    def on_end(self) -> None:
        self.ended = True


def _text(raw: bytes) -> str:
    # Names are compared and shown, never used as paths: a lossy reading harms nobody.
    return raw.decode("utf-8", "replace")
