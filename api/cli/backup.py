"""rag backup, rag restore"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, duration, number, one_line, print_json
from api.cli.doctor import print_report, report_json
from api.cli.progress import LOG_EVERY

if TYPE_CHECKING:
    from indexes.archive import Manifest


def backup(
    file: Annotated[Path, typer.Argument(help="File to write, outside the data folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write everything that cannot be rebuilt into one file. Ingests and searches may go on meanwhile."""
    from api.cli.common import services
    from indexes.backup import backup as write

    started = time.monotonic()
    with services(data) as wired, _ended_cleanly():
        store = wired.catalogue(create=wired.has_library).store
        manifest = write(store, file, force=force, on_progress=_stages(quiet=as_json))
    if as_json:
        print_json({"file": str(file), **asdict(manifest)})
    else:
        spent = duration(time.monotonic() - started)
        typer.echo(one_line(f"Wrote {file} ({number(manifest.bytes, 'byte')}) in {spent}."))
        typer.echo(one_line(_contents(manifest)))


def restore(
    file: Annotated[Path, typer.Argument(help="A file that rag backup wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Move a catalogue that is there aside; it is kept.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into a data folder, build its indexes, and check everything. Exit 1 if not all is well."""
    from api.cli.common import services

    started = time.monotonic()
    with services(data) as wired, _ended_cleanly():
        restored, report = wired.restore(file, force=force, on_progress=_stages(quiet=as_json))
    if as_json:
        print_json(
            {
                "data": str(wired.settings.data),
                "before": restored.aside and str(restored.aside),
                "before_beside": [str(path) for path in restored.others],
                "backup": asdict(restored.manifest),
                "doctor": report_json(report),
            }
        )
    else:
        spent = duration(time.monotonic() - started)
        made = restored.manifest.created_at
        typer.echo(one_line(f"Restored {wired.settings.data} from {file} (made {made}) in {spent}."))
        typer.echo(one_line(_contents(restored.manifest)))
        for aside in filter(None, (restored.aside, *restored.others)):
            typer.echo(one_line(f"What was there before is {aside}."))
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _contents(manifest: Manifest) -> str:
    parts = [
        f"{name}: {number(held.documents, 'document')}, {number(held.chunks, 'chunk')}"
        for name, held in manifest.collections.items()
    ]
    return "; ".join([*(parts or ["no collection"]), *manifest.beside])


def _stages(*, quiet: bool) -> Callable[[str, int, int], None]:
    """How far it has come: in place on a terminal, a line a stage and every ten seconds in a log."""
    doing, told = "", 0.0
    terminal = sys.stderr.isatty()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal doing, told
        now = time.monotonic()
        if quiet or (stage == doing and now - told < (0.1 if terminal else LOG_EVERY)):
            return
        doing, told = stage, now
        share = f" {done / total:.0%}" if done else ""
        line = f"\r\x1b[K{stage}{share}" if terminal else f"{stage}{share}\n"
        print(line, end="", file=sys.stderr, flush=True)

    return tell


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that what it was writing is removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
