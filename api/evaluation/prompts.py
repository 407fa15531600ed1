"""Prompts x models: every cell run, whatever becomes of the others, and its answers held against the context.

Free of terminals: the command and the server call the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from api.prompts.testing import Answering, Target, results, selected, targets
from rag.context import Context
from rag.errors import ModelError, NotFound, PromptError, RagError
from rag.evaluate.grounded import Evidence, Groundedness, grounded
from rag.evaluate.judge_model import Graded, Labelled, Trust, judged, trust
from rag.evaluate.matrix import Cell, Matrix, test_keys
from rag.prompts.testing.guarded import read_json
from rag.prompts.testing.recorded import Recordings
from rag.prompts.testing.runs import EXTRACTIVE, Result
from rag.prompts.testing.suite import Given
from rag.protocols import ChatModel, Embedder, Message

if TYPE_CHECKING:
    from api.services import Services

CellDone: TypeAlias = Callable[[Cell], None]


@dataclass(frozen=True, slots=True)
class Column:
    """What answers one column: the language model of this name, or the answers that ``recorded`` holds of it;
    without a model the answers are extractive. ``chat`` answers in place of the model of that name."""

    label: str
    model: str = ""
    recorded: Recordings | None = None
    chat: ChatModel | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """A language model that judges groundedness, and how far it agrees with people."""

    model: ChatModel
    trust: Trust


@dataclass(frozen=True, slots=True)
class Asked:
    """How the cells are run: ``file`` has other tests for every prompt, ``only`` is a part of the
    descriptions wanted, ``jobs`` tests are put to a model at a time, ``grounded`` holds answers against
    their context, and ``judge`` is asked of them too."""

    file: Path | None = None
    only: str = ""
    collection: str | None = None
    jobs: int = 1
    grounded: bool = True
    judge: Judge | None = None


def columns(services: Services, *, models: Sequence[str] = (), recorded: Sequence[Path] = ()) -> list[Column]:
    """The columns that are asked for, in this order; the model of the settings, or extractive answers, where
    none is. ``extractive`` is named as a model is. Raises PromptError for a recording that cannot be read or
    is empty."""
    names = list(dict.fromkeys(models))
    if not names and not recorded:
        names = [services.settings.llm.model or EXTRACTIVE]
    found = [Column(name, "" if name == EXTRACTIVE else name) for name in names]
    for path in recorded:
        kept = Recordings.read(path)
        if not kept.models():
            raise PromptError(f"{path} holds no answers")
        for model in kept.models():
            taken = {column.label for column in found}
            label = model if model not in taken else f"{model} ({path.name})"
            if label in taken:
                raise PromptError(f"{path} is named twice, or two recordings of {model} are called alike")
            found.append(Column(label, model, kept))
    return found


def run_matrix(
    services: Services,
    references: Sequence[str],
    across: Sequence[Column],
    *,
    asked: Asked = Asked(),
    baseline: str = "",
    margin: float = 0.05,
    done: CellDone = lambda _: None,
) -> Matrix:
    """Every prompt, of all that have tests where none is named, answered by every column.

    A cell that cannot be run is one with an error, and the others go on. Raises UnknownPrompt, NotFound and
    PromptError for prompts and tests that are not there or cannot be read, or a baseline that is no column.
    """
    names = [column.label for column in across]
    if baseline and baseline not in names:
        raise NotFound(f"no column {baseline!r} to compare with; there are {', '.join(names)}")
    chosen = [(target, selected(target, asked.only)) for target in _targets(services, references, asked.file)]
    if not any(cases for _, cases in chosen):
        raise NotFound(f"no test's description holds {asked.only!r}" if asked.only else "there are no tests")
    holding = _Holding(services.embedder) if asked.grounded else None
    cells = []
    for target, cases in chosen:
        if not cases:
            continue
        for column in across:
            cell = _cell(services, target, column, asked)
            if holding is not None:
                cell = replace(cell, grounded=holding.of(target, cell.results))
            if asked.judge is not None:
                cell = _graded(cell, asked.judge)
            cells.append(cell)
            done(cell)
    return Matrix(tuple(cells), baseline=baseline or names[0], margin=margin)


def judge_named(
    services: Services, name: str, labels: Sequence[Labelled], *, least: float, jobs: int = 1
) -> Judge:
    """The language model of this name as a judge, its agreement measured on these labels. Raises ModelError,
    InvalidSetting."""
    from api.services import connect

    llm = services.settings.llm.model_copy(update={"model": name})
    with connect(services.settings.model_copy(update={"llm": llm})) as own:
        model = own.chat
    if model is None:
        raise PromptError("name the language model that judges: --judge-model MODEL")
    return Judge(model, trust(model, labels, least=least, jobs=jobs))


def labels_from_traces(services: Services) -> tuple[Labelled, ...]:
    """The answers that people gave a thumb up or down, with the passages they were made from, where these
    still stand in the knowledge base. A thumb says more and less than groundedness: labels are better.

    Raises NotFound where there are none.
    """
    from api.prompts.passages import shown
    from indexes.traces import Wanted

    catalogue = services.catalogue()
    found: list[Labelled] = []
    with services.traces() as store:
        traces = [trace for trace in store.find(Wanted(feedback="any")) if trace.kept == "text"]
        said = store.said(trace.id for trace in traces)
    for trace in traces:
        scores = [each.score for each in said[trace.id] if each.score is not None]
        passages: dict[int, Given] = {}
        chunks = shown(catalogue, trace)
        for chunk in chunks:
            before = passages[chunk.passage].text + "\n\n" if chunk.passage in passages else ""
            passages[chunk.passage] = Given(before + chunk.text, chunk.title)
        if scores and trace.answer and chunks and all(chunk.text for chunk in chunks):
            context = tuple(passages[number] for number in sorted(passages))
            found.append(Labelled(trace.answer, context, scores[-1] >= 0.5, trace.question))
    if not found:
        raise NotFound(
            "no trace has feedback and passages that still stand there; `rag feedback` says something of an "
            "answer, or give --labels FILE"
        )
    return tuple(found)


# --- one cell ------------------------------------------------------------------------------------


def _targets(services: Services, references: Sequence[str], file: Path | None) -> Iterator[Target]:
    if file is None or not references:
        yield from targets(services, tuple(references), file=file)
        return
    for name in dict.fromkeys(references):
        yield from targets(services, (name,), file=file)


class _Reached:
    """A chat model that is given up once it could not be reached, before it ever answered: a model that is
    down is asked once, not once a test."""

    def __init__(self, model: ChatModel) -> None:
        self.name = model.name
        self._model = model
        self._answered = False
        self.lost = ""

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        if self.lost:
            raise ModelError(self.lost)
        try:
            for piece in self._model.stream(messages):
                self._answered = True
                yield piece
        except ModelError as error:
            if not self._answered:
                self.lost = str(error)
            raise

    @property
    def parameters(self) -> Mapping[str, object]:
        return dict(getattr(self._model, "parameters", {}))


def _cell(services: Services, target: Target, column: Column, asked: Asked) -> Cell:
    from api.services import connect

    template = target.template
    cell = Cell(target.name, column.label, target.suite.digest, category=template.category)
    llm = services.settings.llm.model_copy(update={"model": column.model})
    reached: _Reached | None = None
    cases = selected(target, asked.only)
    try:
        with connect(services.settings.model_copy(update={"llm": llm})) as own:
            if column.recorded is None and column.model:
                chat = column.chat or own.chat
                if chat is not None:
                    reached = _Reached(chat)
                    own.chat = reached
            answering = Answering(collection=asked.collection, replay=column.recorded, jobs=asked.jobs)
            found = tuple(results(own, target, cases, answering=answering))
    except RagError as error:
        found = tuple(Result(case, "error", 0.0, str(error), (), "", "", 0.0) for case in cases)
        return replace(cell, results=found, error=str(error))
    return replace(cell, results=found, error=reached.lost if reached else "")


class _Holding:
    """Holds answers against their contexts; the same passages are read once for all cells."""

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder
        self._read: dict[tuple[tuple[str, str], ...], Evidence] = {}

    def of(self, target: Target, found: Sequence[Result]) -> dict[str, Groundedness]:
        """Of each answer in prose that has a context, by the test's key."""
        told = {}
        for key, result in zip(test_keys(found), found, strict=True):
            if result.context is not None and result.context.passages and _prose(result.answer):
                told[key] = grounded(
                    result.answer,
                    result.context,
                    embedder=self._embedder(),
                    evidence=self._evidence(result.context),
                    not_found=target.template.not_found,
                )
        return told

    def _evidence(self, context: Context) -> Evidence:
        place = tuple((passage.source, passage.text) for passage in context.passages)
        if place not in self._read:
            self._read[place] = Evidence(context.passages, self._embedder())
        return self._read[place]


def _prose(answer: str) -> bool:
    """Whether it can be read as claims: JSON cannot."""
    if not answer.strip():
        return False
    try:
        return not isinstance(read_json(answer), dict | list)
    except ValueError:
        return True


def _graded(cell: Cell, judge: Judge) -> Cell:
    """With the judge's verdicts; where it is trusted, a test whose answer is not grounded has failed."""
    said: dict[str, Graded] = {}
    kept: list[Result] = []
    for key, result in cell.by_test.items():
        if result.context is not None and result.context.passages and _prose(result.answer):
            question = str(result.case.vars.get("question", ""))
            said[key] = judged(judge.model, result.answer, result.context, question=question)
            if judge.trust.trusted and result.status == "passed":
                result = _after(result, said[key])
        kept.append(result)
    return replace(cell, results=tuple(kept), judged=said)


def _after(result: Result, verdict: Graded) -> Result:
    if verdict.passed is None:
        return replace(result, status="unevaluated", reason=f"the judge gave no verdict: {verdict.reason}")
    if not verdict.passed:
        return replace(result, status="failed", reason=f"the judge finds it not grounded: {verdict.reason}")
    return result
