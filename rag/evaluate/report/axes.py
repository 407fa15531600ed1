"""Axes as the plots of a report have them: systems in lines, room for their names, few ticks."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from rag.evaluate.report.drawing import LIGHT, Mark
from rag.lines import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, AXIS = 26, 46
"""Pixels of a system's line, and of an axis with its label."""
LONGEST = 22
"""Letters of a name that a plot has room for."""
_LETTER = 7.2


def plain_axes(drawn: Figure, *, left: float, right: float, bottom: float, top: float = 8) -> Axes:
    """Axes that leave so many pixels around them."""
    width, height = drawn.bbox.width, drawn.bbox.height
    return drawn.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )


def inside(drawn: Figure, names: Sequence[str], *, right: float) -> Axes:
    """Axes with room for these names before them, and so many pixels behind."""
    return plain_axes(drawn, left=room(names), right=right, bottom=AXIS - 6, top=6)


def room(names: Sequence[str]) -> float:
    """Pixels that these names take."""
    return 14 + _LETTER * max(len(cut(name, LONGEST)) for name in names)


def rows(axes: Axes, names: Sequence[str], *, named: bool = True) -> None:
    """A line each, the first on top; without names where those beside it have them."""
    axes.set_yticks(range(len(names)), [cut(name, LONGEST) if named else "" for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def limits(axes: Axes, ends: Sequence[float]) -> None:
    """A little more than what is shown: values tell apart, and the axis says where it begins."""
    known = [end for end in ends if isfinite(end)] or [0.0, 1.0]
    low, high = min(known), max(known)
    wide = max(0.06 * (high - low), 0.01)
    axes.set_xlim(low - wide, high + wide)
    axes.xaxis.set_major_locator(ticks(4))


def ticks(most: int, *, whole: bool = False) -> Any:
    """At most about so many, at round numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=whole)


def beside(axes: Axes, row: float, text: str) -> None:
    """Text behind the axes, in a system's line."""
    axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", color=LIGHT["ink"])


def front(points: Sequence[tuple[float, float]], less: bool) -> list[tuple[float, float]]:
    """Those that no cheaper one beats, cheapest first."""
    kept: list[tuple[float, float]] = []
    for value, quality in sorted(points, key=lambda each: (each[0], each[1] if less else -each[1])):
        if not kept or (quality < kept[-1][1] if less else quality > kept[-1][1]):
            kept.append((value, quality))
    return kept


def interval(
    axes: Axes, middle: float, low: float, high: float, row: float, mark: Mark, *, hollow: bool = False
) -> None:
    """A mean in its interval; ``hollow`` where nothing is decided."""
    if isfinite(low) and isfinite(high):
        axes.plot([low, high], [row, row], color=mark.colour, solid_capstyle="butt")
    filled = LIGHT["paper"] if hollow else mark.colour
    axes.plot([middle], [row], mark.marker, color=mark.colour, markersize=8, markerfacecolor=filled)
