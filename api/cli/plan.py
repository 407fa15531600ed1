"""rag plan"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from api.cli.common import CollectionOption, DataOption, JsonOption, duration, number, print_json
from api.cli.ingest import print_failures


def plan(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH_OR_URL...]",
            help="Folders, files and http(s) URLs; none: what other settings alone would cost.",
            show_default=False,
        ),
    ] = None,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what `rag ingest` would do, and about how long it would take, without doing it.

    Files that changed are read and cut, so that the counts are those of the ingest; nothing is
    embedded and nothing is written but the rate measured on this machine.
    """
    from api.cli.common import services
    from api.cli.progress import shown

    wired = services(data, collection)
    with shown(quiet=as_json) as tell:
        planned = wired.plan(sources or [], on_progress=tell)
    c = planned.counts
    if as_json:
        counts = asdict(c)
        failures = counts.pop("failures")
        print_json({"moves": planned.moves, **counts, "seconds": planned.seconds, "failures": failures})
        return
    if planned.moves:
        typer.echo(
            f"The collection was cut or embedded otherwise than the settings say now: "
            f"{number(c.documents_rechunked, 'document')} would be cut and embedded anew beside the serving "
            "generation, which answers until that is complete."
        )
    for count, noun, what in (
        (c.documents_added, "document", "added"),
        (c.documents_updated, "document", "updated"),
        (c.documents_removed, "document", "removed"),
        (c.documents_unchanged, "document", "left alone"),
        (c.items_reparsed, "file", "re-parsed although its bytes are the same: its parser changed"),
        (c.documents_rechunked, "document", "re-chunked"),
        (c.documents_failed, "file", "fail"),
    ):
        if count:
            typer.echo(f"{number(count, noun)}: {what}")
    typer.echo(f"{number(c.chunks, 'chunk')}: {c.texts_embedded:,} to embed, {c.texts_reused:,} re-used")
    if planned.seconds is not None:
        typer.echo(f"Embedding on this machine: {duration(planned.seconds)}")
    print_failures(c.failures)
