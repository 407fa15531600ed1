"""rag prompts render"""

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
    where,
)

if TYPE_CHECKING:
    from api.prompts.rendering import Shown


def render(
    name: Annotated[
        str, typer.Argument(metavar="PROMPT", help="NAME, NAME@3, NAME@label or a .prompty file.")
    ],
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", help="NAME=VALUE for a variable of the prompt; may be repeated."),
    ] = None,
    no_retrieval: Annotated[
        bool, typer.Option("--no-retrieval", help="Search for nothing: the context stays empty.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Model that it is made for: it chooses the variant. [default: from rag.toml]"
        ),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many passages to retrieve.")] = None,
    conditions: WhereOption = None,
    collection: CollectionsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the messages of a prompt exactly as the model gets them, and what they cost. No model is asked.

    Where the prompt takes retrieved passages, they are searched for by --var question="…". The messages go to
    standard output, what is told of them to standard error.
    """
    from api.cli.common import assignments, services
    from api.prompts.rendering import render as rendered

    overrides = {} if model is None else {"llm.model": model}
    wired = services(data, overrides=overrides)
    shown = rendered(
        wired,
        name,
        assignments(variables, option="--var"),
        collection=collection,
        k=k,
        where=where(conditions),
        retrieval=not no_retrieval,
    )
    if as_json:
        print_json(shown.as_json())
    else:
        _print(shown, counted=bool(wired.settings.llm.tokenizer))


def _print(shown: Shown, *, counted: bool) -> None:
    for message in shown.prompt.messages:
        typer.echo(f"--- {message.role} ---")
        typer.echo(printable(message.content))
    parts = ", ".join(f"{name} {tokens:,}" for name, tokens in shown.prompt.tokens.items())
    about = "" if counted else "about "  # an estimate, without a tokenizer
    typer.echo(f"--- {about}{shown.prompt.total_tokens:,} tokens: {parts} ---", err=True)
    template, receipt = shown.template, shown.receipt
    version = f"@{template.version}" if template.version else ""
    lines = [("prompt", f"{template.name}{version}, digest {template.digest[:12]}")]
    if template.variants or template.variant:
        chosen = template.variant or "none"
        lines.append(
            ("variant", f"{chosen}, for {shown.model}" if shown.model else f"{chosen}: no model is set")
        )
    if receipt is not None:
        lines.append(("searched", ", ".join(receipt.generations)))
        settings = receipt.retrieval
        lines.append(("retrieval", ", ".join(f"{key} {settings[key]}" for key in ("mode", "k"))))
        passages = len({used.passage for used in receipt.chunks})
        room = f"{receipt.context_tokens:,} of {receipt.context_budget:,} tokens"
        lines.append(("context", f"{passages} passage{'' if passages == 1 else 's'}, {room}"))
    typer.echo("\n".join(f"{key + ':':<11}{one_line(value)}" for key, value in lines), err=True)
