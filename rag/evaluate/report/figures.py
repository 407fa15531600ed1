"""The plots of questions, costs, groups and thresholds: one small picture each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from rag.evaluate.compare import LOWER_IS_BETTER
from rag.evaluate.measure import KEPT
from rag.evaluate.report.axes import (
    AXIS,
    front,
    inside,
    interval,
    limits,
    plain_axes,
    rows,
    ticks,
)
from rag.evaluate.report.drawing import LIGHT, Mark, svg
from rag.evaluate.report.words import amount, figure
from rag.lines import cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rag.evaluate.moved import Moved
    from rag.evaluate.report.content import Report
    from rag.evaluate.report.groups import Group

WIDTH, WIDE = 352, 440


def waterfall(moved: Moved, measure: str, candidate: str, baseline: str, *, name: str) -> str:
    """SVG of the difference on every question, the best first and better above."""

    def draw(drawn: Figure) -> None:
        import numpy as np

        axes = plain_axes(drawn, left=52, right=10, bottom=40)
        values = np.array(moved.differences)
        most = 1.1 * max(0.05, float(np.abs(values).max(initial=0)))
        above, below = ("down", "up") if moved.lower_is_better else ("up", "down")
        for part, colour in ((np.maximum(values, 0), above), (np.minimum(values, 0), below)):
            edges = np.arange(len(values) + 1)
            axes.stairs(part, edges, baseline=0, fill=True, color=LIGHT[colour], linewidth=0)
        axes.axhline(0, color=LIGHT["muted"], linewidth=1)
        axes.set_ylim((most, -most) if moved.lower_is_better else (-most, most))
        axes.set_xlim(0, max(1, len(values)))
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.yaxis.set_major_locator(ticks(5))
        axes.xaxis.set_major_locator(ticks(4, whole=True))
        axes.set_xlabel("questions, best first")
        axes.text(0.98, 0.96, f"{moved.gained:,} better", transform=axes.transAxes, ha="right", va="top")
        axes.text(0.02, 0.04, f"{moved.lost:,} worse", transform=axes.transAxes, va="bottom")

    same = len(moved.differences) - moved.gained - moved.lost
    return svg(
        draw,
        width=WIDTH,
        height=220,
        name=name,
        title=f"{cut(candidate, 60)} against {cut(baseline, 60)}, question by question",
        about=f"{measure}: {moved.gained} questions better, {moved.lost} worse, {same} the same.",
    )


def cost(made: Report, label: str, cost: str, values: Mapping[str, float], *, name: str) -> str:
    """SVG of quality against one cost; the line joins the systems that no cheaper one beats."""
    cells = made.cells[made.main]
    at = {system: (value, cells[system]) for system, value in values.items() if system in cells}

    def draw(drawn: Figure) -> None:
        from matplotlib.ticker import FuncFormatter

        axes = plain_axes(drawn, left=52, right=14, bottom=42)
        best = front([(value, cell.mean) for value, cell in at.values()], less=made.main in LOWER_IS_BETTER)
        along, up = zip(*best, strict=True)
        axes.step(along, up, where="post", color=LIGHT["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for system, (value, cell) in at.items():
            mark = Mark.of(made.systems.index(system))
            if isfinite(cell.low) and isfinite(cell.high):
                axes.plot([value, value], [cell.low, cell.high], color=mark.colour, linewidth=1.5)
            axes.plot([value], [cell.mean], mark.marker, color=mark.colour, markersize=8)
        costs = [value for value, _ in at.values()]
        if min(costs) > 0 and max(costs) > 10 * min(costs):
            axes.set_xscale("log")
            axes.set_xlim(min(costs) / 2, max(costs) * 2)
        else:
            wide = max(max(costs) - min(costs), 0.2 * max(costs))
            axes.set_xlim(max(0, min(costs) - 0.3 * wide), max(costs) + 0.3 * wide)
            axes.xaxis.set_major_locator(ticks(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(cost, value)))
        axes.yaxis.set_major_locator(ticks(5))
        axes.set_xlabel(label)
        axes.grid()
        axes.tick_params(length=0)

    told = ", ".join(
        f"{cut(each, 60)} {figure(cell.mean)} at {amount(cost, value)}" for each, (value, cell) in at.items()
    )
    return svg(
        draw, width=WIDTH, height=240, name=name, title=f"{made.main} against {label}", about=f"{told}."
    )


def by_group(made: Report, groups: Sequence[Group], *, name: str) -> str:
    """SVG of the means by system, with intervals, of every group that has enough questions."""
    groups = [group for group in groups if not group.too_few]
    labels = [f"{cut(group.value, 14)} ({group.questions:,})" for group in groups]
    height = max(26, 15 * len(made.runs) + 8)

    def draw(drawn: Figure) -> None:
        axes = inside(drawn, labels, right=14)
        for row, group in enumerate(groups):
            if row:
                axes.axhline(row - 0.5, color=LIGHT["grid"], linewidth=1)
            for place, (system, one) in enumerate(group.cells.items()):
                offset = ((place + 0.5) / len(group.cells) - 0.5) * 0.84
                interval(axes, one.mean, one.low, one.high, row + offset, Mark.of(made.systems.index(system)))
        rows(axes, labels)
        cells = [one for group in groups for one in group.cells.values()]
        limits(axes, [end for one in cells for end in (one.low, one.mean, one.high)])

    key = groups[0].key
    return svg(
        draw,
        width=WIDE,
        height=height * len(groups) + AXIS,
        name=name,
        title=f"{made.main} by {cut(key, 40)}",
        about="Means with 95 % intervals; the table below has the figures.",
    )


def no_answer(made: Report, *, name: str) -> str:
    """SVG of what each threshold keeps and lets through; the marker is where 95 % are kept."""

    def draw(drawn: Figure) -> None:
        from matplotlib.ticker import PercentFormatter

        axes = plain_axes(drawn, left=64, right=14, bottom=44)
        axes.axvline(KEPT, color=LIGHT["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for curve in made.curves:
            mark = Mark.of(made.systems.index(curve.system))
            kept, answered = zip(*curve.points, strict=True)
            axes.plot(kept, answered, color=mark.colour, linestyle=mark.line)
            at = next(place for place, share in enumerate(kept) if share >= KEPT)
            axes.plot(kept[at], answered[at], mark.marker, color=mark.colour, markersize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("questions with an answer that are kept")
        axes.set_ylabel("without one, answered")
        axes.grid()
        axes.tick_params(length=0)

    told = "; ".join(f"{cut(each.system, 60)} {each.false_answers.value:.0%}" for each in made.curves)
    return svg(
        draw,
        width=WIDE,
        height=320,
        name=name,
        title="Questions without an answer that would be answered",
        about=f"Where 95 % of the questions with an answer are kept: {told}.",
    )
