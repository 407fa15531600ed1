"""rag eval prompts"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.evaluation.prompts import Judge
    from api.services import Services
    from rag.evaluate.matrix import Cell, Matrix
    from rag.evaluate.matrix_text import Part

WORSE = FAILED = 100
"""Some test failed; with a baseline, some prompt is worse."""
UNSURE = 3
"""Something could not be evaluated; with a baseline, of some prompt it cannot be told."""


def prompts(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Prompts: NAME, NAME@3, NAME@production, or a .prompty file. [default: all that have tests]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A language model that answers, or extractive; may be repeated. [default: from rag.toml]",
        ),
    ] = None,
    recorded: Annotated[
        list[Path] | None,
        typer.Option(
            "--recorded", help="A file of recorded answers (rag prompts test --record); may be repeated."
        ),
    ] = None,
    tests: Annotated[
        Path | None, typer.Option("--tests", help="Tests for every prompt, in place of their own.")
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(help="The model that the others are compared with; the exit code is then the verdict."),
    ] = "",
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Difference in the pass rate that does not matter.")
    ] = 0.05,
    judge_model: Annotated[
        str, typer.Option("--judge-model", help="A language model that judges whether answers are grounded.")
    ] = "",
    labels: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="What people said of answers (JSONL: answer, context, verdict), or traces for the thumbs "
            "that answers got: the judge is measured by them.",
        ),
    ] = "",
    kappa: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Agreement with people from which the judge's verdict counts."),
    ] = 0.6,
    groundedness: Annotated[
        bool,
        typer.Option(
            "--grounded/--no-grounded", help="Hold answers against their context (loads the embedder)."
        ),
    ] = True,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection", "-c", help="Collection to search where a test brings no context of its own."
        ),
    ] = None,
    only: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only tests whose description holds this text.")
    ] = "",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Tests put to a model at a time.")] = 4,
    to: Annotated[
        list[Path] | None,
        typer.Option("--to", help="Write the matrix to this .html, .md or .json file; may be repeated."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the results to this file as JUnit XML.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prompts x models over the tests of the prompts, and how far the answers stand on their context.

    Exit 0 when all passed, 100 when some failed, 3 when none failed and something could not be evaluated, 1
    when a cell or a test could not be run. With --baseline: 0 no prompt is worse, 100 one is, 3 of one it
    cannot be told.
    """
    from api.cli.common import services
    from api.evaluation.prompts import Asked, columns, run_matrix
    from rag.errors import PromptError
    from rag.evaluate.matrix_text import parts

    for path in to or ():
        if path.suffix not in (".html", ".md", ".json"):
            raise PromptError(f"--to {path}: name a file that ends in .html, .md or .json")
    if labels and not judge_model:
        raise PromptError("--labels are what a judge is measured by: name it with --judge-model")
    with services(data) as wired:
        across = columns(wired, models=model or (), recorded=recorded or ())
        judge = _judge(wired, judge_model, labels, kappa, jobs) if judge_model else None
        asked = Asked(tests, only, collection, jobs, groundedness, judge)
        matrix = run_matrix(
            wired,
            tuple(names or ()),
            across,
            asked=asked,
            baseline=baseline,
            margin=margin,
            done=_quiet if as_json else _told,
        )
    trust = judge.trust if judge else None
    plain = matrix.as_json() | {"judge": trust.as_json() if trust else None}
    shown = parts(matrix, trust=trust)
    for path in to or ():
        _write(path, shown, plain)
    if junit is not None:
        _junit(junit, matrix)
    if as_json:
        print_json(plain)
    else:
        typer.echo("\n\n".join(_printed(part) for part in shown))
    raise typer.Exit(exit_code(matrix, verdict=bool(baseline)))


def exit_code(matrix: Matrix, *, verdict: bool) -> int:
    """That of ``rag prompts test``, over all cells; with ``verdict`` that of the comparison."""
    if any(cell.error or cell.counts["error"] for cell in matrix.cells):
        return 1
    if verdict:
        found = matrix.recheck()
        if any(one.verdict == "worse" for one in found):
            return WORSE
        told = {one.measure for one in found if one.verdict != "cannot tell"}
        return 0 if told >= set(matrix.prompts) else UNSURE
    if any(cell.counts["failed"] for cell in matrix.cells):
        return FAILED
    return UNSURE if any(cell.counts["unevaluated"] for cell in matrix.cells) else 0


def _judge(wired: Services, name: str, labels: str, kappa: float, jobs: int) -> Judge:
    from api.evaluation.prompts import judge_named, labels_from_traces
    from rag.evaluate.judge_model import read_labels

    given = (
        () if not labels else labels_from_traces(wired) if labels == "traces" else read_labels(Path(labels))
    )
    return judge_named(wired, name, given, least=kappa, jobs=jobs)


def _told(cell: Cell) -> None:
    passed = "could not be run" if cell.error else f"{cell.passed.count} of {len(cell.results)} passed"
    typer.echo(one_line(f"{cell.prompt}, {cell.column}: {passed}"), err=True)


def _quiet(_: Cell) -> None:
    pass


def _printed(part: Part) -> str:
    lines = [one_line(part.title)]
    if part.rows:
        lines.append(table(part.header, part.rows))
    return "\n".join([*lines, *(one_line(line) for line in part.lines)])


def _write(path: Path, shown: Sequence[Part], plain: object) -> None:
    import json

    from rag.evaluate.matrix_text import markdown, page

    if path.suffix == ".json":
        text = json.dumps(plain, ensure_ascii=False, indent=2)
    else:
        text = page(shown) if path.suffix == ".html" else markdown(shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", errors="backslashreplace")


def _junit(path: Path, matrix: Matrix) -> None:
    from rag.prompts.testing.junit import junit_xml

    done = {f"{cell.prompt} ({cell.column})": cell.results for cell in matrix.cells}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(junit_xml(done), "utf-8")
