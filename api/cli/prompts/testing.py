"""rag prompts test"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json

if TYPE_CHECKING:
    from api.prompts.testing import Target
    from rag.prompts.testing.recorded import Recordings
    from rag.prompts.testing.runs import Result

FAILED = 100
"""Some test failed."""
UNEVALUATED = 3
"""None failed, and something could not be evaluated."""
SHOWN = 200
"""Characters of an answer that are shown."""
_MARKS = {"passed": "passed", "failed": "FAILED", "unevaluated": "not evaluated", "error": "ERROR"}


def run_tests(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Prompts: NAME, NAME@3, NAME@production, or a .prompty file. [default: all that have tests]",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Tests to run in place of the prompt's own.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Language model that answers. [default: from rag.toml]")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection", "-c", help="Collection to search where a test brings no context of its own."
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Keep what the model answers in this file (JSONL).")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            help="Take the answers from this file; no model is asked without --record.",
        ),
    ] = None,
    only: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only tests whose description holds this text.")
    ] = "",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Tests put to a model at a time.")] = 4,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the results to this file as JUnit XML.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the tests that lie beside prompts: NAME.tests.yaml, in promptfoo's shape.

    Exit 0 when all passed, 100 when some failed, 3 when none failed and something could not be evaluated,
    1 when a test could not be run.
    """
    from api.cli.common import services
    from api.prompts.testing import Answering, keep, results, selected, targets
    from rag.errors import NotFound
    from rag.prompts.testing.recorded import Recordings

    overrides = {"llm.model": model} if model else {}
    with services(data, overrides=overrides) as wired:
        chosen = [
            (target, selected(target, only)) for target in targets(wired, tuple(names or ()), file=file)
        ]
        if not any(cases for _, cases in chosen):
            raise NotFound(f"no test's description holds {only!r}" if only else "the files hold no tests")
        answering = Answering(
            collection=collection,
            replay=Recordings.read(replay) if replay else None,
            record=_recordings(record),
            jobs=jobs,
        )
        done: dict[str, list[Result]] = {}
        kept: list[str] = []
        recorded = 0
        try:
            for target, cases in chosen:
                if not cases:
                    continue
                if not as_json:
                    typer.echo(_heading(target))
                done[target.name] = []
                for result in results(wired, target, cases, answering=answering):
                    done[target.name].append(result)
                    if not as_json:
                        typer.echo("\n".join(lines(result)))
                if not only and keep(wired, target, done[target.name]):
                    kept.append(target.name)
        finally:  # what was paid for is kept, whatever happens
            if answering.record is not None and record is not None:
                recorded = answering.record.write(record)
    if junit is not None:
        _write(junit, done)
    every = [result for of_prompt in done.values() for result in of_prompt]
    if as_json:
        print_json(
            {
                "counts": dict(_counts(every)),
                "prompts": [
                    {
                        "prompt": target.name,
                        "origin": target.found.origin,
                        "version": target.found.version.number if target.found.version else None,
                        "digest": target.template.digest,
                        "recorded_run": target.name in kept,
                        "tests": [result.as_json() for result in done[target.name]],
                    }
                    for target, cases in chosen
                    if cases
                ],
            }
        )
    else:
        typer.echo(f"\n{summary(every)}")
        if record is not None:
            typer.echo(f"{number(recorded, 'answer')} recorded in {one_line(str(record))}", err=True)
        for name in kept:
            typer.echo(f"The run of {one_line(name)} is kept in the library.", err=True)
    raise typer.Exit(_exit_code(every))


def lines(result: Result) -> list[str]:
    """A result for people: one line, and where it did not pass, what was wrong with what answer."""
    mark = _MARKS[result.status]
    told = [f"  {mark:13}  {one_line(result.case.description)}"]
    if result.status == "passed":
        return told
    indent = " " * 17
    unknown: dict[str, list[str]] = {}
    for outcome in result.outcomes:
        if outcome.status == "failed":
            told.append(f"{indent}line {outcome.line}, {outcome.name}: {one_line(outcome.reason)}")
        elif outcome.status == "unevaluated":
            unknown.setdefault(outcome.reason, []).append(outcome.name)
    for reason, asserted in unknown.items():
        told.append(f"{indent}not evaluated ({one_line(', '.join(asserted))}): {one_line(reason)}")
    if not result.outcomes or all(outcome.status == "passed" for outcome in result.outcomes):
        told.append(f"{indent}{one_line(result.reason)}")
    told += [f"{indent}{one_line(note)}" for note in result.notes]
    if result.answer:
        begun = one_line(result.answer[: SHOWN + 1])
        told.append(f"{indent}answer: {begun[:SHOWN]}{'…' if len(begun) > SHOWN else ''}")
    return told


def summary(every: list[Result]) -> str:
    """All results in a line."""
    from rag.prompts.testing.runs import EXTRACTIVE

    found = _counts(every)
    parts = [
        f"{count:,} {word}"
        for word, count in (
            ("passed", found["passed"]),
            ("failed", found["failed"]),
            ("not evaluated", found["unevaluated"]),
            ("could not be run", found["error"]),
        )
        if count
    ]
    models = sorted({result.model for result in every if result.model})
    told = f"; answered by {one_line(', '.join(models))}" if models else ""
    if models == [EXTRACTIVE]:
        told = "; the answers are extractive, no language model is configured"
    return f"{number(len(every), 'test')}: {', '.join(parts)}{told}"


def _heading(target: Target) -> str:
    found = target.found
    if found.version is not None:
        label = f", {found.label}" if found.label else ""
        return f"{one_line(found.version.name)}@{found.version.number} (library{label})"
    return f"{one_line(target.name)} ({found.origin})"


def _counts(every: list[Result]) -> dict[str, int]:
    from rag.prompts.testing.runs import counts

    return {str(status): count for status, count in counts(every).items()}


def _exit_code(every: list[Result]) -> int:
    found = _counts(every)
    if found["error"]:
        return 1
    if found["failed"]:
        return FAILED
    return UNEVALUATED if found["unevaluated"] else 0


def _recordings(path: Path | None) -> Recordings | None:
    from rag.prompts.testing.recorded import Recordings

    if path is None:
        return None
    return Recordings.read(path) if path.is_file() else Recordings(name=str(path))


def _write(path: Path, done: dict[str, list[Result]]) -> None:
    from rag.prompts.testing.junit import junit_xml

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(junit_xml(done), "utf-8")
