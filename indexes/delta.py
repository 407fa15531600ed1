"""What is newer than a generation: the last chunks of a space, searched from memory.

Each process keeps its own and extends it with what was committed since it last looked. Chunks
deleted meanwhile stay in it, as they stay in a generation: what is alive is judged in SQL.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

import numpy as np

from indexes.generation import lexical_rows, vector_batches
from indexes.lexical import LexicalIndex, LexicalRow
from indexes.moments import Moments
from rag.types import Keys, Vectors


@dataclass(frozen=True, slots=True)
class _Segment:
    rows: list[LexicalRow]
    index: LexicalIndex


class Delta:
    """The chunks of a space with a key above ``after``. Safe in any thread.

    What it hands out never changes: a longer one takes its place. It may hold chunks that the reader's
    snapshot does not: those do not join to live rows.
    """

    def __init__(self, space_id: int, *, after: int, dim: int) -> None:
        self._space_id = space_id
        self._extending = threading.Lock()
        self._keys: Keys = np.empty(0, dtype=np.int64)
        self._matrix: Vectors = np.empty((0, dim), dtype=np.float32)
        self._count = 0
        self._moments = Moments.none(dim)
        self._segments: tuple[_Segment, ...] = ()
        self._vectors_high = self._texts_high = after
        self._vectors_commit = self._texts_commit = -1

    def vectors(self, db: sqlite3.Connection, *, commit: int) -> tuple[Keys, Vectors]:
        """Keys (rising) and vectors of everything up to ``commit``, and perhaps of what came later."""
        with self._extending:
            if commit > self._vectors_commit:
                for keys, vectors, languages in vector_batches(db, self._space_id, after=self._vectors_high):
                    self._append(keys, vectors)
                    self._moments = self._moments.with_rows(vectors, languages)
                    self._vectors_high = int(keys[-1])
                self._vectors_commit = commit
            return self._keys[: self._count], self._matrix[: self._count]

    def moments(self, db: sqlite3.Connection, *, commit: int) -> Moments:
        """The moments of what :meth:`vectors` gives."""
        self.vectors(db, commit=commit)
        return self._moments

    def texts(self, db: sqlite3.Connection, *, commit: int) -> tuple[LexicalIndex, ...]:
        """Lexical indexes that hold, together, everything up to ``commit``."""
        with self._extending:
            if commit > self._texts_commit:
                rows = list(lexical_rows(db, self._space_id, after=self._texts_high))
                if rows:
                    self._segments = _with(self._segments, rows)
                    self._texts_high = rows[-1][0]
                self._texts_commit = commit
            return tuple(segment.index for segment in self._segments)

    def _append(self, keys: Keys, vectors: Vectors) -> None:
        """Into spare rows where there are some: rows already handed out are not touched."""
        count = self._count + len(keys)
        if count > len(self._keys):
            room = max(count, 2 * len(self._keys))
            self._keys = np.concatenate([self._keys[: self._count], np.empty(room - self._count, np.int64)])
            spare = np.empty((room - self._count, self._matrix.shape[1]), np.float32)
            self._matrix = np.concatenate([self._matrix[: self._count], spare])
        self._keys[self._count : count] = keys
        self._matrix[self._count : count] = vectors
        self._count = count


def _with(segments: tuple[_Segment, ...], rows: list[LexicalRow]) -> tuple[_Segment, ...]:
    """One more segment; those not twice as large as what follows are merged with it, so that n rows
    that come one by one are indexed about log n times and lie in about log n segments."""
    kept = list(segments)
    while kept and len(kept[-1].rows) < 2 * len(rows):
        rows = kept.pop().rows + rows
    return (*kept, _Segment(rows, LexicalIndex.in_memory(rows)))
