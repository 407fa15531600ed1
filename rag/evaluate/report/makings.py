"""What the systems of a report took, what they were made of, and how to do it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from rag.evaluate.report.content import Report
from rag.evaluate.report.words import moment
from rag.evaluate.run import Evaluation
from rag.lines import plain

_COSTS = {
    "cpu_ms": "CPU time a question",
    "ms": "time a question",
    "tokens": "tokens of context a question",
    "index_bytes": "size of the index",
    "ingest_s": "time to take in the documents",
    "documents": "documents",
    "chunks": "chunks",
}
PLOTTED = ("cpu_ms", "tokens", "index_bytes")
"""Costs that quality is plotted against."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What each system took, by system; those that do not tell are not there."""

    name: str
    label: str
    values: Mapping[str, float]

    @property
    def known(self) -> bool:
        """Whether its label is ours."""
        return self.name in _COSTS

    @property
    def plotted(self) -> bool:
        """Whether quality against it is worth a plot."""
        taken = self.values.values()
        return self.name in PLOTTED and len(taken) > 1 and max(taken) > 1.02 * min(taken)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of each system, as text; ``differs`` where they are not all alike."""

    name: str
    values: Mapping[str, str]

    @property
    def differs(self) -> bool:
        return len(set(self.values.values())) > 1


@dataclass(frozen=True, slots=True)
class Failure:
    """Questions of one system that failed alike."""

    system: str
    message: str
    queries: tuple[str, ...]


def costs(made: Report) -> list[Cost]:
    """Means a question, then what each system took as a whole."""
    found: dict[str, dict[str, float]] = {}
    for system, one in made.runs.items():
        taken = {name: sum(values.values()) / len(values) for name, values in one.costs.items() if values}
        for name, value in {**taken, **one.facts}.items():
            found.setdefault(name, {})[system] = value
    place = {name: number for number, name in enumerate(_COSTS)}
    order = sorted(found, key=lambda name: (place.get(name, len(place)), name))
    return [Cost(name, _COSTS.get(name, name.replace("_", " ")), found[name]) for name in order]


def settings(made: Report) -> list[Setting]:
    """All settings by dotted name, those that differ first."""
    flat = {system: dict(_flat(one.settings)) for system, one in made.runs.items()}
    names = dict.fromkeys(name for each in flat.values() for name in each)
    rows = [Setting(name, {system: each.get(name, "") for system, each in flat.items()}) for name in names]
    return sorted(rows, key=lambda row: not row.differs)


def failures(made: Report) -> list[Failure]:
    """What failed, by system and message, the most frequent first."""
    found = []
    for system, one in made.runs.items():
        for message, _ in Counter(message for _, message in one.errors).most_common():
            queries = tuple(query for query, said in one.errors if said == message)
            found.append(Failure(system, message, queries))
    return found


def commands(made: Report) -> list[str]:
    """What measures these systems again, and what makes this report again of the runs that are kept."""
    runs = list(made.runs.values())
    again = ["rag", "eval", "run", PurePath(runs[0].set_source).name or made.set_name or "SET"]
    for system in dict.fromkeys(map(_written, runs)):
        again += ["--system", system]
    if collection := runs[0].settings.get("collection"):
        again += ["--collection", str(collection)]
    lines = [_shell(again)]
    if all(one.id for one in runs):
        report = ["rag", "eval", "report", *(str(one.id) for one in runs)]
        if len(runs) > 1:
            report += ["--baseline", str(made.runs[made.baseline].id)]
        if made.margin:
            report += ["--margin", f"{made.margin:g}"]
        lines.append(_shell(report))
    return lines


def when(made: Report) -> str:
    """When the runs were measured: to the minute, from the first to the last; "" where none says it."""
    times = sorted(moment(one.at) for one in made.runs.values() if one.at)
    return " to ".join(dict.fromkeys((times[0], times[-1]))) if times else ""


def _written(one: Evaluation) -> str:
    """A system as `rag eval run` reads it: its name, and the settings in which it differs."""
    changes = one.settings.get("changes")
    if not isinstance(changes, Mapping) or not changes:
        return one.system
    return f"{one.system}={','.join(f'{key}={value}' for key, value in changes.items())}"


def _shell(words: list[str]) -> str:
    return " ".join(shlex.quote(plain(word)) for word in words)


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield (
                f"{before}{name}",
                ", ".join(map(str, value if isinstance(value, list | tuple) else [value])),
            )
