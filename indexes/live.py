"""What is alive of the collections of a search, as SQL tells it within the search's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from indexes.rows import CHUNK, chunk_of, json_of
from indexes.views import View
from rag.types import Chunk, Hit, Keys, Ranking, Vectors

Moment: TypeAlias = Sequence[View]
"""The collections of a search, in one read transaction; without those that nothing was put in."""

# "+space_id": rows are found by key; SQLite would rather walk all of the spaces' chunks.
_CHUNKS = (
    f"{CHUNK} JOIN json_each(?) asked ON asked.value = c.key "  # noqa: S608
    "WHERE +c.space_id IN (SELECT value FROM json_each(?))"
)
_OF_VECTOR = (
    "SELECT c.key, {column} FROM json_each(?) asked JOIN chunks c ON c.key = asked.value "
    "JOIN {table} ON {id} = c.vector_id "
    "WHERE +c.space_id IN (SELECT value FROM json_each(?)) ORDER BY c.key"
)
VECTORS = _OF_VECTOR.format(column="v.vector", table="vectors v", id="v.id")
TOKENS = _OF_VECTOR.format(column="t.codes", table="token_codes t", id="t.vector_id")
# "CROSS JOIN": in this order. Left to itself SQLite goes through the language of every document there is.
LANGUAGES = (
    "SELECT c.key, m.value FROM json_each(?) asked CROSS JOIN chunks c ON c.key = asked.value "
    "CROSS JOIN document_metadata m ON m.document_key = c.document_key AND m.name = 'language'"
)

BESIDE = (
    "SELECT c.key, n.key FROM json_each(?) asked CROSS JOIN chunks c ON c.key = asked.value "
    "CROSS JOIN chunks n ON n.document_key = c.document_key AND n.space_id = c.space_id "
    "AND n.ordinal IN (c.ordinal - 1, c.ordinal + 1) "
    "WHERE +c.space_id IN (SELECT value FROM json_each(?))"
)


def living(view: View, keys: Keys) -> list[int]:
    """Those of these keys that are alive in a collection."""
    if not len(keys):
        return []
    rows = view.db.execute(
        "SELECT key FROM chunks WHERE key IN (SELECT value FROM json_each(?)) AND +space_id = ?",
        (json_of(keys.tolist()), view.space_id),
    )
    return [key for (key,) in rows]


def holds(keys: Keys, key: int) -> bool:
    """Whether a key is among these, which rise."""
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and int(keys[place]) == key


def _spaces(now: Moment) -> str:
    return json_of([view.space_id for view in now])


def vectors_of(now: Moment, keys: Keys) -> tuple[Keys, Vectors]:
    """The stored vectors of these chunks: of those that are alive, by key."""
    rows = now[0].db.execute(VECTORS, (json_of(keys.tolist()), _spaces(now))).fetchall()
    found = np.array([key for key, _ in rows], dtype=np.int64)
    matrix = np.frombuffer(b"".join(vector for _, vector in rows), dtype=np.float32)
    return found, matrix.reshape(len(rows), now[0].space.embedder.dim)


def tokens_of(now: Moment, keys: Keys) -> dict[int, bytes]:
    """The codes of the tokens of these chunks: of those that are alive, and have any."""
    return dict(now[0].db.execute(TOKENS, (json_of(keys.tolist()), _spaces(now))).fetchall())


def beside_of(now: Moment, keys: Keys) -> dict[int, list[int]]:
    """The neighbours in their documents of those of these chunks that are alive, and have any."""
    found: dict[int, list[int]] = {}
    for key, neighbour in now[0].db.execute(BESIDE, (json_of(keys.tolist()), _spaces(now))):
        found.setdefault(key, []).append(neighbour)
    return found


def chunks_of(now: Moment, keys: Sequence[int]) -> list[Chunk]:
    """Those of these chunks that are alive, in this order."""
    asked = json_of(list(keys)), _spaces(now)
    chunks = {chunk.key: chunk for chunk in map(chunk_of, now[0].db.execute(_CHUNKS, asked))}
    return [chunks[key] for key in keys if key in chunks]


def hits_of(now: Moment, ranking: Ranking) -> list[Hit]:
    """The ranked chunks, read."""
    scores = dict(zip(ranking.keys.tolist(), ranking.scores.tolist(), strict=True))
    return [Hit(chunk, scores[chunk.key]) for chunk in chunks_of(now, list(scores))]


def languages_of(db: sqlite3.Connection, keys: Keys) -> dict[int, str]:
    """The language of each of these chunks that has one."""
    return dict(db.execute(LANGUAGES, (json_of(keys.tolist()),)).fetchall())
