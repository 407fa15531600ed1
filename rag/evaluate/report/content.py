"""What a report says, as values: computed once, and rendered as a page, as Markdown or as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rag.errors import EvaluationError
from rag.evaluate.compare import LOWER_IS_BETTER, Clusters, Comparison, compare
from rag.evaluate.judged import JudgedSet
from rag.evaluate.moved import Lookup, Moved, moved
from rag.evaluate.report.cells import Cell, cell
from rag.evaluate.report.curve import Curve, curves
from rag.evaluate.report.groups import Group, groups
from rag.evaluate.run import Evaluation
from rag.evaluate.together import alike, judged_by, named

NOT_TESTED = ("Judged@", "Precision@", "IoU@")
"""How these begin that describe a run and are no aim: of them there is an interval, and no verdict."""


@dataclass(frozen=True, slots=True)
class Report:
    """One or several runs on one judged set; make one with :func:`report`.

    ``runs`` are named by what tells them apart, in the order given; every other mapping has these names.
    ``cells`` is measure -> system -> mean with interval. ``comparisons`` are against ``baseline`` in the
    ``tested`` measures, the first of which the plots by question, by group and by cost are of.
    """

    runs: Mapping[str, Evaluation] = field(repr=False)
    baseline: str
    margin: float
    tested: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]] = field(repr=False)
    comparisons: tuple[Comparison, ...]
    groups: tuple[Group, ...] = ()
    curves: tuple[Curve, ...] = ()
    moved: Mapping[str, Moved] = field(default_factory=dict, repr=False)
    judged: JudgedSet | None = field(default=None, repr=False)

    @property
    def set_name(self) -> str:
        return next(iter(self.runs.values())).set_name

    @property
    def set_digest(self) -> str:
        return next(iter(self.runs.values())).set_digest

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self.runs)

    @property
    def candidates(self) -> tuple[str, ...]:
        return tuple(system for system in self.runs if system != self.baseline)

    @property
    def questions(self) -> int:
        """How many have a value in the main measure, of the system that has most."""
        return max((cell.questions for cell in self.cells.get(self.main, {}).values()), default=0)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The measures with a plot: those that are tested, or all where none is; the others are in tables."""
        return self.tested or tuple(self.cells)

    @property
    def main(self) -> str:
        """The measure that stands for quality where there is room for one; "" where nothing was measured."""
        return self.tested[0] if self.tested else next(iter(self.cells), "")

    def of(self, system: str, measure: str) -> Comparison | None:
        """The verdict on one system in one measure; None for the baseline and what was not tested."""
        found = (one for one in self.comparisons if (one.candidate, one.measure) == (system, measure))
        return next(found, None)


def report(
    evaluations: Sequence[Evaluation],
    *,
    baseline: str = "",
    measures: Sequence[str] = (),
    margin: float = 0.0,
    clusters: Clusters | None = None,
    judged: JudgedSet | None = None,
    documents: Lookup | None = None,
) -> Report:
    """What there is to say of these runs, all of one judged set.

    ``baseline`` is a run's id or system, the first run where it is empty. ``measures``, costs too, get a
    verdict, all corrected together: where none are named, every measure in common but for those in
    ``NOT_TESTED``. ``margin`` is the difference that does not matter, ``clusters`` (query id -> cluster) what
    questions hang together. With the set that they were ``judged`` by, documents are shown with their grades;
    with ``documents`` (ids -> those there are), or a set that has its own, with titles and texts.

    Raises EvaluationError for runs that cannot stand side by side, an unknown baseline or measure.

    >>> from rag.evaluate.run import Run
    >>> values = {f"q{n}": n % 2 / 4 for n in range(8)}
    >>> one = Evaluation(Run.of("a", {}), {"RR@10": values})
    >>> other = replace(one, run=Run.of("b", {}))
    >>> found = report([one, other])
    >>> found.systems, found.baseline, [each.verdict for each in found.comparisons]
    (('a', 'b'), 'a', ['equivalent'])
    """
    alike(evaluations)
    runs = named([_with_costs(one, measures) for one in evaluations])
    chosen = _baseline(runs, baseline)
    everything = dict.fromkeys(measure for one in runs.values() for measure in one.scores)
    common = [measure for measure in everything if all(measure in one.scores for one in runs.values())]
    tested = tuple(measures) or tuple(each for each in common if not each.startswith(NOT_TESTED))
    if missing := [measure for measure in tested if measure not in common]:
        raise EvaluationError(
            f"no measure {missing[0]!r} that all runs have; there are {', '.join(common) or 'none'}"
        )
    values = {name: one.by_query for name, one in runs.items()}
    comparisons: tuple[Comparison, ...] = ()
    if len(runs) > 1 and tested:
        comparisons = compare(values, baseline=chosen, measures=tested, margin=margin, clusters=clusters)
    judged = judged_by(evaluations, judged)
    made = Report(
        runs=runs,
        baseline=chosen,
        margin=margin,
        tested=tested,
        cells={
            measure: {
                name: cell(one.by_query[measure], clusters)
                for name, one in runs.items()
                if measure in one.scores
            }
            for measure in everything
        },
        comparisons=comparisons,
        judged=judged,
    )
    ranking = next((each for each in tested if each not in LOWER_IS_BETTER), "")
    return replace(
        made,
        groups=groups(runs, ranking, baseline=chosen, judged=judged, clusters=clusters) if ranking else (),
        curves=curves(runs),
        moved=moved(runs, made.main, baseline=chosen, judged=judged, documents=documents)
        if made.main
        else {},
    )


def _with_costs(one: Evaluation, measures: Sequence[str]) -> Evaluation:
    """A cost that is asked for counts among the measures."""
    asked = {name: values for name, values in one.costs.items() if name in measures}
    return replace(one, by_query={**one.by_query, **asked}) if asked else one


def _baseline(runs: Mapping[str, Evaluation], wanted: str) -> str:
    if not wanted:
        return next(iter(runs))
    for name, one in runs.items():
        if wanted == name or (one.id and wanted == str(one.id)):
            return name
    systems = [name for name, one in runs.items() if one.system == wanted]
    if len(systems) == 1:
        return systems[0]
    there = ", ".join(f"{one.id} ({name})" if one.id else name for name, one in runs.items())
    raise EvaluationError(f"no run {wanted!r} among those reported to compare with; there are {there}")
