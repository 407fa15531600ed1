"""What a collection holds, as one may compare it between machines: documents by id and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexes.catalogue import Catalogue

_DOCUMENTS = (
    "SELECT d.id, d.title, d.metadata, d.pages, d.text FROM documents d "
    "JOIN collections c ON c.id = d.collection_id WHERE c.name = ? ORDER BY d.key"
)


def contents(catalogue: Catalogue, collection: str) -> Iterator[tuple[str, bytes]]:
    """Each document's id and a digest (32 bytes) of its text, title, metadata and pages; as of one moment.

    Not the digest that is stored with it: that covers its address too, which is another one in every folder
    that the same files are ingested from. None for a collection that is not there.
    """
    with catalogue.store.reading() as db:
        for id, *header, text in db.execute(_DOCUMENTS, (collection,)):
            hasher = hashlib.sha256("\0".join(header).encode("utf-8"))
            hasher.update(b"\0")
            hasher.update(text.encode("utf-8"))
            yield id, hasher.digest()
