"""Files of every supported format to :class:`~rag.types.Document`: Markdown-like text and its metadata.

:func:`parse` is pure and runs where it is called; hostile files belong in
:class:`ingest.parse.worker.ParserProcess`, which runs it in a limited child process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TypeAlias, cast

from ingest.parse.options import DEFAULTS, Draft, ParseOptions, ParserInfo, Source
from ingest.parse.sniff import HEAD_BYTES, MEDIA_TYPES, Format, code_language, format_of
from rag.errors import SourceError
from rag.types import Document

__all__ = ["DEFAULTS", "HEAD_BYTES", "ParseOptions", "ParserInfo", "parse", "parser_for"]

Reader: TypeAlias = Callable[[Source], Iterator[Draft]]


@dataclass(frozen=True, slots=True)
class _Parser:
    """``version`` rises with every change of ours that changes what comes out."""

    name: str
    version: int
    reader: str
    libraries: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


_RECORDS = ("id_fields", "title_fields", "text_fields", "metadata_fields")
_OFFICE = _Parser("office", 1, "office:read", ("kreuzberg",))
_TABLE = _Parser("table", 1, "table:read", ("charset-normalizer",), ("csv_documents", *_RECORDS))
_PARSERS: dict[Format, _Parser] = {
    "code": _Parser("code", 1, "plain:read_code", ("charset-normalizer",)),
    "csv": _TABLE,
    "docx": _OFFICE,
    "eml": _OFFICE,
    "epub": _OFFICE,
    "html": _Parser("html", 1, "html:read", ("selectolax", "html-to-markdown", "charset-normalizer")),
    "json": _Parser("json", 1, "jsons:read_json", ("charset-normalizer",), _RECORDS),
    "jsonl": _Parser("jsonl", 1, "jsons:read_jsonl", ("charset-normalizer",), _RECORDS),
    "markdown": _Parser("markdown", 1, "markdown:read", ("PyYAML", "charset-normalizer")),
    "odt": _OFFICE,
    "pdf": _Parser("pdf", 1, "pdf:read", ("liteparse",)),
    "pptx": _OFFICE,
    "rst": _Parser(
        "rst", 1, "rst:read", ("docutils", "selectolax", "html-to-markdown", "charset-normalizer")
    ),
    "rtf": _OFFICE,
    "text": _Parser("text", 1, "plain:read_text", ("charset-normalizer",)),
    "tsv": _TABLE,
    "xlsx": _OFFICE,
    "xml": _Parser("xml", 1, "plain:read_xml", ("charset-normalizer",)),
}


def parser_for(
    uri: str, data_head: bytes, media_type: str = "", *, options: ParseOptions = DEFAULTS
) -> ParserInfo:
    """Which parser reads this file, told by its content, then its media type, then its name.

    ``data_head`` is the file's beginning (``HEAD_BYTES`` are enough). Imports no library. The
    fingerprint covers the parser's name and version, the versions of the libraries that shape its
    output, and those of ``options`` that do. Raises SourceError for what no parser reads.

    >>> parser_for("a.txt", b"%PDF-1.4").name
    'pdf'
    """
    kind = format_of(uri, data_head[:HEAD_BYTES], media_type)
    return _info(_PARSERS[kind], options)


@cache
def _info(parser: _Parser, options: ParseOptions) -> ParserInfo:
    about = {
        "parser": [parser.name, parser.version],
        "libraries": {name: version(name) for name in (*parser.libraries, "py3langid")},
        "options": {name: getattr(options, name) for name in (*parser.options, "max_document_chars")},
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return ParserInfo(parser.name, digest[:16])


def parse(
    uri: str, data: bytes, *, media_type: str = "", options: ParseOptions = DEFAULTS
) -> Iterator[Document]:
    """The documents of one file, one at a time.

    ``Document.id`` is ``uri``; for records (JSONL, CSV by row) ``uri#record``; for the further
    parts of a text longer than ``options.max_document_chars``, ``uri#part=2`` and so on. A file
    with some bad records yields the good ones first and then raises ``damaged``, naming lines.
    Raises SourceError; ``code`` is one of :data:`rag.errors.ReasonCode`.

    >>> [(d.id, d.title) for d in parse("a.md", b"# Tea\\n\\nBoil the water first.")]
    [('a.md', 'Tea')]
    """
    if len(data) > options.max_file_bytes:
        raise SourceError("too_large", f"{len(data):,} bytes; the limit is {options.max_file_bytes:,}")
    kind = format_of(uri, data[:HEAD_BYTES], media_type)
    # Imported on use: ingest.parse.finish brings the language detector.
    from ingest.parse.finish import documents

    module, _, name = _PARSERS[kind].reader.partition(":")
    read = cast("Reader", getattr(import_module(f"ingest.parse.{module}"), name))
    source = Source(uri, data, _media_type(kind, uri, media_type), options)
    total, none = 0, True
    try:
        for draft in read(source):
            for document in documents(source, draft):
                total += len(document.text)
                if total > options.max_total_chars:
                    raise SourceError(
                        "too_large", f"more than {options.max_total_chars:,} characters come out of the file"
                    )
                none = False
                yield document
    except RecursionError:
        raise SourceError("too_large", "nested too deeply to be read") from None
    except MemoryError:
        raise SourceError("out_of_memory", "the parser ran out of memory") from None
    if none:
        raise SourceError("empty", "the file holds no text")


def _media_type(kind: Format, uri: str, media_type: str) -> str:
    """What goes into the metadata; a charset parameter stays for the decoder to see."""
    given = media_type.strip().lower()
    if given.partition(";")[0] == MEDIA_TYPES[kind] or (kind == "text" and given.startswith("text/plain")):
        return given
    language = code_language(uri) if kind == "code" else ""
    return f"text/x-{language}" if language else MEDIA_TYPES[kind]
