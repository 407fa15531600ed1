"""How far an ingest has come: a bar on a terminal, plain lines in a log. Both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.cli.common import duration, one_line, short

if TYPE_CHECKING:
    from ingest.job import Progress

LOG_EVERY = 10.0
"""Seconds between two lines in a log."""


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """What to hand to a job as ``on_progress``."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[items]}"),
        TextColumn("{task.fields[texts]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None, items="", texts="")

        def tell(progress: Progress) -> None:
            rate = progress.texts_embedded / max(time.monotonic() - started, 1e-3)
            doing = "embedding" if progress.texts_waiting else "reading"
            texts = f"{progress.texts_embedded:,} texts, {rate:,.0f}/s" if progress.texts_embedded else ""
            items = f"{progress.items:,}/{progress.total:,} files"
            bar.update(task, completed=progress.share, total=1, description=doing, items=items, texts=texts)

        yield tell


def _lines() -> Callable[[Progress], None]:
    started = last = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG_EVERY:
            return
        last = now
        spent = now - started
        line = f"{progress.items}/{progress.total} files, {progress.texts_embedded:,} texts embedded"
        line += f" ({progress.texts_embedded / spent:,.0f}/s)"
        if 0 < progress.share < 1:
            line += f", about {duration(spent / progress.share * (1 - progress.share))} left"
        print(f"{line}  {one_line(short(progress.uri))}".rstrip(), file=sys.stderr, flush=True)

    return tell


def counted(*, quiet: bool) -> Callable[[str, int, int], None]:
    """What to hand to an evaluation as ``on_query``: one line a system, in place on a terminal."""

    def tell(system: str, done: int, total: int) -> None:
        if quiet or (done != total and not (sys.stderr.isatty() and done % 10 == 0)):
            return
        end = "\n" if done == total else "\r"
        print(f"{system}: {done}/{total} questions", end=end, file=sys.stderr, flush=True)

    return tell
