"""What a collection already holds: the reading half of an ingest job's storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from indexes.rows import DOCUMENT, SPACE, document_of, space_of
from rag.protocols import Item, Space
from rag.types import Document

Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]

LAST_CHARACTER = "\U0010ffff"
OF_SPACE = """
    SELECT s.id FROM spaces s JOIN collections c ON c.id = s.collection_id
    JOIN embedders e ON e.id = s.embedder_id
    WHERE c.name = ? AND s.chunker = ? AND e.fingerprint = ?"""
# "+" keeps SQLite from the index on collection_id: in the order of the keys the first row is the answer.
UNMOVED = """
    SELECT d.key FROM documents d
    WHERE +d.collection_id = (SELECT id FROM collections WHERE name = ?) AND d.key > ?
    AND NOT EXISTS (SELECT 1 FROM cuts WHERE document_key = d.key AND space_id = ?)
    ORDER BY d.key LIMIT 1"""


class SqliteLedger:
    """:class:`rag.protocols.Ledger` over the catalogue. Each call reads what was last committed."""

    def __init__(self, reading: Reading, name: str) -> None:
        self._reading = reading
        self._name = name

    @property
    def space(self) -> Space | None:
        """The space that answers now; None for a collection that does not exist or is empty."""
        with self._reading() as db:
            row = db.execute(
                SPACE + " JOIN collections c ON c.space_id = s.id "
                "JOIN documents d ON d.collection_id = c.id WHERE c.name = ? LIMIT 1",
                (self._name,),
            ).fetchone()
        return space_of(row) if row else None

    def items(self, prefix: str = "") -> Mapping[str, Item]:
        """The items whose URI starts with ``prefix``, by URI, in the order of their URIs."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT i.uri, i.sha256, i.parser, i.reason, i.detail FROM items i "
                "JOIN collections c ON c.id = i.collection_id "
                "WHERE c.name = ? AND i.uri >= ? AND i.uri < ? ORDER BY i.uri",
                (self._name, prefix, prefix + LAST_CHARACTER),
            ).fetchall()
        return {
            uri: Item(uri, sha256, parser, reason=reason, detail=detail)
            for uri, sha256, parser, reason, detail in rows
        }

    def digests(self, item_uri: str) -> Mapping[str, str]:
        """Document id to document digest, for the documents that came from one item."""
        with self._reading() as db:
            return dict(
                db.execute(
                    "SELECT d.id, d.digest FROM documents d JOIN collections c ON c.id = d.collection_id "
                    "WHERE c.name = ? AND d.item_uri = ? ORDER BY d.key",
                    (self._name, item_uri),
                ).fetchall()
            )

    def missing(self, hashes: Sequence[bytes], *, fingerprint: str) -> set[bytes]:
        """Of these text hashes, those without a stored vector of that embedder, in any collection."""
        with self._reading() as db:
            row = db.execute("SELECT id FROM embedders WHERE fingerprint = ?", (fingerprint,)).fetchone()
            if row is None:
                return set(hashes)
            sql = "SELECT 1 FROM vectors WHERE embedder_id = ? AND text_hash = ?"
            return {hash for hash in set(hashes) if not db.execute(sql, (row[0], hash)).fetchone()}

    def unmoved(self, space: Space) -> Iterator[Document]:
        """The stored documents that were not cut in ``space`` yet, in the order of their keys.

        One document is read at a time, and no transaction stays open between two: what is yielded
        may be committed to ``space`` meanwhile.
        """
        last = 0
        while True:
            with self._reading() as db:
                found = db.execute(
                    OF_SPACE, (self._name, space.chunker, space.embedder.fingerprint)
                ).fetchone()
                row = db.execute(UNMOVED, (self._name, last, found and found[0])).fetchone()
                document = row and db.execute(DOCUMENT + " WHERE d.key = ?", row).fetchone()
            if row is None:
                return
            last = row[0]
            yield document_of(document)
