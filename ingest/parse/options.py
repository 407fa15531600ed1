"""What a parser may do, what it is, and what it hands back before the common finish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rag.types import MetadataValue


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """The limits of a parser, and which fields of a record mean what.

    Past a limit a file fails with ``too_large``; a text longer than ``max_document_chars`` is not
    an error but becomes several documents. ``*_fields`` are tried in order, the first that a
    record (or a CSV row) holds counts; ``metadata_fields`` empty keeps every other field.
    """

    max_file_bytes: int = 512 << 20
    max_document_chars: int = 4_000_000
    max_total_chars: int = 512_000_000
    max_bytes_expanded: int = 512 << 20
    max_archive_entries: int = 20_000
    max_columns: int = 5_000
    max_pages: int = 20_000
    max_depth: int = 200
    csv_documents: Literal["table", "row"] = "table"
    id_fields: tuple[str, ...] = ("_id", "id", "docid", "uuid")
    title_fields: tuple[str, ...] = ("title", "name", "headline", "título")
    text_fields: tuple[str, ...] = ("text", "content", "contents", "body", "passage", "texto")
    metadata_fields: tuple[str, ...] = ()


DEFAULTS = ParseOptions()


@dataclass(frozen=True, slots=True)
class ParserInfo:
    """Which parser reads a file, and a fingerprint that changes whenever its output could."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text, in order. ``page`` is the label of the page that starts here, "" when none does."""

    text: str
    page: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """One document or record as its parser saw it: raw text in pieces, not yet cleaned nor cut.

    ``opening`` and ``closing`` surround every part of a text that is cut (a code fence, the head of
    a table). Without a ``title`` the first heading is taken, else the file's name. ``language_hint``
    is what the format declares; it counts when the text itself does not tell.
    """

    pieces: Iterable[Piece]
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    record: str = ""
    opening: str = ""
    closing: str = ""
    language_hint: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What a parser is given."""

    uri: str
    data: bytes
    media_type: str
    options: ParseOptions
