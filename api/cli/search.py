"""rag search"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    WhereOption,
    marked,
    on_terminal,
    one_line,
    print_json,
    printable,
    short,
    where,
)

if TYPE_CHECKING:
    from rag.types import Hit


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question, or words.", show_default=False)],
    k: Annotated[int | None, typer.Option("-k", help="How many passages. [default: from rag.toml]")] = None,
    conditions: WhereOption = None,
    mode: Annotated[
        str | None, typer.Option(help="hybrid, vector or lexical. [default: from rag.toml]")
    ] = None,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that answer a question, best first."""
    from api.cli.common import services
    from api.schemas import HitOut, SearchOut
    from rag.highlight import matches

    wired = services(data, collection)
    hits = wired.search(query, k=k, where=where(conditions), mode=mode)
    if as_json:
        found = [HitOut.of(hit, matches(query, hit.chunk.text)) for hit in hits]
        print_json(SearchOut(query=query, hits=found).model_dump())
        return
    if not hits:
        typer.echo("Nothing found.")
    for rank, hit in enumerate(hits, 1):
        typer.echo(f"{rank}. {place(hit)}")
        # Cleaned character by character, so that the spans still point at the same words.
        text = printable(hit.chunk.text)
        body = marked(text, matches(query, hit.chunk.text), colour=on_terminal())
        typer.echo("\n".join(f"   {line}".rstrip() for line in body.strip().splitlines()) + "\n")


def place(hit: Hit) -> str:
    """Where a hit stands, in a line: score, headings, page, document, characters."""
    chunk = hit.chunk
    path = " > ".join(dict.fromkeys(part for part in (chunk.title, *chunk.heading) if part))
    page = f"  p. {one_line(chunk.page)}" if chunk.page else ""
    source = one_line(short(chunk.uri or chunk.document_id))
    return f"{hit.score:.3f}  {one_line(path)}{page}\n   {source}  [{chunk.start}-{chunk.end}]"
