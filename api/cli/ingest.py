"""rag ingest"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    duration,
    number,
    one_line,
    print_json,
    short,
)

if TYPE_CHECKING:
    from ingest.decide import Failure
    from ingest.job import IngestReport

SourcesArgument = Annotated[
    list[str],
    typer.Argument(metavar="PATH_OR_URL...", help="Folders, files and http(s) URLs.", show_default=False),
]


def ingest(
    sources: SourcesArgument,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait while another ingest is writing.", min=0)
    ] = 0.0,
) -> None:
    """Bring a collection in step with folders, files and URLs.

    A folder is a source: its files are added, updated, left alone or removed to match. Exit 0 when
    all is well, 1 when some could not be taken in (each is named with its reason) or not be indexed, 2 for a
    usage error.
    """
    from api.cli.common import services
    from api.cli.progress import shown
    from api.schemas import IngestOut

    wired = services(data, collection)
    with shown(quiet=as_json) as tell:
        report = wired.ingest(sources, wait=wait, on_progress=tell)
    if as_json:
        print_json(IngestOut.of(report).model_dump())
    else:
        typer.echo(summary(report))
        print_failures(report.counts.failures)
    if report.unindexed:
        typer.echo(
            one_line(
                f"Stored, and not in the index yet: {report.unindexed} Until `rag index build` or another "
                "ingest can build it, searches look at every chunk that is newer."
            ),
            err=True,
        )
    if not report.ok:
        raise typer.Exit(1)


def summary(report: IngestReport) -> str:
    """The report in two lines."""
    c = report.counts
    documents = ", ".join(
        f"{count:,} {what}"
        for count, what in (
            (c.documents_added, "added"),
            (c.documents_updated, "updated"),
            (c.documents_unchanged, "unchanged"),
            (c.documents_removed, "removed"),
            (c.documents_failed, "failed"),
            (c.documents_rechunked, "cut anew"),
        )
        if count
    )
    texts = f"{number(c.chunks, 'chunk')}, {c.texts_embedded:,} embedded, {c.texts_reused:,} re-used"
    return f"Documents: {documents or 'none'}\nTexts:     {texts}  ({duration(report.seconds)})"


def print_failures(failures: list[Failure]) -> None:
    """One line each, on stderr: the code, what it was, why."""
    for failure in failures:
        typer.echo(one_line(f"{failure.code}: {short(failure.uri)}: {failure.detail}"), err=True)
