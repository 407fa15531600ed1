"""rag prompts label, unlabel, rollback"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import DataOption, one_line
from api.cli.prompts.library import AuthorOption, MessageOption

PromptArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]", help="Prompt of the library; its newest version if none is named."
    ),
]


def label(
    name: PromptArgument,
    rest: Annotated[
        list[str],
        typer.Argument(metavar="[VERSION] LABEL", help="The version may stand here too.", show_default=False),
    ],
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Let a label stand on a version: `rag prompts label support/answer 3 production`.

    The version is a number, another label, or none for the newest.
    """
    from api.cli.common import services
    from api.prompts.library import author_of, version_named
    from indexes.library import labels

    *version, to = rest
    wired = services(data)
    prompt, which = version_named(name, version)
    before, now = labels.move(
        wired.library(), prompt, which, to, author=author_of(wired, author), why=message
    )
    if before == now:
        typer.echo(one_line(f"{to} of {prompt} stands on version {now} already."))
    else:
        typer.echo(one_line(f"{to} of {prompt}: {before or 'nowhere'} -> {now}"))


def unlabel(
    name: Annotated[str, typer.Argument(help="Prompt of the library.")],
    label: Annotated[str, typer.Argument(help="Label to take away.")],
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Take a label away from a prompt."""
    from api.cli.common import services
    from api.prompts.library import author_of
    from indexes.library import labels

    wired = services(data)
    before = labels.unlabel(wired.library(), name, label, author=author_of(wired, author), why=message)
    typer.echo(one_line(f"{label} of {name}: {before} -> nowhere"))


def rollback(
    name: Annotated[str, typer.Argument(help="Prompt of the library.")],
    label: Annotated[str, typer.Argument(help="Label to move back.")] = "production",
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Let a label stand where it stood before its last move. Twice takes that back."""
    from api.cli.common import services
    from api.prompts.library import author_of
    from indexes.library import labels

    wired = services(data)
    before, now = labels.roll_back(wired.library(), name, label, author=author_of(wired, author), why=message)
    typer.echo(one_line(f"{label} of {name}: {before} -> {now}"))
