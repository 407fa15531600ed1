"""rag prompts lock | verify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json

FileOption = Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The lock.")]
WithoutOption = Annotated[
    bool,
    typer.Option(
        "--without-collections", help="Leave the collections out: where their data folder is not at hand."
    ),
]


def lock(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Prompts to lock. [default: those that the file has, else all of the folder, all in "
            "production, and the one that rag ask takes]",
            show_default=False,
        ),
    ] = None,
    file: FileOption = Path("rag.lock"),
    everything: Annotated[bool, typer.Option("--all", help="All, whatever the file has.")] = False,
    without_collections: WithoutOption = False,
    data: DataOption = None,
) -> None:
    """Write down what prompts are made of: files, tests, examples, settings, documents.

    Keep the file in version control; `rag prompts verify` compares with it.
    """
    from api.cli.common import services
    from api.prompts.lock import every_name, make, read, there

    wired = services(data)
    asked = list(names or ())
    if not asked and not everything and file.is_file():
        asked, gone = there(wired, read(file).prompts)
        for name in gone:
            typer.echo(one_line(f"left out: {name}: there is no such prompt any more"), err=True)
    made = make(
        wired, asked or every_name(wired), base=file.absolute().parent, collections=not without_collections
    ).lock
    text = made.text()
    same = file.is_file() and file.read_bytes() == text.encode()
    if not same:
        file.write_bytes(text.encode())
    held = [number(len(made.prompts), "prompt")]
    for name, collection in sorted(made.collections.items()):
        held.append(f"{name} with {number(collection.documents, 'document')}")
    typer.echo(one_line(f"{file}: {', '.join(held)}{'; as it was' if same else ''}"))


def verify(
    file: FileOption = Path("rag.lock"),
    without_collections: WithoutOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what there is with a lock. Exit 0 where it is the same, 1 with a line for each difference.

    An index that was built anew over the same documents is told, and is no difference.
    """
    from api.cli.common import services
    from api.prompts.lock import read, verify

    was = read(file)
    found = verify(services(data), was, base=file.absolute().parent, collections=not without_collections)
    differences = [one for one in found if one.decides]
    told = [one for one in found if not one.decides]
    if as_json:
        groups = {"differences": differences, "told": told}
        rows = {key: [{"about": one.about, "text": one.text} for one in some] for key, some in groups.items()}
        print_json({"file": str(file), "same": not differences, **rows})
    else:
        for one in differences:
            typer.echo(one_line(str(one)))
        for one in told:
            typer.echo(one_line(f"for information: {one}"))
        if differences:
            many = number(len(differences), "difference")
            typer.echo(f"{many} from {file}. What is meant to be so: `rag prompts lock` writes it down.")
        else:
            left = " Collections were not looked at." if without_collections else ""
            typer.echo(f"{number(len(was.prompts), 'prompt')} as in {file}.{left}")
    if differences:
        raise typer.Exit(1)
