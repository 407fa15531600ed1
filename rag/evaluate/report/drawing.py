"""How plots are drawn: colours, markers, and matplotlib's figures as SVG for a page and as PNG.

The same figure gives the same bytes: no date, no random ids, none of the user's own matplotlib settings. A
page shows it in its own font, light or dark: every colour in an SVG is a variable of the page's style sheet,
with the light one to fall back on. Colours are told apart by the colour-blind (Okabe and Ito 2008, darkened
to stand out from white), and never alone: every system has its marker too.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THEME = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "muted": ("#5b6470", "#a3abb6"),
    "grid": ("#d9dde3", "#343b45"),
    "paper": ("#fffffe", "#15181d"),
    "band": ("#e3e9f1", "#26303d"),
    "up": ("#0a62a9", "#58b4f0"),
    "down": ("#a84300", "#ff9a57"),
    "s0": ("#0072b2", "#56b4e9"),
    "s1": ("#c44e00", "#ff9d5c"),
    "s2": ("#007a5a", "#2fd0a0"),
    "s3": ("#9c4a94", "#e79ad0"),
    "s4": ("#866a00", "#e8d44d"),
    "s5": ("#4a4ac4", "#a9a9ff"),
    "s6": ("#b0003a", "#ff7f95"),
    "s7": ("#5c5c5d", "#bbbbbc"),
}
"""Name -> light and dark colour. The light ones are all different, so that each can be found in an SVG."""
LIGHT = {name: light for name, (light, _) in THEME.items()}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")
"""The markers as a page writes them."""
LINES = ("-", (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)))
FONT = 12

_NAMES = {light: name for name, (light, _) in THEME.items()}
_TAG = re.compile("<[^>]+>")
_COLOUR = re.compile("#[0-9a-f]{6}")
_IDS = re.compile(r'((?: id="|href="#)|url\(#)')
_FAMILY = re.compile(r"font-family: [^;\"]+(?:; )?")
_DRAWING = threading.RLock()
"""matplotlib's settings are the process's."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a system is drawn, by its place in the report."""

    colour: str
    marker: str
    line: Any
    glyph: str
    variable: str

    @staticmethod
    def of(place: int) -> Mark:
        """The place's own for eight systems; beyond them colours come again, with other markers.

        >>> Mark.of(0).glyph, Mark.of(8).variable, Mark.of(8).glyph
        ('●', 's0', '■')
        """
        name = f"s{place % 8}"
        other = (place + place // 8) % 8
        return Mark(LIGHT[name], MARKERS[other], LINES[place % len(LINES)], GLYPHS[other], name)


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib

    with _DRAWING, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a script that the bundled font lacks: the page has it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "text.parse_math": False,  # names come from outside: "$" is a dollar
                "svg.fonttype": "none",
                "svg.hashsalt": "promptwell",
                "font.size": FONT,
                "text.color": LIGHT["ink"],
                "axes.edgecolor": LIGHT["muted"],
                "axes.labelcolor": LIGHT["muted"],
                "axes.labelsize": FONT,
                "axes.facecolor": "none",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.unicode_minus": True,
                "axes.axisbelow": True,
                "figure.facecolor": LIGHT["paper"],
                "xtick.color": LIGHT["muted"],
                "ytick.color": LIGHT["ink"],
                "grid.color": LIGHT["grid"],
                "grid.linewidth": 1,
                "lines.linewidth": 2,
            }
        )
        yield


def svg(draw: Callable[[Figure], None], *, width: int, height: int, name: str, title: str, about: str) -> str:
    """A figure of so many pixels, to stand inside a page. ``name`` keeps its ids apart from those of others;
    ``title`` and ``about`` are what a person who cannot see it is told."""
    with _styled():
        figure = _figure(width, height)
        draw(figure)
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    drawn = stream.getvalue()
    drawn = _TAG.sub(lambda found: _for_page(found[0], name), drawn[drawn.index("<svg") :])
    body = drawn[drawn.index(">") + 1 :]
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-about" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-about">{escape(about)}</desc>{body}'
    )


def png(draw: Callable[[Figure], None], *, width: int, height: int, scale: float = 2.0) -> bytes:
    """The same as a picture, ``scale`` times as many pixels, on white."""
    with _styled():
        figure = _figure(width, height)
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=72 * scale, metadata={"Software": None})
    return stream.getvalue()


def _figure(width: int, height: int) -> Figure:
    """One inch is 72 pixels here, so that a font of 12 points is one of 12 pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def _for_page(tag: str, name: str) -> str:
    tag = _IDS.sub(rf"\g<1>{name}-", tag)
    tag = _FAMILY.sub("", tag)
    return _COLOUR.sub(
        lambda found: f"var(--{_NAMES[found[0]]}, {found[0]})" if found[0] in _NAMES else found[0], tag
    )
