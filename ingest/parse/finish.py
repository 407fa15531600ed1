"""The common end of every parser: clean text, exact page starts, parts of a bounded length."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.parse.metadata import heading_title, stem
from ingest.parse.options import Draft, Source
from rag.language import detect
from rag.types import Document, MetadataValue, Page, clean_text


class _Part:
    """The part being filled: text, page starts, and the page that the last character stands on."""

    def __init__(self, opening: str, page: str) -> None:
        self.runs = [opening]
        self.size = len(opening)
        self.pages = [Page(self.size, page)] if page else []
        self.blank = True

    def add(self, text: str) -> None:
        if text:
            self.runs.append(text)
            self.size += len(text)
            self.blank = self.blank and not text.strip()


def documents(source: Source, draft: Draft) -> Iterator[Document]:
    """Cut ``draft`` into documents of at most ``max_document_chars``: at a paragraph, a line or a word.

    The first keeps the plain id, the next ones add ``part=2``, ``part=3``. Blank parts are left out.
    """
    opening, closing = clean_text(draft.opening), clean_text(draft.closing)
    limit = max(1, source.options.max_document_chars - len(opening) - len(closing))
    number, title, label = 0, clean_text(draft.title).strip(), ""
    part = _Part(opening, label)

    def finished() -> Iterator[Document]:
        nonlocal number, title
        if not part.blank:
            number += 1
            text = "".join([*part.runs, closing])
            title = title or heading_title(text) or clean_text(stem(source.uri))
            yield _document(source, draft, text, tuple(part.pages), title, number)

    for piece in draft.pieces:
        text = clean_text(piece.text)
        if piece.page:
            label = clean_text(piece.page)
            part.pages.append(Page(part.size, label))
        while part.size + len(text) > limit + len(opening):
            cut = _cut(text, limit + len(opening) - part.size, may_be_nothing=not part.blank)
            part.add(text[:cut])
            text = text[cut:]
            if part.pages and part.pages[-1].start == part.size:
                part.pages.pop()  # the page starts with the next part
            yield from finished()
            part = _Part(opening, label)
        part.add(text)
    yield from finished()


def _cut(text: str, room: int, *, may_be_nothing: bool) -> int:
    """Where to cut ``text`` so that at most ``room`` characters stand before.

    >>> _cut("one two\\nthree four", 12, may_be_nothing=False)
    8
    """
    for mark in ("\n\n", "\n", " "):
        if mark == " " and may_be_nothing:
            return 0  # a line that fits into the next part stays whole
        at = text.rfind(mark, room // 2, room)
        if at >= 0:
            return at + len(mark)
    return max(1, room)


def _document(
    source: Source, draft: Draft, text: str, pages: tuple[Page, ...], title: str, number: int
) -> Document:
    metadata: dict[str, MetadataValue] = {**draft.metadata, "media_type": source.media_type.partition(";")[0]}
    if not metadata.get("language"):
        language = detect(text) or draft.language_hint
        if language:
            metadata["language"] = language
    fragment = [part for part in (draft.record, f"part={number}" if number > 1 else "") if part]
    name = source.uri + ("#" + ";".join(fragment) if fragment else "")
    return Document(name, text, title=title, uri=source.uri, metadata=metadata, pages=pages)
