"""How parent and child talk: frames of a JSON header and a text, never pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from rag.types import Document, MetadataValue, Page

SIZES = struct.Struct("!IQ")
MAX_HEADER = 64 << 20

Header: TypeAlias = dict[str, Any]


class BrokenFrame(Exception):
    """What arrived is no frame of ours."""


def encode(header: Header, body: bytes = b"") -> bytes:
    """One frame: two sizes, the header as JSON in ASCII (so that odd file names survive), the body.

    >>> encode({"a": 1}, b"xy")[SIZES.size:]
    b'{"a":1}xy'
    """
    head = json.dumps(header, separators=(",", ":")).encode("ascii")
    return SIZES.pack(len(head), len(body)) + head + body


def line(request: Header) -> bytes:
    """A request: one line of JSON; what follows it is told by its ``size``."""
    return json.dumps(request).encode("ascii") + b"\n"


def decode(read: Callable[[int], bytes], *, max_body: int) -> tuple[Header, bytes]:
    """Read one frame with ``read(n)``, which returns exactly n bytes or raises. Raises BrokenFrame."""
    head_size, body_size = SIZES.unpack(read(SIZES.size))
    if head_size > MAX_HEADER or body_size > max_body:
        raise BrokenFrame(f"a frame of {head_size:,} + {body_size:,} bytes")
    try:
        header = json.loads(read(head_size))
    except ValueError as error:
        raise BrokenFrame(str(error)) from None
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise BrokenFrame("a header without a kind")
    return header, read(body_size)


def pack_document(document: Document) -> bytes:
    """A document as a frame."""
    return encode(
        {
            "kind": "document",
            "id": document.id,
            "title": document.title,
            "uri": document.uri,
            "metadata": dict(document.metadata),
            "pages": [[page.start, page.label] for page in document.pages],
        },
        document.text.encode("utf-8"),
    )


def unpack_document(header: Header, body: bytes) -> Document:
    """The document of a frame, every field checked: the child may have read a hostile file.

    >>> one = Document("a", "Hi", title="A", metadata={"tags": ("x", "y")}, pages=(Page(0, "iv"),))
    >>> frame = pack_document(one)
    >>> import io
    >>> unpack_document(*decode(io.BytesIO(frame).read, max_body=100)) == one
    True
    """
    name, title, uri = header.get("id"), header.get("title"), header.get("uri")
    pages, metadata = header.get("pages"), header.get("metadata")
    if not (isinstance(name, str) and isinstance(title, str) and isinstance(uri, str)):
        raise BrokenFrame("a document without id, title or uri")
    if not (isinstance(pages, list) and isinstance(metadata, dict)):
        raise BrokenFrame("a document without pages or metadata")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenFrame(str(error)) from None
    return Document(
        name,
        text,
        title=title,
        uri=uri,
        metadata={key: _value(value) for key, value in metadata.items()},
        pages=tuple(_page(page) for page in pages),
    )


def _value(value: object) -> MetadataValue:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(value, str | int | float | bool):
        return value
    raise BrokenFrame("a metadata value of an unknown type")


def _page(page: object) -> Page:
    match page:
        case [int(start), str(label)]:
            return Page(start, label)
    raise BrokenFrame("a page without start and label")
