"""rag eval report"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, print_json
from api.cli.evaluate.compare import AgainOption, ClusterOption, CompareMeasures, MarginOption


def report(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs by number, by system (its newest run; SET/SYSTEM), or a .json file.",
        ),
    ],
    baseline: Annotated[
        str, typer.Option(metavar="RUN", help="What the others are compared with. [default: the first run]")
    ] = "",
    margin: MarginOption = 0.0,
    measure: CompareMeasures = None,
    cluster: ClusterOption = "",
    again: AgainOption = "",
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where it goes: a .html, .md or .png file. [default: Markdown, printed]"
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="html, md or png, where the file's name does not say it.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lay runs side by side, for people: one HTML page, Markdown for a pull request, or a picture.

    The page needs nothing else: no script, no font, no request. It says the verdicts first, then shows
    measures, differences, costs, kinds of questions, what moved, and how to repeat it.
    """
    from api.cli.common import services
    from api.evaluation.reporting import format_of, rendered, report_runs
    from rag.errors import EvaluationError

    wanted = format_of(str(to or ""), format)
    if to is not None and to.is_dir():
        raise EvaluationError(f"{to} is a folder: name a file in it, such as {to / f'report.{wanted}'}")
    if to is None and wanted == "png" and sys.stdout.isatty():
        raise EvaluationError("a picture is nothing for a terminal: name a file, such as --to report.png")
    with services(data) as wired:
        made = report_runs(
            wired,
            run,
            baseline=baseline,
            measures=measure or (),
            margin=margin,
            cluster=cluster,
            again=again,
        )
        content = rendered(made, wanted)
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(content)
    if as_json:
        comparisons = [each.as_json() for each in made.comparisons]
        print_json({"file": str(to) if to else None, "format": wanted, "comparisons": comparisons})
    elif to is not None:
        typer.echo(f"{to}: {len(made.runs)} run{'s' if len(made.runs) > 1 else ''}, {len(content):,} bytes")
    elif wanted == "png":
        sys.stdout.buffer.write(content)
    else:
        typer.echo(content.decode("utf-8"), nl=False)
