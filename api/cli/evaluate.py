"""rag eval run"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table

app = typer.Typer(no_args_is_help=True, help="How good retrieval is, by people's judgements.")


@app.callback()
def group() -> None:
    """How good retrieval is, by people's judgements."""


@app.command("run")
def run(
    judged_set: Annotated[
        Path,
        typer.Argument(metavar="SET", help="A BEIR folder (corpus.jsonl, queries.jsonl, qrels/)."),
    ],
    queries: Annotated[
        str, typer.Option(help="File of the questions, for sets that ask them in several languages.")
    ] = "queries.jsonl",
    system: Annotated[
        list[str] | None,
        typer.Option(help="lexical, vector, hybrid or reranked; may be repeated. [default: the first three]"),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the legs and the hybrid on a judged set.

    Its documents are ingested into a throw-away collection; their vectors are kept, so that the next
    evaluation of the same texts embeds nothing.
    """
    from api.cli.common import services
    from api.cli.progress import counted, shown
    from api.judged import SYSTEMS, evaluate_set

    with services(data) as wired, shown(quiet=as_json) as tell:
        outcome = evaluate_set(
            wired,
            judged_set,
            queries=queries,
            systems=system or SYSTEMS,
            on_ingest=tell,
            on_query=counted(quiet=as_json),
        )
    if as_json:
        print_json(
            {
                "set": outcome.judged.name,
                "documents": outcome.documents,
                "chunks": outcome.chunks,
                "queries": len(outcome.judged.queries),
                "systems": [row.summary() for row in outcome.rows],
            }
        )
        return
    size = (
        number(outcome.documents, "document"),
        number(outcome.chunks, "chunk"),
        number(len(outcome.judged.queries), "question"),
    )
    typer.echo(f"{one_line(outcome.judged.name)}: {', '.join(size)}")
    measures = list(outcome.rows[0].scores)
    rows = [
        [row.system, *(f"{row.scores[measure]:.3f}" for measure in measures), f"{row.cpu_ms:.1f}"]
        for row in outcome.rows
    ]
    typer.echo(table(["system", *measures, "CPU-ms/question"], rows))
    for row in outcome.rows:
        if row.errors:
            query, message = row.errors[0]
            told = f"{row.system}: {len(row.errors)} failed, such as {query}: {message}"
            typer.echo(one_line(told), err=True)
