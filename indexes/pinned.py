"""A catalogue that searches with one generation of its choice, to compare it with the newest."""

from __future__ import annotations

import sqlite3

from indexes.catalogue import Catalogue
from indexes.generation import Generation, GenerationStore, generations_of
from indexes.kinds import checked
from indexes.settings import IndexSettings
from indexes.store import Store
from indexes.views import Views
from rag.errors import IndexDamaged, NotFound


class PinnedCatalogue(Catalogue):
    """The collection of ``folder`` (``handbook/000003``, as ``rag index list`` names it) is searched with
    that generation, and what is newer than it beside it; every other one with its newest.

    Chunks are judged by the catalogue as it is now: two generations differ in what a close kind of index
    misses, never in which texts there are.
    """

    def __init__(self, store: Store, *, index: IndexSettings, folder: str) -> None:
        super().__init__(store, index=index)
        self.generations = _Pinned(store, checked(index), folder)
        self._views = Views(self.generations)


class _Pinned(GenerationStore):
    def __init__(self, store: Store, settings: IndexSettings, folder: str) -> None:
        super().__init__(store, settings)
        self._folder = folder

    def newest(self, db: sqlite3.Connection, space_id: int | None) -> Generation | None:
        """The one that was chosen, where the space is its own. Raises NotFound, IndexDamaged."""
        infos = generations_of(db, space_id)
        collection = self._folder.rpartition("/")[0]
        if not any(info.folder.rpartition("/")[0] == collection for info in infos):
            return super().newest(db, space_id)
        for info in infos:
            if info.folder == self._folder:
                if isinstance(found := self.load(info), IndexDamaged):
                    raise found
                return found
        there = ", ".join(info.folder for info in infos)
        raise NotFound(f"no generation {self._folder!r} that answers; there are: {there} (rag index list)")
