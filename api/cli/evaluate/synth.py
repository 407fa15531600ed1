"""rag eval synth"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table

if TYPE_CHECKING:
    from api.evaluation.synthesis import Outcome

HELD_OUT = 0.1
"""The share of the documents that a set with documents of its own leaves out."""


def synth(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Collection to ask about.")],
    name: Annotated[
        str,
        typer.Option(
            help="Name that the set is kept under. [default: COLLECTION-synthetic, or the folder's]"
        ),
    ] = "",
    size: Annotated[int, typer.Option(min=1, max=10_000, help="Questions that are wanted.")] = 200,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="heading, fact, terms, typo or paraphrase; may be repeated. [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other questions.")] = 0,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write the set to with its documents, in BEIR's layout; some are held out."
        ),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.5,
            help=f"Share of the documents, and of the questions, held out with --to. [default: {HELD_OUT}]",
        ),
    ] = None,
    llm: Annotated[
        bool, typer.Option("--llm", help="Have the language model of the settings write questions too.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a judged set of a collection's own documents, without anybody judging.

    Each question is kept with the words that answer it, where the search finds them and no other document
    answers it. It says how far such sets may be believed.
    """
    from api.cli.common import services
    from api.cli.progress import counted
    from api.evaluation.synthesis import synthesise_set
    from rag.evaluate.synthetic import KINDS

    tell = counted(quiet=as_json)
    with services(data) as wired:
        outcome = synthesise_set(
            wired,
            collection,
            name=name,
            size=size,
            kinds=kind or KINDS,
            seed=seed,
            hold_out=(HELD_OUT if to else 0.0) if hold_out is None else hold_out,
            to=to,
            llm=llm,
            on_question=lambda done, total: tell(one_line(collection), done, total),
        )
    if as_json:
        print_json(_plain(outcome))
    else:
        _print(outcome, wanted=size)


def _plain(outcome: Outcome) -> dict[str, object]:
    from rag.evaluate.synthetic import warning

    made = outcome.made
    return {
        "set": made.judged.name,
        "digest": made.judged.digest,
        "collection": outcome.collection,
        "documents": outcome.documents,
        "read": made.read,
        "questions": len(made.judged.queries),
        "unanswerable": len(made.judged.unanswerable),
        "sizes": [
            {"kind": kind, "language": language, "questions": count}
            for (kind, language), count in sorted(made.sizes.items())
        ],
        "drafts": made.drafts,
        "dropped": dict(made.dropped),
        "refused": dict(outcome.refused),
        "held_out": list(made.left_out),
        "folder": None if outcome.to is None else str(outcome.to),
        "warning": warning(),
    }


def _print(outcome: Outcome, *, wanted: int) -> None:
    from rag.evaluate.synthetic import warning

    made = outcome.made
    asked = len(made.judged.queries) + len(made.judged.unanswerable)
    of = f"{made.read:,} of {outcome.documents:,}" if made.read < outcome.documents else f"{made.read:,}"
    typer.echo(
        f"{one_line(made.judged.name)}: {number(asked, 'question')} about {of} documents of "
        f"{one_line(outcome.collection)}"
    )
    languages = sorted({language for _, language in made.sizes})
    kinds = list(dict.fromkeys(kind for kind, _ in sorted(made.sizes)))
    rows = [[kind, *(str(made.sizes[kind, language] or "-") for language in languages)] for kind in kinds]
    typer.echo(table(["kind", *(language or "other" for language in languages)], rows))
    if made.dropped:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(made.dropped.items()))
        typer.echo(f"Dropped of {number(made.drafts, 'draft')}: {told}")
    if outcome.refused:
        told = ", ".join(f"{count}: {reason}" for reason, count in sorted(outcome.refused.items()))
        typer.echo(one_line(f"Answers of the language model that were not taken: {told}"))
    if asked < wanted:
        typer.echo(f"Fewer than the {wanted:,} that were wanted: the documents give no more.")
    if made.left_out:
        held = number(len(made.left_out), "document")
        about = number(len(made.judged.unanswerable), "question")
        typer.echo(f"Held out: {held}; {about} about them, which nothing answers")
    typer.echo("")
    for line in warning():
        typer.echo(one_line(line) if not line.startswith(" ") else f"  {one_line(line)}")
    where = (
        f"rag eval run {outcome.to}"
        if outcome.to
        else (f"rag eval run {made.judged.name} --collection {outcome.collection}")
    )
    typer.echo(f"\nNext: {one_line(where)}")
