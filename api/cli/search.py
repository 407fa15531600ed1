"""rag search"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import (
    CollectionsOption,
    DataOption,
    JsonOption,
    ModeOption,
    RerankOption,
    WhereOption,
    marked,
    on_terminal,
    one_line,
    print_json,
    printable,
    short,
    tell_not_rewritten,
    tell_unknown_keys,
    where,
)

if TYPE_CHECKING:
    from rag.retrieve.explain import Standing
    from rag.types import Hit


SEEN = 0.05
"""Standard deviations: less is none at one digit."""


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question, or words.", show_default=False)],
    k: Annotated[int | None, typer.Option("-k", help="How many passages. [default: from rag.toml]")] = None,
    conditions: WhereOption = None,
    mode: ModeOption = None,
    collection: CollectionsOption = None,
    rerank: RerankOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell of each passage where it stood in each stage.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that answer a question, best first."""
    from api.cli.common import services
    from api.schemas import SearchOut
    from rag.highlight import matches
    from rag.retrieve.explain import standing

    wired = services(data)
    passing = where(conditions)
    trail = wired.trace(query, collection=collection, k=k, where=passing, mode=mode, reranker=rerank)
    tell_unknown_keys(wired, passing, collection)
    hits = trail.hits
    tell_not_rewritten(trail.rewritten.failure)
    if as_json:
        print_json(SearchOut.of(trail, explain=explain).model_dump(exclude_none=True))
        return
    if not hits:
        typer.echo("Nothing found.")
    for rank, hit in enumerate(hits, 1):
        typer.echo(f"{rank}. {place(hit, among=len(trail.generations))}")
        if explain:
            typer.echo(f"   {one_line(stood(standing(trail, hit.chunk.key)))}")
        # Cleaned character by character, so that the spans still point at the same words.
        text = printable(hit.chunk.text)
        body = marked(text, matches(query, hit.chunk.text), colour=on_terminal())
        typer.echo("\n".join(f"   {line}".rstrip() for line in body.strip().splitlines()) + "\n")


def place(hit: Hit, *, among: int = 1) -> str:
    """Where a hit stands, in two lines: score, headings, page, document, characters; and its collection,
    ``among`` several."""
    chunk = hit.chunk
    path = " > ".join(dict.fromkeys(part for part in (chunk.title, *chunk.heading) if part))
    page = f"  p. {one_line(chunk.page)}" if chunk.page else ""
    source = one_line(short(chunk.uri or chunk.document_id))
    shelf = f"{chunk.collection}: " if among > 1 else ""
    return f"{hit.score:.3f}  {one_line(path)}{page}\n   {shelf}{source}  [{chunk.start}-{chunk.end}]"


def stood(at: Standing) -> str:
    """Where a hit stood in each stage, in a line."""
    parts = []
    if at.vector_rank and at.cosine is not None:
        parts.append(f"meaning: {at.vector_rank}. ({at.cosine:.3f}, {at.deviations:+.1f} deviations)")
    if at.lexical_rank:
        parts.append(f"words: {at.lexical_rank}. ({at.bm25:.1f}, {at.share:.0%} of the question)")
    elif at.bm25 is not None:
        parts.append("words: none")
    if at.by_name:
        parts.append(f"named as “{at.by_name}” by chunk {at.linked_from}")
    if at.token_rank:
        parts.append(f"tokens: {at.token_rank}.")
    if at.lent is not None and abs(at.lent) >= SEEN:
        parts.append(f"neighbours: {at.lent:+.1f}")
    parts.append(f"fused: {at.fused_rank}.")
    if at.reranked_rank:
        parts.append(f"reranked: {at.reranked_rank}.")
    return " · ".join(parts)
