"""What the commands share: their common options, how they reach the services, how they print."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from api.services import Services
    from rag.errors import RagError
    from rag.filters import Filter

# Read once, when NumPy is loaded: after each product its threads else turn idly for some 20 ms beside the
# search that they helped. With 16 turns they sleep: a search took 62 ms of CPU before, and 32 since.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of a line, and halves of characters, which no terminal can
be sent. Spaces that do not break, soft hyphens and joiners stay: they are part of how people write."""

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder that holds the catalogue and the indexes. [default: ./.rag, or RAG_DATA]"
    ),
]
CollectionOption = Annotated[
    str | None, typer.Option("--collection", "-c", help="Collection to use. [default: from rag.toml]")
]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        "-c",
        help="Collection to use; may be repeated, to search several as one. [default: from rag.toml]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ModeOption = Annotated[
    str | None, typer.Option("--mode", help="hybrid, vector or lexical. [default: from rag.toml]")
]
RerankOption = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="NAME",
        help='late, a cross-encoder\'s name or folder, or "". [default: from rag.toml]',
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only documents whose metadata passes: language=es, or year>=2020 and not tag in (a, b); may be "
        "repeated.",
    ),
]


def services(
    data: Path | None, collection: str | None = None, *, overrides: Mapping[str, Any] | None = None
) -> Services:
    """The wired product for the settings in force, with these options on top.

    ``overrides`` are further settings by key, such as "index.kind".
    """
    from api.services import connect
    from api.settings import load, quiet_environment

    quiet_environment()
    given = dict(overrides or {})
    if data is not None:
        given["data"] = data
    if collection is not None:
        given["collection"] = collection
    wired = connect(load(start=Path.cwd(), env=os.environ, overrides=given))
    wired.way = "cli"
    return wired


def where(conditions: Sequence[str] | None) -> Filter:
    """What the options --where ask for together. Raises InvalidFilter."""
    from rag.filters import both, parse

    return both([parse(condition) for condition in conditions or ()])


def tell_not_rewritten(why: str) -> None:
    """Say on stderr why a question was searched as it stands, although it should have been rewritten; nothing
    where ``why`` is ""."""
    if why:
        typer.echo(one_line(f"The question was not rewritten: {why}"), err=True)


def tell_unknown_keys(wired: Services, where: Filter, collection: Sequence[str] | None = None) -> None:
    """Say on stderr which keys of a filter no document has: a filter that finds nothing may be a typo."""
    from difflib import get_close_matches

    from rag.filters import names

    if not (asked := names(where)):
        return
    known = wired.metadata_names(collection)
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, n=3) or known[:10]
            there = f"; there is {', '.join(near)}" if near else ""
            typer.echo(one_line(f"No document has the metadata key {name!r}{there}"), err=True)


def assignments(pairs: Sequence[str] | None, *, option: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping; a value may hold further equals signs.

    >>> assignments(["question=a=b"], option="--var")
    {'question': 'a=b'}
    """
    from rag.errors import InvalidFilter

    values: dict[str, str] = {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise InvalidFilter(f"{option} {pair!r}: write it as NAME=VALUE")
        values[name.strip()] = value
    return values


def fail(error: RagError) -> NoReturn:
    """``Error: …`` on stderr; exit 2 when the request itself was wrong, 1 else."""
    from rag.errors import UsageError

    typer.echo(printable(f"Error: {error}"), err=True)
    raise typer.Exit(2 if isinstance(error, UsageError) else 1)


def print_json(value: object) -> None:
    """One JSON object, keys in the order given, characters as they are where a terminal may have them."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    typer.echo(_UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def short(uri: str) -> str:
    """A URI as a person would name it: a path below the current folder, else as it is."""
    if not uri.startswith("file://"):
        return uri
    path = uri.removeprefix("file://")
    here = f"{Path.cwd().as_posix()}/"
    return path.removeprefix(here)


def number(value: float, unit: str) -> str:
    """A count with its noun.

    >>> number(1, "chunk"), number(5183, "document")
    ('1 chunk', '5,183 documents')
    """
    plural = "" if value == 1 else "s"
    return f"{value:,} {unit}{plural}"


def duration(seconds: float) -> str:
    """A span of time as people say it.

    >>> duration(0.4), duration(75), duration(7300)
    ('under 1 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def marked(text: str, spans: Iterable[tuple[int, int]], *, colour: bool) -> str:
    """``text`` with the spans set apart: coloured on a terminal, ``[[…]]`` in a file.

    >>> marked("boil the water", [(9, 14)], colour=False)
    'boil the [[water]]'
    """
    before, after = ("\x1b[1;33m", "\x1b[0m") if colour else ("[[", "]]")
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += [text[at:start], before, text[start:end], after]
        at = end
    return "".join([*parts, text[at:]])


def on_terminal() -> bool:
    """Whether standard output is read by a person."""
    return sys.stdout.isatty()


def printable(text: str) -> str:
    """Text from outside without what could drive the terminal; as many characters as before.

    >>> printable("red \\x1b[31malert\\x07, 12\\xa0km/h")
    'red \\ufffd[31malert\\ufffd, 12\\xa0km/h'
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same where a line is a record: a title, a cell, a failure.

    >>> one_line("Two\\n lines")
    'Two lines'
    """
    return printable(" ".join(text.split()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be; figures to the right.

    >>> print(table(["name", "chunks"], [["docs", "12"], ["faq", "3"]]))
    name  chunks
    docs      12
    faq        3
    """
    lines = [[one_line(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    figures = [
        len(lines) > 1 and all(line[i].replace(",", "").replace(".", "").isdigit() for line in lines[1:])
        for i in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, figures, strict=True)
        ).rstrip()
        for line in lines
    )
