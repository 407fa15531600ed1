"""rag ask"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import (
    CollectionsOption,
    DataOption,
    JsonOption,
    WhereOption,
    one_line,
    print_json,
    printable,
    short,
    tell_not_rewritten,
    where,
)

if TYPE_CHECKING:
    from rag.answer import Answer
    from rag.confidence import Confidence


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False)],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Prompt to use. [default: from rag.toml]")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many passages to retrieve.")] = None,
    conditions: WhereOption = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", help="NAME=VALUE for a variable of the prompt; may be repeated."),
    ] = None,
    collection: CollectionsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the knowledge base, with numbered citations.

    Without an LLM configured the answer is extractive: the best sentences, quoted, each with its source.
    For a prompt that takes no context nothing is searched, and an LLM has to answer.
    What an LLM gets is shown by `rag prompts render`.
    """
    from api.cli.common import assignments, services
    from api.schemas import AnswerOut
    from rag.answer import Answer, Piece

    wired = services(data)
    values = assignments(variables, option="--var")
    for event in wired.ask_events(
        question, collection=collection, k=k, where=where(conditions), prompt=prompt, variables=values
    ):
        match event:
            case Piece(text=text) if not as_json:
                typer.echo(printable(text), nl=False)
            case Answer() if as_json:
                print_json(AnswerOut.of(event).model_dump())
            case Answer():
                typer.echo()
                print_sources(event)
                tell_not_rewritten(event.receipt.not_rewritten)
                if not event.receipt.generations:
                    told = f"Nothing was searched: prompt {event.receipt.prompt} takes no context."
                    typer.echo(one_line(told), err=True)
                if event.trace:
                    typer.echo(f"Trace {event.trace}", err=True)


def print_sources(answer: Answer) -> None:
    """What the numbers in the answer stand for, and how it was made."""
    if answer.citations:
        typer.echo("\nSources:")
    for citation in answer.citations:
        passage = citation.passage
        shelf = f"{passage.chunk.collection}: " if len(answer.receipt.generations) > 1 else ""
        where_from = shelf + short(passage.chunk.uri or passage.document_id)
        typer.echo(f"  [{citation.number}] {one_line(passage.source)}  {one_line(where_from)}")
    for number in answer.unknown_citations:
        typer.echo(f"  [{number}] is cited, but no passage has this number: do not rely on it", err=True)
    if answer.notice:
        typer.echo(f"\n{answer.notice}")
    if answer.confidence:
        typer.echo(f"\n{how_sure(answer.confidence)}")


def how_sure(sure: Confidence) -> str:
    """The confidence, and what it was calibrated to.

    >>> from rag.confidence import Confidence
    >>> how_sure(Confidence(0.31, 0.42, 0.95, 0.12, 33, 33, held_out=True))
    'Confidence 0.31, below 0.42 (calibrated on 33 questions: answers 95 % of the answerable and 12 % of \
held-out ones)'
    """
    against = "at least" if sure.enough else "below"
    kind = "held-out ones" if sure.held_out else "those that nothing answers"
    questions = sure.answerable if sure.held_out else sure.answerable + sure.unanswerable
    answered, false = (f"{share * 100:.0f} %" for share in (sure.answered, sure.false_answers))
    return (
        f"Confidence {sure.value:.2f}, {against} {sure.threshold:.2f} "
        f"(calibrated on {questions:,} questions: answers {answered} of the answerable and {false} of {kind})"
    )
