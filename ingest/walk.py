"""The files of a folder, each real file once.

- A real file counts under its own name. A symbolic link to something that is listed anyway adds
  nothing; a link to something that is not (a hidden folder, as in a Kubernetes ConfigMap) is followed
  under the link's name; a link that leads out of the folder is followed only when ``links_outside``
  says so, since a cloned repository may hold a link to a private key.
- Names that start with a dot, ``node_modules`` and ``__pycache__`` are left out.
- Pipes, sockets and devices are reported, never opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ingest.names import Globs, readable, uri_of
from rag.errors import ReasonCode, SourceError

SKIPPED = frozenset({"node_modules", "__pycache__"})
"""Folders that hold no one's documents, besides those whose name starts with a dot."""


@dataclass(frozen=True, slots=True)
class Found:
    """An item that is there to be read; ``path`` is None for a URL."""

    uri: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """An item that cannot be listed. With a URI that ends in "/", a whole folder: what was taken in
    from below it before is unknown, not gone."""

    uri: str
    code: ReasonCode
    detail: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Something met on the walk: by which path, what it is (for a link: where the link stands), and
    how globs and URIs name it."""

    path: str
    real: str
    relative: str
    uri: str


_Node: TypeAlias = Found | SourceFailure | _Place


class Walk:
    """One listing of a folder. Each real folder is entered once, whatever leads to it; those of ``leave``
    (our own data) never."""

    def __init__(self, root: Path, *, globs: Globs, links_outside: bool, leave: Sequence[Path] = ()) -> None:
        real = os.path.realpath(root)
        self._root = _Place(os.fspath(root), real, "", uri_of(root).rstrip("/") + "/")
        self._globs = globs
        self._links_outside = links_outside
        # Real folder -> the relative path that it is listed under.
        self._entered: dict[str, str] = {os.path.realpath(path): "" for path in leave}
        self._linked: set[str] = set()  # real files that are listed under a link's name
        self._folder_links: deque[_Place] = deque()
        self._file_links: list[_Place] = []

    def items(self) -> Iterator[Found | SourceFailure]:
        """Real files first, depth first and by name; then what only links lead to, so that a new link
        renames nothing. The same order each time."""
        yield from self._tree(self._root)
        while self._folder_links:
            yield from self._folder_link(self._folder_links.popleft())
        for link in self._file_links:
            yield from self._file_link(link)

    def _tree(self, top: _Place) -> Iterator[Found | SourceFailure]:
        stack: list[_Node] = [top]
        while stack:
            node = stack.pop()
            if isinstance(node, _Place):
                stack.extend(reversed(self._children(node)))
            else:
                yield node

    def _children(self, folder: _Place) -> list[_Node]:
        if folder.real in self._entered:
            return []
        self._entered[folder.real] = folder.relative
        try:
            with os.scandir(folder.path) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            return [_failure(folder.uri, error)]
        children: list[_Node] = []
        for entry in entries:
            uri = folder.uri + readable(entry.name)
            relative = folder.relative + entry.name
            if _hidden(entry.name) or self._globs.excludes(relative):
                continue
            try:
                node = self._child(entry, folder, relative, uri)
            except OSError as error:
                node = _failure(uri, error)
            if node is not None:
                children.append(node)
        return children

    def _child(self, entry: os.DirEntry[str], folder: _Place, relative: str, uri: str) -> _Node | None:
        if entry.is_symlink():
            # What a link leads to is settled after the real files; a broken one fails here.
            place = _Place(entry.path, folder.real, relative, uri)
            mode = entry.stat().st_mode
            if stat.S_ISDIR(mode):
                self._folder_links.append(place)
                return None
            if stat.S_ISREG(mode):
                self._file_links.append(place)
                return None
        elif entry.is_file(follow_symlinks=False):
            return Found(uri, Path(entry.path)) if self._globs.includes(relative) else None
        elif entry.is_dir(follow_symlinks=False):
            return _Place(entry.path, f"{folder.real.rstrip('/')}/{entry.name}", relative + "/", uri + "/")
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
        if not self._globs.includes(relative):
            return None
        return SourceFailure(uri, "unsupported", f"not a file but {kind_of(mode)}")

    def _folder_link(self, link: _Place) -> Iterator[Found | SourceFailure]:
        real = os.path.realpath(link.path)
        uri = link.uri + "/"
        if _within(link.real, real):
            yield SourceFailure(uri, "loop", f"a symbolic link to {real}, which it stands in itself")
        elif not self._may_follow(real):
            yield _outside(uri, real)
        else:
            yield from self._tree(_Place(link.path, real, link.relative + "/", uri))

    def _file_link(self, link: _Place) -> Iterator[Found | SourceFailure]:
        real = os.path.realpath(link.path)
        folder, name = os.path.split(real)
        if not self._globs.includes(link.relative) or real in self._linked or self._lists(folder, name):
            return
        if not self._may_follow(real):
            yield _outside(link.uri, real)
            return
        self._linked.add(real)
        yield Found(link.uri, Path(link.path))

    def _lists(self, real_folder: str, name: str) -> bool:
        """Whether the walk lists this real file under its own name."""
        relative = self._entered.get(real_folder)
        if relative is None or _hidden(name):
            return False
        path = relative + name
        return self._globs.includes(path) and not self._globs.excludes(path)

    def _may_follow(self, real: str) -> bool:
        return self._links_outside or _within(real, self._root.real)


def refused(error: OSError) -> SourceError:
    """What the system's refusal means for an item."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return SourceError("vanished", "its name was listed, but nothing is there (any more)")
    if error.errno == errno.ELOOP:
        return SourceError("loop", "a symbolic link that leads back to itself")
    return SourceError("unreadable", f"the system refuses to read it: {error.strerror or error}")


def kind_of(mode: int) -> str:
    """What stands where a file was expected, in words."""
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _failure(uri: str, error: OSError) -> SourceFailure:
    reason = refused(error)
    return SourceFailure(uri, reason.code, str(reason))


def _outside(uri: str, real: str) -> SourceFailure:
    detail = f"a symbolic link out of the folder, to {real}; [ingest] links_outside = true follows such links"
    return SourceFailure(uri, "blocked", detail)


def _hidden(name: str) -> bool:
    return name[0] == "." or name in SKIPPED


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
