"""rag prompts lint"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json

if TYPE_CHECKING:
    from api.prompts.lint import Linted


def lint(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH|NAME]...",
            help="Folders, .prompty files, or prompts: NAME, NAME@3. [default: the folder of your prompts]",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is wrong with prompts before a model does: each finding has a rule, a line and a fix.

    Exit 0 without errors, 1 with some; with --strict, warnings count as well.
    """
    from api.cli.common import services
    from api.prompts.lint import lint_prompts

    with services(data) as wired:
        linted = lint_prompts(wired, prompts or ())
    findings = [finding for each in linted for finding in each.findings]
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    ok = not errors and not (strict and warnings)
    if as_json:
        print_json(
            {
                "ok": ok,
                "prompts": len(linted),
                "errors": errors,
                "warnings": warnings,
                "findings": [
                    {"name": each.name, "place": each.place, **asdict(finding)}
                    for each in linted
                    for finding in each.findings
                ],
            }
        )
    else:
        _print(linted)
        clean = f"{number(len(linted), 'prompt')}, nothing to mend"
        told = f"{number(len(linted), 'prompt')}: {number(errors, 'error')}, {number(warnings, 'warning')}"
        typer.echo(told if findings else clean)
    if not ok:
        raise typer.Exit(1)


def _print(linted: list[Linted]) -> None:
    for each in linted:
        for finding in each.findings:
            place = f"{each.place}:{finding.line}" if finding.line else each.place
            typer.echo(one_line(f"{place}: {finding.severity} {finding.rule}: {finding.message}"))
            typer.echo(f"  {one_line(finding.fix)}")
    if any(each.findings for each in linted):
        typer.echo()
