"""Growth, drawn: four small plots with logarithmic axes, as plain SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

PANELS = (
    ("search, p95, ms", "p95_100", 1.0),
    ("resident memory, MB", "rss", 1e-6),
    ("build, seconds", "seconds", 1.0),
    ("disk, MB", "disk", 1e-6),
)
COLOURS = ("#0b6e4f", "#c2185b", "#1565c0", "#ef6c00", "#6a1b9a", "#5d4037", "#00838f", "#9e9d24", "#424242")
WIDTH, HEIGHT, LEFT, GAP = 300, 220, 60, 40


def plot(known: Sequence[Mapping[str, Any]]) -> str:
    """One SVG of all systems that were measured: rows of the table in, a picture out."""
    known = [each for each in known if "given_up" not in each]
    names = list(dict.fromkeys(each["system"] for each in known))
    colours = dict(zip(names, COLOURS * (1 + len(names) // len(COLOURS)), strict=False))
    panels = [
        panel(
            known,
            colours,
            title=title,
            key=key,
            unit=unit,
            left=LEFT + (WIDTH + LEFT + GAP) * (at % 2),
            top=GAP + (HEIGHT + 2 * GAP) * (at // 2),
        )
        for at, (title, key, unit) in enumerate(PANELS)
    ]
    font = 'font-family="sans-serif" font-size="12"'
    down = 2 * (HEIGHT + 2 * GAP) + GAP
    legend = [
        f'<text x="{LEFT + 150 * (at % 5)}" y="{down + 18 * (at // 5)}" fill="{colours[name]}">'
        f"{escape(name)}</text>"
        for at, name in enumerate(names)
    ]
    across, high = 2 * (WIDTH + LEFT + GAP) + LEFT, down + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {high}" {font}>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(panels + legend)}</svg>\n'
    )


def panel(
    known: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    *,
    title: str,
    key: str,
    unit: float,
    left: int,
    top: int,
) -> str:
    """One plot: rows across, the figure upwards, a line for each system."""
    points = [(each["system"], each["rows"], each[key] * unit) for each in known if each[key] > 0]
    if not points:
        return ""
    tens = [
        (math.floor(math.log10(min(of))), math.ceil(math.log10(max(of))))
        for of in list(zip(*points, strict=True))[1:]
    ]
    (x0, x1), (y0, y1) = ((low, max(high, low + 1)) for low, high in tens)

    def place(rows: float, figure: float) -> tuple[float, float]:
        return (
            left + WIDTH * (math.log10(rows) - x0) / (x1 - x0),
            top + HEIGHT - HEIGHT * (math.log10(figure) - y0) / (y1 - y0),
        )

    drawn = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    for ten in range(x0, x1 + 1):
        x, y = place(10.0**ten, 10.0**y0)
        drawn.append(
            f'<path d="M{x:.0f} {top}V{y:.0f}" stroke="#ddd"/>'
            f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">{10**ten:,}</text>'
        )
    for ten in range(y0, y1 + 1):
        x, y = place(10.0**x0, 10.0**ten)
        drawn.append(
            f'<path d="M{x:.0f} {y:.0f}h{WIDTH}" stroke="#ddd"/>'
            f'<text x="{x - 4:.0f}" y="{y + 4:.0f}" text-anchor="end">{10.0**ten:g}</text>'
        )
    for name, colour in colours.items():
        line = sorted((rows, figure) for system, rows, figure in points if system == name)
        places = [f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in line)]
        drawn.append(
            f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for each in places:
            across, up = each.split(",")
            drawn.append(
                f'<circle cx="{across}" cy="{up}" r="3" fill="{colour}">'
                f"<title>{escape(name)}</title></circle>"
            )
    return "".join(drawn)
