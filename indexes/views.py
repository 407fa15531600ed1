"""What a process remembers of a collection between searches: its space, its newest generation, what is
newer than that, and which chunks pass a filter. Each is valid for one value of the commit counter.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from indexes.delta import Delta
from indexes.generation import Generation, GenerationStore, changed
from indexes.rows import SPACE, space_of
from indexes.where import passing
from rag.errors import IndexDamaged, UnknownCollection
from rag.filters import EVERYTHING, Filter, Where, of
from rag.protocols import Space
from rag.types import Keys

FILTERS_KEPT = 16
DELTAS_KEPT = 2
"""Of a collection: searches that began before a generation was published still ask beside the old one."""


@dataclass(frozen=True, slots=True)
class View:
    """A collection at one moment: what its searches need, read in their transaction."""

    name: str
    db: sqlite3.Connection
    commit: int
    space_id: int
    space: Space
    generation: Generation | None
    whole: bool
    """Nothing that the generation holds was deleted."""
    delta: Delta


@dataclass(frozen=True, slots=True)
class _Known:
    """What a view of a collection needs of the catalogue, valid for one value of its commit counter."""

    commit: int
    space_id: int
    space: Space | None
    generation: Generation | None
    whole: bool


class Views:
    """What a process remembers between searches. One for a catalogue, shared by its threads."""

    def __init__(self, generations: GenerationStore) -> None:
        self.generations = generations
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._deltas: dict[str, dict[tuple[int, int], Delta]] = {}
        self._allowed: OrderedDict[tuple[int, Filter], tuple[int, Keys]] = OrderedDict()

    def view(self, db: sqlite3.Connection, name: str) -> View | None:
        """The collection as this transaction sees it; None while nothing was put in it.

        Raises UnknownCollection.
        """
        (commits,) = db.execute("SELECT value FROM meta WHERE name = 'commits'").fetchone()
        commit = int(commits)
        known = latest = self._known.get(name)
        if known is None or known.commit != commit:
            known = self._read(db, name, commit)
            if latest is None or latest.commit < commit:  # a search of an earlier moment does not set back
                self._known[name] = known
        if known.space is None:
            return None
        delta = self._delta(name, known.space_id, known.generation, known.space.embedder.dim)
        return View(name, db, commit, known.space_id, known.space, known.generation, known.whole, delta)

    def give_up(self, views: Sequence[View], error: IndexDamaged) -> None:
        """Search these collections without the generation that broke after it was verified: of several
        those that no longer verify, or all where each one does. Raises ``error`` where there is none."""
        held = [(view.name, view.generation) for view in views if view.generation is not None]
        if not held:
            raise error
        broken = [each for each in held if not self.generations.verifies(each[1])] if len(held) > 1 else held
        for name, generation in broken or held:
            self.generations.give_up(generation, error)
            self._known.pop(name, None)

    def _read(self, db: sqlite3.Connection, name: str, commit: int) -> _Known:
        row = db.execute("SELECT space_id FROM collections WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UnknownCollection(f"no collection {name!r}; it was removed")
        if (space_id := row[0]) is None:
            return _Known(commit, 0, None, None, False)
        space = space_of(db.execute(SPACE + " WHERE s.id = ?", (space_id,)).fetchone())
        generation = self.generations.newest(db, space_id)
        whole = False
        if generation is not None:
            _, dead = changed(db, generation.info)
            whole = not dead
        return _Known(commit, space_id, space, generation, whole)

    def _delta(self, name: str, space_id: int, generation: Generation | None, dim: int) -> Delta:
        id, after = (generation.info.id, generation.info.high_key) if generation else (0, 0)
        with self._lock:
            held = self._deltas.setdefault(name, {})
            if (space_id, id) not in held:
                for old in list(held)[: 1 - DELTAS_KEPT or None]:
                    del held[old]
                held[space_id, id] = Delta(space_id, after=after, dim=dim)
            return held[space_id, id]

    def allowed(self, view: View, where: Where) -> Keys | None:
        """The live keys that pass the filter, rising; None when it filters nothing.

        Remembered as long as nothing is committed: both legs of a search ask for the same.
        """
        if (asked := of(where)) == EVERYTHING:
            return None
        ask = view.space_id, asked
        with self._lock:
            commit, keys = self._allowed.get(ask, (-1, None))
            if keys is not None and commit == view.commit:
                self._allowed.move_to_end(ask)
                return keys
        keys = passing(view.db, view.space_id, asked)
        with self._lock:
            self._allowed[ask] = view.commit, keys
            self._allowed.move_to_end(ask)
            while len(self._allowed) > FILTERS_KEPT:
                self._allowed.popitem(last=False)
        return keys
