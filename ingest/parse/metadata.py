"""From whatever a format calls metadata to the flat values that :mod:`rag.types` keeps."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from rag.types import MetadataValue, clean_text

MAX_VALUE_CHARS = 10_000
_RENAMED = {"authors": "author", "lang": "language", "creator": "author", "published": "date"}
_INT64 = 1 << 63


def flat(values: Mapping[object, object], *, prefix: str = "") -> dict[str, MetadataValue]:
    """Flatten ``values``: nested mappings to dotted keys, lists to tuples of strings, dates to ISO 8601.

    Empty values and null are left out; a value longer than 10,000 characters is cut.

    >>> flat({"Tags": ["a", 1], "on": datetime.date(2024, 3, 5), "by": {"name": "Ana"}, "x": None})
    {'tags': ('a', '1'), 'on': '2024-03-05', 'by.name': 'Ana'}
    """
    found: dict[str, MetadataValue] = {}
    for key, value in values.items():
        name = clean_text(str(key)).strip()
        if not prefix:
            name = name.lower()
            name = _RENAMED.get(name, name)
        if isinstance(value, Mapping):
            found.update(flat(value, prefix=f"{prefix}{name}."))
            continue
        kept = _value(value)
        if name and kept not in ("", ()):
            found[f"{prefix}{name}"] = kept
    if not prefix and "language" in found:
        code = language_code(found.pop("language"))
        if code:
            found["language"] = code
    return found


def _value(value: object) -> MetadataValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple | set):
        return tuple(text for item in value if (text := _text(item)))
    return _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return clean_text(str(value)).strip()[:MAX_VALUE_CHARS]


def language_code(value: object) -> str:
    """The ISO 639-1 part of a language tag, "" when it is none.

    >>> language_code("es-ES"), language_code("Spanish")
    ('es', '')
    """
    match = re.fullmatch(r"([A-Za-z]{2})(?:[-_].*)?", str(value).strip())
    return match[1].lower() if match else ""


def file_name(uri: str) -> str:
    """The last part of a path or URL, as people read it.

    >>> file_name("https://example.org/a%20b.html?x=1"), file_name("notes/ñu.md")
    ('a b.html', 'ñu.md')
    """
    parts = urlsplit(uri) if "://" in uri else None
    name = PurePosixPath(unquote(parts.path) if parts else uri).name
    return name or (parts.netloc if parts else uri)


def stem(uri: str) -> str:
    """The file's name without its extension.

    >>> stem("notes/guía.v2.txt")
    'guía.v2'
    """
    return PurePosixPath(file_name(uri)).stem


_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")


def heading_title(text: str) -> str:
    """The first level-1 heading near the start of Markdown ``text``, else its first heading, else "".

    >>> heading_title("## Part one\\n\\n# The *Book* { #book }\\n")
    'The Book'
    """
    first, fence = "", ""
    for line in text[:20_000].split("\n"):
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif not fence and (match := _HEADING.match(line)):
            title = plain_line(match[2])
            if title and len(match[1]) == 1:
                return title
            first = first or title
    return first


def plain_line(markdown: str) -> str:
    """One line of Markdown without its marks: links, emphasis, attributes.

    >>> plain_line("See [the `Guide`](g.md) **now** {: .x }")
    'See the Guide now'
    """
    line = re.sub(r"\s*\{[^{}]*\}\s*$", "", _LINK.sub(r"\1", markdown))
    line = re.sub(r"[*`]|(?<!\w)_|_(?!\w)|</?\w[^>]*>", "", line)
    return re.sub(r"\s+", " ", re.sub(r"\\([^\w\s])", r"\1", line)).strip()[:300]
