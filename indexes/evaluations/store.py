"""Judged sets, judgements, runs and verdicts of a data folder.

In a database of its own, whose lock is held for milliseconds: people judge and scripts evaluate while an
ingest of hours holds the catalogue's. Judgements are only ever added; runs are written once.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from indexes.evaluations.schema import EVALUATIONS
from indexes.store import Store, transaction
from rag.errors import NotFound
from rag.evaluate import Evaluation, JudgedSet, Judgement
from rag.trace import stamp
from rag.types import Metadata, Query

PATIENCE = 5.0
"""Seconds to wait for another writer, who needs milliseconds."""
_JUDGEMENT = "query_id, document_id, grade, quotation, start, before, after, judge, at, note"
_SETS = (
    "SELECT s.name, s.at, s.corpus, s.note, "
    "(SELECT count(*) FROM questions q WHERE q.set_id = s.id AND NOT q.unanswerable), "
    "(SELECT count(*) FROM questions q WHERE q.set_id = s.id AND q.unanswerable), "
    "(SELECT count(*) FROM judgements j WHERE j.set_id = s.id) FROM sets s ORDER BY s.name"
)


class KeptRun(NamedTuple):
    """What lists show of a run. ``scores`` are its means, by measure."""

    id: int
    at: str
    set_name: str
    set_digest: str
    system: str
    scores: Mapping[str, float]


class KeptSet(NamedTuple):
    """What lists show of a set: how many questions with and without an answer, how many judgements were ever
    made; ``corpus`` is the path of its own documents, "" without any."""

    name: str
    at: str
    corpus: str
    note: str
    questions: int
    unanswerable: int
    judgements: int


class KeptVerdict(NamedTuple):
    """A comparison or a gate as it was told, with the runs that it was of."""

    id: int
    at: str
    kind: str
    data: Mapping[str, Any]


class EvaluationStore:
    """The evaluations of a data folder, for any number of threads and processes.

    >>> import tempfile
    >>> from rag.evaluate import Run
    >>> one = Evaluation(Run.of("hybrid", {"q": [("d", 1.0)]}), {"RR@10": {"q": 1.0}}, set_name="faq")
    >>> with tempfile.TemporaryDirectory() as folder, EvaluationStore.open(Path(folder), create=True) as kept:
    ...     id = kept.add(one).id
    ...     id, kept.run(id).scores, [run.system for run in kept.runs(set_name="faq")]
    (1, {'RR@10': 1.0}, ['hybrid'])
    """

    def __init__(self, store: Store) -> None:
        """Use :meth:`open`."""
        self.store = store

    @classmethod
    def open(cls, data: Path, *, create: bool = False) -> Self:
        """The store of a data folder. Raises NotFound where there is none and ``create`` is False,
        SchemaTooNew, CatalogueDamaged."""
        if not create and not (data / EVALUATIONS.file).is_file():
            raise NotFound(f"nothing was evaluated or judged in {data} yet: {EVALUATIONS.mend}")
        return cls(Store(data, create=create, database=EVALUATIONS))

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self.store.writing(wait=PATIENCE) as db, transaction(db):
            yield db

    # --- runs ---------------------------------------------------------------------------------

    def add(self, evaluation: Evaluation) -> Evaluation:
        """Keep a run; the same with its id. Raises LockHeld."""
        data = json.dumps(evaluation.as_json(), ensure_ascii=False, separators=(",", ":"))
        packed = zlib.compress(data.encode("utf-8", "surrogatepass"), 3)
        with self._changing() as db:
            row = (
                *(evaluation.at, evaluation.set_name, evaluation.set_digest, evaluation.system),
                json.dumps(dict(evaluation.scores)),
            )
            id = db.execute(
                "INSERT INTO runs(at, set_name, set_digest, system, scores) VALUES(?, ?, ?, ?, ?)", row
            ).lastrowid
            db.execute("INSERT INTO wholes VALUES(?, ?)", (id, packed))
        return Evaluation.from_json(json.loads(data), id=id or 0)

    def run(self, id: int) -> Evaluation:
        """A run, whole. Raises NotFound."""
        with self.store.reading() as db:
            row = db.execute("SELECT data FROM wholes WHERE run = ?", (id,)).fetchone()
        if row is None:
            raise NotFound(f"no run {id}; rag eval runs lists those there are")
        return Evaluation.from_json(
            json.loads(zlib.decompress(row[0]).decode("utf-8", "surrogatepass")), id=id
        )

    def runs(self, *, set_name: str = "", system: str = "") -> list[KeptRun]:
        """The runs of a set and a system ("": of all), newest first."""
        with self.store.reading() as db:
            rows = db.execute(
                "SELECT id, at, set_name, set_digest, system, scores FROM runs "
                "WHERE ? IN ('', set_name) AND ? IN ('', system) ORDER BY id DESC",
                (set_name, system),
            ).fetchall()
        return [
            KeptRun(id, at, name, digest, by, json.loads(scores)) for id, at, name, digest, by, scores in rows
        ]

    def remove_runs(self, ids: Sequence[int]) -> None:
        """Forget runs. Raises NotFound, and forgets none, where one is not there; LockHeld."""
        with self._changing() as db:
            for id in ids:
                if not db.execute("DELETE FROM runs WHERE id = ?", (id,)).rowcount:
                    raise NotFound(f"no run {id}; rag eval runs lists those there are")

    # --- verdicts -----------------------------------------------------------------------------

    def keep_verdict(self, kind: str, data: Mapping[str, Any]) -> int:
        """Keep what a comparison or a gate said; its id. Raises LockHeld."""
        with self._changing() as db:
            row = (_now(), kind, json.dumps(data, ensure_ascii=False))
            return db.execute("INSERT INTO verdicts(at, kind, data) VALUES(?, ?, ?)", row).lastrowid or 0

    def verdicts(self) -> list[KeptVerdict]:
        """Every verdict, newest first."""
        with self.store.reading() as db:
            rows = db.execute("SELECT id, at, kind, data FROM verdicts ORDER BY id DESC").fetchall()
        return [KeptVerdict(id, at, kind, json.loads(data)) for id, at, kind, data in rows]

    # --- sets ---------------------------------------------------------------------------------

    def put_set(self, judged: JudgedSet, *, corpus: str = "", note: str = "") -> None:
        """Keep a set under its name. One that is there gets these questions in place of its own; of the
        judgements, those that it does not have are added, and none is lost. Raises LockHeld."""
        with self._changing() as db:
            db.execute(
                "INSERT INTO sets(name, at, corpus, note) VALUES(?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET "
                "corpus = excluded.corpus, note = excluded.note",
                (judged.name, _now(), corpus, note),
            )
            key = _key(db, judged.name)
            known = set(_judgements(db, key))
            db.execute("DELETE FROM questions WHERE set_id = ?", (key,))
            _ask(db, key, judged.questions, judged.unanswerable)
            _judge(db, key, [each for each in judged.judgements if each not in known])

    def judged_set(self, name: str) -> JudgedSet:
        """A set with every judge's last words, without a corpus. Raises NotFound."""
        with self.store.reading() as db:
            key = _key(db, name)
            asked: tuple[list[Query], list[Query]] = ([], [])
            for id, text, metadata, unanswerable in db.execute(
                "SELECT id, text, metadata, unanswerable FROM questions WHERE set_id = ? ORDER BY key", (key,)
            ):
                asked[unanswerable].append(Query(id, text, metadata=_metadata(metadata)))
            return JudgedSet.of(name, asked[0], _judgements(db, key), unanswerable=asked[1])

    def sets(self) -> list[KeptSet]:
        """Every set, by name."""
        with self.store.reading() as db:
            return [KeptSet(*row) for row in db.execute(_SETS)]

    def remove_set(self, name: str) -> None:
        """Forget a set with its judgements; runs on it stay. Raises NotFound, LockHeld."""
        with self._changing() as db:
            db.execute("DELETE FROM sets WHERE id = ?", (_key(db, name),))

    def ask(self, name: str, questions: Sequence[Query], *, unanswerable: Sequence[Query] = ()) -> None:
        """Add questions to a set, which is made where it is not; one whose id is there is replaced.

        Raises LockHeld.
        """
        with self._changing() as db:
            db.execute(
                "INSERT INTO sets(name, at, corpus, note) VALUES(?, ?, '', '') ON CONFLICT DO NOTHING",
                (name, _now()),
            )
            _ask(db, _key(db, name), questions, unanswerable)

    def judge(self, name: str, judgements: Sequence[Judgement]) -> None:
        """Add judgements to a set. Raises NotFound, LockHeld."""
        with self._changing() as db:
            _judge(db, _key(db, name), judgements)

    def judgements(self, name: str) -> list[Judgement]:
        """Every judgement ever made in a set, in order. Raises NotFound."""
        with self.store.reading() as db:
            return _judgements(db, _key(db, name))


def _metadata(text: str) -> Metadata:
    given = json.loads(text)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _now() -> str:
    return stamp(datetime.now(UTC))


def _key(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM sets WHERE name = ?", (name,)).fetchone()
    if row is None:
        known = [each[0] for each in db.execute("SELECT name FROM sets ORDER BY name LIMIT 10")]
        there = f"there are {', '.join(known)}" if known else "there are none yet"
        raise NotFound(f"no judged set {name!r}; {there} (rag eval sets)")
    return int(row[0])


def _ask(db: sqlite3.Connection, key: int, questions: Sequence[Query], unanswerable: Sequence[Query]) -> None:
    db.executemany(
        "INSERT INTO questions(set_id, id, text, metadata, unanswerable) VALUES(?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET text = excluded.text, metadata = excluded.metadata, "
        "unanswerable = excluded.unanswerable",
        [
            (key, each.id, each.text, json.dumps(dict(each.metadata), ensure_ascii=False), without)
            for without, queries in ((0, questions), (1, unanswerable))
            for each in queries
        ],
    )


def _judge(db: sqlite3.Connection, key: int, judgements: Sequence[Judgement]) -> None:
    db.executemany(
        f"INSERT INTO judgements(set_id, {_JUDGEMENT}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(key, each.query_id, each.document_id, each.grade, each.quotation, each.start),
                *(each.before, each.after, each.judge, each.at, each.note),
            )
            for each in judgements
        ],
    )


def _judgements(db: sqlite3.Connection, key: int) -> list[Judgement]:
    found = db.execute(f"SELECT {_JUDGEMENT} FROM judgements WHERE set_id = ? ORDER BY key", (key,))  # noqa: S608
    return [Judgement(*row) for row in found]
