"""rag prompts import, export, pack, unpack"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, printable, table
from api.cli.prompts.library import SHOWN, AuthorOption

if TYPE_CHECKING:
    from api.prompts.exchange import Written
    from rag.prompts.exchange.pack import Pack

FORCE = typer.Option("--force", help="Write over files that are there and differ.")


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of another format.")],
    into: Annotated[Path, typer.Option("--into", help="Folder for the prompt files.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="dotprompt, github, langchain, openai, promptfoo or prompty. [default: by the file's name]",
        ),
    ] = "",
    name: Annotated[
        str, typer.Option("--name", help="What the prompt is called. [default: as the file]")
    ] = "",
    force: Annotated[bool, FORCE] = False,
    as_json: JsonOption = False,
) -> None:
    """Take prompts over from other formats, as .prompty files with their tests.

    What a prompt here cannot say is told on stderr, line by line. A file that cannot be read is told and the
    others go on; exit 1 then.
    """
    from api.prompts.exchange import take_over, write

    found = take_over(files, format=format, name=name)
    done = write(into, {path: text for each in found for path, text in each.files.items()}, force=force)
    failed = [each for each in found if each.error]
    if as_json:
        rows = [
            {
                "file": each.file,
                "format": each.format,
                "files": list(each.files),
                "lost": each.lost,
                "error": each.error,
            }
            for each in found
        ]
        print_json({"into": str(into), **asdict(done), "files": rows})
    else:
        for each in found:
            if not each.error:
                typer.echo(one_line(f"{each.file} ({each.format}) -> {', '.join(each.files)}"))
            _tell(each.file, each.lost)
        for each in failed:
            typer.echo(one_line(f"failed: {each.file}: {each.error}"), err=True)
        _print_written(done, into)
    if failed:
        raise typer.Exit(1)


def export(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Prompts: NAME, NAME@3, NAME@production or a file.")
    ],
    format: Annotated[
        str, typer.Option("--format", help="dotprompt, github, langchain, openai, promptfoo or prompty.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File or folder to write. [default: standard output, for one file]"),
    ] = None,
    force: Annotated[bool, FORCE] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write prompts in another format. What it cannot carry is told on stderr, line by line."""
    from api.cli.common import services
    from api.prompts.exchange import give_out, write
    from rag.errors import PromptError

    with services(data) as wired:
        made = give_out(wired, names, format=format)
    files = {path: text for each in made.values() for path, text in each.files.items()}
    lost = {name: each.lost for name, each in made.items()}
    done = None
    if out is not None:
        folder, files = _placed(out, files)
        done = write(folder, files, force=force)
    elif len(files) > 1 and not as_json:
        raise PromptError(f"that makes {len(files)} files ({', '.join(files)}): name a folder with --out")
    if as_json:
        print_json({"format": format, "lost": lost} | ({"files": files} if done is None else asdict(done)))
        return
    for name, lines in lost.items():
        _tell(name, lines)
    if done is not None:
        _print_written(done, folder)
    else:
        typer.echo("".join(files.values()), nl=False)


def _placed(out: Path, files: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """Folder and files for ``--out``: a file's name where there is one file and no such folder."""
    if len(files) > 1 or out.is_dir() or not out.suffix:
        return out, files
    return out.parent, {out.name: next(iter(files.values()))}


def pack(
    sources: Annotated[
        list[str], typer.Argument(metavar="DIR|NAME...", help="A folder of prompts, or prompts by name.")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, such as support.promptpack.")],
    licence: Annotated[
        str, typer.Option("--licence", help="What others may do with it, such as CC-BY-4.0 or Apache-2.0.")
    ],
    author: AuthorOption = "",
    source: Annotated[str, typer.Option("--source", help="Where it is from: an address.")] = "",
    name: Annotated[str, typer.Option("--name", help="What it is called. [default: as the file]")] = "",
    version: Annotated[str, typer.Option("--pack-version", help="Which edition of it this is.")] = "1",
    force: Annotated[bool, FORCE] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put prompts, what they include, their tests and recorded answers into one file to share."""
    from api.cli.common import services
    from api.prompts.exchange import make_pack
    from api.prompts.files import replace
    from rag.errors import UsageError
    from rag.prompts.exchange import pack as packs

    called = name or out.name.removesuffix(packs.SUFFIX)
    with services(data) as wired:
        made = make_pack(
            wired, sources, name=called, licence=licence, version=version, author=author, source=source
        )
    there = out.read_bytes() if out.is_file() else None
    if there not in (None, made.data) and not force:
        raise UsageError(f"{out} is there and differs: --force writes over it")
    if there != made.data:
        replace(out, made.data)
    if as_json:
        print_json({"file": str(out), "sha256": _digest(made.data), **_json(made.content), "left": made.left})
        return
    for path, why in made.left:
        typer.echo(one_line(f"not in it: {path}: {why}"), err=True)
    held = made.content
    typer.echo(
        one_line(
            f"Wrote {out} ({number(len(made.data), 'byte')}): {number(len(held.manifest.prompts), 'prompt')} "
            f"in {number(len(held.files), 'file')}, by {held.manifest.author}, {licence}."
        )
    )
    typer.echo(f"sha256 {_digest(made.data)}")


def unpack(
    file: Annotated[Path, typer.Argument(help="A file that rag prompts pack wrote.")],
    into: Annotated[Path | None, typer.Option("--into", help="Folder for the prompt files.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Check it and show what is in it; write nothing.")
    ] = False,
    force: Annotated[bool, FORCE] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a pack and put its files into a folder. Nothing is written of a pack that is not whole."""
    from api.prompts.exchange import open_pack, write
    from rag.errors import UsageError

    if into is None and not listed:
        raise UsageError("name a folder with --into, or --list to look into the pack")
    opened = open_pack(file)
    done = None if listed or into is None else write(into, opened.files, force=force)
    if as_json:
        print_json({"file": str(file), **_json(opened)} | (asdict(done) if done else {}))
    elif done is not None and into is not None:
        typer.echo(one_line(_about(opened)))
        _print_written(done, into)
    else:
        typer.echo(one_line(_about(opened)))
        _print_contents(opened)


def _about(opened: Pack) -> str:
    about = opened.manifest
    where = f", from {about.source}" if about.source else ""
    made = f"packed by promptwell {about.promptwell}"
    return f"{about.name} {about.version}, by {about.author}, {about.licence}{where}, {made}"


def _print_contents(opened: Pack) -> None:
    rows = [
        [
            each.name,
            each.origin,
            str(each.version) if each.version else "-",
            each.author or "-",
            each.created_at or "-",
            each.digest[:12],
        ]
        for each in opened.manifest.prompts
    ]
    typer.echo(table(["prompt", "from", "version", "author", "made", "digest"], rows))
    typer.echo("")
    sizes = [[path, f"{len(text.encode()):,}"] for path, text in opened.files.items()]
    typer.echo(table(["file", "bytes"], sizes))


def _json(opened: Pack) -> dict[str, object]:
    return {"manifest": asdict(opened.manifest)}


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _tell(what: str, lost: Sequence[str]) -> None:
    for line in lost:
        typer.echo(printable(one_line(f"not carried over: {what}: {line}")), err=True)


def _print_written(done: Written, folder: Path) -> None:
    same = f"; {number(len(done.unchanged), 'file')} there already" if done.unchanged else ""
    files = ", ".join(str(folder / path) for path in done.written[:SHOWN])
    if len(done.written) > SHOWN:
        files = f"{len(done.written):,} files to {folder}"
    typer.echo(one_line(f"Wrote {files or 'nothing'}{same}."))
