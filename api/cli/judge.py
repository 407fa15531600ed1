"""rag judge"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    number,
    on_terminal,
    one_line,
    printable,
)

if TYPE_CHECKING:
    from api.evaluation.judging import Item, Session
    from api.services import Services

WIDEST = 100
"""Columns of a passage at most: longer lines are hard to read."""
CLEAR = "\x1b[2J\x1b[H"
KEYS = "e evidence  s skip  u undo  n nothing answers it  q quit  ? the grades"
_LIST = re.compile(r"\s*(?:[-*+>]|\d+[.)])\s+")
_NUMBERS = re.compile(r"[\d\s,;-]+")


def judge(
    judged_set: Annotated[
        str, typer.Argument(metavar="SET", help="A stored set; made where it is not.", show_default=False)
    ],
    question: Annotated[
        list[str] | None, typer.Option(help="Add this question to the set; may be repeated.")
    ] = None,
    from_traces: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Add up to N questions that people asked, those whose answer was judged wrong first.",
        ),
    ] = 0,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="What finds the passages, as for rag eval run; may be repeated. "
            "[default: lexical, vector, hybrid]"
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="Judge what a kept run found, in place of the systems; may be repeated."),
    ] = None,
    name: Annotated[str, typer.Option("--judge", help="Who judges. [default: as for rag prompts push]")] = "",
    depth: Annotated[int, typer.Option(min=1, help="Passages of each system that are looked at.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many grades.")] = None,
    second: Annotated[
        bool, typer.Option("--second", help="Judge what others judged, without seeing what they said.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Tell how far the judges agree, and judge nothing.")
    ] = False,
    collection: CollectionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grade passages for the questions of a set, one at a time, without seeing which system found them."""
    from api.cli.agreement import tell_agreement
    from api.cli.common import services
    from api.evaluation.candidates import add_from_traces, add_questions
    from api.evaluation.judging import begin
    from api.evaluation.systems import DEFAULT, read_system
    from api.prompts.library import author_of
    from rag.errors import InvalidQuery

    if as_json and not agreement:
        raise InvalidQuery("--json goes with --agreement; what was judged is told by rag eval export")
    with services(data, collection) as wired:
        if agreement:
            with wired.evaluations() as store:
                tell_agreement(store, judged_set, as_json=as_json)
            return
        systems = (
            [] if run and not system else [read_system(one, wired.settings) for one in system or DEFAULT]
        )
        wired.catalogue().collection(wired.settings.collection)  # before a question is added
        if not (question or from_traces):
            _has_questions(wired, judged_set)
        with wired.evaluations(create=True) as store:
            added = add_questions(store, judged_set, question or ())
            if from_traces:
                added += add_from_traces(wired, store, judged_set, limit=from_traces)
            if question or from_traces:
                typer.echo(f"{number(len(added), 'question')} added to {one_line(judged_set)}.")
            runs = []
            if run:
                from api.evaluation.runs import find_run

                runs = [find_run(wired, reference) for reference in run]
            session = begin(
                wired,
                store,
                judged_set,
                judge=author_of(wired, name),
                systems=systems,
                runs=runs,
                depth=depth,
                limit=limit,
                second=second,
            )
            _judge(session)


def _has_questions(wired: Services, name: str) -> None:
    """Raises NotFound where there is no such set, before anything is made for a name that was mistyped."""
    from rag.errors import NotFound

    try:
        with wired.evaluations() as store:
            store.judged_set(name)
    except NotFound as error:
        raise NotFound(
            f"no judged set {name!r} yet: --question TEXT or --from-traces 20 makes one here, and rag eval "
            "import takes one in; rag eval sets lists those there are"
        ) from error


# --- a session ------------------------------------------------------------------------------------


def _judge(session: Session) -> None:
    from rag.errors import EvaluationError

    told = ""
    ended = "Nothing is left to judge here" if session.current() is None else "Done"
    try:
        while (item := session.current()) is not None:
            _show(item, session, told)
            try:
                told = _act(session, item, _key())
            except EvaluationError as error:
                told = f"{error}."
    except (KeyboardInterrupt, EOFError):
        ended = "Stopped"
    typer.echo(
        printable(f"\n{ended}: {number(session.graded, 'grade')} by {session.judge} kept in {session.name}.")
    )


def _act(session: Session, item: Item, key: str) -> str:
    """Do what a key says; what is to be told of it. Raises EOFError for the key that ends it."""
    from api.evaluation.judging import GRADES

    if key.isdecimal() and int(key) in GRADES:
        session.grade(int(key))
        return ""
    if key == "e":
        return _evidence(session, item)
    if key == "s":
        session.skip()
        return "Skipped."
    if key == "n":
        session.no_answer()
        return "Noted that nothing answers it."
    if key == "u":
        return "Back to the last one." if session.undo() else "There is nothing to undo."
    if key == "q":
        raise EOFError
    if key == "?":
        return "\n".join(f"{grade}  {meaning}" for grade, meaning in GRADES.items())
    return f"{one_line(key)!r} means nothing here." if key else ""


def _evidence(session: Session, item: Item) -> str:
    """Which words are the evidence, and what they are worth."""
    for count, sentence in enumerate(item.sentences, 1):
        typer.echo("\n".join(_wrapped(" ".join(sentence.split()), first=f"{count:>3}  ", rest="     ")))
    typer.echo("Evidence (1 or 2-3 or 1,4, or the words themselves; empty: all of it): ", nl=False)
    said = _line()
    typer.echo("Grade 1-3: ", nl=False)
    key = _key()
    if not (key.isdecimal() and len(key) == 1):
        return "No grade given."
    if _NUMBERS.fullmatch(said):
        session.grade(int(key), sentences=_numbers(said))
    else:
        session.grade(int(key), quotation=said.strip("\"'«»“” "))
    return ""


def _numbers(text: str) -> list[int]:
    """Numbers and ranges of them.

    >>> _numbers("1, 4-6")
    [1, 4, 5, 6]
    """
    found: list[int] = []
    for first, last in re.findall(r"(\d{1,3})(?:\s*-\s*(\d{1,3}))?", text):
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _show(item: Item, session: Session, told: str) -> None:
    """One passage, one screen."""
    from api.evaluation.judging import GRADES

    typer.echo(CLEAR if on_terminal() else "\n", nl=False)
    chunk = item.chunk
    done = f", {session.graded} graded" if session.graded else ""
    place = f"Question {item.question} of {item.questions}, passage {item.number} of {item.of}{done}"
    path = " > ".join(dict.fromkeys(part for part in (chunk.title, *chunk.heading) if part))
    page = f" (page {chunk.page})" if chunk.page else ""
    rule = "-" * min(_width(), 40)
    lines = [*([told, ""] if told else []), place, "", *_wrapped(item.query.text, bold=True), ""]
    lines += [*_wrapped(f"{path}{page}"), rule] if path or page else [rule]
    for line in chunk.text.strip("\n").splitlines():
        mark = _LIST.match(line)
        lines += _wrapped(line, rest=" " * len(mark[0].lstrip()) if mark else "") if line.strip() else [""]
    said = f" (you gave {item.said})" if item.said is not None else ""
    typer.echo("\n".join([*lines, rule, *_wrapped(KEYS)]))
    typer.echo(f"Grade 0-{max(GRADES)}{said}: ", nl=False)


def _wrapped(text: str, *, first: str = "", rest: str = "", bold: bool = False) -> list[str]:
    """A line as lines of the terminal's width, between words; the indent of the text is kept."""
    from textwrap import wrap

    clean = printable(text).expandtabs(4)
    indent = " " * min(len(clean) - len(clean.lstrip()), 20)
    lines = wrap(
        clean.strip(),
        _width(),
        initial_indent=first + indent,
        subsequent_indent=rest + indent,
        break_on_hyphens=False,
    )
    return [typer.style(line, bold=True) for line in lines] if bold and on_terminal() else lines


def _width() -> int:
    from shutil import get_terminal_size

    return max(20, min(get_terminal_size().columns, WIDEST))


def _key() -> str:
    """One key where a person types, one line else. Raises EOFError at the end, KeyboardInterrupt."""
    if not sys.stdin.isatty():
        return _line().lower()
    key = typer.getchar().strip().lower()
    typer.echo(printable(key))
    return key


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    if not sys.stdin.isatty():
        typer.echo(printable(line.rstrip("\n")))  # a record of what was done reads as a dialogue
    return line.strip()
