"""rag prompts stats"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from api.cli.common import DataOption, JsonOption, number, one_line, print_json, table
from api.cli.traces import LabelOption, SinceOption, wanted

if TYPE_CHECKING:
    from api.prompts.stats import By, Drift, Use


def stats(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A prompt, or NAME@3. [default: all]", show_default=False)
    ] = "",
    by: Annotated[
        str, typer.Option(help="prompt, version, label or day. [default: version of one, else prompt]")
    ] = "",
    label: LabelOption = "",
    since: SinceOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How prompts do in use: speed, tokens, errors, citations, feedback, drift.

    Shares of answers: not found; and, of those that passages were searched for, empty (none was found), cited
    (some passage), unknown (cites a number that no passage has); up is the share of those that were scored.
    Rates have 95 % intervals (Wilson's); two groups are told apart only where these do not overlap. The drift
    of a NAME's questions is told against those of its tests.
    """
    from api.cli.common import services
    from api.prompts.drift import drift_of
    from api.prompts.stats import told_apart, use
    from rag.errors import InvalidQuery

    if by not in ("", "prompt", "version", "label", "day"):
        raise InvalidQuery(f"--by {by!r}: choose prompt, version, label or day")
    wired = services(data)
    with wired.traces() as store:
        facts = store.facts(wanted(prompt=name, label=label, since=since))
    uses = use(facts, by=cast("By", by or ("version" if name else "prompt")))
    apart = told_apart(uses)
    moved = drift_of(wired, name.partition("@")[0], facts) if name and facts else None
    if as_json:
        print_json(
            {
                "groups": [one.as_json() for one in uses],
                "told_apart": apart,
                "drift": moved.as_json() if moved else None,
            }
        )
        return
    if not uses:
        typer.echo("No trace of that kind.")
        return
    _print(uses, apart, moved)


def _print(uses: list[Use], apart: list[str], moved: Drift | None) -> None:
    from api.prompts.stats import shown

    header = ["", "asked", "p50 ms", "p95 ms", "prompt tokens", "answer tokens"]
    rows = [
        [
            one.group,
            f"{one.asked:,}",
            f"{one.p50_ms:,.0f}",
            f"{one.p95_ms:,.0f}",
            f"{one.prompt_tokens:,.0f}",
            f"{one.answer_tokens:,.0f}",
        ]
        for one in uses
    ]
    typer.echo(table(header, rows))
    typer.echo()
    names = list(uses[0].rates)
    typer.echo(table(["", *names], [[one.group, *map(shown, one.rates.values())] for one in uses]))
    for line in apart:
        typer.echo(f"\n{one_line(line)}")
    if moved:
        typer.echo(f"\n{_drift(moved)}")


def _drift(moved: Drift) -> str:
    """Drift in a sentence."""
    asked, tested = number(moved.asked, "question"), number(moved.tested, "tested one")
    if moved.verdict == "too few":
        return f"Drift: too few to tell ({asked}, {tested}; 10 of each at least)"
    return (
        f"Drift: {moved.verdict}. {asked} lie at {moved.to_tested:.3f} [{moved.low:.3f}, {moved.high:.3f}] "
        f"from the nearest of {tested}, those at {moved.among_tested:.3f} "
        f"[{moved.tested_low:.3f}, {moved.tested_high:.3f}] from each other"
    )
