"""Few-shot examples: of a set, the few that are like the question, unlike each other and inside a budget.

An example whose input is the question is never chosen: a prompt that is evaluated on its own examples
would be shown the answers. Those that are chosen stand in the order of their likeness, the most similar
last: what stands nearest the question counts most (Liu et al. 2022, "What Makes Good In-Context Examples
for GPT-3?"; Zhao et al. 2021, "Calibrate Before Use", on recency).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from rag.errors import PromptError
from rag.prompts.template import PromptTemplate
from rag.shingles import Shingles
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import Vectors, clean_text
from rag.words import folded

VARIABLE = "examples"
"""The input of a prompt that the examples fill: a list of ``{input, output}``."""
MAX_SET = 20_000
"""Examples of one file. Each is embedded once; more of them belong into a collection, which has an index."""
POOL = 64
"""Examples that are looked at, at least: of the most similar ones, those that are no leak."""


@dataclass(frozen=True, slots=True)
class Example:
    """One solved case. ``id`` is the record's own, or the beginning of the digest."""

    input: str
    output: str
    id: str = field(default="", kw_only=True)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the model would read."""
        return hashlib.sha256(f"{self.input}\0{self.output}".encode()).hexdigest()

    def as_value(self) -> dict[str, str]:
        """The example as a prompt's variable holds it."""
        return {"input": self.input, "output": self.output}


@dataclass(frozen=True, slots=True)
class ExampleSettings:
    """``metadata.examples`` of a prompt: where the set lies, and how it is chosen from.

    Either ``collection`` or ``file`` is given. At most ``k`` examples of ``budget`` tokens in all;
    ``diversity`` is what an example loses for being like one that was chosen already, 0 to 1.
    """

    collection: str = ""
    file: str = ""
    k: int = 4
    budget: int = 600
    diversity: float = 0.3

    @staticmethod
    def of(template: PromptTemplate) -> ExampleSettings | None:
        """Those of a prompt, which were checked when it was read; None where it names no set.

        >>> about = "metadata: {examples: {collection: cases, k: 3}}"
        >>> ExampleSettings.of(PromptTemplate.parse(f"---\\nname: hi\\n{about}\\n---\\nuser:\\nHi!"))
        ExampleSettings(collection='cases', file='', k=3, budget=600, diversity=0.3)
        """
        return ExampleSettings(**template.examples) if template.examples else None


class Examples(Protocol):
    """What chooses the examples of a prompt for a question, the most similar last. ``exclude`` are the ids of
    those that an evaluation must not show."""

    def __call__(
        self, template: PromptTemplate, question: str, *, exclude: Collection[str]
    ) -> Sequence[Example]: ...


def no_examples(template: PromptTemplate, question: str, *, exclude: Collection[str]) -> Sequence[Example]:
    """Those where nobody chooses."""
    return ()


def read_examples(text: str, *, name: str) -> tuple[Example, ...]:
    """The examples of a JSONL file: one object a line, with ``input``, ``output`` and, if wanted, ``id``.

    An output that is no text is written as JSON. Raises PromptError, which names ``name`` and the line.

    >>> read_examples('{"input": "Where is my parcel?", "output": "delivery", "id": 7}', name="cases.jsonl")
    (Example(input='Where is my parcel?', output='delivery', id='7'),)
    """
    found: dict[str, Example] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{place}: not JSON: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("input"), str):
            raise PromptError(f'{place}: write {{"input": "…", "output": "…"}}')
        if not record["input"].strip() or (output := _as_text(record.get("output"))) == "":
            raise PromptError(f"{place}: its input or its output is empty")
        example = Example(clean_text(record["input"]), output)
        id = record.get("id", record.get("_id"))
        example = Example(example.input, example.output, id=example.digest[:12] if id is None else str(id))
        if found.get(example.id, example) != example:
            raise PromptError(f"{place}: the id {example.id!r} stands on another line too")
        found[example.id] = example
        if len(found) > MAX_SET:
            raise PromptError(
                f"{name} holds more than {MAX_SET:,} examples: `rag ingest {name} -c NAME` makes a "
                "collection of them, which metadata.examples names by `collection:`"
            )
    if not found:
        raise PromptError(f"{name} holds no example")
    return tuple(found.values())


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return clean_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).strip()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The examples for one question, the most similar last, and what they cost in tokens.

    ``withheld`` are the ids of those that were among the most similar and that an evaluation excludes, or
    whose input is the question.
    """

    examples: tuple[Example, ...]
    tokens: int
    withheld: tuple[str, ...]


def choose(
    question: str,
    examples: Sequence[Example],
    *,
    vectors: Vectors,
    vector: Vectors,
    settings: ExampleSettings,
    count_tokens: TokenCounter = estimate_tokens,
    exclude: Collection[str] = (),
) -> Chosen:
    """Of ``examples``, embedded as ``vectors`` (shape (n, dim)), those for a question embedded as ``vector``.

    Maximal marginal relevance (Carbonell and Goldstein 1998): each next one has the best balance of its
    cosine to the question, as a share of the best, and its highest cosine to those chosen before; of those
    that still fit the budget. One that says what a chosen one says adds nothing, and is passed over.

    >>> some = [Example("red apple", "fruit", id="a"), Example("slow train", "travel", id="b")]
    >>> axes = np.eye(2, dtype=np.float32)
    >>> near = np.array([0.8, 0.6], np.float32)
    >>> picked = choose("apple tree", some, vectors=axes, vector=near, settings=ExampleSettings(k=1))
    >>> picked.examples[0].id
    'a'
    """
    cosines = vectors @ vector if len(examples) else np.empty(0, np.float32)
    asked = Shingles.of(question)
    pool: list[int] = []
    withheld: list[str] = []
    shingles: dict[int, Shingles] = {}
    for place in np.argsort(-cosines, kind="stable").tolist():
        if len(pool) >= max(POOL, 4 * settings.k):
            break
        example = examples[place]
        words = _shingles(example.input)
        if example.id in exclude or _same(question, asked, example.input, words):
            withheld.append(example.id)
        else:
            pool.append(place)
            shingles[place] = words
    if not pool:
        return Chosen((), 0, tuple(withheld))
    costs = np.array([count_tokens(_written([examples[place]])) for place in pool])
    unit, near = vectors[pool], cosines[pool]
    relevance = near / max(float(near[0]), 1e-6)
    likeness = np.zeros(len(pool), np.float32)
    taken: list[int] = []  # places in the pool
    open_ = np.ones(len(pool), bool)
    room = settings.budget
    while len(taken) < settings.k and (open_ := open_ & (costs <= room)).any():
        value = (1 - settings.diversity) * relevance - settings.diversity * likeness
        best = int(np.argmax(np.where(open_, value, -np.inf)))
        open_[best] = False
        if any(shingles[pool[best]].stand_in(shingles[pool[one]]) for one in taken):
            continue
        taken.append(best)
        room -= int(costs[best])
        likeness = np.maximum(likeness, unit @ unit[best])
    # Counted one by one until here; a tokenizer may count them otherwise when they stand together.
    while (
        tokens := count_tokens(_written([examples[pool[one]] for one in taken]))
    ) > settings.budget and taken:
        taken.pop()
    chosen = tuple(examples[pool[one]] for one in sorted(taken, key=lambda one: float(near[one])))
    return Chosen(chosen, tokens if chosen else 0, tuple(withheld))


@lru_cache(maxsize=4096)
def _shingles(text: str) -> Shingles:
    return Shingles.of(text)


def _same(question: str, asked: Shingles, input: str, words: Shingles) -> bool:
    """Whether an example's input is the question, whole or nearly, in either direction."""
    if asked.stand_in(words) or words.stand_in(asked):
        return True
    return (folded(question) or question.split()) == (folded(input) or input.split())


def _written(examples: Sequence[Example]) -> str:
    """The variable as :class:`rag.prompts.template.RenderedPrompt` counts it."""
    return str([example.as_value() for example in examples])


def set_digest(examples: Sequence[Example]) -> str:
    """SHA-256 (hex) of a set, whatever the order of its examples."""
    each = sorted(f"{example.id}\0{example.digest}" for example in examples)
    return hashlib.sha256("\n".join(each).encode()).hexdigest()
