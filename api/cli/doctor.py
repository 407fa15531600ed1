"""rag doctor"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json

if TYPE_CHECKING:
    from indexes.doctor import Report


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild what can be rebuilt; documents are never touched.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that everything acknowledged is there, whole, current and found. Exit 1 where it is not."""
    from api.cli.common import services

    report = services(data).doctor(repair=repair)
    if as_json:
        print_json(report_json(report))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def report_json(report: Report) -> dict[str, object]:
    """The same for a program."""
    return {
        "ok": report.ok,
        "checked": report.checked,
        "repairs": list(report.repairs),
        "findings": [asdict(finding) for finding in report.findings],
    }


def print_report(report: Report) -> None:
    """What was repaired, what was found with what mends it, and a line to sum up."""
    for done in report.repairs:
        typer.echo(one_line(f"repaired: {done}"))
    for finding in report.findings:
        typer.echo(one_line(f"{finding.severity}: {finding.invariant}: {finding.message}"))
        if finding.mend:
            typer.echo(f"  mend: {one_line(finding.mend)}")
    looked = ", ".join(f"{name} {count:,}" for name, count in report.checked.items())
    typer.echo(f"{'All well' if report.ok else 'Not well'}. Checked: {looked}.")
