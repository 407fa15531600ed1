"""rag prompts propose, comment, approve, reject, reviews, protect, unprotect"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json, table
from api.cli.prompts.labels import PromptArgument
from api.cli.prompts.library import AuthorOption, MessageOption, when

if TYPE_CHECKING:
    from indexes.library.review import Review


def propose(
    name: PromptArgument,
    label: Annotated[str, typer.Option(help="Label that should move there.")] = "production",
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Ask that a label be moved to a version."""
    from api.cli.common import services
    from api.prompts.library import author_of, version_named
    from indexes.library import review

    wired = services(data)
    prompt, which = version_named(name)
    asked = review.propose(
        wired.library(), prompt, which, label, author=author_of(wired, author), why=message
    )
    typer.echo(one_line(f"Proposed {asked.name}@{asked.number} for {label}; {stands(asked)}"))


def comment(
    name: PromptArgument,
    message: Annotated[str, typer.Option("--message", "-m", help="What there is to say.")],
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Say something of a version. `rag prompts log NAME` shows it."""
    from api.cli.common import services
    from api.prompts.library import author_of, version_named
    from indexes.library import review

    wired = services(data)
    prompt, which = version_named(name)
    at = review.comment(wired.library(), prompt, which, author=author_of(wired, author), why=message)
    typer.echo(one_line(f"Noted on {prompt}@{at}."))


def approve(
    name: PromptArgument,
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Say that a version is good: somebody other than who pushed it."""
    _judge(name, "approve", message, author, data)


def reject(
    name: PromptArgument,
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Say that a version is not good. It stands until you approve the version."""
    _judge(name, "reject", message, author, data)


def _judge(
    name: str, verdict: Literal["approve", "reject"], message: str, author: str, data: Path | None
) -> None:
    from api.cli.common import services
    from api.prompts.library import author_of, version_named
    from indexes.library import review

    wired = services(data)
    prompt, which = version_named(name)
    judged = review.judge(
        wired.library(), prompt, which, verdict, author=author_of(wired, author), why=message
    )
    said = {"approve": "Approved", "reject": "Rejected"}[verdict]
    typer.echo(one_line(f"{said} {judged.name}@{judged.number}; {stands(judged)}"))


def reviews(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the versions that were proposed and wait, and what each still needs."""
    from api.cli.common import services
    from indexes.library import review

    library = services(data).library()
    found = review.waiting(library)
    if as_json:
        print_json([asdict(one) | {"state": one.state} for one in found])
        return
    rows = [
        [
            f"{one.name}@{one.number}",
            one.label,
            f"{when(one.proposed_at)} {one.proposed_by}",
            one.state,
            "; ".join(one.missing),
            one.why,
        ]
        for one in found
    ]
    header = ["version", "for", "proposed", "state", "missing", "why"]
    typer.echo(table(header, rows) if rows else "Nothing waits for a review.")
    for each in review.protections(library):
        asks = [f"approvals: {each.approvals}"] if each.approvals else []
        asks += ["tests passed"] if each.tests else []
        typer.echo(f"protected: {each.label} ({', '.join(asks)})")


def protect(
    label: Annotated[str, typer.Argument(help="Label, of every prompt.")],
    approvals: Annotated[
        int, typer.Option(min=0, help="People, other than who pushed it, that must approve.")
    ] = 1,
    tests: Annotated[bool, typer.Option(help="Whether its tests must have passed, as they are now.")] = True,
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Let a label move only to versions that are approved and tested."""
    from api.cli.common import services
    from api.prompts.library import author_of
    from indexes.library import review

    wired = services(data)
    review.protect(
        wired.library(create=True),
        label,
        approvals=approvals,
        tests=tests,
        author=author_of(wired, author),
        why=message,
    )
    typer.echo(one_line(f"{label} is protected."))


def unprotect(
    label: Annotated[str, typer.Argument(help="Label.")],
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Let a label move freely again."""
    from api.cli.common import services
    from api.prompts.library import author_of
    from indexes.library import review

    wired = services(data)
    review.unprotect(wired.library(), label, author=author_of(wired, author), why=message)
    typer.echo(one_line(f"{label} moves freely."))


def stands(review: Review) -> str:
    """What a label still asks of a version, or the command that moves it there."""
    if review.missing:
        return f"{review.label} still asks: {'; '.join(review.missing)}"
    return f"rag prompts label {review.name}@{review.number} {review.label} moves the label"
