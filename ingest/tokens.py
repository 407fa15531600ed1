"""The tokens of a document, counted once, and the line of headings that a chunk carries."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from rag.protocols import Tokenizer

__all__ = ["TokenMap", "breadcrumb"]

_WINDOW = 100_000  # characters tokenised at a time
_WIDE = 32  # characters: a tokenizer may read a whole blob as one unknown token, a reader cannot
_LONGEST = 300  # characters of a title


class TokenMap:
    """How many tokens each span of a text has, from one pass over the text.

    >>> from rag.testing import WordTokenizer
    >>> tokens = TokenMap(WordTokenizer(), "One, two three.")
    >>> tokens.size(0, 8), tokens.size(6, 8)
    (3, 1)
    """

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self._tokenizer = tokenizer
        self._length = len(text)
        self._starts, self._ends = array("q"), array("q")
        at = 0
        while at < len(text):  # in windows that end between words: the memory of one, whatever the text
            stop = _window(text, at)
            offsets = tokenizer.offsets(text[at:stop]).astype(np.int64) + at
            self._starts.frombytes(np.ascontiguousarray(offsets[:, 0]).tobytes())
            self._ends.frombytes(np.ascontiguousarray(offsets[:, 1]).tobytes())
            at = stop

    def size(self, start: int, end: int) -> int:
        """Tokens that touch a span. A blob counts for its length, though it may be one token."""
        tokens = bisect_left(self._starts, end) - bisect_right(self._ends, start)
        return max(tokens, (end - start) // _WIDE)

    def reach(self, start: int, count: int) -> int:
        """Where a span of ``count`` tokens that begins at ``start`` ends, at least a character on."""
        beyond = bisect_right(self._ends, start) + count
        stop = self._starts[beyond] if beyond < len(self._starts) else self._length
        return max(start + 1, min(stop, start + count * _WIDE))

    def count(self, text: str) -> int:
        """Tokens of another text, or of a part counted by itself."""
        return len(self._tokenizer.offsets(text))


def breadcrumb(title: str, path: Sequence[str], most: int, count: Callable[[str], int]) -> tuple[str, int]:
    """Title and headings on one line of at most ``most`` tokens, and how many those are.

    What is too long loses its middle first, then all but the last heading, then the end of that.

    >>> breadcrumb("Tea", ["Green", "Sencha", "How to brew it"], 8, lambda text: len(text.split()))
    ('Tea > … > How to brew it', 8)
    """
    title = " ".join(title.split())[:_LONGEST]
    same = bool(path) and path[0].casefold() == title.casefold()
    parts = list(path) if same or not title else [title, *path]
    if not parts:
        return "", 0
    tries = [parts]
    tries += [[parts[0], "…", *parts[i:]] for i in range(2, len(parts))]
    for some in [*tries, parts[-1:]]:
        line = " > ".join(some)
        if (size := count(f"{line}\n")) <= most:
            return line, size
    words = parts[-1].split()
    for kept in range(len(words) - 1, 0, -1):
        line = " ".join(words[:kept])
        if (size := count(f"{line}\n")) <= most:
            return line, size
    return "", 0


def _window(text: str, at: int) -> int:
    stop = at + _WINDOW
    if stop >= len(text):
        return len(text)
    for space in "\n", " ":
        found = text.rfind(space, at + 1, stop)
        if found > 0:
            return found
    return stop
