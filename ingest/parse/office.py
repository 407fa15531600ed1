"""DOCX, ODT, RTF, EPUB, PPTX, XLSX and EML to Markdown, by kreuzberg."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from ingest.parse.archive import check_archive
from ingest.parse.metadata import flat, language_code, stem
from ingest.parse.options import Draft, Piece, Source
from rag.errors import SourceError
from rag.types import MetadataValue

_MAIN_PARTS = {
    "word/document.xml": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xl/workbook.xml": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt/presentation.xml": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "content.xml": "application/vnd.oasis.opendocument.text",
    "META-INF/container.xml": "application/epub+zip",
}
_KEPT = ("subject", "keywords", "description", "publisher")


def read(source: Source) -> Iterator[Draft]:
    """Text with headings, tables and lists; a slide is a page. No cache, no network, no OCR."""
    media_type = source.media_type.partition(";")[0]
    if source.data.startswith(b"PK"):
        media_type = _kind_inside(check_archive(source.data, source.options))
    elif media_type == "application/rtf" and not source.data.rstrip(b"\x00 \t\r\n").endswith(b"}"):
        raise SourceError("damaged", "the RTF is cut off: its last brace is missing")
    # A mark that no text holds by accident, the same for the same file.
    mark = hashlib.sha256(source.data).hexdigest()[:16]
    text, about = _extract(source.data, media_type, f"\n\n{mark}:{{page_num}}:\n\n")
    title = about.get("title") or about.get("subject") or (stem(source.uri) if "sheet" in media_type else "")
    yield Draft(
        list(_pieces(text, mark)),
        title=title if isinstance(title, str) else "",
        metadata=_metadata(about),
        language_hint=language_code(about.get("language") or ""),
    )


def _kind_inside(names: list[str]) -> str:
    for part, media_type in _MAIN_PARTS.items():
        if part in names:
            return media_type
    raise SourceError("damaged", f"the container holds no document part ({', '.join(_MAIN_PARTS)})")


def _extract(data: bytes, media_type: str, marker: str) -> tuple[str, Mapping[str, Any]]:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        output_format="markdown",
        postprocessor=kreuzberg.PostProcessorConfig(enabled=False),
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
        pages=kreuzberg.PageConfig(insert_page_markers=True, marker_format=marker),
    )
    try:
        result = kreuzberg.extract_bytes_sync(data, media_type, config=config)
    except kreuzberg.KreuzbergError as error:
        message = " ".join(str(error).split())[:300]
        if re.search(r"password|encrypt", message, re.IGNORECASE):
            raise SourceError("encrypted", "the file asks for a password; save it without one") from None
        raise SourceError("damaged", f"not what its format demands: {message}") from None
    return result.content, dict(result.metadata)


def _pieces(text: str, mark: str) -> Iterator[Piece]:
    parts = re.split(rf"\s*{mark}:(\d+):\s*", text)
    if parts[0].strip():
        yield Piece(parts[0].lstrip("\n"))
    for label, body in zip(parts[1::2], parts[2::2], strict=True):
        yield Piece(body.strip("\n") + "\n\n", label)


def _metadata(about: Mapping[str, Any]) -> dict[str, MetadataValue]:
    date = about.get("created_at") or about.get("modified_at") or about.get("date")
    if isinstance(date, str) and re.match(r"[A-Za-z]{3},|\d{1,2} [A-Z]", date):
        try:
            date = parsedate_to_datetime(date).isoformat()
        except ValueError:
            date = None
    authors = about.get("authors") or about.get("created_by") or about.get("initial_creator")
    if isinstance(authors, list) and len(authors) == 1:
        authors = authors[0]
    found: dict[object, object] = {name: about.get(name) for name in _KEPT}
    found |= {"author": authors or about.get("from_email"), "date": date, "to": about.get("to_emails")}
    return flat(found)
