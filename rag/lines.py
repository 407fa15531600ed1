"""Text from outside where a line is a record: a cell, a label, a title."""

from __future__ import annotations

import re

from rag.neutral import visible

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def plain(text: str) -> str:
    """Text from outside on one line, without what acts unseen: controls, bidi overrides, hidden runs.

    >>> plain("one\\ntwo \\x1b[31m \\u202egnp")
    'one two \\ufffd[31m \\ufffdgnp'
    """
    return _CONTROLS.sub("\ufffd", visible(" ".join(text.split())))


def cut(text: str, length: int) -> str:
    """At most so many characters of :func:`plain` text.

    >>> cut("a long name", 7)
    'a long…'
    """
    text = plain(text)
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
