"""Documents by what people call them: the end of an id, the folder or address that they came from."""

from __future__ import annotations

from collections.abc import Collection as AnyOf
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexes.catalogue import Catalogue
from ingest.sources import uri_of
from rag.errors import NotFound, UnknownDocument
from rag.protocols import RemoveItem, Space


def ids_of(names: Sequence[str], ids: AnyOf[str], *, collection: str) -> list[str]:
    """The ids that ``names`` mean: an id itself, or the end of one. Raises UnknownDocument.

    >>> ids_of(["tea.md"], {"file:///docs/tea.md", "file:///docs/cup.md"}, collection="default")
    ['file:///docs/tea.md']
    """
    return [name if name in ids else _ending(name, ids, collection) for name in names]


def _ending(name: str, ids: AnyOf[str], collection: str) -> str:
    ending = sorted(id for id in ids if id.endswith(f"/{name.removeprefix('./')}"))
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise UnknownDocument(f"{name!r} may be any of {', '.join(ending[:5])}; give more of its path")
    raise UnknownDocument(f"no document {name!r} in collection {collection!r}; rag documents list names them")


def remove_under(catalogue: Catalogue, collection: str, under: str, *, space: Space) -> int:
    """Forget what came from a folder, a file or the start of an address; how many documents that were.

    Raises NotFound where nothing did.
    """
    prefix = under if "://" in under or ":" in under.split("/")[0] else uri_of(Path(under).absolute())
    ledger = catalogue.ledger(collection)
    uris = [
        uri
        for uri in ledger.items(prefix)
        if uri == prefix or prefix.endswith("/") or uri[len(prefix)] in "/#"
    ]
    if not uris:
        raise NotFound(f"nothing in {collection!r} came from {under}; rag documents list names what is there")
    documents = sum(len(ledger.digests(uri)) for uri in uris)
    with catalogue.writer(collection, space, wait=5.0) as writer:
        none = np.zeros((0, space.embedder.dim), dtype=np.float32)
        writer.commit([RemoveItem(uri) for uri in uris], hashes=(), vectors=none)
    return documents
