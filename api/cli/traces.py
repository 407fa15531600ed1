"""rag traces list | show | remove | export"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, printable, short, table

if TYPE_CHECKING:
    from api.prompts.passages import Shown
    from indexes.traces import TraceStore, Wanted
    from rag.trace import Feedback, Trace

app = typer.Typer(no_args_is_help=True, help="What was asked, and what became of it.")

TraceArgument = Annotated[
    str, typer.Argument(metavar="TRACE", help='Its id, the end of it, or "last".', show_default=False)
]
PromptOption = Annotated[str, typer.Option("--prompt", "-p", help="Of this prompt alone: NAME or NAME@3.")]
LabelOption = Annotated[str, typer.Option(help="Of a prompt taken by this label.")]
SinceOption = Annotated[str, typer.Option(help="Not older: 30m, 12h, 7d, 4w, or a date such as 2026-01-31.")]
QuestionOption = Annotated[str, typer.Option(help="The question holds this.")]
NotFoundOption = Annotated[bool, typer.Option("--not-found", help="Answered with “not found”.")]
FailedOption = Annotated[bool, typer.Option("--failed", help="Ended with an error.")]
FeedbackOption = Annotated[str, typer.Option(help="up, down, or any.")]

WIDTH = 60
"""Characters of a question in a list."""


def stored(data: Path | None) -> TraceStore:
    """The traces of the data folder in use. Raises NotFound before the first one."""
    from api.cli.common import services

    return services(data).traces()


def wanted(
    *,
    prompt: str = "",
    label: str = "",
    since: str = "",
    question: str = "",
    not_found: bool = False,
    failed: bool = False,
    feedback: str = "",
) -> Wanted:
    """What the options ask for. Raises InvalidQuery."""
    from api.prompts.traces import moment
    from indexes.traces import Wanted
    from rag.errors import InvalidQuery

    if feedback not in ("", "up", "down", "any"):
        raise InvalidQuery(f"--feedback {feedback!r}: choose up, down or any")
    name, at, version = prompt.partition("@")
    if at and not version.isdigit():
        raise InvalidQuery(f"--prompt {prompt!r}: write NAME or NAME@3; --label has labels")
    return Wanted(
        prompt=name,
        version=int(version) if at else None,
        label=label,
        since=moment(since) if since else None,
        question=question,
        found=False if not_found else None,
        failed=True if failed else None,
        feedback=feedback,
    )


@app.command("list")
def list_traces(
    prompt: PromptOption = "",
    label: LabelOption = "",
    since: SinceOption = "",
    question: QuestionOption = "",
    not_found: NotFoundOption = False,
    failed: FailedOption = False,
    feedback: FeedbackOption = "",
    limit: Annotated[int, typer.Option("-n", min=1, help="How many, newest first.")] = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the traces, newest first."""
    asked = wanted(
        prompt=prompt,
        label=label,
        since=since,
        question=question,
        not_found=not_found,
        failed=failed,
        feedback=feedback,
    )
    with stored(data) as store:
        found = store.find(asked, limit=limit)
        said = store.said(trace.id for trace in found)
    if as_json:
        print_json([trace.as_json() | {"feedback": [f.as_json() for f in said[trace.id]]} for trace in found])
        return
    rows = [
        [
            trace.id,
            trace.at[:16].replace("T", " "),
            named(trace),
            _cut(trace.question),
            outcome(trace),
            f"{trace.ms.get('total', 0):,.0f}",
            scores(said[trace.id]),
        ]
        for trace in found
    ]
    header = ["trace", "at (UTC)", "prompt", "question", "result", "ms", "feedback"]
    typer.echo(table(header, rows) if rows else "No trace of that kind.")


@app.command("show")
def show(name: TraceArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one trace: question, answer, passages with what became of them, cost and feedback."""
    from api.cli.common import services
    from api.prompts.passages import shown

    wired = services(data)
    with wired.traces() as store:
        trace = store.get(name)
        said = store.said([trace.id])[trace.id]
    chunks = shown(wired.catalogue(), trace) if trace.chunks and wired.exists else []
    if as_json:
        states = [{"passage": c.passage, "key": k["key"], "state": c.state} for c, k in _with(chunks, trace)]
        print_json(trace.as_json() | {"passages": states, "feedback": [f.as_json() for f in said]})
        return
    _print_head(trace)
    if trace.answer:
        typer.echo(f"\n{printable(trace.answer.strip())}")
    if chunks:
        typer.echo("\nPassages:")
        cited = set(trace.citations)
        rows = [
            [
                f"[{c.passage}]{'*' if c.passage in cited else ''}",
                c.state,
                f"{c.score:.3f}",
                short(c.document_id),
                f"{c.start}-{c.end}",
            ]
            for c in chunks
        ]
        typer.echo(table(["", "text", "score", "document", "characters"], rows))
        typer.echo("* cited. The text is the same as it was shown, moved in its document, changed, or gone.")
    for each in said:
        typer.echo(f"\n{_one(each)}")


@app.command("remove")
def remove(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TRACE]...", help="Ids, or ends of them.")
    ] = None,
    prompt: PromptOption = "",
    question: QuestionOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
) -> None:
    """Forget traces, with what was said of them: those named, or all that an option means."""
    from rag.errors import InvalidQuery

    by_option = bool(prompt or question or everything)
    if bool(names) == by_option:
        raise InvalidQuery("name the traces to forget, or say which by --prompt, --question or --all")
    with stored(data) as store:
        if names:
            ids = [store.id_of(name) for name in names]
        else:
            ids = [fact.id for fact in store.facts(wanted(prompt=prompt, question=question))]
            if ids and not yes:
                typer.confirm(f"Forget {number(len(ids), 'trace')}?", abort=True)
        typer.echo(f"Removed {number(store.remove(ids), 'trace')}.")


@app.command("export")
def export(
    prompt: PromptOption = "",
    label: LabelOption = "",
    since: SinceOption = "",
    feedback: FeedbackOption = "",
    out: Annotated[Path | None, typer.Option(help="File to write. [default: standard output]")] = None,
    data: DataOption = None,
) -> None:
    """Write traces with their feedback as JSONL, oldest first, one a line."""
    with stored(data) as store:
        found = store.find(wanted(prompt=prompt, label=label, since=since, feedback=feedback))[::-1]
        said = store.said(trace.id for trace in found)
    lines = (
        json.dumps(trace.as_json() | {"feedback": [f.as_json() for f in said[trace.id]]}, ensure_ascii=False)
        for trace in found
    )
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    out.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    typer.echo(f"Wrote {number(len(found), 'trace')} to {one_line(str(out))}.")


def named(trace: Trace) -> str:
    """The prompt as a list shows it: with its version where it is the library's, and the label."""
    name = f"{trace.prompt}@{trace.version}" if trace.version else trace.prompt
    return f"{name} ({trace.label})" if trace.label else name


def outcome(trace: Trace) -> str:
    """How it ended, in a word or two."""
    if trace.error:
        return trace.error.partition(":")[0]
    if not trace.found:
        return "not found"
    if not trace.collections:
        return "answered"
    return f"cites {len(trace.citations)}" + ("!" if trace.unknown_citations else "")


def scores(said: Sequence[Feedback]) -> str:
    """The scores given, in order."""
    return " ".join(_score(each.score) for each in said if each.score is not None)


def _score(score: float) -> str:
    return {1.0: "up", 0.0: "down"}.get(score, f"{score:g}")


def _one(each: Feedback) -> str:
    parts = [f"Feedback of {each.at[:16].replace('T', ' ')}"]
    if each.author:
        parts.append(f"by {each.author}")
    if each.score is not None:
        parts.append(_score(each.score))
    lines = [one_line(", ".join(parts))]
    if each.comment:
        lines.append(f"  {one_line(each.comment)}")
    if each.answer:
        lines.append(f"  should be: {one_line(each.answer)}")
    return "\n".join(lines)


def _print_head(trace: Trace) -> None:
    typer.echo(f"{trace.id}  {trace.at}  {trace.way}  {one_line(named(trace))}")
    question = one_line(trace.question)
    typer.echo(f"Q: {question}" + ("  (its hash: questions are not kept)" if trace.kept == "hashes" else ""))
    for name, value in trace.variables.items():
        typer.echo(f"   {one_line(name)} = {one_line(value)}")
    if trace.error:
        typer.echo(f"Error: {one_line(trace.error)}")
        return
    searched = f"collection {', '.join(trace.collections)}" if trace.collections else "nothing was searched"
    facts = [outcome(trace), f"model {trace.model}", searched]
    if trace.confidence is not None:
        facts.append(f"confidence {trace.confidence:.2f}")
    typer.echo(f"   {one_line(', '.join(facts))}")
    tokens = ", ".join(f"{part} {count:,}" for part, count in trace.tokens.items())
    times = ", ".join(f"{stage} {ms:,.0f}" for stage, ms in trace.ms.items())
    typer.echo(f"   tokens: {one_line(tokens)}")
    typer.echo(f"   ms: {one_line(times)}")
    for number_ in trace.unknown_citations:
        typer.echo(f"   cites [{number_}], which no passage has")


def _with(chunks: Sequence[Shown], trace: Trace) -> list[tuple[Shown, dict[str, object]]]:
    return [(shown, dict(chunk)) for shown, chunk in zip(chunks, trace.chunks, strict=bool(chunks))]


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
