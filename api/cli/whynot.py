"""rag why-not"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    ModeOption,
    RerankOption,
    WhereOption,
    one_line,
    print_json,
    where,
)


def why_not(
    query: Annotated[str, typer.Argument(metavar="QUESTION", help="The question.", show_default=False)],
    document: Annotated[
        str, typer.Option("--document", "-d", help="The document: its id, or the end of it.")
    ],
    text: Annotated[str, typer.Option(help="A passage of it, quoted; without it, any passage.")] = "",
    k: Annotated[
        int | None, typer.Option("-k", help="How many passages. [default: as many as rag ask looks at]")
    ] = None,
    conditions: WhereOption = None,
    mode: ModeOption = None,
    rerank: RerankOption = None,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which stage lost a document, or a passage of it, on its way into an answer's context.

    Exit 0 when none did, else 1.
    """
    from api.cli.common import services
    from api.cli.search import stood
    from api.whynot import why_not_found

    found = why_not_found(
        services(data, collection),
        query,
        document,
        text=text,
        k=k,
        where=where(conditions),
        mode=mode,
        reranker=rerank,
    )
    if as_json:
        chunk = found.chunk
        print_json(
            {
                "stage": found.stage,
                "detail": found.detail,
                "mend": found.mend,
                "chunk": {"key": chunk.key, "start": chunk.start, "end": chunk.end} if chunk else None,
                "standing": asdict(found.standing) if found.standing else None,
            }
        )
    else:
        typer.echo(f"{found.stage}: {one_line(found.detail)}")
        if found.chunk:
            parts = dict.fromkeys(part for part in (found.chunk.title, *found.chunk.heading) if part)
            path = " > ".join(parts)
            typer.echo(
                f"  chunk {found.chunk.key}: {one_line(path)}  [{found.chunk.start}-{found.chunk.end}]"
            )
        if found.standing and found.standing.fused_rank:
            typer.echo(f"  {one_line(stood(found.standing))}")
        if found.mend:
            typer.echo(f"  mend: {one_line(found.mend)}")
    if found.stage != "found":
        raise typer.Exit(1)
