"""rag index status | list | build | rollback | remove | audit"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import (
    CollectionOption,
    DataOption,
    JsonOption,
    duration,
    number,
    print_json,
    printable,
    table,
)

if TYPE_CHECKING:
    from api.services import Services
    from indexes.generation import GenerationInfo
    from indexes.upkeep import Audit, IndexState

app = typer.Typer(
    no_args_is_help=True,
    help="The indexes of a collection: caches, built from what is stored; no model needed.",
)

WaitOption = Annotated[float, typer.Option(help="Seconds to wait while another process is writing.", min=0)]


@app.command("status")
def status(collection: CollectionOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what answers searches, what kind of index that is and why, and what is newer than it."""
    from api.cli.common import services

    states = _states(services(data), collection)
    if as_json:
        print_json([_plain(state) for state in states])
        return
    typer.echo("\n\n".join(_told(state) for state in states) or "No collection yet.")


@app.command("list")
def list_generations(
    collection: CollectionOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the generations of each collection: what is on disk, and whether it is whole."""
    from api.cli.common import services

    states = _states(services(data), collection)
    if as_json:
        print_json(
            [{"collection": state.collection, **each} for state in states for each in _generations(state)]
        )
        return
    rows = [
        [
            each.info.folder,
            each.info.kind,
            f"{each.info.count:,}",
            f"{each.bytes / 1e6:,.1f}",
            f"{each.info.recall:.3f}",
            _age(each.info),
            each.problem or ("answers" if each.info == state.serving else "kept to go back to"),
        ]
        for state in states
        for each in state.generations
    ]
    header = ["generation", "kind", "chunks", "MB", "recall@10", "built", ""]
    typer.echo(table(header, rows) if rows else "No index yet: rag index build makes one.")


@app.command("build")
def build(
    collection: CollectionOption = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind to build instead of the one that rag.toml says.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Backend to build instead, likewise.")] = None,
    wait: WaitOption = 5.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the index of a collection anew, and let it answer when it is whole.

    Nothing is embedded, unless the settings name another embedder or another cut than the collection has:
    then its stored texts are cut and embedded beside the index that answers, until all are done. Stop it and
    start it again, and it goes on.
    """
    from api.cli.common import services
    from api.cli.ingest import summary
    from api.cli.progress import shown
    from api.indexing import build_index

    asked = {"index.kind": kind, "index.backend": backend}
    once = {key: value for key, value in asked.items() if value is not None}
    wired = services(data, collection, overrides=once)
    name = wired.settings.collection
    with shown(quiet=as_json) as tell:
        built = build_index(wired, name, wait=wait, on_progress=tell)
    if built.generation is None:
        typer.echo(f"{name} has no chunk to index yet: rag ingest PATH puts some in it.")
        return
    if as_json:
        print_json({"generation": asdict(built.generation), "moved": built.moved is not None})
        return
    if built.moved is not None:
        typer.echo(summary(built.moved))
    made = built.generation
    typer.echo(
        f"{made.folder} answers: {made.kind}, {number(made.count, 'chunk')}, recall@10 {made.recall:.3f}"
    )
    if once and services(data, collection).settings.index != wired.settings.index:
        typer.echo(
            "rag.toml asks for another one: the next ingest builds that again, unless [index] says the same.",
            err=True,
        )


@app.command("rollback")
def rollback(
    collection: CollectionOption = None,
    wait: WaitOption = 5.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to the generation before the newest, and remove that. Documents stay as they are."""
    from api.cli.common import services
    from indexes import upkeep

    wired = services(data, collection)
    gone, back = upkeep.roll_back(wired.catalogue(), wired.settings.collection, wait=wait)
    if as_json:
        print_json({"removed": asdict(gone), "answers": asdict(back)})
        return
    typer.echo(f"{back.folder} answers again ({back.kind}, built {_age(back)}); {gone.folder} is removed.")
    typer.echo("What was put in since it was built is searched beside it; rag index build makes a new one.")


@app.command("remove")
def remove(
    generation: Annotated[str, typer.Argument(help="Its number, or its folder as rag index list shows it.")],
    collection: CollectionOption = None,
    wait: WaitOption = 5.0,
    data: DataOption = None,
) -> None:
    """Remove one generation. Searches go on without it, more slowly where it was the only one."""
    from api.cli.common import services
    from indexes import upkeep

    wired = services(data, collection)
    gone = upkeep.remove(wired.catalogue(), wired.settings.collection, generation, wait=wait)
    typer.echo(f"Removed {gone.folder} ({gone.kind}, {number(gone.count, 'chunk')}).")


@app.command("audit")
def audit(
    collection: CollectionOption = None,
    sample: Annotated[int, typer.Option(help="Questions to measure with, at most.", min=1, max=10_000)] = 200,
    questions: Annotated[
        Path | None,
        typer.Option(help="File of questions, one a line; else sentences of the collection's own chunks."),
    ] = None,
    logged: Annotated[
        bool, typer.Option("--logged", help="Measure with the last questions that people asked it.")
    ] = False,
    recall: Annotated[
        float,
        typer.Option(help="Recall@10 to reach: the advice is the least effort that does.", min=0, max=1),
    ] = 0.95,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what the index finds of what an exact search finds, and what both cost.

    Exit 1 where the effort in force does not reach the recall asked for.
    """
    from api.cli.common import services
    from api.indexing import audit_index
    from rag.errors import InvalidSetting

    wired = services(data, collection)
    if logged and questions:
        raise InvalidSetting("--logged and --questions are two sources of questions: name one")
    found = audit_index(
        wired, wired.settings.collection, sample=sample, recall=recall, questions=questions, logged=logged
    )
    now = next(one for one in found.tried if one.effort == found.effort)
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(_audited(found, recall=recall, own=not (questions or logged)))
    if now.recall_at_10 < recall:
        raise typer.Exit(1)


def _states(wired: Services, collection: str | None) -> list[IndexState]:
    from indexes import upkeep

    names = [collection] if collection else [info.name for info in wired.collections()]
    states = [upkeep.state(wired.catalogue(), name) for name in names]
    return [state for state in states if state is not None]


def _told(state: IndexState) -> str:
    embedder = state.space.embedder
    lines = [
        f"{state.collection}: {number(state.chunks, 'chunk')} of {embedder.dim} dimensions ({embedder.name})"
    ]
    made = state.serving
    if made:
        size = next(each.bytes for each in state.generations if each.info == made) / 1e6
        what = f"{made.kind}, {number(made.count, 'chunk')}, {size:,.1f} MB, built {_age(made)}"
        lines.append(f"  answers  {made.folder}: {what}, recall@10 {made.recall:.3f}")
    else:
        lines.append("  answers  the catalogue alone: right, and slow when large")
    if state.newer or state.dead:
        beside = f"{number(state.newer, 'newer chunk')} searched beside it"
        lines.append(f"           {beside}, {number(state.dead, 'deleted one')} left out of it")
    lines.append(f"  wanted   {state.kind}: {state.why}")
    if state.due:
        lines.append(f"  due      {state.due}: the next ingest, or rag index build, makes a new one")
    lines += [f"  damaged  {each.info.folder}: {each.problem}" for each in state.generations if each.problem]
    return "\n".join(map(printable, lines))


def _audited(found: Audit, *, recall: float, own: bool) -> str:
    made = found.generation
    asked = "sentences of its own chunks" if own else "questions"
    rows = [
        [
            f"{one.effort:g}{' (in force)' if one.effort == found.effort else ''}",
            f"{one.recall_at_10:.3f}",
            f"{one.recall_at_100:.3f}",
            f"{one.p50_ms:.2f}",
            f"{one.p95_ms:.2f}",
        ]
        for one in found.tried
    ]
    lines = [
        f"{made.folder}: {made.kind}, {number(made.count, 'chunk')}; measured with {found.questions} {asked}",
        "",
        table(["effort", "recall@10", "recall@100", "p50 ms", "p95 ms"], rows),
        f"Looking at every row takes {found.scan_ms:,.1f} ms.",
    ]
    if len(rows) == 1:
        lines.append(f"{made.kind} is exact: it finds what a look at every row finds.")
    elif found.advice is None:
        lines.append(f'No effort tried reaches {recall:g}: set [index] kind = "sq8", which is exact.')
    elif found.advice == found.effort:
        lines.append(f"The effort in force is the least tried that reaches {recall:g}.")
    else:
        lines.append(f"[index] effort = {found.advice:g} is the least tried that reaches {recall:g}.")
    return "\n".join(lines)


def _generations(state: IndexState) -> list[dict[str, Any]]:
    return [
        {
            **asdict(each.info),
            "bytes": each.bytes,
            "problem": each.problem,
            "answers": each.info == state.serving,
        }
        for each in state.generations
    ]


def _plain(state: IndexState) -> dict[str, Any]:
    return {
        "collection": state.collection,
        "embedder": state.space.embedder.name,
        "dim": state.space.embedder.dim,
        "chunks": state.chunks,
        "answers": state.serving.folder if state.serving else None,
        "newer": state.newer,
        "dead": state.dead,
        "kind": state.kind,
        "why": state.why,
        "due": state.due,
        "generations": _generations(state),
    }


def _age(info: GenerationInfo) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(info.created_at)).total_seconds()
    days = int(seconds // 86_400)
    return f"{number(days, 'day')} ago" if days > 1 else f"{duration(seconds)} ago"
