"""The plots of systems: their means, their differences to the baseline, and a picture of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.evaluate.compare import LOWER_IS_BETTER, Comparison
from rag.evaluate.report.axes import AXIS, ROW, beside, inside, interval, limits, room, rows
from rag.evaluate.report.drawing import LIGHT, Mark, png, svg
from rag.evaluate.report.telling import title
from rag.evaluate.report.words import figure, signed
from rag.lines import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rag.evaluate.report.content import Report

WIDTH = 352
VALUE, VERDICT = 48, 84
"""Pixels beside the axes for what stands there."""
AT_MOST = 6
"""Measures in the picture of all: more make it a wall."""
_HEAD, _TITLE, _PANEL = 66, 26, 250


def means(made: Report, measure: str, *, name: str) -> str:
    """SVG of every system's mean with its interval."""
    cells = made.cells[measure]
    told = ", ".join(f"{cut(each, 60)} {figure(cell.mean)}" for each, cell in cells.items())
    return svg(
        lambda drawn: _means(inside(drawn, list(cells), right=VALUE), made, measure),
        width=WIDTH,
        height=len(cells) * ROW + AXIS,
        name=name,
        title=f"{measure} by system",
        about=f"Mean and 95 % interval: {told}.",
    )


def differences(made: Report, measure: str, *, name: str) -> str:
    """SVG of every candidate's difference to the baseline with its interval, and the verdict."""
    compared = _compared(made, measure)
    told = "; ".join(f"{cut(one.candidate, 60)} {signed(one.difference)}, {one.verdict}" for one in compared)
    names = [one.candidate for one in compared]
    return svg(
        lambda drawn: _differences(inside(drawn, names, right=VERDICT), made, compared, names),
        width=WIDTH,
        height=len(compared) * ROW + AXIS,
        name=name,
        title=f"{measure}: difference to {cut(made.baseline, 60)}",
        about=f"Difference and 95 % interval: {told}.",
    )


def overview(made: Report) -> bytes:
    """PNG of the means and, beside them, the differences to the baseline, in the measures that are tested."""
    measures = made.drawn[:AT_MOST]
    heights = [len(made.cells[measure]) * ROW + AXIS + _TITLE for measure in measures]
    first = room(list(made.systems)) + _PANEL + VALUE
    width = round(first + (24 + _PANEL + VERDICT if made.comparisons else 16))
    height = _HEAD + sum(heights)

    def panel(drawn: Figure, left: float, top: float, lines: int) -> Axes:
        high = lines * ROW
        return drawn.add_axes((left / width, 1 - (top + high) / height, _PANEL / width, high / height))

    def draw(drawn: Figure) -> None:
        about = f"{made.questions:,} questions; lines are 95 % intervals"
        if made.comparisons:
            about += f"; differences are to {cut(made.baseline, 30)}"
        heading = cut(title(made), int(width / 10))
        drawn.text(16 / width, 1 - 14 / height, heading, fontsize=16, fontweight="bold", va="top")
        drawn.text(16 / width, 1 - 40 / height, about, color=LIGHT["muted"], va="top")
        top: float = _HEAD
        for measure, high in zip(measures, heights, strict=True):
            drawn.text(16 / width, 1 - (top + 4) / height, cut(measure, 40), fontweight="bold", va="top")
            names = list(made.cells[measure])
            _means(panel(drawn, first - _PANEL - VALUE, top + _TITLE, len(names)), made, measure)
            if compared := _compared(made, measure):
                right = panel(drawn, first + 24, top + _TITLE, len(names))
                _differences(right, made, compared, names, named=False)
            top += high

    return png(draw, width=width, height=height)


def _compared(made: Report, measure: str) -> list[Comparison]:
    return [one for one in made.comparisons if one.measure == measure]


def _means(axes: Axes, made: Report, measure: str) -> None:
    cells = made.cells[measure]
    if made.baseline in cells and len(cells) > 1:
        axes.axvline(cells[made.baseline].mean, color=LIGHT["muted"], linewidth=1, linestyle=(0, (3, 3)))
    for row, (system, cell) in enumerate(cells.items()):
        interval(axes, cell.mean, cell.low, cell.high, row, Mark.of(made.systems.index(system)))
        beside(axes, row, figure(cell.mean))
    rows(axes, list(cells))
    limits(axes, [end for cell in cells.values() for end in (cell.low, cell.mean, cell.high)])


def _differences(
    axes: Axes, made: Report, compared: Sequence[Comparison], lines: Sequence[str], *, named: bool = True
) -> None:
    if made.margin:
        axes.axvspan(-made.margin, made.margin, color=LIGHT["band"], linewidth=0)
    axes.axvline(0, color=LIGHT["muted"], linewidth=1)
    for one in compared:
        row = lines.index(one.candidate)
        mark = Mark.of(made.systems.index(one.candidate))
        interval(axes, one.difference, one.low, one.high, row, mark, hollow=one.verdict == "cannot tell")
        beside(axes, row, one.verdict)
    rows(axes, lines, named=named)
    ends = [end for one in compared for end in (one.low, one.difference, one.high)]
    limits(axes, [*ends, 0.0, -made.margin, made.margin])
    less = compared[0].measure in LOWER_IS_BETTER
    axes.set_xlabel("better  ←  difference  →  worse" if less else "worse  ←  difference  →  better")
