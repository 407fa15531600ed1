"""rag prompts push, pull, remove, list, show, diff, log"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, printable, table

if TYPE_CHECKING:
    from api.prompts.listing import Listed
    from api.prompts.pushing import PushReport
    from rag.prompts.versions import Event

MessageOption = Annotated[str, typer.Option("--message", "-m", help="Why; it is kept in the log.")]
AuthorOption = Annotated[
    str, typer.Option("--author", help="Who does it. [default: prompts.author of the settings, else you]")
]
SHOWN = 20
"""Names that a report lists one by one."""


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of .prompty files, sub-folders included.")],
    message: MessageOption = "",
    author: AuthorOption = "",
    label: Annotated[str, typer.Option(help="Move this label to what is in the folder.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the prompts of a folder into the library: what changed since becomes a new version.

    A file that cannot be read is told and the others go in; exit 1 then. Prompts that the folder does not
    have stay in the library: `rag prompts remove` takes one away.
    """
    from api.cli.common import services
    from api.prompts.pushing import push as take_in

    report = take_in(services(data), folder, message=message, author=author, label=label, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
    else:
        _print_pushed(report, label=label, dry_run=dry_run)
    if report.failed:
        raise typer.Exit(1)


def _print_pushed(report: PushReport, *, label: str, dry_run: bool) -> None:
    new = [name for name, (before, _) in report.versions.items() if not before]
    changed = [f"{name} {a} -> {b}" for name, (a, b) in report.versions.items() if a and a != b]
    back = [f"{name} {a}" for name, (a, b) in report.versions.items() if a == b]
    moved = [f"{name} {f'{a} -> ' if a else ''}{b}" for name, (a, b) in report.labels.items()]
    for what, names in (
        ("new", new),
        ("changed", changed),
        ("restored", back),
        ("tests", list(report.tests)),
        (label, moved),
    ):
        for name in names[:SHOWN]:
            typer.echo(one_line(f"{what}: {name}"))
        if len(names) > SHOWN:
            typer.echo(f"{what}: and {len(names) - SHOWN:,} more")
    for file, why in report.failed:
        typer.echo(one_line(f"failed: {file}: {why}"), err=True)
    if report.missing:
        few = ", ".join(report.missing[:SHOWN]) + (", …" if len(report.missing) > SHOWN else "")
        typer.echo(one_line(f"only in the library: {few} (rag prompts remove NAME takes one off)"))
    counts = [
        (len(new), "new"),
        (len(changed), "changed"),
        (len(back), "restored"),
        (len(report.unchanged), "unchanged"),
        (len(report.failed), "failed"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count) or "no prompt in this folder"
    typer.echo(f"{'Would push' if dry_run else 'Pushed'}: {told}")


def pull(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if it is not there.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[@VERSION|@LABEL]...]", help="Prompts to write; none: all.", show_default=False
        ),
    ] = None,
    label: Annotated[
        str, typer.Option(help="Write where this label stands. [default: the newest version]")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that differ.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write prompts of the library into a folder, with the files that they include and their tests.

    Where a file there differs, nothing is written; exit 1 then.
    """
    from api.cli.common import services
    from api.prompts.pulling import pull as write

    report = write(services(data), folder, names or (), label=label, force=force)
    refused = bool(report.differing) and not force
    if as_json:
        print_json(asdict(report))
    else:
        for path in report.written:
            typer.echo(one_line(f"wrote: {folder / path}"))
        for name, why in report.left:
            typer.echo(one_line(f"left: {name}: {why}"), err=True)
        if refused:
            for path in report.differing:
                typer.echo(one_line(f"differs: {folder / path}"), err=True)
            typer.echo("Error: nothing is written: --force overwrites what differs", err=True)
        else:
            told = number(len(report.versions), "prompt")
            typer.echo(
                f"Pulled {told}: {len(report.written):,} files written, {len(report.unchanged):,} unchanged"
            )
    if refused or report.left:
        raise typer.Exit(1)


def remove(
    name: Annotated[str, typer.Argument(help="Prompt of the library.")],
    message: MessageOption = "",
    author: AuthorOption = "",
    data: DataOption = None,
) -> None:
    """Take a prompt off the library: it is found no more. Its history stays; pushing its file restores it."""
    from api.cli.common import services
    from api.prompts.library import author_of

    wired = services(data)
    wired.library().remove(name, author=author_of(wired, author), why=message)
    typer.echo(one_line(f"Removed {name}; rag prompts log {name} has its history."))


def list_prompts(
    tag: Annotated[str, typer.Option(help="Only with this tag.")] = "",
    category: Annotated[str, typer.Option(help="Only of this category.")] = "",
    model: Annotated[
        str, typer.Option(help="Only those that name this model, or have a variant for it.")
    ] = "",
    label: Annotated[str, typer.Option(help="Only those that have this label.")] = "",
    language: Annotated[str, typer.Option(help="Only in this language, such as es.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List prompts: those of the library, of the folder in rag.toml, and the shipped ones."""
    from api.cli.common import services
    from api.prompts.listing import listed

    found = listed(services(data), tag=tag, category=category, model=model, label=label, language=language)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    header = ["name", "versions", "labels", "category", "tags", "changed", "from"]
    typer.echo(table(header, map(_row, found)) if found else "No prompt passes these filters.")


def _row(one: Listed) -> list[str]:
    labels = ", ".join(f"{label} {at}" for label, at in one.labels.items())
    origins = [
        "library" if one.versions else "",
        {"same": "file", "changed": "file (changed)", "new": "file", "broken": "file (cannot be read)"}.get(
            one.working, ""
        ),
        "shipped" if one.shipped else "",
    ]
    return [
        one.name,
        str(one.versions or "-"),
        labels,
        one.facts.category,
        ", ".join(one.facts.tags),
        f"{when(one.changed_at)} {one.author}".strip(),
        ", ".join(filter(None, origins)),
    ]


def when(at: str) -> str:
    """A moment of the library as a list shows it, in UTC.

    >>> when("2026-05-04T10:20:30+00:00")
    '2026-05-04 10:20'
    """
    return at[:16].replace("T", " ")


def diff(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A prompt: NAME, NAME@3, NAME@label, file.prompty.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changes from one prompt, or version, to another: what its header says, then its texts."""
    from api.cli.common import services
    from api.prompts.listing import differences

    found = differences(services(data), before, after)
    if as_json:
        print_json(asdict(found))
        return
    for what, old, new in found.facts:
        typer.echo(one_line(f"{what}: {old or '(none)'} -> {new or '(none)'}"))
    for text in found.files.values():
        typer.echo(printable(text))
    if not found.files:
        typer.echo(one_line(f"{before} and {after} are the same."))


def log(
    name: Annotated[str | None, typer.Argument(help="Only what was done with this prompt.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="Rows to show, newest first.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who did what, when and why. Nothing is ever taken out of it. Times are in UTC."""
    from api.cli.common import services

    found = services(data).library().log(name, limit=limit)
    if as_json:
        print_json([event.as_json() for event in found])
        return
    rows = [[when(event.at), event.who, event.action, _about(event), event.why] for event in found]
    typer.echo(table(["when", "who", "did", "what", "why"], rows) if rows else "Nothing was done yet.")


def _about(event: Event) -> str:
    if event.action in ("label", "rollback", "unlabel"):
        to = event.number or "nowhere"
        return f"{event.name} {event.label}: {event.before or 'nowhere'} -> {to}"
    at = f"@{event.number}" if event.number else ""
    return f"{event.name}{at} {event.label}".strip()
