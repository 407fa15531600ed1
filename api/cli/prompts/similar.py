"""rag prompts search | clusters"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table

if TYPE_CHECKING:
    from api.prompts.cards import Card
    from api.prompts.similar import Cluster, Shelf

_MANY = 200
"""Pieces of prompts that take long enough to embed for a person to wonder."""
_WIDTH = 70
"""Characters of a description in a table."""


def search(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What the prompt is to do, or words.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", help="How many prompts.")] = 10,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find prompts by what they are for: in the folder, the library and among the shipped ones."""
    from api.cli.common import services
    from api.prompts.similar import Shelf

    shelf = Shelf(services(data), tell=_tell)
    found = shelf.search(text, k=k)
    if as_json:
        print_json(
            [
                {**_card(one.card), "score": one.score, "cosine": one.cosine, "words": one.words}
                for one in found
            ]
        )
    elif not found:
        typer.echo("Nothing found.")
    else:
        header = ["prompt", "from", "score", "category", "description"]
        rows = [(one.card, f"{one.score:.3f}") for one in found]
        cells = [[c.reference, c.origin, score, c.facts.category, _about(c)] for c, score in rows]
        typer.echo(table(header, cells))
    _tell_broken(shelf)


def clusters(
    at: Annotated[
        float, typer.Option("--at", help="Likeness from which on prompts count as near-duplicates, 0 to 1.")
    ] = 0.9,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find prompts that are nearly the same, and suggest a category for those that have none."""
    from api.cli.common import services
    from api.prompts.similar import Shelf

    shelf = Shelf(services(data), tell=_tell)
    found = shelf.clusters(at=at)
    advice = shelf.categories()
    if as_json:
        groups = [
            {
                "likeness": one.likeness,
                "prompts": [
                    {**_card(card), "meaning": meaning, "words": words}
                    for card, (meaning, words) in zip(one.cards, one.to_first, strict=True)
                ],
            }
            for one in found
        ]
        suggested = [
            {**_card(one.card), "suggested": one.category, "like": [card.reference for card in one.like]}
            for one in advice
        ]
        print_json({"prompts": len(shelf.cards), "clusters": groups, "categories": suggested})
    else:
        if not found:
            typer.echo(f"No two of {number(len(shelf.cards), 'prompt')} are alike by {at:g} or more.")
        for one in found:
            typer.echo(_cluster(one))
        if advice:
            header = ["without a category", "suggested", "because it is like"]
            cells = [
                [
                    one.card.reference,
                    one.category or "no suggestion",
                    ", ".join(c.reference for c in one.like),
                ]
                for one in advice
            ]
            typer.echo(("\n" if found else "") + table(header, cells))
    _tell_broken(shelf)


def _cluster(one: Cluster) -> str:
    """A line about it, and one for each prompt: how like it is to the first, the most typical."""
    alike = list(zip(one.cards, one.to_first, strict=True))
    cells = [
        [card.reference, card.origin, f"{meaning:.2f}", f"{shared:.2f}"] for card, (meaning, shared) in alike
    ]
    cells[0][2:] = "", ""
    rows = table(["prompt", "from", "meaning", "words"], cells)
    head = f"{number(len(one.cards), 'prompt')}, every two alike by {one.likeness:.2f} or more:"
    return "\n".join([head, *(f"  {line}" for line in rows.splitlines())])


def _card(card: Card) -> dict[str, Any]:
    return {
        "prompt": card.reference,
        "from": card.origin,
        "description": card.facts.description,
        "category": card.facts.category,
        "language": card.facts.language,
        "tags": list(card.facts.tags),
    }


def _about(card: Card) -> str:
    text = one_line(card.facts.description)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1].rsplit(" ", 1)[0] + "…"


def _tell(pieces: int) -> None:
    if pieces >= _MANY:
        typer.echo(f"Embedding {number(pieces, 'piece')} of prompts; they are remembered.", err=True)


def _tell_broken(shelf: Shelf) -> None:
    for name, why in shelf.broken:
        typer.echo(one_line(f"left out: {name}: {why}"), err=True)
