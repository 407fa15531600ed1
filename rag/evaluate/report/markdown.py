"""The same report as Markdown, to stand in a pull request.

What comes from outside stands in code spans: there it is text, mentions nobody and links nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from rag.evaluate.compare import Comparison
from rag.evaluate.moved import Moved, Side
from rag.evaluate.report import makings, telling, words
from rag.evaluate.report.cells import Cell
from rag.evaluate.report.content import Report
from rag.lines import plain

_TICKS = re.compile("`+")
_VERDICTS = ["Difference", "Verdict", "p (Holm)", "Detectable"]


def markdown(made: Report) -> str:
    """The verdicts first, then tables; the questions that moved and the settings are folded.

    >>> from rag.evaluate.run import Evaluation, Run
    >>> from rag.evaluate.report.content import report
    >>> one = Evaluation(Run.of("a", {}), {"RR@10": {"q1": 1.0, "q2": 0.5}})
    >>> markdown(report([one])).splitlines()[0]
    '# `a`'
    """
    parts = [f"# {telling.title(made, name=code)}", _facts(made)]
    parts += ["\n".join(_verdict(told) for told in telling.verdicts(made))]
    parts += ["\n".join(f"> - {note}" for note in telling.notes(made, name=code))]
    parts += ["## Measures", _measures(made)]
    if made.comparisons:
        parts += [f"## Differences to {code(made.baseline)}", _differences(made)]
        parts += [
            f"p is corrected for these {len(made.comparisons)} comparisons (Holm). Detectable: the true "
            "difference that the questions show four times of five."
        ]
    if costs := makings.costs(made):
        rows = [
            [code(name), *(words.amount(e.name, e.values[name]) if name in e.values else "–" for e in costs)]
            for name in made.systems
        ]
        parts += ["## Costs", table(["System", *(_label(each) for each in costs)], rows)]
    if made.groups:
        parts += ["## By kind of question", *_groups(made)]
    if made.curves:
        parts += ["## Questions without an answer", _no_answer(made)]
    if made.moved:
        parts += ["## The questions that moved most"]
        parts += [_moved(made, candidate, moved) for candidate, moved in made.moved.items()]
    if failed := makings.failures(made):
        rows = [[code(e.system), f"{len(e.queries):,}", code(e.message), code(e.queries[0])] for e in failed]
        parts += ["## Errors", table(["System", "Questions", "What was said", "Such as"], rows)]
    parts += ["## How to repeat it", _makings(made)]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str) -> str:
    """A code span of text from outside.

    >>> print(code("a `b` <c> @all"))
    ``a `b` <c> @all``
    """
    shown = plain(text)
    if not shown:
        return "–"
    fence = "`"
    while fence in _TICKS.findall(shown):
        fence += "`"
    room = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{room}{shown}{room}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; figures are to the right, and a bar in a cell is one of its letters.

    >>> print(table(["name", "n"], [["`a|b`", "12"]]))
    | name | n |
    | --- | ---: |
    | `a\\|b` | 12 |
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    right = [bool(cells) and all(row[i][:1] in "0123456789+−<–" for row in cells) for i in range(len(header))]
    lines = [list(header), ["---:" if each else "---" for each in right], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _facts(made: Report) -> str:
    facts = [f"{made.questions:,} questions"]
    if at := makings.when(made):
        facts.append(f"measured {at}")
    if made.candidates:
        facts.append(f"baseline {code(made.baseline)}")
        facts.append(f"margin {made.margin:g}" if made.margin else "no margin declared")
    return " · ".join(facts)


def _verdict(told: telling.Told) -> str:
    besides = "; ".join(
        f"{verdict} in {', '.join(map(code, measures))}" for verdict, measures in told.others.items()
    )
    line = f"- **{told.main.verdict}**: {telling.sentence(told.main, name=code)}"
    return f"{line}\n  Besides: {besides}." if besides else line


def _measures(made: Report) -> str:
    rows = [
        [code(measure), *(_mean(cells[name]) if name in cells else "–" for name in made.systems)]
        for measure, cells in made.cells.items()
    ]
    return table(["Measure", *map(code, made.systems)], rows)


def _mean(cell: Cell) -> str:
    return f"{words.figure(cell.mean)} ({words.between(cell.low, cell.high)})"


def _differences(made: Report) -> str:
    rows = [
        [code(measure), code(one.candidate), *_compared(one), f"{one.queries:,}"]
        for measure in made.tested
        for one in made.comparisons
        if one.measure == measure
    ]
    return table(["Measure", "System", *_VERDICTS, "Questions"], rows)


def _compared(one: Comparison) -> list[str]:
    more = f" (about {one.more_queries:,} more questions)" if one.more_queries else ""
    return [
        f"{words.signed(one.difference)} ({words.between(one.low, one.high, sign=True)})",
        f"{one.verdict}{more}",
        words.chance(one.p_holm),
        words.figure(one.detectable),
    ]


def _groups(made: Report) -> list[str]:
    parts = [f"{code(made.groups[0].measure)} in parts of the set; p is corrected for all of them together."]
    for key, groups in groupby(made.groups, key=lambda group: group.key):
        rows = []
        for group in groups:
            label = f"{code(group.value)} ({group.questions:,})"
            if group.too_few:
                rows.append([label, "too few questions", "", "", "", "", ""])
            for name, cell in group.cells.items():
                one = group.comparisons.get(name)
                compared = _compared(one) if one else ["", "baseline" if made.candidates else "", "", ""]
                rows.append([label, code(name), _mean(cell), *compared])
        shown = table([code(key), "System", "Mean", *_VERDICTS], rows)
        parts.append(_folded(f"By <code>{escape(plain(key))}</code>", shown))
    return parts


def _no_answer(made: Report) -> str:
    rows = [
        [
            code(each.system),
            f"{each.false_answers.value:.0%}",
            f"{each.false_answers.low:.0%} to {each.false_answers.high:.0%}",
            f"{each.unanswerable:,}",
        ]
        for each in made.curves
    ]
    header = ["System", "False answers where 95 % are kept", "Interval (95 %)", "Questions without an answer"]
    return table(header, rows)


def _moved(made: Report, candidate: str, moved: Moved) -> str:
    same = len(moved.differences) - moved.gained - moved.lost
    rows = [
        [
            code(each.query.text or each.query.id),
            f"{words.figure(each.before.value)} → {words.figure(each.after.value)}",
            _side(each.before),
            _side(each.after),
        ]
        for each in moved.questions
    ]
    counts = f"{moved.gained:,} better, {moved.lost:,} worse, {same:,} the same"
    heading = f"### {code(candidate)}: {counts}"
    if not rows:
        return heading
    shown = table(
        ["Question", code(made.main), f"{code(made.baseline)} found", f"{code(candidate)} found"], rows
    )
    return (
        f"{heading}\n\n<details><summary>The {len(rows)} that moved most</summary>\n\n{shown}\n\n</details>"
    )


def _side(side: Side) -> str:
    marks = ("✓ " if each.grade else "" for each in side.documents)
    found = (f"{mark}{code(each.name)}" for mark, each in zip(marks, side.documents, strict=True))
    return ", ".join(found) or "nothing"


def _makings(made: Report) -> str:
    rows = [["run", *(str(one.id or "–") for one in made.runs.values())]]
    rows += [["measured", *(words.moment(one.at) or "–" for one in made.runs.values())]]
    rows += [[code(row.name), *map(code, row.values.values())] for row in makings.settings(made)]
    settings = table(["", *map(code, made.systems)], rows)
    parts = ["\n".join(f"    {line}" for line in makings.commands(made)), _folded("Settings", settings)]
    if made.set_digest:
        parts.insert(0, f"Judged by {code(made.set_digest)} (SHA-256 of questions and judgements).")
    return "\n\n".join(parts)


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def _label(cost: makings.Cost) -> str:
    return cost.label if cost.known else code(cost.label)
