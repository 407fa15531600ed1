"""What differs between two large sets, told from a kilobyte that was kept of one of them.

An invertible Bloom lookup table (Goodrich and Mitzenmacher 2011; Eppstein et al. 2011, "What's the
Difference? Efficient Set Reconciliation without Prior Context"): each element is added to four cells, which
keep a count and a XOR. Of two tables, one taken from the other, what both sets hold cancels out, and the few
elements that only one holds can be read off one after the other. Its size does not depend on that of the
sets; with more than some thirty elements of difference it can no longer be read, and says so.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WAYS, _WIDTH = 4, 12
"""Cells that an element is added to, each in a part of the table of its own, of so many cells."""
_CELLS = _WAYS * _WIDTH
_NAME = _CONTENT = 6  # bytes of a hash: of a million names, two are the same in one of a thousand sets
_BYTES = _NAME + _CONTENT + 4  # and a checksum


@dataclass(frozen=True, slots=True)
class Difference:
    """Short hashes of names (:func:`name_hash`) that only one set holds, and of those that both hold with
    another content. The three are disjoint."""

    changed: frozenset[bytes]
    added: frozenset[bytes]
    removed: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A set of names, each with a content, in 960 bytes.

    >>> before = Sketch.of([("a.md", b"1"), ("b.md", b"2"), ("c.md", b"3")])
    >>> after = Sketch.of([("a.md", b"1"), ("b.md", b"9"), ("d.md", b"4")])
    >>> found = after.since(before)
    >>> found.changed == {name_hash("b.md")}, found.added == {name_hash("d.md")}, len(found.removed)
    (True, True, 1)
    """

    counts: npt.NDArray[np.int32]
    sums: npt.NDArray[np.uint64]

    @staticmethod
    def of(elements: Iterable[tuple[str, bytes]]) -> Sketch:
        """Of names, each once, and what stands for their contents."""
        joined = b"".join(_element(name_hash(name), _short(content)) for name, content in elements)
        rows = np.frombuffer(joined, dtype=np.uint8).reshape(-1, _BYTES)
        counts, sums = np.zeros(_CELLS, np.int32), np.zeros((_CELLS, 2), np.uint64)
        words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 2)
        for way, cells in enumerate(_cells(rows)):
            np.add.at(counts, cells + way * _WIDTH, 1)
            for word in range(2):
                np.bitwise_xor.at(sums[:, word], cells + way * _WIDTH, words[:, word])
        return Sketch(counts, sums)

    def since(self, before: Sketch) -> Difference | None:
        """How this set differs from an earlier one; None where that is too much to tell."""
        counts, sums = self.counts - before.counts, self.sums ^ before.sums
        new: dict[bytes, bytes] = {}
        old: dict[bytes, bytes] = {}
        while (found := _single(counts, sums)) is not None:
            element, sign = found
            (new if sign > 0 else old)[element[:_NAME]] = element
            row = np.frombuffer(element, np.uint8).reshape(1, _BYTES)
            for way, cells in enumerate(_cells(row)):
                counts[way * _WIDTH + cells[0]] -= sign
                sums[way * _WIDTH + cells[0]] ^= row.view(np.uint64)[0]
        if counts.any() or sums.any():
            return None
        both = frozenset(new) & frozenset(old)
        return Difference(both, frozenset(new) - both, frozenset(old) - both)

    def lines(self) -> list[str]:
        """As text, in lines of 64 letters."""
        data = b"".join([self.counts.astype("<i4").tobytes(), self.sums.astype("<u8").tobytes()])
        text = base64.b64encode(data).decode()
        return [text[start : start + 64] for start in range(0, len(text), 64)]

    @staticmethod
    def from_lines(lines: Iterable[str]) -> Sketch:
        """What :meth:`lines` wrote. Raises ValueError."""
        data = base64.b64decode("".join(lines), validate=True)
        if len(data) != _CELLS * 20:
            raise ValueError(f"{len(data)} bytes are no sketch")
        counts = np.frombuffer(data[: 4 * _CELLS], "<i4").astype(np.int32)
        return Sketch(counts, np.frombuffer(data[4 * _CELLS :], "<u8").astype(np.uint64).reshape(_CELLS, 2))


def name_hash(name: str) -> bytes:
    """What a :class:`Difference` calls this name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:_NAME]


def _short(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CONTENT]


def _element(name: bytes, content: bytes) -> bytes:
    """The element with its checksum, which also says into which cells it goes."""
    return name + content + hashlib.sha256(name + content).digest()[:4]


def _cells(rows: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.int64]]:
    """For each way, the cell of each element within its part."""
    for way in range(_WAYS):
        yield rows[:, _NAME + _CONTENT + way].astype(np.int64) % _WIDTH


def _single(counts: npt.NDArray[np.int32], sums: npt.NDArray[np.uint64]) -> tuple[bytes, int] | None:
    """An element that stands in a cell alone, and whether it is added (1) or taken away (-1)."""
    for cell in np.flatnonzero(np.abs(counts) == 1).tolist():
        element = struct.pack("=2Q", *sums[cell].tolist())
        if _element(element[:_NAME], element[_NAME : _NAME + _CONTENT]) == element:
            return element, int(counts[cell])
    return None
