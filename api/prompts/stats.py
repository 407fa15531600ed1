"""How prompts do in use: by prompt, version, label or day, with intervals; no verdict where they overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rag.evaluate.paired import bootstrap
from rag.evaluate.rates import Rate, rate
from rag.types import Vectors

if TYPE_CHECKING:
    from indexes.traces import Fact

By: TypeAlias = Literal["prompt", "version", "label", "day"]

FEWEST = 10
"""Questions of a kind from which on drift is told: of fewer one stranger moves the mean too far."""


@dataclass(frozen=True, slots=True)
class Use:
    """One group of traces; ``prompt`` is theirs, "" where they are of several. ``p50_ms`` and ``p95_ms`` are
    of answers, ``prompt_tokens`` and ``answer_tokens`` means; all 0 where nothing was answered. Rates are of
    answers: ``not_found``; of those for which passages were searched: ``empty`` retrievals, those that
    ``cited``, those that cite an ``unknown`` number; ``errors`` is of all, ``up`` of those that were scored.
    """

    group: str
    prompt: str
    asked: int
    p50_ms: float
    p95_ms: float
    prompt_tokens: float
    answer_tokens: float
    errors: Rate
    empty: Rate
    not_found: Rate
    cited: Rate
    unknown: Rate
    up: Rate

    @property
    def rates(self) -> Mapping[str, Rate]:
        """By their names in a table."""
        return {
            "errors": self.errors,
            "empty": self.empty,
            "not found": self.not_found,
            "cited": self.cited,
            "unknown": self.unknown,
            "up": self.up,
        }

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            name: value.as_json() if isinstance(value := getattr(self, name), Rate) else value
            for name in self.__slots__
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """How near the questions that are asked lie to those that the prompt is tested with: the mean cosine of
    each to the nearest tested one, beside that of each tested one to the nearest other. ``verdict`` says no
    more than the intervals allow."""

    asked: int
    tested: int
    to_tested: float
    low: float
    high: float
    among_tested: float
    tested_low: float
    tested_high: float
    verdict: Literal["drifted", "no drift seen", "too few"]

    @staticmethod
    def too_few(asked: int, tested: int) -> Drift:
        """No verdict, for want of questions of a kind."""
        nothing = (math.nan, -math.inf, math.inf)
        return Drift(asked, tested, *nothing, *nothing, "too few")

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``; what is infinite, for want of questions, is null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def use(facts: Sequence[Fact], *, by: By) -> list[Use]:
    """The groups, prompts by name, versions and days rising."""
    groups: dict[tuple[Any, ...], list[Fact]] = {}
    for fact in facts:
        groups.setdefault(_key(fact, by), []).append(fact)
    return [
        _use(_named(key, by), "" if by == "day" else str(key[0]), group)
        for key, group in sorted(groups.items())
    ]


def told_apart(uses: Sequence[Use]) -> list[str]:
    """What can be said of each group of a prompt and the one before it: rates whose intervals are apart."""
    lines: list[str] = []
    for before, now in pairwise(uses):
        if before.prompt != now.prompt:
            continue
        for name, old in before.rates.items():
            new = now.rates[name]
            if new.apart(old):
                more = "more often" if new.value > old.value else "less often"
                told = f"{shown(new)}, and {shown(old)}"
                lines.append(f"{now.group}: {name} {more} than {before.group}: {told}")
    return lines


def shown(of: Rate) -> str:
    """A rate as people read it, its interval in brackets.

    >>> shown(rate(3, 40))
    '7.5 % [2.6, 20]'
    """
    if not of.of:
        return "-"
    value, low, high = (_percent(share) for share in (of.value, of.low, of.high))
    return f"{value} % [{low}, {high}]"


def _percent(share: float) -> str:
    return f"{share * 100:.{1 if 0.0005 <= share < 0.0995 else 0}f}"


def drift(asked: Vectors, tested: Vectors) -> Drift:
    """From the questions' vectors, shapes (n, dim) and (m, dim). Too few: fewer than FEWEST of a kind.

    >>> same = np.eye(12, dtype=np.float32)
    >>> drift(same, same).verdict, drift(same[:3], same).verdict
    ('no drift seen', 'too few')
    """
    if min(len(asked), len(tested)) < FEWEST:
        return Drift.too_few(len(asked), len(tested))
    near = (asked @ tested.T).max(axis=1)
    among = tested @ tested.T
    np.fill_diagonal(among, -1.0)
    own = among.max(axis=1)
    low, high = bootstrap(near)
    tested_low, tested_high = bootstrap(own)
    return Drift(
        asked=len(asked),
        tested=len(tested),
        to_tested=float(near.mean()),
        low=low,
        high=high,
        among_tested=float(own.mean()),
        tested_low=tested_low,
        tested_high=tested_high,
        verdict="drifted" if high < tested_low else "no drift seen",
    )


def _key(fact: Fact, by: By) -> tuple[Any, ...]:
    match by:
        case "version":
            return fact.prompt, fact.version
        case "label":
            return fact.prompt, fact.label
        case "day":
            return (fact.at[:10],)
        case _:
            return (fact.prompt,)


def _named(key: tuple[Any, ...], by: By) -> str:
    if by == "version":
        return f"{key[0]}@{key[1]}" if key[1] else f"{key[0]} (no version)"
    if by == "label":
        return f"{key[0]}@{key[1]}" if key[1] else f"{key[0]} (no label)"
    return str(key[0])


def _use(group: str, prompt: str, facts: Sequence[Fact]) -> Use:
    answered = [fact for fact in facts if not fact.error]
    count = len(answered)
    searched = [fact for fact in answered if fact.searched]
    scored = [fact for fact in facts if fact.up or fact.down]
    times = np.array([fact.ms for fact in answered] or [0.0])
    return Use(
        group=group,
        prompt=prompt,
        asked=len(facts),
        p50_ms=float(np.percentile(times, 50)),
        p95_ms=float(np.percentile(times, 95)),
        prompt_tokens=sum(fact.prompt_tokens for fact in answered) / max(1, count),
        answer_tokens=sum(fact.answer_tokens for fact in answered) / max(1, count),
        errors=rate(len(facts) - count, len(facts)),
        empty=rate(sum(not fact.passages for fact in searched), len(searched)),
        not_found=rate(sum(not fact.found for fact in answered), count),
        cited=rate(sum(fact.citations > 0 for fact in searched), len(searched)),
        unknown=rate(sum(fact.unknown > 0 for fact in searched), len(searched)),
        up=rate(sum(fact.up > fact.down for fact in scored), len(scored)),
    )
