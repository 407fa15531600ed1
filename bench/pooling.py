"""Which grades tell systems apart? ``python -m bench.pooling FOLDER...`` (BEIR folders).

Eleven rankings of each set (BM25 in four settings, query likelihood, TF-IDF in three, latent semantic
indexing in two, a fusion) are ordered by nDCG@10 with all judgements, then with so many grades a question:
in pool order, question by question; in pool order, the same number of each question; and as `rag judge`
asks. The figure is the share of pairs of systems that stand in the same order, over samples of questions.
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from rag.evaluate import read_beir
from rag.evaluate.pool import blind, most_telling, pooled
from rag.words import is_stop_word, keys

DISCOUNT = 1 / np.log2(np.arange(2, 12))
GRADES = (2, 3, 5, 10, 15)
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return [keys(word, "en")[-1] for word in WORD.findall(text) if not is_stop_word(word.lower(), "en")]


def bm25(counts, asked, k1, b):
    held = np.asarray((counts > 0).sum(0)).ravel()
    idf = np.log(1 + (counts.shape[0] - held + 0.5) / (held + 0.5))
    length = np.asarray(counts.sum(1)).ravel()
    norm = k1 * (1 - b + b * length / length.mean())
    at = counts.tocoo()
    weights = at.data * (k1 + 1) / (at.data + norm[at.row]) * idf[at.col]
    return (
        (asked > 0).astype(float) @ sparse.csr_matrix((weights, (at.row, at.col)), counts.shape).T
    ).toarray()


def likelihood(counts, asked, mu=500):
    share = np.asarray(counts.sum(0)).ravel() / counts.sum()
    at = counts.tocoo()
    weights = sparse.csr_matrix((np.log(1 + at.data / (mu * share[at.col])), (at.row, at.col)), counts.shape)
    length = np.asarray(counts.sum(1)).ravel()
    return (asked @ weights.T).toarray() + np.asarray(asked.sum(1)) * np.log(mu / (length + mu))


def rankings(texts: list[str], questions: list[str]) -> list[np.ndarray]:
    """The places of the best ten documents of every system, one row a question."""
    counter = CountVectorizer(analyzer=words)
    counts, asked = counter.fit_transform(texts).astype(float), counter.transform(questions).astype(float)
    scores = [bm25(counts, asked, k1, b) for k1, b in ((0.9, 0.4), (2, 1), (0.3, 0), (1.2, 0.75))]
    scores.append(likelihood(counts, asked))
    for options in (
        {"analyzer": words, "sublinear_tf": True},
        {"sublinear_tf": True},
        {"analyzer": "char_wb", "ngram_range": (3, 4), "sublinear_tf": True, "min_df": 2},
    ):
        weigher = TfidfVectorizer(**options)
        weighed = weigher.fit_transform(texts)
        scores.append((weigher.transform(questions) @ weighed.T).toarray())
    weigher = TfidfVectorizer(analyzer=words, sublinear_tf=True)
    weighed = weigher.fit_transform(texts)
    for size in (100, 300):
        shorter = TruncatedSVD(size, random_state=0).fit(weighed)
        rows, wanted = shorter.transform(weighed), shorter.transform(weigher.transform(questions))
        scores.append(wanted @ (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)).T)
    places = [np.argsort(np.argsort(-each, axis=1), axis=1) for each in (scores[0], scores[-1])]
    scores.append(1 / (60 + places[0]) + 1 / (60 + places[1]))
    return [np.argsort(-each, axis=1, kind="stable")[:, :10] for each in scores]


def value(ranking, grades: dict[int, int], graded) -> float:
    """nDCG@10 by the grades that were given; 0 where none of them is of something relevant."""
    known = {place: grade for place, grade in grades.items() if place in graded}
    best = np.sort(list(known.values()))[::-1][:10]
    ideal = float((best * DISCOUNT[: len(best)]).sum()) if len(best) else 0.0
    return sum(known.get(d, 0) * DISCOUNT[r] for r, d in enumerate(ranking)) / ideal if ideal else 0.0


def measure(folder: Path, *, questions: int, samples: int) -> None:
    judged = read_beir(folder)
    documents = list(judged.documents())
    place = {document.id: n for n, document in enumerate(documents)}
    found = rankings(
        [f"{document.title} {document.text}" for document in documents],
        [query.text for query in judged.queries],
    )
    grades = [
        {place[d]: grade for d, grade in judged.qrels[query.id].items() if grade > 0 and d in place}
        for query in judged.queries
    ]
    right = {way: np.zeros(len(GRADES)) for way in ("pool, question by question", "pool", "rag judge")}
    pairs = list(combinations(range(len(found)), 2))
    every = [set(pooled([each[n].tolist() for each in found], 10)) for n in range(len(grades))]
    # Sets of one relevant document a question score by it wherever it stands: the ideal is of all grades.
    full = np.array([[value(each[n], grades[n], grades[n]) for each in found] for n in range(len(grades))])
    for sample in range(samples):
        chosen = np.random.default_rng(sample).permutation(len(grades))[:questions]
        order = {n: blind(every[n], seed=f"{sample} {n}") for n in chosen}
        telling = {
            n: most_telling([each[n].tolist() for each in found], 10, seed=f"{sample} {n}") for n in chosen
        }
        truth = full[chosen].sum(0)
        for column, number in enumerate(GRADES):
            for way in right:
                left, graded = number * len(chosen), {}
                for n in chosen:
                    most = left if way.endswith("by question") else number
                    graded[n] = set((telling if way == "rag judge" else order)[n][:most])
                    left -= len(graded[n])
                sums = np.sum(
                    [[value(each[n], grades[n], graded[n]) for each in found] for n in chosen], axis=0
                )
                same = [np.sign(sums[a] - sums[b]) == np.sign(truth[a] - truth[b]) for a, b in pairs]
                right[way][column] += np.mean(same) / samples
    print(f"{folder.name}: {questions} questions, {np.mean([len(each) for each in every]):.0f} in a pool")
    print(f"  {'grades a question':28}", *(f"{number:>6}" for number in GRADES))
    for way, figures in right.items():
        print(f"  {way:28}", *(f"{figure:6.3f}" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--samples", type=int, default=30)
    given = parser.parse_args()
    for folder in given.folders:
        measure(folder, questions=given.questions, samples=given.samples)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
