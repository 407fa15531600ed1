"""rag prompts show"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json, printable
from api.cli.prompts.library import when
from api.cli.prompts.review import stands

if TYPE_CHECKING:
    from api.prompts.listing import Shown


def show(
    name: Annotated[
        str, typer.Argument(metavar="PROMPT", help="NAME, NAME@3, NAME@label or a .prompty file.")
    ],
    source: Annotated[
        bool, typer.Option("--source", help="Print the file itself, and nothing else.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a prompt: what its header says, its variables, labels, review, and its messages."""
    from api.cli.common import services
    from api.prompts.listing import shown

    found = shown(services(data), name)
    if source:
        typer.echo(printable(found.template.source), nl=not found.template.source.endswith("\n"))
    elif as_json:
        print_json(_plain(found))
    else:
        _print(found)


def _print(found: Shown) -> None:
    template, version = found.template, found.version
    if version:
        typer.echo(one_line(f"{version.name}@{version.number}, of {found.latest} in the library"))
    else:
        kind = "shipped" if found.origin == "shipped" else "a file"
        if found.latest:
            kind += f", {'as' if found.as_latest else 'changed since'} version {found.latest} in the library"
        typer.echo(one_line(f"{template.name}, {kind}"))
    if template.description:
        typer.echo(one_line(template.description))
    review = found.review
    lines = [
        (
            "pushed",
            version
            and f"{when(version.created_at)} by {version.author}: {version.message or '(no message)'}",
        ),
        ("labels", ", ".join(f"{label} {at}" for label, at in found.labels.items())),
        ("review", review and f"{review.state}, {stands(review)}"),
        ("approved", review and ", ".join(review.approved_by)),
        ("rejected", review and ", ".join(review.rejected_by)),
        ("category", template.category),
        ("tags", ", ".join(template.tags)),
        ("language", template.language),
        *((fact, told) for fact, told in found.facts.items()),
        ("variables", ", ".join(each.name + ("" if each.required else "?") for each in template.inputs)),
        ("parts", ", ".join(template.parts)),
        ("tests", "yes" if found.tests else "none"),
        ("digest", template.digest),
    ]
    width = max(len(what) for what, _ in lines)
    typer.echo("")
    for what, told in lines:
        if told:
            typer.echo(f"{what.ljust(width)}  {one_line(told)}")
    typer.echo(f"\n{printable(found.body)}")


def _plain(found: Shown) -> dict[str, object]:
    template = found.template
    return {
        "name": template.name,
        "origin": found.origin,
        "version": found.version.number if found.version else None,
        "latest": found.latest,
        "as_latest": found.as_latest,
        "labels": dict(found.labels),
        "author": found.version.author if found.version else None,
        "message": found.version.message if found.version else None,
        "created_at": found.version.created_at if found.version else None,
        "digest": template.digest,
        "description": template.description,
        "metadata": dict(template.metadata),
        "model": dict(template.model),
        "variables": [asdict(each) for each in template.inputs],
        "parts": list(template.parts),
        "tests": found.tests is not None,
        "review": asdict(found.review) | {"state": found.review.state} if found.review else None,
        "body": found.body,
    }
