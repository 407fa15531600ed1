"""What the peers of bench/retrieval.py share: the passages and questions they get, their vectors, the clock.

Runs in .venv-bench: none of promptwell's packages are there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

DEPTH = 100
"""Passages asked of each leg, and of the fusion: as many as R@100 looks at."""

STEMMERS = {
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "de": "german",
    "it": "italian",
    "pt": "portuguese",
}
"""Snowball's names of the languages that it and bm25s' stop words both have."""

Vectors: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Passages with their ids, and vectors of all texts; ``language`` is the passages' (ISO 639-1)."""

    ids: list[str]
    texts: list[str]
    language: str
    vectors: Mapping[str, Vectors]

    def embed(self, texts: Iterable[str]) -> Vectors:
        """What the model gave for these texts, asked once: every peer's embedding hook ends here."""
        return np.stack([self.vectors[text] for text in texts])


def read(path: Path) -> tuple[list[str], list[str]]:
    """Ids and texts of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["id"] for row in rows], [row["text"] for row in rows]


def main(
    prepare: Callable[[Task], Callable[[str], Iterable[tuple[str, float]]]], *, embeds: bool = True
) -> None:
    """PEER.py PASSAGES.jsonl QUESTIONS.jsonl LANGUAGE OUT: index, ask, write the run and its cost.

    Vectors lie beside the texts, as .npz; a peer that ``embeds`` nothing does not read them. ``prepare``
    indexes and returns what answers a question with at most DEPTH (passage id, score). The CPU time of each
    question is the process's; embedding it is a look-up here, and in no figure.
    """
    passages, asked, language, out = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    ids, texts = read(passages)
    question_ids, questions = read(asked)
    vectors: dict[str, Vectors] = {}
    for known, path in ((texts, passages), (questions, asked)) if embeds else ():
        vectors.update(zip(known, np.load(path.with_suffix(".npz"))["vectors"], strict=True))
    search = prepare(Task(ids, texts, language, vectors))
    search(questions[0])  # what is set up on first use is not a question's cost
    cpu_ms: dict[str, float] = {}
    run: dict[str, list[tuple[str, float]]] = {}
    for id, question in zip(question_ids, questions, strict=True):
        began = time.process_time()
        found = list(search(question))
        cpu_ms[id] = 1000 * (time.process_time() - began)
        run[id] = [(passage, float(score)) for passage, score in found]
    out.write_text(json.dumps({"cpu_ms": cpu_ms, "run": run, "embeds": embeds}))
