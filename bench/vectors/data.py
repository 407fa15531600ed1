"""Real vectors, and more of them than there are texts at hand.

A million sentences are hours of embedding; random vectors have no neighbourhoods, and prove nothing. So
the real rows are extended: each further row is drawn from the Gaussian that has the mean and the
covariance of a real row's neighbourhood, itself and its n nearest, with n drawn log-uniformly from 5
to 160 (a smoothed bootstrap, as Silverman and Young, "The bootstrap: to smooth or not to smooth?",
Biometrika 1987, local as the density is). With weights w from N(0, 1):

    row = mean + sum((w - mean(w)) * neighbour) / sqrt(n), brought to unit length

It was compared with others by extending 9,400 of 93,955 sentences (all-MiniLM-L6-v2) tenfold, and asking
the extended and the real ones the same: 1,000 real questions, medians, recall@10 of one and the same index.
*ivf-pq* is 256 lists of 48 bytes, 4 and 16 probed, 100 re-ranked; *hnsw* has M 16, efSearch 16 and 64:

==============================  ========  ==================  ==========  ============  ============
rows                            drawn in  cosine of a row to  its local   ivf-pq        hnsw
                                top ten   its 1st, 10th,      dimension   4, 16 probes  16, 64
                                          100th neighbour     k 20, 100
==============================  ========  ==================  ==========  ============  ============
real                            (.90)     .691, .544, .429    18.6, 22.0  .876, .953    .873, .959
this                            .86       .688, .572, .457    20.3, 21.8  .847, .937    .814, .939
the same, n up to 80            .88       .720, .594, .466    16.8, 19.2  .873, .948    .830, .948
the same, n = 20                .86       .712, .595, .475    18.6, 20.3  .871, .941    .795, .941
x + 0.7 (y - z), y, z near x    .65       .814, .627, .379     7.9, 10.4  .837, .935    .806, .950
between near x and y (SMOTE)    .96       .986, .852, .518     2.0, 5.1   .860, .937    .761, .928
==============================  ========  ==================  ==========  ============  ============

*Drawn in top ten* is the share of the questions' ten best that were not among the 9,400; *local dimension*
is the maximum-likelihood one (Levina and Bickel, 2004). For 1,000 held-out sentences the recalls were .804,
.934 and .857, .961 on the real rows and .792, .931 and .792, .937 on these. So an index is asked no easier
thing than real rows would ask, and a little harder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.embed import SentenceTransformerEmbedder
from rag.sentences import split_sentences
from rag.types import Vectors

LEAST, MOST = 5, 160
"""Neighbours that a drawn row is made from."""
BATCH, BLOCK = 16_384, 256
LETTERS = 20
"""A shorter sentence is a heading or a number."""
HELD_OUT = 1_000
SEED = 7


@dataclass(frozen=True, slots=True)
class Real:
    """Vectors of real sentences in random order, of real questions, and of sentences held out to ask."""

    rows: Vectors
    questions: Vectors
    held_out: Vectors

    @property
    def digest(self) -> str:
        """What the rows and all that is drawn from them depend on."""
        hashed = hashlib.sha256(Path(__file__).read_bytes())
        for each in (self.rows, self.questions, self.held_out):
            hashed.update(np.ascontiguousarray(each).data)
        return hashed.hexdigest()[:12]


def shuffled(rows: Vectors, questions: Vectors) -> Real:
    """In random order, so that the first so many are a sample; at most HELD_OUT of each kind to ask."""
    random = np.random.default_rng(SEED)
    rows = rows[random.permutation(len(rows))]
    out = min(HELD_OUT, len(rows) // 10)
    return Real(rows[out:], questions[random.permutation(len(questions))[:HELD_OUT]], rows[:out])


def texts_of(folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Sentences and questions, each once: of BEIR's files, and of ``.md`` and ``.txt``."""
    sentences: dict[str, None] = {}
    questions: dict[str, None] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.name.startswith("queries") and path.suffix == ".jsonl":
            questions |= dict.fromkeys(record["text"] for record in _records(path))
        elif path.suffix in {".md", ".txt"}:
            sentences |= dict.fromkeys(_sentences(path.read_text("utf-8", "replace")))
        elif path.name == "corpus.jsonl":
            for record in _records(path):
                sentences |= dict.fromkeys(_sentences(record["text"]))
    return list(sentences), list(questions)


def embedded(folders: Sequence[Path], *, model: str, cache: Path) -> Real:
    """The vectors of the texts in some folders, by the product's embedder; kept in ``cache``."""
    sentences, questions = texts_of(folders)
    embedder = SentenceTransformerEmbedder(model)
    about = [embedder.info.fingerprint, *sentences, "", *questions]
    path = cache / f"texts-{hashlib.sha256(chr(0).join(about).encode()).hexdigest()[:12]}.npz"
    if not path.exists():
        asked = embedder.embed(questions, input_type="query")
        rows = embedder.embed(sentences, input_type="document")
        with (part := path.with_suffix(".part")).open("wb") as file:
            np.savez(file, rows=rows, questions=asked)
        part.rename(path)
    with np.load(path) as kept:
        return shuffled(kept["rows"], kept["questions"])


def extended(real: Real, count: int, path: Path) -> Vectors:
    """The real rows and so many drawn ones that there are ``count``, mapped from a file made once."""
    if not path.exists():
        part = path.with_suffix(".part")
        rows = np.lib.format.open_memmap(part, "w+", np.float32, (count, real.rows.shape[1]))
        rows[: len(real.rows)] = real.rows[:count]
        at = min(len(real.rows), count)
        for batch in drawn(real.rows, count - at):
            rows[at : at + len(batch)] = batch
            at += len(batch)
        rows.flush()
        part.rename(path)
    mapped: Vectors = np.load(path, mmap_mode="r")
    return mapped


def drawn(rows: Vectors, count: int) -> Iterator[Vectors]:
    """``count`` rows from the neighbourhoods of ``rows``, in batches; the same for the same rows.

    The neighbours are found exactly: 95,000 rows of 384 dimensions take about a minute of two cores.
    """
    import faiss

    if count <= 0:
        return
    most = min(MOST, len(rows) - 1)
    near = faiss.knn(rows, rows, most + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
    random = np.random.default_rng(SEED)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        centres = random.integers(0, len(rows), size)
        scales = np.exp(random.uniform(math.log(min(LEAST, most)), math.log(most), size)).astype(int)
        out = np.empty((size, rows.shape[1]), dtype=np.float32)
        order = np.argsort(scales)  # neighbourhoods of one size together: no row is read for nothing
        for at in range(0, size, BLOCK):
            places = order[at : at + BLOCK]
            out[places] = _from_neighbourhoods(rows, near[centres[places]], scales[places], random)
        yield out


def _from_neighbourhoods(
    rows: Vectors, near: npt.NDArray[np.int64], scales: npt.NDArray[np.int64], random: np.random.Generator
) -> Vectors:
    """One row for each row of ``near``: of its first ``scales + 1`` places."""
    near = near[:, : scales.max() + 1]
    inside = np.arange(near.shape[1]) <= scales[:, np.newaxis]
    weights = random.standard_normal(near.shape, dtype=np.float32) * inside
    number = scales[:, np.newaxis] + 1.0
    weights -= inside * (weights.sum(axis=1, keepdims=True) / number)
    weights = weights / np.sqrt(number - 1) + inside / number
    found = np.matmul(weights[:, np.newaxis].astype(np.float32), rows[near])[:, 0]
    unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _records(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _sentences(text: str) -> Iterator[str]:
    for start, end in split_sentences(text):
        sentence = " ".join(text[start:end].split())
        if len(sentence) >= LETTERS:
            yield sentence
