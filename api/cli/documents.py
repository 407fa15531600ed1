"""rag documents list | show | remove"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    number,
    one_line,
    print_json,
    printable,
    short,
    table,
)

app = typer.Typer(no_args_is_help=True, help="What a collection holds, document by document.")


@app.command("list")
def list_documents(
    collection: CollectionOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what could not be taken in.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the documents of a collection."""
    from api.cli.common import services

    wired = services(data, collection)
    if failed:
        items = wired.failed_items()
        if as_json:
            print_json([{"uri": i.uri, "code": i.reason, "detail": i.detail} for i in items])
        else:
            for item in items:
                typer.echo(one_line(f"{item.reason}: {short(item.uri)}: {item.detail}"))
        return
    documents = wired.documents()
    if as_json:
        print_json([{**asdict(found), "metadata": dict(found.metadata)} for found in documents])
        return
    rows = [
        [
            short(found.id),
            str(found.metadata.get("language", "")) or "-",
            f"{found.characters:,}",
            f"{found.chunks:,}",
            found.title,
        ]
        for found in documents
    ]
    typer.echo(
        table(["document", "language", "characters", "chunks", "title"], rows) if rows else "No documents."
    )


@app.command("show")
def show(
    document: Annotated[str, typer.Argument(help="Its id, or the end of it (a file name).")],
    chunks: Annotated[bool, typer.Option("--chunks", help="Show how it was cut.")] = False,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one document: its text as it was parsed, its metadata, its chunks."""
    from api.cli.common import services

    wired = services(data, collection)
    found, cuts = wired.document(document)
    if as_json:
        print_json(
            {
                "id": found.id,
                "title": found.title,
                "uri": found.uri,
                "metadata": dict(found.metadata),
                "pages": [[page.start, page.label] for page in found.pages],
                "digest": found.digest,
                "text": found.text,
                "chunks": [
                    {"key": c.key, "start": c.start, "end": c.end, "heading": list(c.heading), "page": c.page}
                    for c in cuts
                ],
            }
        )
        return
    typer.echo(f"{one_line(found.title) or '(no title)'}\n{one_line(found.id)}")
    for name, value in found.metadata.items():
        typer.echo(one_line(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}"))
    typer.echo()
    if not chunks:
        typer.echo(printable(found.text))
        return
    for chunk in cuts:
        page = f"  p. {one_line(chunk.page)}" if chunk.page else ""
        path = one_line(chunk.breadcrumb)
        typer.echo(f"--- {chunk.key}  [{chunk.start}-{chunk.end}]{page}  {path}")
        typer.echo(printable(chunk.text))


@app.command("remove")
def remove(
    documents: Annotated[list[str] | None, typer.Argument(help="Ids, or the ends of them.")] = None,
    under: Annotated[
        str | None, typer.Option(help="Forget everything that came from this folder, file or URL.")
    ] = None,
    collection: CollectionOption = None,
    data: DataOption = None,
) -> None:
    """Forget documents. A later ingest of their source takes them in again."""
    from api.cli.common import services
    from rag.errors import InvalidQuery

    if not documents and not under:
        raise InvalidQuery("name the documents to remove, or a source with --under")
    removed = services(data, collection).remove_documents(documents or [], under=under)
    typer.echo(f"Removed {number(removed, 'document')}.")
