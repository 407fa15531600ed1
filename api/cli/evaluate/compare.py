"""rag eval compare"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json, short, table

if TYPE_CHECKING:
    from api.evaluation.comparing import Compared
    from api.services import Services
    from rag.evaluate import Evaluation
    from rag.evaluate.moved import Side

RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Runs by number, by system (its newest run; SET/SYSTEM), or a .json file; the first is the "
        "baseline.",
    ),
]
MarginOption = Annotated[
    float, typer.Option(min=0, help="The difference that was declared, before looking, not to matter.")
]
AlphaOption = Annotated[float, typer.Option(min=0.0001, max=0.5, help="The share of false alarms.")]
ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        metavar="KEY",
        help="Questions with one value of this metadata hang together; document: the one that answers.",
    ),
]
AgainOption = Annotated[
    str, typer.Option("--set", metavar="SET", help="Measure all runs by this set's judgements of now.")
]
CompareMeasures = Annotated[
    list[str] | None,
    typer.Option(help="A measure or cost to compare; may be repeated. [default: the main ones there are]"),
]


def compare(
    run: RunsArgument,
    measure: CompareMeasures = None,
    margin: MarginOption = 0.0,
    alpha: AlphaOption = 0.05,
    cluster: ClusterOption = "",
    again: AgainOption = "",
    moved: Annotated[
        int, typer.Option(min=0, help="Questions shown of those that gained most, and of those that lost.")
    ] = 3,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether runs are better or worse than the first: a verdict a measure, and what moved.

    Verdicts are better, worse, equivalent (within the margin) or cannot tell. The comparison is kept.
    """
    from api.cli.common import services
    from api.evaluation.comparing import compare_runs
    from api.evaluation.runs import documents_at_hand, judged_at_hand

    with services(data) as wired:
        found = found_runs(wired, run, again)
        compared = compare_runs(
            found,
            measures=measure or (),
            margin=margin,
            alpha=alpha,
            cluster=cluster,
            judged=judged_at_hand(wired, found[0]),
            documents=documents_at_hand(wired, found[0]),
            each_way=moved,
        )
        with wired.evaluations(create=True) as store:
            store.keep_verdict("compare", compared.as_json())
    if as_json:
        print_json(compared.as_json())
    else:
        tell_compared(compared)


def found_runs(wired: Services, references: Sequence[str], again: str) -> list[Evaluation]:
    """The runs, measured again by the judgements of a set where one is named."""
    from api.evaluation.runs import find_run, measured_again

    found = [find_run(wired, reference) for reference in references]
    return measured_again(wired, found, again) if again else found


def tell_compared(compared: Compared) -> None:
    """Verdicts, wins and losses, the questions that moved."""
    from rag.lines import cut

    rows = []
    for each in compared.comparisons:
        more = "" if each.more_queries is None else f", needs about {each.more_queries:,} more questions"
        rows.append(
            [
                each.candidate,
                each.measure,
                f"{each.baseline_mean:.3f}",
                f"{each.candidate_mean:.3f}",
                f"{each.difference:+.4f} [{each.low:+.4f}, {each.high:+.4f}]",
                f"{each.p_holm:.4f}",
                f"{each.wins}/{each.ties}/{each.losses}",
                f"{each.detectable:.4f}",
                each.verdict + more,
            ]
        )
    first = compared.comparisons[0]
    left = f", {first.left_out} left out" if first.left_out else ""
    grouped = "" if first.clusters == first.queries else f" in {first.clusters} clusters"
    typer.echo(one_line(f"against {first.baseline}: {first.queries} questions{grouped}{left}"))
    header = ["run", "measure", first.baseline, "it", "difference", "p (Holm)", "won/tied/lost"]
    typer.echo(table([*header, "detectable", "verdict"], rows))
    for name, moved in compared.moved.items():
        if moved.questions:
            told = f"{moved.gained} better, {moved.lost} worse"
            typer.echo(
                f"\nMoved most in {first.measure}, {one_line(first.baseline)} to {one_line(name)}: {told}"
            )
        for one in moved.questions:
            typer.echo(f"  {one.difference:+.3f}  {one_line(one.query.id)}  {one_line(one.query.text)}")
            for words in one.quotations:
                typer.echo(f"      answered by: {cut(words, _line() - 19)}")
            for sign, side in (("-", one.before), ("+", one.after)):
                for line in _listed(side) or ["nothing"]:
                    typer.echo(f"      {sign} {line}")


def _listed(side: Side) -> list[str]:
    """A line a document: its rank, its grade where it has one, and what it says."""
    from rag.lines import cut

    lines = []
    for each in side.documents:
        grade = " " if each.grade is None else str(each.grade)
        start = f"{each.rank} [{grade}] {short(each.name)}"
        lines.append(cut(f"{start}: {each.passage}" if each.passage else start, _line() - 8))
    if side.first_relevant is not None and side.first_relevant > len(side.documents):
        lines.append(f"the first relevant one is number {side.first_relevant}")
    if side.first_relevant == 0 and lines:
        lines.append("none that it found is relevant")
    return lines


def _line() -> int:
    """Characters of a line: the terminal's, 120 where there is none."""
    return max(80, shutil.get_terminal_size((120, 24)).columns)
