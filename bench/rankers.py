"""Sixteen ways to rank the chunks of one collection, good and bad: what judged sets are compared by.

The product's own legs and fusions are computed from one search's candidates; the others in memory, from the
same chunks and vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from api.services import Services
from rag.evaluate.evidence import Span
from rag.retrieve.fuse import evidence
from rag.types import Chunk, Hit, Vectors
from rag.words import folded

POOL = 100
RRF = 60
SHORT = 25
"""Words of a chunk that a truncated index holds."""
NOISE = (0.6, 1.2)
"""Length of the random vector that is added to a unit vector."""

_Floats = npt.NDArray[np.float64]


class Rankers:
    """Rankings of ``chunks``, best first, as their places in it; kept by question."""

    def __init__(self, services: Services, collection: str, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self._found = services.catalogue().collection(collection)
        self._embedder = services.answering_embedder(collection)
        self._place = {chunk.key: place for place, chunk in enumerate(chunks)}
        keys, rows = self._found.vectors(np.sort(np.array([chunk.key for chunk in chunks], np.int64)))
        vectors = np.empty_like(rows)
        vectors[[self._place[key] for key in keys.tolist()]] = rows
        self._cosine = cosines(vectors)
        texts = [folded(chunk.embedded_text) for chunk in chunks]
        titles = [folded(f"{chunk.title} {chunk.text[:40]}") for chunk in chunks]
        self._words: dict[str, Callable[[list[str]], _Floats]] = {
            "BM25, words as they are": bm25(texts, k1=1.2, b=0.75),
            "BM25, lengths ignored": bm25(texts, k1=0.4, b=0.0),
            "letter triples": bm25([triples(words) for words in texts], k1=1.2, b=0.75),
            f"first {SHORT} words": bm25([words[:SHORT] for words in texts], k1=1.2, b=0.75),
            "titles and beginnings": bm25(titles, k1=1.2, b=0.75),
            "counts of shared words": bm25([sorted(set(words)) for words in texts], k1=0.0, b=0.0, flat=True),
        }
        ids = {chunk.document_id: None for chunk in chunks}
        self._document = {id: place for place, id in enumerate(ids)}
        self._of_document: dict[str, list[int]] = defaultdict(list)
        for place, chunk in enumerate(chunks):
            self._of_document[chunk.document_id].append(place)
        self._kept: dict[str, dict[str, list[int]]] = {}

    def rankings(self, question: str) -> Mapping[str, list[int]]:
        """System -> places of chunks."""
        if question not in self._kept:
            self._kept[question] = dict(self._ranked(question))
        return self._kept[question]

    def hits(self, question: str) -> list[list[Hit]]:
        """What the product's two legs find, as hits."""
        ranked = self.rankings(question)
        legs = (ranked["lexical"][:POOL], ranked["vector"][:POOL])
        return [[Hit(self.chunks[place], float(-rank)) for rank, place in enumerate(leg)] for leg in legs]

    def overlapping(self, spans: Iterable[Span]) -> frozenset[int]:
        """The chunks that hold some of these characters; half of them at least, where any holds half."""
        found: set[int] = set()
        for span in spans:
            shares = {
                place: min(chunk.end, span.end) - max(chunk.start, span.start)
                for place in self._of_document.get(span.document_id, ())
                for chunk in [self.chunks[place]]
            }
            most = max(shares.values(), default=0)
            found |= {place for place, share in shares.items() if share > 0 and share >= most / 2}
        return frozenset(found)

    def documents(self, ids: Collection[str]) -> frozenset[int]:
        return frozenset(self._document[id] for id in ids if id in self._document)

    def to_documents(self, ranked: Sequence[int]) -> list[int]:
        """Documents by their best chunk."""
        return list(dict.fromkeys(self._document[self.chunks[place].document_id] for place in ranked))

    def _ranked(self, question: str) -> Iterable[tuple[str, list[int]]]:
        [vector] = self._embedder.embed([question], input_type="query")
        found = self._found.rank(vector=vector, vector_k=POOL, text=question, text_k=POOL, where={})
        places = np.array([self._place[key] for key in found.keys.tolist()], np.int64)
        lexical = places[np.argsort(-found.bm25, kind="stable")][: int((found.bm25 > 0).sum())].tolist()
        yield "lexical", lexical
        for weight in (0.25, 0.5, 0.75):
            name = "hybrid" if weight == 0.5 else f"hybrid, {weight:g} vectors"
            order = np.argsort(-evidence(found, vector_weight=weight), kind="stable")
            yield name, places[order].tolist()
        for name, ranked in self._by_vector(vector):
            yield name, ranked
            if name == "vector":
                yield "reciprocal ranks", fused(lexical[:POOL], ranked[:POOL])
        words = folded(question)
        for name, score in self._words.items():
            scores = score(triples(words) if name == "letter triples" else words)
            order = np.argsort(-scores, kind="stable")[:POOL]
            yield name, [int(place) for place in order if scores[place] > 0]

    def _by_vector(self, vector: Vectors) -> Iterable[tuple[str, list[int]]]:
        for name, score in self._cosine.items():
            yield name, np.argsort(-score(vector), kind="stable")[:POOL].tolist()


def cosines(vectors: Vectors) -> dict[str, Callable[[Vectors], _Floats]]:
    """The vectors as they are, with noise, cut to 48 dimensions, and as signs."""
    random = np.random.default_rng(0)
    found: dict[str, Vectors] = {"vector": vectors}
    for noise in NOISE:
        drawn = random.standard_normal(vectors.shape, np.float32)
        drawn *= noise / np.linalg.norm(drawn, axis=1, keepdims=True)
        found[f"vector, noise {noise:g}"] = vectors + drawn
    found["vector, 48 dimensions"] = vectors[:, :48]
    found["vector, signs"] = np.sign(vectors - vectors.mean(axis=0)).astype(np.float32)
    return {name: asked(rows) for name, rows in found.items()}


def asked(rows: Vectors) -> Callable[[Vectors], _Floats]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return lambda vector: (unit @ vector[: unit.shape[1]]).astype(np.float64)


def fused(*legs: Sequence[int]) -> list[int]:
    """Reciprocal rank fusion (Cormack et al. 2009)."""
    scores: dict[int, float] = defaultdict(float)
    for leg in legs:
        for rank, place in enumerate(leg, 1):
            scores[place] += 1 / (RRF + rank)
    return sorted(scores, key=lambda place: (-scores[place], place))


def bm25(
    texts: Sequence[Sequence[str]], *, k1: float, b: float, flat: bool = False
) -> Callable[[list[str]], _Floats]:
    """BM25 over lists of words; ``flat``: every shared word counts one."""
    postings: dict[str, dict[int, int]] = defaultdict(dict)
    for place, words in enumerate(texts):
        for word in words:
            postings[word][place] = postings[word].get(place, 0) + 1
    lengths = np.array([len(words) for words in texts], np.float64)
    held_by = {
        word: (np.fromiter(held, np.int64), np.fromiter(held.values(), np.float64))
        for word, held in postings.items()
    }
    norm = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0))

    def scores(words: list[str]) -> _Floats:
        total = np.zeros(len(texts))
        for word in set(words):
            if held := held_by.get(word):
                places, counts = held
                rarity = 1.0 if flat else np.log(1 + (len(texts) - len(places) + 0.5) / (len(places) + 0.5))
                total[places] += rarity * counts * (k1 + 1) / (counts + norm[places])
        return total

    return scores


def triples(words: Iterable[str]) -> list[str]:
    return [f" {word} "[at : at + 3] for word in words for at in range(len(word))]
