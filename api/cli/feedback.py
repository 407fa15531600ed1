"""rag feedback"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json
from api.cli.traces import TraceArgument


def feedback(
    name: TraceArgument,
    up: Annotated[bool, typer.Option("--up", help="The answer is right.")] = False,
    down: Annotated[bool, typer.Option("--down", help="It is wrong.")] = False,
    score: Annotated[float | None, typer.Option(help="Between 0 (wrong) and 1 (right).")] = None,
    comment: Annotated[str, typer.Option(help="What is right or wrong with it.")] = "",
    answer: Annotated[str, typer.Option(help="What it should have been.")] = "",
    author: Annotated[str, typer.Option(help="Who says so. [default: as for rag prompts push]")] = "",
    to_test: Annotated[
        Path | None, typer.Option("--to-test", help="Write it as a test at the end of this NAME.tests.yaml.")
    ] = None,
    to_judgement: Annotated[
        Path | None,
        typer.Option("--to-judgement", help="Write it as a judged question at the end of this JSONL file."),
    ] = None,
    evidence: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of a passage that holds the evidence; may be repeated. [default: those cited]"
        ),
    ] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="No passage answers the question.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an answer is worth, and make a test or a judgement of it."""
    from api.cli.common import services
    from api.prompts.lessons import append_line, append_test, as_judgement, as_test
    from api.prompts.lessons import evidence as quoted_by
    from api.prompts.library import author_of
    from rag.errors import InvalidQuery

    if sum((up, down, score is not None)) > 1:
        raise InvalidQuery("choose one of --up, --down and --score")
    if evidence and nothing:
        raise InvalidQuery("choose one of --evidence and --nothing")
    given = 1.0 if up else 0.0 if down else score
    wired = services(data)
    with wired.traces() as store:
        trace = store.get(name)
        said = None
        if given is not None or comment or answer or not (to_test or to_judgement):
            said = wired.feedback(
                trace.id,
                score=given,
                comment=comment,
                answer=answer,
                author=author_of(wired, author),
            )
        every = store.said([trace.id])[trace.id]
    made: dict[str, object] = {}
    if to_test or to_judgement:
        numbers = [] if nothing else evidence
        quoted = quoted_by(wired.catalogue(), trace, every, passages=numbers)
        if to_test:
            test = made["test"] = as_test(trace, every, quoted)
            append_test(to_test, test)
        if to_judgement:
            judgement = made["judgement"] = as_judgement(trace, quoted)
            append_line(to_judgement, judgement)
    if as_json:
        print_json({"trace": trace.id, "feedback": said.as_json() if said else None, **made})
        return
    if said:
        typer.echo(f"Noted, of trace {trace.id}.")
    for path in (to_test, to_judgement):
        if path:
            typer.echo(one_line(f"Wrote it to {path}."))
