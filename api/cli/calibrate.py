"""rag calibrate"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import CollectionOption, DataOption, JsonOption, number, one_line, print_json, table

if TYPE_CHECKING:
    from rag.confidence import Calibration

AIMS = (0.99, 0.95, 0.9, 0.8)
"""Shares of the answerable questions whose price is shown beside that of the settings'."""


def calibrate(
    questions: Annotated[
        Path | None,
        typer.Argument(
            metavar="QUESTIONS.jsonl",
            help='{"question": …, "document": its id, or the end of it} a line; null: nothing answers it.',
            show_default=False,
        ),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove the collection's calibration.")] = False,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from questions whose answers are known when "not found" is the answer.

    From then on every answer from the collection says how sure it is, and one that is not sure enough is
    "not found".
    """
    from api.calibrate import calibrate_collection
    from api.calibration import forget_calibration
    from api.cli.common import services
    from api.cli.progress import counted

    if (questions is None) != forget:
        raise typer.BadParameter("give a file of questions, or --forget")
    wired = services(data, collection)
    name = wired.settings.collection
    if questions is None:
        forgotten = forget_calibration(wired.catalogue(), wired.collection_info(name).name)
        if as_json:
            print_json({"collection": name, "forgotten": forgotten})
        else:
            done = "has no calibration any more" if forgotten else "had no calibration"
            typer.echo(f"{one_line(name)} {done}")
        return
    tell = counted(quiet=as_json)
    outcome = calibrate_collection(
        wired, questions, on_question=lambda done, total: tell(one_line(name), done, total)
    )
    made, answered = outcome.calibration, wired.settings.answer.answered
    if as_json:
        aims = sorted({answered, *AIMS}, reverse=True)
        print_json(
            {
                "collection": name,
                "answered": answered,
                "answerable": len(made.answerable),
                "missed": outcome.missed,
                "unanswerable": len(made.unanswerable),
                "held_out": not made.real,
                "rates": [{"answered": aim, **asdict(made.rates(aim))} for aim in aims],
            }
        )
    else:
        print_calibration(made, answered=answered, missed=outcome.missed)


def print_calibration(made: Calibration, *, answered: float, missed: int) -> None:
    """What is refused from now on, and the price of other choices."""
    from rag.confidence import FEWEST

    kinds = [number(len(made.answerable), "answerable question")]
    if made.unanswerable:
        kinds.append(f"{len(made.unanswerable):,} that nothing answers")
    if missed:
        typer.echo(f"Left out: {number(missed, 'question')} whose document the search does not find.")
    typer.echo(f'Calibrated on {" and ".join(kinds)}. Below this confidence rag ask says "not found":\n')
    header = ["answered", "confidence", "answerable", "held out", "unanswerable"]
    rows = []
    for aim in sorted({answered, *AIMS}, reverse=True):
        rates = made.rates(aim)
        real = "-" if rates.unanswerable is None else f"{rates.unanswerable:.0%}"
        shown = [
            f"{aim:g}",
            f"{rates.threshold:.2f}",
            f"{rates.answerable:.0%}",
            f"{rates.held_out:.0%}",
            real,
        ]
        rows.append([*shown, "<- in force" if aim == answered else ""])
    typer.echo(table([*header, ""], rows))
    typer.echo("\nThe shares are of the questions that are answered.")
    typer.echo("Held out: answerable questions, asked without the documents that answer them. Questions on")
    typer.echo("the subjects of the knowledge base that it does not answer are harder to tell.")
    if not made.real:
        more = FEWEST - len(made.unanswerable)
        typer.echo(f'To measure those, add {number(more, "question")} more with "document": null.')
