"""rag eval run"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table

if TYPE_CHECKING:
    from rag.evaluate import Evaluation

SetArgument = Annotated[
    str,
    typer.Argument(
        metavar="SET",
        help="A BEIR folder, a file of questions (JSONL, TREC topics with --qrels), or a kept set's name.",
    ),
]
QueriesOption = Annotated[
    str, typer.Option(help="File of the questions, for sets that ask them in several languages.")
]
QrelsOption = Annotated[str, typer.Option(help="File of the judgements, for TREC topics.")]
SystemOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=KEY=VALUE,…]",
        help="lexical, vector, hybrid, reranked, as-set, or a name with settings to try, such as "
        "wide=retrieval.vector_pool=300; may be repeated. [default: the first three]",
    ),
]
HeldIn = Annotated[
    str,
    typer.Option(
        "--collection", "-c", help="Collection that holds the documents. [default: the set's own, taken in]"
    ),
]
MeasureOption = Annotated[
    list[str] | None,
    typer.Option(help="A measure as ir-measures names it, such as AP or P@5; may be repeated."),
]
NAMES = {"cpu_ms": "CPU-ms", "ms": "ms", "tokens": "tokens"}
EVIDENCE = "Evidence@1000tok"
"""What is shown of the evidence; its other measures, and other budgets, are in --json and in reports."""
PLACES = {"cpu_ms": 1, "ms": 1, "tokens": 0}


def run(
    judged_set: SetArgument,
    queries: QueriesOption = "",
    qrels: QrelsOption = "",
    system: SystemOption = None,
    collection: HeldIn = "",
    measure: MeasureOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure systems on a judged set, and keep the runs.

    The set's documents are ingested into a throw-away collection; their vectors are kept, so that the next
    evaluation of the same texts embeds nothing. With --collection, that one is asked as it is.
    """
    from api.cli.common import services
    from api.cli.progress import counted, shown
    from api.evaluation.running import evaluate_set
    from api.evaluation.sets import find_set
    from api.evaluation.systems import DEFAULT, read_system
    from rag.evaluate import MEASURES

    with services(data) as wired, shown(quiet=as_json) as tell:
        systems = [read_system(text, wired.settings) for text in system or DEFAULT]
        judged = find_set(wired, judged_set, queries=queries, qrels=qrels)
        found = evaluate_set(
            wired,
            judged,
            systems,
            collection=collection,
            measures=measure or MEASURES,
            on_ingest=tell,
            on_query=counted(quiet=as_json),
            on_missing=tell_missing,
        )
        with wired.evaluations(create=True) as store:
            found = [store.add(each) for each in found]
    if as_json:
        print_json({"set": judged.name, "digest": judged.digest, "runs": [each.summary() for each in found]})
    else:
        tell_runs(found, without_answer=len(judged.unanswerable))


def tell_missing(count: int, example: str) -> None:
    """Say on stderr how many judged documents the collection does not hold."""
    told = f"{number(count, 'judged document')} not in the collection, such as {example}: found by nothing, "
    typer.echo(one_line(told + "which counts; rag eval status tells more"), err=True)


def tell_runs(runs: Sequence[Evaluation], *, without_answer: int = 0) -> None:
    """What was measured, as a table; what failed, on stderr."""
    first = runs[0]
    size = [
        number(int(first.facts[name]), name[:-1]) for name in ("documents", "chunks") if name in first.facts
    ]
    size.append(number(len(first.questions), "question"))
    if without_answer:
        size.append(f"{without_answer} of them without an answer")
    typer.echo(f"{one_line(first.set_name)}: {', '.join(size)}")
    measures = [
        measure
        for measure in dict.fromkeys(measure for run in runs for measure in run.scores)
        if "tok" not in measure or measure == EVIDENCE
    ]
    costs = [cost for cost in NAMES if any(cost in run.costs for run in runs)]
    rows = [
        [
            str(run.id),
            run.system,
            *(_score(run, measure) for measure in measures),
            *(_cost(run, cost) for cost in costs),
        ]
        for run in runs
    ]
    header = ["run", "system", *measures, *(f"{NAMES[cost]}/question" for cost in costs)]
    typer.echo(table(header, rows))
    for run in runs:
        if run.errors:
            query, message = run.errors[0]
            told = f"{run.system}: {len(run.errors)} failed, such as {query}: {message}"
            typer.echo(one_line(told), err=True)


def _score(run: Evaluation, measure: str) -> str:
    if measure not in run.scores:
        return ""
    low, high = run.interval(measure)
    sure = f" [{low:.2f}, {high:.2f}]" if high - low < 2 else ""  # of one question alone nothing is sure
    return f"{run.scores[measure]:.3f}{sure}"


def _cost(run: Evaluation, cost: str) -> str:
    values = run.costs.get(cost)
    return f"{sum(values.values()) / len(values):.{PLACES[cost]}f}" if values else ""
