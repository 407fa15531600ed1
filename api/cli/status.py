"""rag status"""

from __future__ import annotations

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json, table


def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say where the data lies, what is in it, and what answers."""
    from api.cli.common import services

    report = services(data).status()
    if as_json:
        print_json(report)
        return
    typer.echo(f"Data:      {one_line(report['data'])}  ({report['bytes'] / 1e6:,.1f} MB)")
    typer.echo(f"Embedder:  {report['embedder']}")
    typer.echo(f"LLM:       {report['llm'] or 'none (answers are extractive)'}")
    rows = report["collections"]
    if not rows:
        typer.echo("No collection yet. Start with: rag ingest FOLDER")
        return
    header = ["collection", "documents", "chunks", "failed", "not in index", "generation"]
    typer.echo()
    typer.echo(
        table(
            header,
            [
                [
                    row["name"],
                    f"{row['documents']:,}",
                    f"{row['chunks']:,}",
                    f"{row['failed']:,}",
                    f"{row['pending']:,}",
                    row["generation"] or "-",
                ]
                for row in rows
            ],
        )
    )
    for row in rows:
        if made := row["calibration"]:
            told = f'answers below confidence {made["threshold"]:.2f} are "not found"'
            typer.echo(f"{one_line(row['name'])} is calibrated on {made['answerable']:,} questions: {told}")
