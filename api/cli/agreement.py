"""rag judge --agreement"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.cli.common import number, one_line, print_json, table

if TYPE_CHECKING:
    from indexes.evaluations.store import EvaluationStore
    from rag.evaluate.agreement import Agreement, Agreements

DISPUTED = 10
"""Passages that are listed: those to which judges gave the most different grades."""


def tell_agreement(store: EvaluationStore, name: str, *, as_json: bool) -> None:
    """How far the judges of a set agree. Raises NotFound."""
    from rag.evaluate.agreement import agreements

    found = agreements(store.judgements(name))
    questions = {query.id: query.text for query in store.judged_set(name).questions}
    if as_json:
        print_json(_plain(name, found, questions))
        return
    if not found.counts:
        typer.echo(f"Nothing is judged in {one_line(name)} yet: rag judge {one_line(name)}")
        return
    typer.echo(
        table(["judge", "passages"], [[_who(one), f"{count:,}"] for one, count in found.counts.items()])
    )
    if found.overall is None:
        typer.echo(
            "No passage has two judges: rag judge "
            f"{one_line(name)} --second --judge NAME asks another one for what was judged."
        )
        return
    rows = [
        [
            f"{_who(one)}, {_who(other)}",
            f"{plain.items:,}",
            f"{plain.same:.2f}",
            _figure(plain),
            _figure(weighted),
        ]
        for (one, other), (plain, weighted) in found.pairs.items()
    ]
    typer.echo("")
    typer.echo(table(["pair", "both judged", "same grade", "kappa", "weighted kappa"], rows))
    overall = found.overall
    typer.echo(
        f"\nKrippendorff's alpha (ordinal) of {number(overall.judges, 'judge')} on "
        f"{number(overall.items, 'passage')}: {_figure(overall)}"
    )
    if found.disputed:
        typer.echo("\nFurthest apart:")
    for each in found.disputed[:DISPUTED]:
        grades = ", ".join(f"{_who(one)} {grade}" for one, grade in sorted(each.grades.items()))
        typer.echo(f"  {grades}: {one_line(questions.get(each.query_id, each.query_id))}")
        words = one_line(each.quotation)
        told = f"{words[:80]}…" if len(words) > 80 else words
        typer.echo(f"    {one_line(each.document_id.rpartition('/')[2])}: {told}")
    if len(found.disputed) > DISPUTED:
        typer.echo(f"  and {len(found.disputed) - DISPUTED:,} more (--json lists all)")


def _who(judge: str) -> str:
    return one_line(judge) or "(no name)"


def _figure(one: Agreement) -> str:
    """A coefficient with its interval, "-" for what is not known.

    >>> from rag.evaluate.agreement import kappa
    >>> _figure(kappa({"a": 1}, {"a": 1}))
    '-'
    """
    if one.value != one.value:
        return "-"
    low, high = ("" if abs(end) > 1e9 else f"{end:.2f}" for end in (one.low, one.high))
    return f"{one.value:.2f} [{low}, {high}]"


def _plain(name: str, found: Agreements, questions: dict[str, str]) -> dict[str, object]:
    return {
        "set": name,
        "judges": dict(found.counts),
        "pairs": [
            {"judges": list(pair), "kappa": plain.as_json(), "weighted_kappa": weighted.as_json()}
            for pair, (plain, weighted) in found.pairs.items()
        ],
        "alpha": found.overall.as_json() if found.overall else None,
        "disputed": [
            {
                "query_id": each.query_id,
                "question": questions.get(each.query_id, ""),
                "document_id": each.document_id,
                "quotation": each.quotation,
                "grades": dict(each.grades),
            }
            for each in found.disputed
        ],
    }
