"""rag collections list | remove"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, print_json, table

app = typer.Typer(no_args_is_help=True, help="The collections of a data folder.")


@app.command("list")
def list_collections(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the collections."""
    from api.cli.common import services
    from api.schemas import CollectionOut

    rows = [CollectionOut.of(info).model_dump() for info in services(data).collections()]
    if as_json:
        print_json(rows)
        return
    cells = [[row["name"], f"{row['documents']:,}", f"{row['chunks']:,}", row["embedder"]] for row in rows]
    typer.echo(
        table(["collection", "documents", "chunks", "embedder"], cells) if rows else "No collection yet."
    )


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument()],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
) -> None:
    """Forget a collection: its documents, chunks and indexes."""
    from api.cli.common import services

    wired = services(data)
    if not yes:
        found = wired.collection_info(name)
        typer.confirm(f"Forget {name} with its {found.documents:,} documents?", abort=True)
    wired.remove_collection(name)
    typer.echo(f"Removed {name}.")
