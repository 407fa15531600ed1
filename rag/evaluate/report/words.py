"""How figures and texts are written for people who read a report."""

from __future__ import annotations

import math
import re
from datetime import datetime

from rag.lines import plain

_ABOUT = {
    "nDCG": "are the relevant documents among the first {k}, and near the top?",
    "R": "which share of the relevant documents is among the first {k}?",
    "RR": "one over the rank of the first relevant document, 0 beyond rank {k}",
    "P": "which share of the first {k} is relevant?",
    "AP": "precision at each relevant document, on average",
    "Success": "is a relevant document among the first {k}?",
    "Judged": "which share of the first {k} was judged at all? It says how far to trust the rest",
    "Evidence": "which share of the words that answer stands in the first {k} tokens of the context?",
    "Precision": "which share of those {k} tokens' text is such words?",
    "IoU": "words that answer and are shown, of all that answer or are shown",
    "FalseAnswers": "which share of the questions without an answer would be answered? Less is better",
}


def about(measure: str) -> str:
    """What a measure asks, in one line; "" for one that is not known here.

    >>> about("RR@10"), about("AP(rel=2)")
    ('one over the rank of the first relevant document, 0 beyond rank 10', \
'precision at each relevant document, on average')
    """
    name = re.match(r"[A-Za-z]*", measure)
    depth = re.search(r"@(\d+)", measure)
    text = _ABOUT.get(name[0] if name else "", "")
    return text.format(k=f"{int(depth[1]):,}" if depth else "ones")


def figure(value: float) -> str:
    """A measure's value. What is not known for want of questions is a dash."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def signed(value: float) -> str:
    """A difference, with its sign.

    >>> signed(-0.1232), signed(0.0)
    ('−0.123', '0.000')
    """
    if not math.isfinite(value):
        return "–"
    sign = "+" if round(value, 3) > 0 else "−" if round(value, 3) < 0 else ""
    return f"{sign}{abs(value):.3f}"


def between(low: float, high: float, *, sign: bool = False) -> str:
    """An interval.

    >>> between(0.1, 0.25), between(-0.1, 0.25, sign=True)
    ('0.100 to 0.250', '−0.100 to +0.250')
    """
    show = signed if sign else figure
    return f"{show(low)} to {show(high)}" if math.isfinite(low + high) else "not known"


def chance(p: float) -> str:
    """A p, as small as a thousandth.

    >>> chance(0.0001), chance(0.25)
    ('< 0.001', '0.250')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def amount(name: str, value: float) -> str:
    """A cost or a fact, by its name.

    >>> amount("index_bytes", 12_345_678), amount("cpu_ms", 3.14159), amount("documents", 5183)
    ('12 MB', '3.1 ms', '5,183')
    """
    if name.endswith("bytes"):
        for unit in ("B", "kB", "MB", "GB"):
            if value < 1000 or unit == "GB":
                break
            value /= 1000
        return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
    unit = " ms" if name.endswith("ms") else " s" if name.endswith("_s") else ""
    if unit:
        return f"{value:,.1f}{unit}" if 0 < value < 10 else f"{value:,.0f}{unit}"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"


def moment(at: str) -> str:
    """An ISO time to the minute; what is none stays as it is.

    >>> moment("2026-03-02T10:20:33.123456+00:00"), moment("2026-03-02"), moment("")
    ('2026-03-02 10:20 UTC', '2026-03-02', '')
    """
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return plain(at)
    if len(at) <= len("2026-03-02"):
        return at
    zone = when.strftime("%z")
    shown = {"": "", "+0000": " UTC"}.get(zone, f" {zone}")
    return f"{when:%Y-%m-%d %H:%M}{shown}"
