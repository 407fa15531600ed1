"""A judged set from documents: drafts of every kind, checked, balanced over kinds, languages, documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rag.errors import EvaluationError
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement, quoted
from rag.evaluate.synthetic.checks import Checked, Search, check, check_unanswerable
from rag.evaluate.synthetic.material import Material, spread
from rag.evaluate.synthetic.reading import Reading
from rag.evaluate.synthetic.values import BASES, HELD_OUT, KINDS, WRITTEN, Draft, dice
from rag.evaluate.synthetic.variants import mistyped, paraphrased
from rag.types import Document, Query, text_digest

JUDGE = "synthetic"
"""Whose judgements they are: nobody's."""
MIX: Mapping[str, float] = MappingProxyType(
    {"heading": 1.0, "fact": 1.0, "terms": 1.0, "typo": 1.0, "paraphrase": 1.0, WRITTEN: 2.0}
)
"""Shares of the kinds: equal, set before anything was measured. bench/README.md has tau kind by kind."""
WITHIN = 50
"""A question stays when its evidence is among so many hits of at least one system."""
TRIES = 5
"""Drafts that are checked for a question that is wanted, at most: each is a search."""

DOCUMENTS, FEWEST = 3, 60
"""Documents that drafts are made of, for a question that is wanted; and at least so many."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A set, and how it came about: ``drafts`` were checked, ``dropped`` of them for each reason;
    ``read`` documents gave them, and ``left_out`` ones must not be searched."""

    judged: JudgedSet
    read: int
    drafts: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = field(default=(), repr=False)

    @property
    def sizes(self) -> Mapping[Key, int]:
        """Questions by kind and language, those without an answer too."""
        asked = (*self.judged.queries, *self.judged.unanswerable)
        return Counter((str(each.metadata["kind"]), str(each.metadata["language"])) for each in asked)


def synthesise(
    name: str,
    documents: Iterable[Document] | Material,
    search: Search,
    *,
    size: int = 200,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    within: int = WITHIN,
    clear: bool = True,
    hold_out: float = 0.0,
    written: Callable[[Sequence[Reading]], Iterable[Draft]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthetic:
    """A set of about ``size`` questions about ``documents``, which ``search`` searches.

    ``within`` and ``clear`` are what the check asks for (0 and False: nothing). With ``hold_out`` this share
    of the documents is left out, and as large a share of the questions is about them: they have no answer.
    ``written`` gives drafts of a language model. ``documents`` that are asked for several sets are read once,
    as ``Material`` (whose seed counts). The same documents and seed give the same set. Raises
    EvaluationError for an unknown kind, or where no question could be made.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise EvaluationError(f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    if size < 1 or not 0 <= hold_out <= 0.5:
        raise EvaluationError(f"size {size}, hold_out {hold_out}: choose a size from 1 on, and 0 to 0.5")
    material = documents if isinstance(documents, Material) else Material.of(documents, seed=seed)
    readings = material.readings
    apart = readings[: round(hold_out * len(readings))]
    there = readings[len(apart) :]
    unanswerable = round(hold_out * size) if apart else 0
    left_out = tuple(each.document.id for each in apart)
    making = _Making(material, search, within, clear, frozenset(left_out), progress, size)
    asked = making.answerable(there, kinds, size - unanswerable, written)
    none = making.unanswerable(apart, unanswerable)
    if not asked:
        raise EvaluationError(
            f"no question could be made of {len(readings)} documents: {_reasons(making.dropped)}; "
            "documents of some sentences each are needed"
        )
    return Synthetic(
        _set(name, asked, none, {each.document.id: each for each in readings}),
        read=len(readings),
        drafts=making.checked,
        dropped=MappingProxyType(dict(making.dropped)),
        left_out=left_out,
    )


class _Making:
    def __init__(
        self,
        material: Material,
        search: Search,
        within: int,
        clear: bool,
        left_out: Collection[str],
        progress: Callable[[int, int], None] | None,
        size: int,
    ) -> None:
        self._material = material
        self._vocabulary = material.vocabulary
        self._search = search
        self._seed = material.seed
        self._within = within
        self._clear = clear
        self._left_out = left_out
        self._progress = progress
        self._size = size
        self._kept = 0
        self._asked: set[str] = set()
        self.dropped: Counter[str] = Counter()
        self.checked = 0

    def answerable(
        self,
        readings: Sequence[Reading],
        kinds: Sequence[str],
        size: int,
        written: Callable[[Sequence[Reading]], Iterable[Draft]] | None,
    ) -> list[Checked]:
        by_id = {each.document.id: each for each in readings}
        cells = self._cells(readings, kinds)
        if written is not None:
            cells[WRITTEN, ""] = iter(written(readings))
        of_kind = Counter(kind for kind, _ in cells)
        weights = {cell: MIX[cell[0]] / of_kind[cell[0]] for cell in cells}
        filled: Counter[Key] = Counter()
        taken: set[tuple[str, int]] = set()
        kept: list[Checked] = []
        while cells and len(kept) < size and self.checked < TRIES * self._size:
            cell = min(cells, key=lambda each: ((filled[each] + 1) / weights[each], each))
            draft = next(cells[cell], None)
            if draft is None:
                del cells[cell]
            elif (place := (draft.document_id, draft.start)) not in taken:
                taken.add(place)
                if found := self._through(draft, cell[0], by_id[draft.document_id]):
                    kept.append(found)
                    filled[cell] += 1
        return kept

    def unanswerable(self, readings: Sequence[Reading], size: int) -> list[Checked]:
        by_id = {each.document.id: each for each in readings}
        asking = [draft for each in readings for draft in self._material.drafts(each, ("fact",))]
        kept: list[Checked] = []
        for draft in spread(asking, self._seed):
            if len(kept) == size:
                break
            self.checked += 1
            found = check_unanswerable(
                draft, by_id[draft.document_id], self._search, self._vocabulary, left_out=self._left_out
            )
            if self._stays(found):
                kept.append(replace(found, draft=found.draft.varied(found.draft.text, HELD_OUT)))
        return kept

    def _cells(self, readings: Sequence[Reading], kinds: Sequence[str]) -> dict[Key, Iterator[Draft]]:
        """The drafts of each kind and language. Variants are of the other kinds' drafts."""
        cells: dict[Key, list[Draft]] = {}
        for draft in self._first(readings):
            for kind in kinds:
                of = {"typo": BASES, "paraphrase": ("heading", "fact")}.get(kind, (kind,))
                if draft.kind in of:
                    cells.setdefault((kind, draft.language), []).append(draft)
        return {cell: iter(spread(each, self._seed, cell[0])) for cell, each in sorted(cells.items())}

    def _first(self, readings: Sequence[Reading]) -> Iterator[Draft]:
        """The drafts of enough documents of each language: nobody waits for those of a million."""
        of_language: Counter[str] = Counter()
        for reading in readings:
            of_language[reading.language] += 1
            if of_language[reading.language] <= max(FEWEST, DOCUMENTS * self._size):
                yield from self._material.drafts(reading, BASES)

    def _through(self, draft: Draft, kind: str, reading: Reading) -> Checked | None:
        """A draft that was checked, and then varied: what is found and clear is that as it was written."""
        self.checked += 1
        found = Checked(draft)
        if self._within or self._clear:
            found = check(
                draft,
                reading,
                self._search,
                self._vocabulary,
                within=self._within,
                left_out=self._left_out,
            )
            if not self._clear and found.refused == "ambiguous":
                found = Checked(draft)
        if not found.refused and kind not in (draft.kind, WRITTEN):
            random = dice(self._seed, kind, draft.document_id, draft.start)
            text = (
                mistyped(found.draft.text, draft.language, random)
                if kind == "typo"
                else paraphrased(found.draft.text, draft.language, random, self._vocabulary)
            )
            refused = "" if text else "nothing to change"
            found = replace(found, draft=found.draft.varied(text, kind), refused=refused)
        return found if self._stays(found) else None

    def _stays(self, found: Checked) -> bool:
        refused = found.refused
        if not refused and (text := found.draft.text.casefold()) in self._asked:
            refused = "asked already"
        elif not refused:
            self._asked.add(text)
        if refused:
            self.dropped[refused] += 1
            return False
        self._kept += 1
        if self._progress is not None:
            self._progress(self._kept, self._size)
        return True


def _set(
    name: str, asked: Sequence[Checked], none: Sequence[Checked], readings: Mapping[str, Reading]
) -> JudgedSet:
    queries: list[Query] = []
    judgements: list[Judgement] = []
    for number, found in enumerate((*asked, *none), 1):
        draft = found.draft
        # Kept judgements outlive the questions of a set: another question must have another id.
        id = f"s{text_digest(f'{draft.document_id} {draft.text}')[:10]}"
        about = {"kind": draft.kind, "language": draft.language, "document": draft.document_id}
        queries.append(Query(id, draft.text, metadata=about))
        if number <= len(asked):
            text = readings[draft.document_id].document.text
            judgements.append(quoted(id, draft.document_id, text, draft.start, draft.end, judge=JUDGE))
            judgements += [replace(each, query_id=id, judge=JUDGE) for each in found.also]
    return JudgedSet.of(name, queries[: len(asked)], judgements, unanswerable=queries[len(asked) :])


def _reasons(dropped: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    return told or "they hold no prose that can be asked about"
