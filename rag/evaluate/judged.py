"""Judged sets: questions, and which documents, and which words of them, answer them according to people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rag.errors import EvaluationError
from rag.evaluate.judgements import Judgement, Qrels, consensus, last_words
from rag.types import Document, Query, text_digest

Corpus = Callable[[], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Questions with judgements; make one with :meth:`of`.

    ``questions`` are in the order given, ``unanswerable`` others that are known to have no answer.
    ``judgements`` are the last words of every judge, ``qrels`` what they come to. ``corpus`` gives the set's
    own documents, one at a time; None: it is asked of a collection. ``source`` is the path of what it was
    read from, "" of a kept set.
    """

    name: str
    questions: tuple[Query, ...] = field(repr=False)
    qrels: Qrels = field(repr=False)
    judgements: tuple[Judgement, ...] = field(repr=False)
    unanswerable: tuple[Query, ...] = field(default=(), repr=False)
    corpus: Corpus | None = field(default=None, repr=False, compare=False)
    source: str = field(default="", compare=False)

    @staticmethod
    def of(
        name: str,
        questions: Iterable[Query],
        judgements: Iterable[Judgement],
        *,
        unanswerable: Iterable[Query] = (),
        corpus: Corpus | None = None,
        source: str = "",
    ) -> JudgedSet:
        """The set of these. Judgements of questions that are not among them are left out.

        Raises EvaluationError where an id stands twice.

        >>> judged = JudgedSet.of("faq", [Query("q", "When?"), Query("r", "Who?")], [Judgement("q", "d")])
        >>> [query.id for query in judged.queries], judged.without_relevant, dict(judged.qrels["q"])
        (['q'], ('r',), {'d': 1})
        """
        asked, none = tuple(questions), tuple(unanswerable)
        ids = [query.id for query in (*asked, *none)]
        if len(known := set(ids)) < len(ids):
            twice = next(id for id in known if ids.count(id) > 1)
            raise EvaluationError(f"{name}: two questions have the id {twice!r}; ids must be unique")
        kept = tuple(each for each in last_words(judgements) if each.query_id in known)
        return JudgedSet(name, asked, consensus(kept), kept, none, corpus, source)

    @property
    def queries(self) -> tuple[Query, ...]:
        """The questions with at least one relevant document: those that a ranking can score on."""
        return tuple(query for query in self.questions if self._relevant(query))

    @property
    def without_relevant(self) -> tuple[str, ...]:
        """The ids of the others: not judged, or nothing found."""
        return tuple(query.id for query in self.questions if not self._relevant(query))

    def _relevant(self, query: Query) -> bool:
        return max(self.qrels.get(query.id, {}).values(), default=0) > 0

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of questions and judgements: two runs on the same digest were judged alike."""
        plain = [
            [[query.id, query.text] for query in (*self.questions, *self.unanswerable)],
            sorted([each.query_id, each.document_id, each.quotation, each.grade] for each in self.judgements),
        ]
        return text_digest(json.dumps(plain, ensure_ascii=False))

    def documents(self) -> Iterator[Document]:
        """The set's documents. Raises EvaluationError without any, and what reading them raises."""
        if self.corpus is None:
            raise EvaluationError(f"{self.name} has no documents of its own: name a collection to ask")
        return self.corpus()
