"""A report as one HTML page that asks for nothing else: styles and plots inside, no script, no font.

Everything from outside (questions, passages, names, errors, settings) is escaped where it is put in, and
what acts unseen is made visible; the page's own policy forbids requests and scripts besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from rag.evaluate.measure import FALSE_ANSWERS
from rag.evaluate.moved import EACH_WAY
from rag.evaluate.report import figures, makings, systems, telling, words
from rag.evaluate.report.content import Report
from rag.evaluate.report.drawing import THEME, Mark
from rag.evaluate.report.groups import ENOUGH
from rag.lines import plain

_HERE = Path(__file__).parent
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def html(made: Report) -> str:
    """The whole page. Safe as they are: the style sheet, our own, and plots, which escape their texts."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    style = f"{_theme()}\n{(_HERE / 'page.css').read_text('utf-8')}"
    plots = {name: Markup(picture) for name, picture in _plots(made).items()}  # noqa: S704
    template = environment.from_string((_HERE / "page.html").read_text("utf-8"))
    return template.render(
        made=made,
        style=Markup(style),  # noqa: S704
        plots=plots,
        words=words,
        marks={system: Mark.of(place) for place, system in enumerate(made.systems)},
        telling=telling,
        costs=makings.costs(made),
        settings=makings.settings(made),
        failures=makings.failures(made),
        commands=makings.commands(made),
        groups=[(key, list(each)) for key, each in groupby(made.groups, key=lambda group: group.key)],
        language=_language,
        sections=_sections(made),
        asked=max(len(one.questions) for one in made.runs.values()) or made.questions,
        without=max((cell.questions for cell in made.cells.get(FALSE_ANSWERS, {}).values()), default=0),
        measured=makings.when(made),
        enough=ENOUGH,
        each_way=EACH_WAY,
    )


def _plots(made: Report) -> dict[str, str]:
    """Every plot by a name of its own."""
    plots = {}
    for place, measure in enumerate(made.drawn):
        plots[f"mean {measure}"] = systems.means(made, measure, name=f"mean{place}")
    if made.comparisons:
        for place, measure in enumerate(made.tested):
            plots[f"difference {measure}"] = systems.differences(made, measure, name=f"difference{place}")
    for place, (candidate, moved) in enumerate(made.moved.items()):
        plots[f"questions {candidate}"] = figures.waterfall(
            moved, made.main, candidate, made.baseline, name=f"questions{place}"
        )
    for cost in makings.costs(made):
        if cost.plotted and made.main:
            plots[f"cost {cost.name}"] = figures.cost(
                made, cost.label, cost.name, cost.values, name=f"cost-{cost.name}"
            )
    for place, (key, groups) in enumerate(groupby(made.groups, key=lambda group: group.key)):
        plots[f"groups {key}"] = figures.by_group(made, list(groups), name=f"groups{place}")
    if made.curves:
        plots["no answer"] = figures.no_answer(made, name="thresholds")
    return plots


def _sections(made: Report) -> list[tuple[str, str]]:
    """Id and title of each section that there is something to say in."""
    there = {
        "verdict": ("Verdict" if made.candidates else "Figures", True),
        "measures": ("Measures", True),
        "differences": ("Differences", bool(made.comparisons)),
        "questions": ("Question by question", bool(made.comparisons)),
        "costs": ("Costs", bool(makings.costs(made))),
        "groups": ("Kinds of question", bool(made.groups)),
        "no-answer": ("No answer", bool(made.curves)),
        "moved": ("What moved", bool(made.moved)),
        "errors": ("Errors", bool(makings.failures(made))),
        "makings": ("How to repeat it", True),
        "reading": ("How to read it", True),
    }
    return [(id, title) for id, (title, shown) in there.items() if shown]


def _theme() -> str:
    def variables(column: int) -> str:
        return " ".join(f"--{name}: {colours[column]};" for name, colours in THEME.items())

    return (
        f":root {{ color-scheme: light dark; {variables(0)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(1)} }} }}"
    )


def _language(metadata: Mapping[str, object]) -> str:
    """What a question says of its language, where that may stand in a page's lang; else ""."""
    told = str(metadata.get("language") or metadata.get("lang") or "")
    return told if _LANGUAGE.fullmatch(told) else ""
