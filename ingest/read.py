"""Sources whose files are parsed: what stands between :mod:`ingest.sources` and :mod:`ingest.decide`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ingest.decide import Entry, Failure
from ingest.parse import HEAD_BYTES, ParseOptions, parser_for
from ingest.parse.worker import ParserProcess
from ingest.sources import Content, Source, SourceFailure, path_of
from rag.errors import ReasonCode, SourceError
from rag.protocols import Item
from rag.types import Document


@dataclass(frozen=True, slots=True)
class ParsedSource:
    """A folder, file or URL as a job takes it: each item hashed when listed, parsed only if it changed."""

    source: Source
    parser: ParserProcess
    options: ParseOptions

    @property
    def prefix(self) -> str:
        return self.source.uri

    @property
    def whole(self) -> bool:
        return self.source.whole

    def count(self) -> int:
        return sum(1 for _ in self.source.list())

    def entries(self) -> Iterator[Entry | Failure]:
        for found in self.source.list():
            if isinstance(found, SourceFailure):
                yield Failure(found.uri, found.code, found.detail)
                continue
            try:
                content = self.source.open(found)
            except SourceError as error:
                yield Failure(found.uri, error.code, str(error))
                continue
            yield entry_of(content, self.parser, self.options)


@dataclass(frozen=True, slots=True)
class UploadedFiles:
    """Files that came over the wire, by name: each an item ``upload:NAME``."""

    files: tuple[tuple[str, bytes], ...]
    parser: ParserProcess
    options: ParseOptions
    prefix: str = "upload:"
    whole: bool = False

    def count(self) -> int:
        return len(self.files)

    def entries(self) -> Iterator[Entry | Failure]:
        for name, data in self.files:
            digest = hashlib.sha256(data).hexdigest()
            content = Content(f"upload:{name}", digest, len(data), data=data)
            yield entry_of(content, self.parser, self.options)


def entry_of(content: Content, parser: ParserProcess, options: ParseOptions) -> Entry:
    """An item with its digest and its parser's fingerprint. What no parser reads fails when parsed."""
    try:
        info = parser_for(content.uri, _head(content), content.media_type, options=options)
    except SourceError as error:
        # The refusal is kept with the digest, so that the same bytes are not looked at again.
        return Entry(Item(content.uri, content.sha256, ""), partial(_refuse, error.code, str(error)))
    item = Item(content.uri, content.sha256, info.fingerprint)
    return Entry(item, partial(_parse, parser, content))


def _head(content: Content) -> bytes:
    if content.data is not None:
        return content.data[:HEAD_BYTES]
    try:
        with _path(content).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise SourceError("vanished", f"could be listed, cannot be read: {error.strerror}") from error


def _parse(parser: ParserProcess, content: Content) -> Iterator[Document]:
    data = _path(content) if content.data is None else content.data
    yield from parser.parse(content.uri, data, content.media_type)


def _path(content: Content) -> Path:
    return content.path or path_of(content.uri)


def _refuse(code: ReasonCode, detail: str) -> Iterator[Document]:
    raise SourceError(code, detail)
