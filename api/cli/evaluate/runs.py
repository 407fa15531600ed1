"""rag eval runs, rag eval remove"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table


def runs(
    judged_set: Annotated[str, typer.Option("--set", help="Runs on this set alone.")] = "",
    system: Annotated[str, typer.Option(help="Runs of this system alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs that were kept, newest first."""
    from api.cli.common import services

    with services(data) as wired, wired.evaluations() as store:
        kept = store.runs(set_name=judged_set, system=system)
    if as_json:
        print_json({"runs": [each._asdict() | {"scores": dict(each.scores)} for each in kept[:limit]]})
        return
    if not kept:
        typer.echo("No run yet: rag eval run SET makes one.")
        return
    measures = ("nDCG@10", "R@100", "RR@10", "Evidence@1000tok", "FalseAnswers")
    here = [name for name in measures if any(name in each.scores for each in kept[:limit])]
    rows = [
        [
            str(each.id),
            each.at[:16].replace("T", " "),
            one_line(each.set_name),
            each.set_digest[:8],
            one_line(each.system),
            *(f"{each.scores[name]:.3f}" if name in each.scores else "" for name in here),
        ]
        for each in kept[:limit]
    ]
    typer.echo(table(["run", "at (UTC)", "set", "judged as", "system", *here], rows))
    if len(kept) > limit:
        typer.echo(f"and {number(len(kept) - limit, 'older run')}")


def remove(
    run: Annotated[list[int], typer.Argument(metavar="RUN...", help="Numbers of runs.")],
    data: DataOption = None,
) -> None:
    """Forget runs. What was said of them in comparisons stays."""
    from api.cli.common import services

    with services(data) as wired, wired.evaluations() as store:
        store.remove_runs(run)
    typer.echo(f"Forgot {number(len(run), 'run')}.")
