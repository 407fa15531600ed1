"""Where documents come from: a folder, a file or a URL, as items that can be listed and read.

What cannot be listed or read is a :class:`SourceFailure` or a :class:`rag.errors.SourceError` for
that item alone; the others go on.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ingest.fetch import FetchSettings, fetch, normal_url
from ingest.names import Globs, path_of, uri_of
from ingest.walk import Found, SourceFailure, Walk, kind_of, refused
from rag.errors import NotFound, SourceError, UsageError

__all__ = [
    "Content",
    "Found",
    "Source",
    "SourceFailure",
    "SourceSettings",
    "open_source",
    "path_of",
    "uri_of",
]

BLOCK = 1 << 20
"""Bytes read at a time. A file of at most one block is kept, so that it is read once only."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What is taken in. ``include`` and ``exclude`` are globs, see :class:`ingest.names.Globs`.

    ``leave`` are folders that are never entered, wherever they lie: the product's own data.
    """

    max_file_bytes: int = 512 << 20
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    links_outside: bool = False
    leave: tuple[Path, ...] = ()
    fetch: FetchSettings = field(default_factory=FetchSettings)


@dataclass(frozen=True, slots=True)
class Content:
    """An item's bytes at one moment: ``sha256`` (hex) and ``size`` are those of all of them.

    ``media_type`` is what a server declared, "" for a file. ``data`` is None for a file of more than
    one block, which stays where it is, at ``path``.
    """

    uri: str
    sha256: str
    size: int
    media_type: str = ""
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The bytes whose digest is ``sha256``, never others. Raises SourceError if the file changed."""
        if self.data is not None:
            return self.data
        data = bytearray()
        with _opened(self.path or path_of(self.uri)) as (handle, _):
            while len(data) <= self.size and (block := os.read(handle, BLOCK)):
                data += block
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SourceError("unreadable", "the file changed while it was being read; ingest it again")
        return bytes(data)


class Source(Protocol):
    """A folder, a file or a URL.

    ``uri`` is what the URIs of its items start with. ``whole`` says that an item below ``uri`` that is
    no longer listed has gone: true of a folder. A file's or URL's ``uri`` is its one item's own, and
    perhaps also the start of another's (``a.md``, ``a.md.bak``), so nothing follows from it.
    """

    @property
    def uri(self) -> str: ...

    @property
    def whole(self) -> bool: ...

    def list(self) -> Iterator[Found | SourceFailure]:
        """The items, in the same order each time."""

    def open(self, found: Found) -> Content:
        """Read an item once, in blocks. Raises SourceError."""


def open_source(argument: str, *, settings: SourceSettings) -> Source:
    """The source that a person named: a path, a ``file://`` URI as we write it, or an http(s) URL.

    Raises NotFound for a path that does not exist (which never means that everything in it has gone)
    and UsageError for another scheme, or for a URL that cannot be one.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", argument)
    if scheme and scheme[1].lower() in ("http", "https"):
        return _Url(normal_url(argument), settings)
    if scheme and scheme[1] != "file":
        raise UsageError(
            f"{argument}: cannot read {scheme[1]}://; give a path, an http:// or an https:// URL"
        )
    if not argument or "\0" in argument:
        raise UsageError(f"{argument!r} is not a path; give a folder, a file or a URL")
    path = path_of(argument) if scheme else Path(argument).absolute()
    if ".." in path.parts:  # behind a symbolic link, ".." is not the folder that the name suggests
        path = path.resolve()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise NotFound(
            f"{argument}: {error.strerror}; give a folder, a file or a URL that is there"
        ) from error
    return _Folder(path, settings) if stat.S_ISDIR(mode) else _File(path, settings)


class _File:
    whole = False

    def __init__(self, path: Path, settings: SourceSettings) -> None:
        self.uri = uri_of(path)
        self._path = path
        self._limit = settings.max_file_bytes

    def list(self) -> Iterator[Found | SourceFailure]:
        yield Found(self.uri, self._path)

    def open(self, found: Found) -> Content:
        return _read(found, limit=self._limit)


class _Folder:
    whole = True

    def __init__(self, path: Path, settings: SourceSettings) -> None:
        self.uri = uri_of(path).rstrip("/") + "/"
        self._path = path
        self._settings = settings

    def list(self) -> Iterator[Found | SourceFailure]:
        settings = self._settings
        globs = Globs(include=settings.include, exclude=settings.exclude)
        walk = Walk(self._path, globs=globs, links_outside=settings.links_outside, leave=settings.leave)
        return walk.items()

    def open(self, found: Found) -> Content:
        return _read(found, limit=self._settings.max_file_bytes)


class _Url:
    whole = False

    def __init__(self, url: str, settings: SourceSettings) -> None:
        self.uri = url
        self._settings = settings

    def list(self) -> Iterator[Found | SourceFailure]:
        yield Found(self.uri)

    def open(self, found: Found) -> Content:
        page = fetch(found.uri, settings=self._settings.fetch)
        digest = hashlib.sha256(page.data).hexdigest()
        return Content(found.uri, digest, len(page.data), media_type=page.media_type, data=page.data)


def _read(found: Found, *, limit: int) -> Content:
    path = found.path or path_of(found.uri)
    hasher = hashlib.sha256()
    first = b""
    with _opened(path) as (handle, size):
        if size <= limit:  # else known to be too large, and not even begun
            step = min(max(size + 1, 4096), BLOCK)
            size = 0
            while size <= limit and (block := os.read(handle, step)):
                hasher.update(block)
                size += len(block)
                first = first + block if size <= BLOCK else b""
    if size > limit:
        detail = f"more than the {limit:,} bytes that [ingest] max_file_bytes allows; raise it for this file"
        raise SourceError("too_large", detail)
    data = first if size <= BLOCK else None
    return Content(found.uri, hasher.hexdigest(), size, path=path, data=data)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """A regular file's descriptor and size. Opened without waiting: a pipe put in its place stops nothing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refused(error) from error
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise SourceError("unsupported", f"not a file but {kind_of(about.st_mode)}")
        yield handle, about.st_size
    except OSError as error:
        raise refused(error) from error
    finally:
        os.close(handle)
