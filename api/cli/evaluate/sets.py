"""rag eval import, rag eval export, rag eval sets, rag eval status"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table
from api.cli.evaluate.run import HeldIn, QrelsOption, QueriesOption, SetArgument

if TYPE_CHECKING:
    from rag.evaluate.anchors import Located

LOST = 100
"""The exit code where judgements are lost, as of a test that fails."""
SHOWN = 20
"""Lost judgements shown; --json has all."""


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A judged set (as for rag eval run), or a run in TREC's form or JSON."
        ),
    ],
    name: Annotated[str, typer.Option(help="What to call the set. [default: as its file]")] = "",
    queries: QueriesOption = "",
    qrels: QrelsOption = "",
    collection: Annotated[
        str,
        typer.Option("--collection", "-c", help="Collection whose documents the set judges, to check that."),
    ] = "",
    note: Annotated[str, typer.Option(help="Where the set is from, for those who see it listed.")] = "",
    of_set: Annotated[
        str, typer.Option("--set", help="PATH is a run: the judged set to measure it on.")
    ] = "",
    system: Annotated[
        str, typer.Option(help="PATH is a run: what to call its system. [default: its tag]")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a judged set, or a run of any other system.

    A set that is kept under that name already gets these questions; judgements are added, none is lost.
    """
    from api.cli.common import services
    from api.cli.evaluate.run import tell_runs
    from api.evaluation.sets import find_set, import_run, import_set

    def tell(message: str) -> None:
        typer.echo(one_line(message), err=True)

    with services(data) as wired:
        if of_set or system or path.suffix in (".run", ".json"):
            judged = find_set(wired, of_set, queries=queries, qrels=qrels) if of_set else None
            run = import_run(wired, path, judged, system=system, tell=tell)
            if as_json:
                print_json(run.summary())
            else:
                tell_runs([run])
            return
        found = import_set(
            wired, path, name=name, queries=queries, qrels=qrels, collection=collection, note=note, tell=tell
        )
    size = {
        "questions": len(found.judged.questions),
        "unanswerable": len(found.judged.unanswerable),
        "judgements": len(found.judged.judgements),
        "quotations": sum(1 for each in found.judged.judgements if each.quotation),
    }
    if as_json:
        about = {"set": found.judged.name, "digest": found.judged.digest, "corpus": found.corpus}
        print_json({**about, **size, "quotations_not_found": found.unfound})
        return
    parts = [number(size["questions"], "question")]
    if size["unanswerable"]:
        parts.append(f"{size['unanswerable']:,} without an answer")
    parts.append(number(size["judgements"], "judgement"))
    if size["quotations"]:
        parts.append(f"{size['quotations']:,} of them quoted")
    typer.echo(f"Kept {one_line(found.judged.name)}: {', '.join(parts)}.")


def export(
    reference: Annotated[str, typer.Argument(metavar="SET|RUN", help="A judged set, or a run.")],
    to: Annotated[Path, typer.Option(metavar="PATH", help="The file or folder to make.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="A set: beir, trec or jsonl; a run: trec or json. [default: by the end of PATH: .jsonl, "
            ".json, .run, or a BEIR folder]",
        ),
    ] = "",
    collection: Annotated[
        str,
        typer.Option("--collection", "-c", help="Collection whose documents go into the BEIR folder."),
    ] = "",
    data: DataOption = None,
) -> None:
    """Write a judged set or a run for other tools.

    JSONL holds all that every judge said; BEIR's and TREC's forms hold what it comes to.
    """
    from api.cli.common import services
    from api.evaluation.runs import find_run
    from api.evaluation.sets import export_run, export_set, find_set
    from rag.errors import NotFound

    by_name = {".jsonl": "jsonl", ".json": "json", ".run": "trec"}
    chosen = form or by_name.get(to.suffix, "beir")
    with services(data) as wired:
        is_run = chosen == "json" or to.suffix == ".run" or (chosen == "trec" and reference.isdecimal())
        try:
            judged = None if is_run else find_set(wired, reference)
        except NotFound:
            if chosen != "trec":
                raise
            judged = None
        if judged is None:
            export_run(find_run(wired, reference), to, form=chosen)
        else:
            export_set(wired, judged, to, form=chosen, collection=collection)
    typer.echo(one_line(f"Wrote {to}."))


def sets(
    remove: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Forget a set with its judgements; its runs stay. May be repeated."
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the judged sets that are kept."""
    from api.cli.common import services
    from api.evaluation.sets import kept_sets

    with services(data) as wired:
        if remove:
            with wired.evaluations() as store:
                for name in remove:
                    store.remove_set(name)
        kept = kept_sets(wired)
    if as_json:
        print_json({"sets": [each._asdict() for each in kept]})
        return
    for name in remove or ():
        typer.echo(f"Forgot {one_line(name)}.")
    if remove:
        return
    if not kept:
        typer.echo("No judged set is kept: rag eval import PATH keeps one.")
        return
    rows = [
        [
            each.name,
            f"{each.questions:,}",
            f"{each.unanswerable:,}",
            f"{each.judgements:,}",
            each.at[:16].replace("T", " "),
            each.corpus,
            each.note,
        ]
        for each in kept
    ]
    header = ["set", "questions", "unanswerable", "judgements", "kept (UTC)", "documents", "note"]
    used = [n for n in range(len(header)) if n < 5 or any(row[n] for row in rows)]
    typer.echo(table([header[n] for n in used], [[row[n] for n in used] for row in rows]))


def status(
    judged_set: SetArgument,
    collection: HeldIn = "",
    mend: Annotated[
        bool, typer.Option("--mend", help="Judge what moved where it stands now; of a kept set.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what became of a set's judgements: intact, moved or lost.

    Exit code 0 where none is lost, 100 where some are.
    """
    from api.cli.common import services
    from api.evaluation import sets as judged_sets
    from rag.errors import EvaluationError

    with services(data) as wired:
        judged = judged_sets.find_set(wired, judged_set)
        if mend and Path(judged_set).exists():
            raise EvaluationError(
                f"{judged_set} lies in files: keep it first, with rag eval import {judged_set}"
            )
        found = judged_sets.status(wired, judged, collection=collection)
        mended = judged_sets.mend(wired, judged_set, found) if mend else 0
    counts: Counter[str] = Counter(each.status for each in found)
    if as_json:
        totals = {name: counts[name] for name in ("intact", "moved", "lost")}
        changed = [_plain(each) for each in found if each.status != "intact"]
        print_json({"set": judged.name, **totals, "mended": mended, "judgements": changed})
    else:
        _tell(judged.name, found, counts, mended)
    if counts["lost"]:
        raise typer.Exit(LOST)


def _tell(name: str, found: list[Located], counts: Counter[str], mended: int) -> None:
    told = [f"{counts[status]:,} {status}" for status in ("intact", "moved", "lost")]
    typer.echo(f"{one_line(name)}: {number(len(found), 'judgement')}: {', '.join(told)}")
    moved = [each for each in found if each.status == "moved"]
    if moved:
        why = Counter(each.why for each in moved)
        for reason, count in why.most_common(5):
            typer.echo(f"  moved  {count:,} x {one_line(reason)}")
        if len(why) > 5:
            typer.echo(
                f"  moved  {sum(why.values()) - sum(n for _, n in why.most_common(5)):,} x other reasons"
            )
    lost = [each for each in found if each.status == "lost"]
    for each in lost[:SHOWN]:
        said = each.judgement
        typer.echo(f"  lost   {one_line(f'{said.query_id}, {said.document_id}: {each.why}')}")
        if said.quotation:
            typer.echo(f"         said  {_cut(said.quotation)}")
        if each.alike:
            typer.echo(f"         now   {_cut(each.alike)}  ({each.likeness:.2f} alike)")
    if len(lost) > SHOWN:
        typer.echo(f"  and {len(lost) - SHOWN:,} more that are lost: --json has all")
    if mended:
        typer.echo(f"Judged {number(mended, 'quotation')} that moved where it stands now.")
    elif moved:
        typer.echo("What moved counts where it is now; --mend writes its new places into a kept set.")
    if lost:
        typer.echo(f"What is lost is no evidence any more: judge it again, with rag judge {one_line(name)}.")


def _plain(located: Located) -> dict[str, Any]:
    return {
        "status": located.status,
        "why": located.why,
        "judgement": located.judgement.as_json(),
        "now": located.now.as_json() if located.now else None,
        "alike": located.alike,
        "likeness": round(located.likeness, 3),
    }


def _cut(text: str, width: int = 88) -> str:
    line = one_line(text)
    return f"“{line}”" if len(line) <= width else f"“{line[: width - 1]}…”"
