"""Judging: passages one after the other, blind, graded from 0 to 3, kept as they are said.

No terminal here: a command and a page show what :meth:`Session.current` gives and call what the judge chose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.evaluation.agenda import Agenda
from api.evaluation.candidates import kept, searched, together
from rag.errors import EvaluationError
from rag.evaluate import Judgement
from rag.evaluate.judgements import last_words, quoted
from rag.evaluate.pool import BATCH
from rag.sentences import split_sentences
from rag.trace import stamp
from rag.types import Chunk, Query

if TYPE_CHECKING:
    from api.evaluation.systems import SystemSettings
    from api.services import Services
    from indexes.evaluations.store import EvaluationStore
    from rag.evaluate import Evaluation

GRADES = {
    0: "does not answer, even if it is on the subject",
    1: "answers a small part, or in passing",
    2: "answers in part, or among much else",
    3: "answers",
}
"""From 1 on a passage counts as relevant, the more the higher."""
DEPTH = 10


@dataclass(frozen=True, slots=True)
class Item:
    """One passage for one question, as a judge sees it: never who found it, nor at which rank.

    It is of ``question`` out of ``questions``, and ``number`` out of ``of`` passages for it, from 1 on.
    ``said`` is what the judge gave it in this session, None where nothing: after an undo, that stands until
    it is graded again.
    """

    query: Query
    chunk: Chunk
    question: int
    questions: int
    number: int
    of: int
    said: int | None = None

    @property
    def sentences(self) -> list[str]:
        """The passage's sentences, which ``Session.grade(sentences=…)`` numbers from 1 on."""
        return [self.chunk.text[start:end] for start, end in split_sentences(self.chunk.text)]


class Session:
    """A judge at work on a stored set: look at :meth:`current`, then :meth:`grade` it, or :meth:`skip`, say
    that there is :meth:`no_answer`, or :meth:`undo`.

    Every grade is kept when it is said. First comes a batch of passages of every question, those with fewer
    judgements before others, then the next batch of each. What anybody judged is not asked again; with
    ``second``, what others judged and this judge did not is what is asked. Raises NotFound where there is no
    such set, EvaluationError for one without questions.
    """

    def __init__(
        self,
        store: EvaluationStore,
        name: str,
        agenda: Callable[[dict[str, list[Judgement]]], Agenda],
        *,
        judge: str,
        limit: int | None = None,
        second: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Use :func:`begin`."""
        judged = store.judged_set(name)
        if not judged.questions:
            raise EvaluationError(
                f"{name!r} has no question to judge; add some with --question TEXT, or those that people "
                "asked with --from-traces 20"
            )
        self.name = name
        self.judge = judge
        self._store = store
        self._limit = limit
        self._second = second
        self._now = now
        self._said: dict[str, list[Judgement]] = {}
        for each in store.judgements(name):
            self._said.setdefault(each.query_id, []).append(each)
        self._agenda = agenda(self._said)
        # In a second round others' judgements are everywhere: those of this judge are what is to be evened.
        counts = {
            query.id: sum(not second or each.judge == judge for each in self._said.get(query.id, ()))
            for query in judged.questions
        }
        self._questions = sorted(judged.questions, key=lambda query: counts[query.id])
        self._without_answer: set[str] = set()
        self._shown: list[Item] = []
        self._made: dict[int, list[Judgement]] = {}
        self._at = 0
        self._acts: list[tuple[str, int]] = []
        self._coming = self._items()

    @property
    def graded(self) -> int:
        """How many grades stand of this session."""
        return sum(act == "grade" for act, _ in self._acts)

    def current(self) -> Item | None:
        """What to judge now; None where nothing is left, or as much is done as was asked for."""
        while self._limit is None or self.graded < self._limit:
            if self._at == len(self._shown):
                item = next(self._coming, None)
                if item is None:
                    return None
                self._shown.append(item)
            if self._shown[self._at].query.id not in self._without_answer:
                return self._shown[self._at]
            self._at += 1
        return None

    def grade(
        self, grade: int, *, quotation: str = "", sentences: Sequence[int] = (), note: str = ""
    ) -> list[Judgement]:
        """Say what the passage is worth for the question, by GRADES; what was kept.

        The judgement is of the whole passage, or of the words in it that are the evidence: a ``quotation``,
        in which white space does not count, or the numbers of its ``sentences``, from 1 on. Where the passage
        was graded before in this session, what was said of other words of it is taken back, with grade 0.
        Raises EvaluationError for a grade or a sentence that there is not, words that do not stand in the
        passage, and evidence of what is not relevant.
        """
        item = self._in_hand()
        if grade not in GRADES:
            raise EvaluationError(f"no grade {grade}; there are {', '.join(map(str, GRADES))}")
        if not grade and (quotation.strip() or sentences):
            raise EvaluationError(
                "what does not answer has no evidence: grade it from 1 on, or quote nothing"
            )
        document = self._agenda.document(item.chunk.document_id)
        said = {"grade": grade, "judge": self.judge, "at": stamp(self._now()), "note": note}
        made = [
            quoted(item.query.id, document.id, document.text, start, end, **said)
            for start, end in _evidence(item.chunk, quotation, sentences)
        ]
        places = {(each.start, each.quotation) for each in made}
        taken_back = [
            replace(each, grade=0, at=stamp(self._now()), note="taken back")
            for each in self._made.get(self._at, ())
            if each.grade and (each.start, each.quotation) not in places
        ]
        self._store.judge(self.name, [*taken_back, *made])
        self._said.setdefault(item.query.id, []).extend([*taken_back, *made])
        self._made[self._at] = made
        self._shown[self._at] = replace(item, said=grade)
        self._act("grade")
        return made

    def skip(self) -> None:
        """Go on without a word; it is asked again in another session."""
        self._in_hand()
        self._act("skip")

    def no_answer(self) -> None:
        """Say that nothing in the collection answers the question: it counts as unanswerable from now on.

        Raises EvaluationError where somebody found what does.
        """
        item = self._in_hand()
        found = [each for each in last_words(self._said.get(item.query.id, ())) if each.grade > 0]
        if found:
            raise EvaluationError(
                f"{found[0].judge or 'somebody'} gave {found[0].grade} to a passage of "
                f"{found[0].document_id}, so there is an answer; undo that, or skip this question"
            )
        self._store.ask(self.name, [], unanswerable=[item.query])
        self._without_answer.add(item.query.id)
        self._act("no answer")

    def undo(self) -> bool:
        """Go back to what was graded or skipped last; False where nothing was.

        A grade stands until another one is given, which is then the judge's last word; a question that was
        said to have no answer has one again.
        """
        if not self._acts:
            return False
        act, self._at = self._acts.pop()
        if act == "no answer":
            query = self._shown[self._at].query
            self._store.ask(self.name, [query])
            self._without_answer.discard(query.id)
        return True

    def _act(self, act: str) -> None:
        self._acts.append((act, self._at))
        self._at += 1

    def _in_hand(self) -> Item:
        item = self.current()
        if item is None:
            raise EvaluationError("nothing is left to judge here")
        return item

    def _items(self) -> Iterator[Item]:
        """A batch of every question, then the next of every question; looked for when its turn comes."""
        asked: dict[str, list[Chunk]] = {}
        start = 0
        while start == 0 or any(len(chunks) > start for chunks in asked.values()):
            for number, query in enumerate(self._questions, 1):
                if query.id not in asked:
                    asked[query.id] = (
                        self._agenda.judged_by_others(query, self.judge)
                        if self._second
                        else self._agenda.unjudged(query)
                    )
                chunks = asked[query.id]
                for place, chunk in enumerate(chunks[start : start + BATCH], start + 1):
                    yield Item(query, chunk, number, len(self._questions), place, len(chunks))
            start += BATCH


def begin(
    services: Services,
    store: EvaluationStore,
    name: str,
    *,
    judge: str,
    collection: str = "",
    systems: Sequence[SystemSettings] = (),
    runs: Sequence[Evaluation] = (),
    depth: int = DEPTH,
    limit: int | None = None,
    second: bool = False,
) -> Session:
    """A session over the documents of a collection ("": that in use): what these systems find in it, and what
    these runs found.

    Raises as :class:`Session`, :func:`api.evaluation.candidates.searched` and its ``kept``, and
    UnknownCollection.
    """
    asked = collection or services.settings.collection
    catalogue = services.catalogue()
    catalogue.collection(asked)
    finders = [] if second or not systems else [searched(services, systems, asked, depth=depth)]
    if runs and not second:
        finders.append(kept(services, runs, asked, depth=depth))
    find = together(finders)
    return Session(
        store,
        name,
        lambda said: Agenda(catalogue, asked, find, said, depth=depth),
        judge=judge,
        limit=limit,
        second=second,
    )


def _evidence(chunk: Chunk, quotation: str, sentences: Sequence[int]) -> list[tuple[int, int]]:
    """Where the evidence stands in the document; neighbouring sentences are one span."""
    found: list[tuple[int, int]] = []
    if words := quotation.split():
        match = re.search(r"\s+".join(map(re.escape, words)), chunk.text)
        if match is None:
            raise EvaluationError(
                f"{' '.join(words)[:60]!r} does not stand in the passage; quote it verbatim"
            )
        found.append(match.span())
    places = list(split_sentences(chunk.text))
    last = 0
    for number in sorted(set(sentences)):
        if not 1 <= number <= len(places):
            raise EvaluationError(f"no sentence {number}; the passage has {len(places)}")
        start, end = places[number - 1]
        if last and number == last + 1:
            start, _ = found.pop()
        found.append((start, end))
        last = number
    return [(chunk.start + start, chunk.start + end) for start, end in found or [(0, len(chunk.text))]]
