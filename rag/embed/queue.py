"""The one queue of batches of an embedder: questions go ahead of documents, waiting questions are joined."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from rag.types import Vectors

T = TypeVar("T")


class Engine(Protocol):
    """Runs one batch of prepared texts. Items of one ``length`` may share a batch."""

    @property
    def workers(self) -> int:
        """How many batches may run at once."""

    def prepare(self, texts: Sequence[str]) -> list[tuple[int, Any]]:
        """For each text its length and the form in which ``run`` takes it."""

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Positions into ``lengths``, grouped into the batches that run best."""

    def run(self, items: Sequence[Any]) -> Vectors:
        """Unit rows, one for each item. Called from worker threads."""

    def run_whole(self, items: Sequence[Any]) -> tuple[Vectors, Vectors]:
        """The same, and unit rows for the tokens of each item, shape (items, tokens, dim)."""


@dataclass(slots=True, eq=False)
class _Job:
    """The texts of one call of ``embed``, in pieces; ``done`` is set when all rows are in or one failed.

    ``keep`` makes of the token vectors of a text what is ``kept`` of them; None where nothing is."""

    out: Vectors
    waiting: int
    keep: Callable[[Vectors], Any] | None = None
    kept: list[Any] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Batch:
    job: _Job
    rows: list[int]
    items: list[Any]
    length: int


class BatchQueue:
    """Worker threads over an engine. Any thread may call ``run``; it returns when its own rows are in."""

    def __init__(self, engine: Engine, *, dim: int, max_questions: int = 32) -> None:
        self._engine, self._dim, self._max = engine, dim, max_questions
        self._questions: deque[_Batch] = deque()
        self._documents: deque[_Batch] = deque()
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def run(self, texts: Sequence[str], *, ahead: bool) -> Vectors:
        """Vectors of ``texts``, in order. ``ahead`` of every batch that was not sent ahead itself."""
        return self._done(texts, None, ahead=ahead).out

    def run_whole(
        self, texts: Sequence[str], keep: Callable[[Vectors], T], *, ahead: bool
    ) -> tuple[Vectors, list[T]]:
        """The same, and what ``keep`` makes of each text's token vectors, special tokens among them. It is
        called from worker threads."""
        job = self._done(texts, keep, ahead=ahead)
        return job.out, job.kept

    def _done(self, texts: Sequence[str], keep: Callable[[Vectors], Any] | None, *, ahead: bool) -> _Job:
        job = _Job(np.empty((len(texts), self._dim), dtype=np.float32), len(texts), keep)
        if not texts:
            return job
        if keep is not None:
            job.kept = [None] * len(texts)
        slice_size = 1024  # tokenise one slice while the workers run the one before it
        for start in range(0, len(texts), slice_size):
            prepared = self._engine.prepare(texts[start : start + slice_size])
            groups = self._engine.batches([length for length, _ in prepared])
            self._put(
                [
                    _Batch(
                        job,
                        [start + i for i in group],
                        [prepared[i][1] for i in group],
                        max(prepared[i][0] for i in group),
                    )
                    for group in groups
                ],
                ahead=ahead,
            )
            if job.error is not None:
                break
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job

    def close(self) -> None:
        """End the threads; batches that were not run yet fail."""
        with self._wake:
            self._closed = True
            for batch in (*self._questions, *self._documents):
                _fail(batch.job, RuntimeError("the embedder was closed"))
            self._questions.clear()
            self._documents.clear()
            self._wake.notify_all()

    def _put(self, batches: Sequence[_Batch], *, ahead: bool) -> None:
        with self._wake:
            if self._closed:
                raise RuntimeError("the embedder was closed")
            (self._questions if ahead else self._documents).extend(batches)
            while len(self._threads) < self._engine.workers:
                thread = threading.Thread(target=self._work, name="embedder", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._wake.notify(len(batches))

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._questions or self._documents or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
                batches = self._take()
            self._do(batches)

    def _take(self) -> list[_Batch]:
        if not self._questions:
            return [self._documents.popleft()]
        first = self._questions.popleft()
        alike = [b for b in self._questions if b.length == first.length][: self._max - 1]
        for batch in alike:
            self._questions.remove(batch)
        return [first, *alike]

    def _do(self, batches: Sequence[_Batch]) -> None:
        wanted = [batch for batch in batches if batch.job.error is None]
        if not wanted:
            return
        items = [item for batch in wanted for item in batch.items]
        try:
            if any(batch.job.keep for batch in wanted):
                vectors, tokens = self._engine.run_whole(items)
                _keep(wanted, tokens)
            else:
                vectors = self._engine.run(items)
        except Exception as error:
            for batch in wanted:
                _fail(batch.job, error)
            return
        start = 0
        for batch in wanted:
            end = start + len(batch.rows)
            batch.job.out[batch.rows] = vectors[start:end]
            start = end
        with self._wake:
            for batch in wanted:
                batch.job.waiting -= len(batch.rows)
                if batch.job.waiting == 0:
                    batch.job.done.set()


def _keep(batches: Sequence[_Batch], tokens: Vectors) -> None:
    start = 0
    for batch in batches:
        if batch.job.keep is not None:
            for row, of_text in zip(batch.rows, tokens[start:], strict=False):
                batch.job.kept[row] = batch.job.keep(of_text)
        start += len(batch.rows)


def _fail(job: _Job, error: Exception) -> None:
    job.error = error
    job.done.set()
