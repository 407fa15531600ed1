"""How files are named: as URIs, and by globs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fnmatch import translate
from functools import cache
from pathlib import Path
from urllib.parse import unquote_to_bytes

from rag.errors import UsageError

_ESCAPED = re.compile("[%\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\udc80-\udcff]")
"""What must not stand in a URI as it is: the escape itself, what ends a line or turns its direction
(a report has one line an item), and bytes that are not UTF-8. The set is fixed: what counts as
printable changes with the version of Unicode, and a file's URI must not."""


def uri_of(path: Path) -> str:
    """The URI of an absolute path: unique, reversible, on one line, accents and spaces kept.

    >>> uri_of(Path("/docs/Guía rápida 100%.md"))
    'file:///docs/Guía rápida 100%25.md'
    """
    return "file://" + readable(os.fspath(path))


def path_of(uri: str) -> Path:
    """The path that :func:`uri_of` gave this URI: ``path_of(uri_of(path)) == path``.

    Raises UsageError for a URI that names no local path.

    >>> path_of("file:///docs/Gu%C3%ADa 100%25.md") == Path("/docs/Guía 100%.md")
    True
    """
    raw = unquote_to_bytes(uri.removeprefix("file://"))
    if not uri.startswith("file:///") or b"\0" in raw:
        raise UsageError(f"{uri!r} is not the URI of a file on this machine: those start with file:///")
    return Path(os.fsdecode(raw))


def readable(name: str) -> str:
    """A path or a part of one, as it stands in a URI.

    >>> readable("a\\nb")
    'a%0Ab'
    """
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return _ESCAPED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


class Globs:
    """Which relative paths are taken in: those that match an ``include`` (or all) and no ``exclude``.

    A pattern without a slash is matched against the last name, at any depth; one with a slash
    against the whole path below the source. ``*`` and ``?`` stay within one name, ``**`` stands for
    any number of folders. A pattern that matches a folder excludes all of it.

    >>> globs = Globs(include=("*.md", "data/**/*.csv"), exclude=("drafts", "notes/*.tmp.md"))
    >>> [globs.includes(p) for p in ("a.md", "b/c.md", "a.txt", "data/x.csv", "data/y/z.csv", "x.csv")]
    [True, True, False, True, True, False]
    >>> [globs.excludes(p) for p in ("drafts", "b/drafts", "notes/a.tmp.md", "a.tmp.md")]
    [True, True, True, False]
    """

    def __init__(self, *, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = [_pattern(glob) for glob in include]
        self._exclude = [_pattern(glob) for glob in exclude]

    def includes(self, relative: str) -> bool:
        return not self._include or any(_matches(relative, pattern) for pattern in self._include)

    def excludes(self, relative: str) -> bool:
        return any(_matches(relative, pattern) for pattern in self._exclude)


def _pattern(glob: str) -> tuple[str, ...]:
    parts = tuple(part for part in glob.split("/") if part not in ("", "."))
    return ("**", *parts) if "/" not in glob.rstrip("/") else parts


def _matches(relative: str, pattern: tuple[str, ...]) -> bool:
    """Pattern part by part, keeping the set of places reached: never exponential in the stars."""
    places = {0}
    for name in relative.split("/"):
        reached: set[int] = set()
        for place in _skipping(places, pattern):
            if place == len(pattern):
                continue
            if pattern[place] == "**":
                reached.add(place)
            elif _name(pattern[place]).match(name):
                reached.add(place + 1)
        places = reached
    return len(pattern) in _skipping(places, pattern)


def _skipping(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """The places, and those behind a ``**`` that stands for no folder at all."""
    found = set(places)
    for place in sorted(places):
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            found.add(place)
    return found


@cache
def _name(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
