"""A matrix of prompts and models for people: the same parts on a terminal, in Markdown and as one HTML page.

The page asks nothing of outside: no script, no font, no picture.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rag.evaluate.compare import Comparison
from rag.evaluate.judge_model import Trust
from rag.evaluate.matrix import Cell, Matrix, Split
from rag.evaluate.rates import Rate
from rag.prompts.testing.runs import RunStatus

SHOWN = 20
"""Failures, splits and claims that a part shows; JSON has all."""
_MARKS = {"passed": "passed", "failed": "FAILED", "unevaluated": "not evaluated", "error": "ERROR"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}table{border-collapse:collapse;margin:.5rem 0 1rem;display:block;overflow-x:auto}"
    "th,td{border-bottom:1px solid #ccc;padding:.25rem .75rem;text-align:left;vertical-align:top}"
    "h2{margin-top:2rem;font-size:1.1rem}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#444}}"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A table under a title, with lines below it."""

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


def parts(matrix: Matrix, *, trust: Trust | None = None) -> list[Part]:
    """What a matrix says, part by part; a part with nothing in it is not there."""
    every = [
        _cells(matrix),
        _categories(matrix),
        _compared(f"Against {matrix.baseline}", "prompt", matrix.recheck(), matrix.margin),
        _compared("Prompts with the same tests", "model", matrix.versions(), matrix.margin),
        _best(matrix),
        _splits(matrix),
        _failures(matrix),
        _claims(matrix),
        Part("The judge", lines=(trust.sentence,)) if trust else Part(""),
    ]
    return [part for part in every if part.rows or part.lines]


def markdown(every: Sequence[Part], *, title: str = "Prompts and models") -> str:
    """The parts as GitHub's Markdown.

    >>> print(markdown([Part("Cells", ("a",), (("x|y",),))]))
    # Prompts and models
    <BLANKLINE>
    ## Cells
    <BLANKLINE>
    | a |
    |---|
    | x\\|y |
    <BLANKLINE>
    """

    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(_plain(cell) for cell in cells)} |"

    lines = [f"# {title}", ""]
    for part in every:
        lines += [f"## {_plain(part.title)}", ""]
        if part.rows:
            lines += [row(part.header), f"|{'---|' * len(part.header)}", *map(row, part.rows), ""]
        for line in part.lines:
            lines += [_plain(line), ""]
    return "\n".join(lines)


def page(every: Sequence[Part], *, title: str = "Prompts and models") -> str:
    """The parts as one HTML page.

    >>> "<td>a &lt; b</td>" in page([Part("Cells", ("a",), (("a < b",),))])
    True
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    for part in every:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        if part.rows:
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.header)
            rows = (
                f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows
            )
            body.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
        body += [f"<p>{html.escape(line)}</p>" for line in part.lines]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


# --- the parts -----------------------------------------------------------------------------------


def _cells(matrix: Matrix) -> Part:
    judged = any(cell.judged for cell in matrix.cells)
    header = [
        *("prompt", "model", "passed", "rate, 95 %", "not evaluated", "errors", "claims supported"),
        *("citation precision", "recall", "unknown", "tokens", "seconds"),
        *(["judge: grounded"] if judged else []),
    ]
    rows = [_row(cell, judged=judged) for cell in matrix.cells]
    errors = [
        f"{cell.prompt}, {cell.column}: could not be run: {cell.error}" for cell in matrix.cells if cell.error
    ]
    if len(matrix.prompts) > 1:
        totals = "; ".join(f"{column} {_rate(matrix.total(column))}" for column in matrix.columns)
        errors.append(f"All prompts together: {totals}")
    return Part("Prompts x models", tuple(header), tuple(rows), tuple(errors))


def _without_blanks(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Without the columns that no cell fills."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return tuple(header[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows)


def _row(cell: Cell, *, judged: bool) -> tuple[str, ...]:
    if cell.error:
        blank = ("",) * (10 if judged else 9)
        return (cell.prompt, cell.column, "ERROR", *blank)
    found = cell.counts
    return (
        cell.prompt,
        cell.column,
        f"{cell.passed.count}/{cell.passed.of}",
        _interval(cell.passed),
        f"{found['unevaluated']}",
        f"{found['error']}",
        f"{cell.supported.count}/{cell.supported.of}" if cell.supported.of else "",
        _share(cell.citation_precision),
        _share(cell.citation_recall),
        f"{cell.unknown_citations}" if cell.unknown_citations else "",
        "" if cell.tokens is None else f"{cell.tokens:,.0f}",
        "" if cell.seconds is None else f"{cell.seconds:.2f}",
        *([f"{cell.judged_grounded.count}/{cell.judged_grounded.of}"] if judged else []),
    )


def _categories(matrix: Matrix) -> Part:
    told = matrix.categories
    names = dict.fromkeys(category for category, _ in told)
    if len(names) < 2:
        return Part("")
    rows = tuple(
        (name, *(_rate(told[name, column]) if (name, column) in told else "" for column in matrix.columns))
        for name in sorted(names)
    )
    return Part("By category", ("category", *matrix.columns), rows)


def _compared(title: str, over: str, found: Sequence[Comparison], margin: float) -> Part:
    header = (over, "candidate", "baseline", "verdict", "pass rate", "difference, 95 %", "p", "tests")
    rows = tuple(
        (
            one.measure,
            one.candidate,
            one.baseline,
            _verdict(one),
            f"{one.baseline_mean:.0%} → {one.candidate_mean:.0%}",
            f"{one.difference:+.2f} {_ends(one.low, one.high)}",
            f"{one.p_holm:.3f}",
            f"{one.queries}",
        )
        for one in found
    )
    lines = (
        f"McNemar's exact test, Holm's correction over {len(found)}; equivalent: the whole interval within "
        f"{margin:g}.",
    )
    return Part(title, header, rows, lines if rows else ())


def _verdict(one: Comparison) -> str:
    more = f" (about {one.more_queries:,} more tests would)" if one.more_queries else ""
    return f"{one.verdict}{more}"


def _best(matrix: Matrix) -> Part:
    lines = [
        f"{column}: {', '.join(names)}{' (the same rate)' if len(names) > 1 else ''}"
        for column, names in matrix.best().items()
    ]
    return Part("Highest pass rate of the prompts with the same tests", lines=tuple(lines))


def _splits(matrix: Matrix) -> Part:
    found = matrix.splits()
    rows = tuple((split.test, _named(split, "passed"), _named(split, "failed")) for split in found[:SHOWN])
    left = (f"and {len(found) - SHOWN} more",) if len(found) > SHOWN else ()
    return Part("Tests that tell them apart", ("test", "passed by", "failed by"), rows, left)


def _named(split: Split, status: RunStatus) -> str:
    cells = [place for place, told in split.status.items() if told == status]
    alone = len({prompt for prompt, _ in split.status}) == 1
    return ", ".join(column if alone else f"{prompt} ({column})" for prompt, column in cells)


def _failures(matrix: Matrix) -> Part:
    every = [
        (cell.prompt, cell.column, key, _MARKS[result.status], result.reason)
        for cell in matrix.cells
        for key, result in cell.by_test.items()
        if result.status in ("failed", "error") and not cell.error
    ]
    left = (f"and {len(every) - SHOWN} more",) if len(every) > SHOWN else ()
    header = ("prompt", "model", "test", "status", "reason")
    return Part("What did not pass", header, tuple(every[:SHOWN]), left)


def _claims(matrix: Matrix) -> Part:
    every = sorted(
        (one.support, cell.prompt, cell.column, test, one.claim.text, one.why)
        for cell in matrix.cells
        for test, seen in cell.grounded.items()
        for one in seen.unsupported
    )
    rows = tuple(
        (prompt, column, test, f"{support:.2f}", _cut(claim), _cut(why) or "too little of it is there")
        for support, prompt, column, test, claim, why in every[:SHOWN]
    )
    left = (f"and {len(every) - SHOWN} more",) if len(every) > SHOWN else ()
    header = ("prompt", "model", "test", "support", "claim", "why")
    return Part("Claims without support", header, rows, left)


def _rate(told: Rate) -> str:
    return f"{told.count}/{told.of} {_interval(told)}" if told.of else "0/0"


def _interval(told: Rate) -> str:
    return f"{told.value:.0%} [{told.low:.0%}, {told.high:.0%}]" if told.of else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _ends(low: float, high: float) -> str:
    """Of a difference of rates: with few tests the interval's ends lie beyond what a rate can be."""
    return "" if math.isinf(low) else f"[{max(-1.0, low):+.2f}, {min(1.0, high):+.2f}]"


def _cut(text: str, most: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
