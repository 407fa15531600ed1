"""rag replay, rag diff"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, short
from api.cli.traces import PromptOption, SinceOption, TraceArgument, named, wanted

if TYPE_CHECKING:
    from api.prompts.compare import Compared, Side
    from api.prompts.replay import Replay
    from api.services import Services

DIFFERS = 100
"""The exit code where something is not as it was: neither a failure nor a mistake of who asked."""
SHAPES = ("retrieval.", "context.", "prompts.", "collection", "index.effort")
"""Settings that shape what a model gets from documents as they are; others need an ingest, or a model."""
MOST_SHOWN = 10


def replay(
    name: TraceArgument,
    model: Annotated[
        str | None, typer.Option(help='Model to ask; "" for none. [default: from rag.toml]')
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a logged question again, with its prompt's version, k, filters and budget, and tell what differs.

    Exit 0 when passages, prompt, model and answer are the same, 100 when not. Leaves no trace.
    """
    from api.cli.common import services
    from api.prompts.replay import replay as again
    from api.prompts.replay import settings_for
    from api.services import connect
    from indexes.traces import TraceStore

    settings = services(data).settings
    with TraceStore.open(settings.data) as store:
        trace = store.get(name)
    with connect(settings_for(trace, settings, model=model)) as wired:
        done = again(wired, trace)
    if as_json:
        print_json(done.as_json())
    else:
        _print_replay(done)
    if done.changed:
        raise typer.Exit(DIFFERS)


def diff(
    prompts: Annotated[
        tuple[str, str] | None,
        typer.Option("--prompts", metavar="A B", help="Two prompts, such as answer@3 answer@4."),
    ] = None,
    generations: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--generations",
            metavar="A B",
            help='Two indexes of a collection, as rag index list names them; "now" is that which answers.',
        ),
    ] = None,
    changed: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=VALUE",
            help="A setting to try, such as retrieval.k=12; may be repeated.",
        ),
    ] = None,
    prompt: PromptOption = "",
    since: SinceOption = "",
    sample: Annotated[int, typer.Option(min=1, help="How many questions at most.")] = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which logged questions would get other passages, or another prompt.

    With --prompts: by one prompt and by another. With --with: by the settings in force and by changed ones.
    With --generations: by one index and by another, over the documents of now. With none of them: when they
    were asked, and now. No model is asked. Exit 0, whatever differs; 1 where no question could be asked.
    """
    from api.cli.common import services
    from api.cli.progress import counted
    from api.prompts.compare import asking, compare, logged, questions
    from api.services import connect
    from rag.errors import InvalidQuery

    if sum(map(bool, (prompts, generations, changed))) > 1:
        raise InvalidQuery(
            "choose one of --prompts, --generations and --with: of two changes neither is told"
        )
    overrides = _settings(changed)
    wired = services(data)
    with wired.traces() as store:
        found = store.find(wanted(prompt=prompt, since=since))
    asked = questions(found, most=sample)
    opened: list[Services] = [wired]
    sides: tuple[Side, Side]
    if prompts:
        names = prompts
        sides = asking(wired, prompt=prompts[0]), asking(wired, prompt=prompts[1])
    elif changed:
        names = ("as set", ", ".join(changed))
        opened.append(connect(services(data, overrides=overrides).settings))
        sides = asking(wired), asking(opened[-1])
    elif generations:
        from api.prompts.generations import with_generation

        names = generations
        opened += [with_generation(wired.settings, name) for name in generations]
        sides = asking(opened[1]), asking(opened[2])
    else:
        names = ("then", "now")
        sides = logged, asking(wired)
    tell = counted(quiet=as_json)
    outcome = compare(asked, *sides, names=names, on_question=lambda done, total: tell("asked", done, total))
    for each in opened:
        each.close()
    if as_json:
        print_json(outcome.as_json())
    else:
        _print_compared(outcome, len(found))
        if "retrieval.k" in overrides and not outcome.passages.count:
            _tell_of_k(opened[-1])
    if outcome.failed and not outcome.pairs:
        raise typer.Exit(1)


def _tell_of_k(tried: Services) -> None:
    """Why another k changed nothing, where that is so."""
    from rag.answer import TOKENS_A_HIT

    budget = tried.settings.context.max_tokens
    offered = budget // TOKENS_A_HIT
    if tried.settings.retrieval.k <= offered:
        typer.echo(
            f"retrieval.k is how many hits rag search returns. An answer takes as many as fit its context: "
            f"{offered} are tried for {budget:,} tokens, or k where that is more. For fewer passages try "
            "context.max_tokens, -k, or the prompt's own metadata.retrieval.k.",
            err=True,
        )


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    from api.cli.common import assignments
    from rag.errors import InvalidSetting

    overrides: dict[str, Any] = {}
    for key, text in assignments(pairs, option="--with").items():
        if not key.startswith(SHAPES):
            raise InvalidSetting(
                f"--with {key}: it does not shape what a model gets from the documents as they are; try "
                "retrieval.…, context.…, prompts.…, collection or index.effort"
            )
        try:
            overrides[key] = json.loads(text)
        except ValueError:
            overrides[key] = text
    return overrides


def _print_replay(done: Replay) -> None:
    trace, receipt = done.trace, done.answer.receipt
    typer.echo(one_line(f"{trace.id}  {named(trace)}  {trace.question}"))
    counts = dict.fromkeys(("same", "moved", "not found", "changed", "gone", "new"), 0)
    for each in done.passages:
        counts[each.became] += 1
    told = ", ".join(f"{count} {became}" for became, count in counts.items() if count) or "none"
    typer.echo(f"passages  {told}")
    for each in done.passages:
        if each.became != "same":
            place = f"{short(each.document_id)} [{each.start}-{each.end}]"
            typer.echo(f"  {each.became:<9}  {one_line(place)}")
    same_prompt = receipt.prompt_digest == trace.digest
    typer.echo(f"prompt    {'same' if same_prompt else 'another'}: {one_line(done.reference)}")
    model = "same" if receipt.model == trace.model else f"was {trace.model}"
    typer.echo(f"model     {one_line(f'{model}: {receipt.model}')}")
    lines = done.answer_diff()
    typer.echo(f"answer    {'another' if 'answer' in done.changed else 'same'}")
    for line in lines:
        typer.echo(f"  {line[:1]}{one_line(line[1:])}")
    for name, (then, now) in done.settings.items():
        typer.echo(f"note      [retrieval] {name} was {one_line(str(then))}, is {one_line(str(now))}")
    for note in done.notes:
        typer.echo(f"note      {one_line(note)}")


def _print_compared(outcome: Compared, logged: int) -> None:
    a, b = outcome.names
    count = len(outcome.pairs)
    if not count and not outcome.failed:
        typer.echo("No logged question to compare with." if not logged else "Their questions were not kept.")
        return
    typer.echo(one_line(f"{number(count, 'question')} of {number(logged, 'trace')}: {a} against {b}"))
    if count:
        _print_changes(outcome)
    for trace, error in outcome.failed[:3]:
        typer.echo(one_line(f"{trace} could not be asked: {error}"), err=True)
    if len(outcome.failed) > 3:
        typer.echo(f"and {len(outcome.failed) - 3} more could not", err=True)


def _print_changes(outcome: Compared) -> None:
    from api.prompts.stats import shown

    passages = outcome.passages
    typer.echo(f"  other passages  {passages.count:,}  {shown(passages)}")
    if outcome.messages.of:
        typer.echo(f"  other messages  {outcome.messages.count:,}  {shown(outcome.messages)}")
    typer.echo(f"  mean overlap    {outcome.overlap:.3f}")
    moved = [pair for pair in outcome.pairs if pair.other_passages][:MOST_SHOWN]
    if moved:
        typer.echo("\nThe most changed:")
    for pair in moved:
        typer.echo(f"  {pair.overlap:.2f}  {pair.trace}  {one_line(pair.question)}")
        for sign, places in (("-", pair.lost), ("+", pair.gained)):
            for place in places[:3]:
                typer.echo(f"        {sign} {one_line(short(place))}")
            if len(places) > 3:
                typer.echo(f"        {sign} and {len(places) - 3} more")
