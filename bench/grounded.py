"""Telling supported sentences from others, on judged sets: what rag/evaluate/grounded.py is worth.

    python -m bench.grounded DATA [--sets NAME…] [--model NAME] [--most 150] [--shown 5] [--dump FILE]

DATA is the folder of the judged sets. Nothing is labelled by hand, and nothing by us: what is supported is
what people marked or wrote as such.

    human         a sentence of an answer that a person wrote from the passage (clapnq-dev)
    verbatim      a sentence that a person marked as evidence (chunking-eval, legalbench-contractnli, and of
                  xquad-es-wiki-dev the one with the answer in it)
    question      a question and its answer, put together (xquad-es-wiki-dev), in Spanish; and
    across        the same with the question in English, the passages in Spanish

Each is held against ``--shown`` passages: the one it is from, and those of the set whose words are most like
that one's.
What is not supported is made of these:

    number        one of its numbers is another one
    number there  one of its numbers is another one of the same passage
    name there    one of its names is another one of the same passage
    negated       "not" or "no" is put in, or taken out
    near          the passage that it is from, and copies of it, are not among those shown
    other         the passages of another sentence, far away in the file, are shown
    other answer  the answer is that of another question about the same passage

The threshold is that of the module, chosen on the first half of ``human`` (clapnq-dev) alone.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.process import table
from rag.embed import SentenceTransformerEmbedder
from rag.evaluate.facts import facts
from rag.evaluate.rates import rate
from rag.evaluate.supporting import SUPPORTED, Evidence
from rag.prompts.testing.runs import given_context
from rag.prompts.testing.suite import Given
from rag.sentences import split_sentences
from rag.types import Vectors, text_digest
from rag.words import Language, spans

SETS = ("clapnq-dev", "chunking-eval", "legalbench-contractnli", "xquad-es-wiki-dev")
FEWEST = 5
"""Words of a sentence that is looked at."""
ENGLISH = "is|are|was|were|has|have|had|can|could|will|would|may|must|should|does|did|shall"
SPANISH = "es|son|fue|fueron|era|eran|está|están|ha|han|había|tiene|tienen|puede|pueden|debe|deben|será"


@dataclass(frozen=True, slots=True)
class Item:
    """One claim, what it is held against, and whether that supports it. ``negative`` is how it was made
    unsupported, "" where it was not."""

    source: str
    kind: str
    language: Language
    negative: str
    claim: str
    shown: tuple[str, ...]

    @property
    def supported(self) -> bool:
        return not self.negative


@dataclass(frozen=True, slots=True)
class Seed:
    """A supported sentence, the passage it is from, and another sentence like it with another answer."""

    kind: str
    language: Language
    claim: str
    passage: str
    other: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--model", default="multilingual-e5-small")
    parser.add_argument("--most", type=int, default=150)
    parser.add_argument("--shown", type=int, default=5)
    parser.add_argument("--vectors", type=Path, help="keep vectors in this file (.npz) for the next run")
    parser.add_argument("--dump", type=Path)
    arguments = parser.parse_args()
    embedder = Memo(SentenceTransformerEmbedder(arguments.model), arguments.vectors)
    items: list[Item] = []
    for source, seeds, passages in sets(arguments.data, arguments.most, arguments.sets):
        items += made(source, seeds, passages, arguments.shown)
        print(f"{source}: {len(seeds)} supported sentences", flush=True)
    print(f"{len(items)} claims to weigh", flush=True)
    embedder.ready([item.claim for item in items])
    embedder.ready([text for item in items for text in sentences(item.shown)])
    found = [weighed(item, embedder) for item in items]
    if arguments.dump:
        with arguments.dump.open("w") as out:
            for item, each in zip(items, found, strict=True):
                out.write(
                    json.dumps([item.source, item.kind, item.language, item.negative, item.claim, each])
                    + "\n"
                )
    report(items, np.array([each["support"] for each in found]))


class Memo:
    """An embedder that embeds no text twice."""

    def __init__(self, embedder: SentenceTransformerEmbedder, path: Path | None) -> None:
        self._embedder = embedder
        self._path = path
        self.info, self.tokenizer = embedder.info, embedder.tokenizer
        self._kept: dict[str, npt.NDArray[np.float32]] = {}
        if path and path.is_file():
            with np.load(path) as kept:
                self._kept = dict(zip(kept["digests"].tolist(), kept["rows"], strict=True))

    def embed(self, texts: Sequence[str], *, input_type: Literal["query", "document"]) -> Vectors:
        self.ready(texts)
        return np.stack([self._kept[text_digest(text)] for text in texts])

    def ready(self, texts: Sequence[str]) -> None:
        """Embed what is new of these, and keep it."""
        new = [text for text in dict.fromkeys(texts) if text_digest(text) not in self._kept]
        for at in range(0, len(new), 64):
            part = new[at : at + 64]
            rows = self._embedder.embed(part, input_type="query")
            self._kept |= {text_digest(text): row for text, row in zip(part, rows, strict=True)}
            if self._path:
                digests = np.array(list(self._kept))
                np.savez(self._path, digests=digests, rows=np.stack(list(self._kept.values())))


# --- the sets ------------------------------------------------------------------------------------


def sets(
    data: Path, most: int, only: Sequence[str] = ()
) -> Iterator[tuple[str, list[Seed], Mapping[str, str]]]:
    """Name, supported sentences and passages (id to text) of each set that is there."""
    for name in only or SETS:
        folder = data / name
        if folder.is_dir():
            passages = {
                each["_id"]: each
                for each in lines((folder / "passages" if name != "clapnq-dev" else folder) / "corpus.jsonl")
            }
            make = {"clapnq-dev": human, "xquad-es-wiki-dev": questions}.get(name, verbatim)
            seeds = [seed for seed in make(folder, passages) if len(list(spans(seed.claim))) >= FEWEST]
            kinds = dict.fromkeys(seed.kind for seed in seeds)
            chosen = [seed for kind in kinds for seed in evenly([s for s in seeds if s.kind == kind], most)]
            yield name, chosen, {id: each["text"] for id, each in passages.items()}


def human(folder: Path, passages: Mapping[str, dict]) -> Iterator[Seed]:
    relevant = qrels(folder)
    for query in lines(folder / "queries.jsonl"):
        for answer in query["metadata"]["answers"][:1]:
            for start, end in split_sentences(answer):
                yield Seed("human", "en", answer[start:end], relevant[query["_id"]])


def verbatim(folder: Path, passages: Mapping[str, dict]) -> Iterator[Seed]:
    texts = {each["_id"]: each["text"] for each in lines(folder / "corpus.jsonl")}
    for span in lines(folder / "spans.jsonl"):
        text = texts[span["doc_id"]][span["start"] : span["end"]]
        place = within(span, passages)
        first = next(split_sentences(text), None)
        if place and first:
            yield Seed("verbatim", "en", text[slice(*first)], place)


def questions(folder: Path, passages: Mapping[str, dict]) -> Iterator[Seed]:
    spanish = {each["_id"]: each["text"] for each in lines(folder / "queries.jsonl")}
    english = {each["_id"]: each["text"] for each in lines(folder / "queries_en.jsonl")}
    answered = [(span, within(span, passages)) for span in lines(folder / "spans.jsonl")]
    for span, place in answered:
        if not place:
            continue
        text, id = passages[place]["text"], span["query_id"]
        at = span["start"] - passages[place]["metadata"]["start"]
        sentence = next((text[a:b] for a, b in split_sentences(text) if a <= at < b), "")
        yield Seed("verbatim", "es", sentence, place)
        others = [
            other["text"]
            for other, there in answered
            if there == place and not {*words(other["text"])} & {*words(span["text"])}
        ]
        wrong = random.Random(id).choice(others) if others else ""
        both: tuple[tuple[str, Language, str], ...]
        both = ("question", "es", spanish[id]), ("across", "en", english[id])
        for kind, language, asked in both:
            bare = asked.strip("¿? ")
            yield Seed(kind, language, f"{bare}: {span['text']}.", place, wrong and f"{bare}: {wrong}.")


def lines(path: Path) -> Iterator[dict]:
    with path.open("r", encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def qrels(folder: Path) -> dict[str, str]:
    rows = (folder / "qrels/test.tsv").read_text("utf-8").splitlines()[1:]
    return {row.split("\t")[0]: row.split("\t")[1] for row in rows}


def within(span: Mapping, passages: Mapping[str, dict]) -> str:
    """The passage of the span's document in which it begins, and goes on for a sentence's length."""
    for id, each in passages.items():
        about = each["metadata"]
        if about["doc_id"] == span["doc_id"] and about["start"] <= span["start"] < about["end"]:
            return id if about["end"] - span["start"] >= min(span["end"] - span["start"], 300) else ""
    return ""


def words(text: str) -> list[str]:
    return [word.casefold() for _, _, word in spans(text)]


def evenly(seeds: Sequence[Seed], most: int) -> list[Seed]:
    places = np.unique(np.linspace(0, len(seeds) - 1, min(most, len(seeds))).astype(int))
    return [seeds[place] for place in places]


# --- supported and not ---------------------------------------------------------------------------


def made(
    source: str,
    seeds: Sequence[Seed],
    passages: Mapping[str, str],
    shown: int,
) -> Iterator[Item]:
    ids = list(passages)
    alike = likeness([passages[id] for id in ids], [passages[seed.passage] for seed in seeds])
    for place, seed in enumerate(seeds):
        order = [ids[each] for each in np.argsort(-alike[place], kind="stable")[: shown + 20]]
        near = [id for id in order if id != seed.passage and not says(passages[id], seed.claim)]
        gold = passages[seed.passage]
        mine = tuple([gold, *(passages[id] for id in near)][:shown])
        far = seeds[(place + len(seeds) // 2) % len(seeds)]

        def item(negative: str, claim: str, shown: tuple[str, ...]) -> Item:
            return Item(source, seed.kind, seed.language, negative, claim, shown)  # noqa: B023

        yield item("", seed.claim, mine)
        if source != "xquad-es-wiki-dev" or seed.kind == "verbatim":
            for negative, claim in altered(seed, gold):
                yield item(negative, claim, mine)
        if seed.other:
            yield item("other answer", seed.other, mine)
        if far.passage != seed.passage:
            yield item("near", seed.claim, tuple(passages[id] for id in near)[:shown])
            yield item("other", seed.claim, (passages[far.passage],))


def says(passage: str, claim: str) -> bool:
    """Whether a passage is another copy of what the claim is from: it has half of its runs of three words."""
    there, own = ({*zip(w, w[1:], w[2:], strict=False)} for w in (words(passage), words(claim)))
    return len(own & there) >= 0.5 * max(1, len(own))


def likeness(texts: Sequence[str], asked: Sequence[str]) -> npt.NDArray[np.float64]:
    """Cosines of words weighted by how rare they are (tf-idf), a row for each of ``asked``."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    rows = vectorizer.fit_transform(texts)
    cosines: npt.NDArray[np.float64] = (vectorizer.transform(asked) @ rows.T).toarray()
    return cosines


def altered(seed: Seed, gold: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each way in which this sentence can be made false."""
    draw = random.Random(seed.claim)
    digits = list(re.finditer(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])", seed.claim))
    there = {match.group() for match in re.finditer(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])", gold)}
    own = {match.group() for match in digits}
    if digits:
        at = draw.choice(digits)
        yield "number", replaced(seed.claim, at.span(), changed(at.group(), draw, own | there))
        if others := sorted(there - own):
            yield "number there", replaced(seed.claim, at.span(), draw.choice(others))
    names = [one.written for one in facts(seed.claim, language=seed.language).names]
    known = {one.written for one in facts(gold, language=seed.language).names if one.written.isalpha()}
    if names and (others := sorted(known - set(words_of(seed.claim)))):
        name = draw.choice(names)
        if named := re.search(rf"\b{re.escape(name)}\b", seed.claim):
            yield "name there", replaced(seed.claim, named.span(), draw.choice(others))
    if (turned := negated(seed.claim, seed.language)) != seed.claim:
        yield "negated", turned


def words_of(text: str) -> list[str]:
    return [word for _, _, word in spans(text)]


def changed(number: str, draw: random.Random, taken: set[str]) -> str:
    """Another number of the same form: one digit is another, not the first of several being 0."""
    while True:
        places = [place for place, sign in enumerate(number) if sign.isdigit()]
        place = draw.choice(places)
        digit = draw.choice("123456789")
        other = number[:place] + digit + number[place + 1 :]
        if other not in taken:
            return other
        if all(number[:p] + d + number[p + 1 :] in taken for p in places for d in "123456789"):
            number += draw.choice("123456789")


def replaced(text: str, place: tuple[int, int], by: str) -> str:
    return text[: place[0]] + by + text[place[1] :]


def negated(text: str, language: Language) -> str:
    """The sentence with its first negation taken out, else one put to its first auxiliary."""
    if language == "en":
        if match := re.search(r"\b(?:not|NOT) ", text):
            return text[: match.start()] + text[match.end() :]
        match = re.search(rf"\b(?:{ENGLISH})\b", text)
        return text[: match.end()] + " not" + text[match.end() :] if match else text
    if match := re.search(r"\bno ", text):
        return text[: match.start()] + text[match.end() :]
    match = re.search(rf"\b(?:se )?(?:{SPANISH})\b", text)
    return text[: match.start()] + "no " + text[match.start() :] if match else text


def sentences(shown: Sequence[str]) -> Iterator[str]:
    for text in shown:
        yield from (text[start:end] for start, end in split_sentences(text))


@lru_cache(maxsize=500)
def evidence(shown: tuple[str, ...], embedder: Memo) -> Evidence:
    return Evidence(given_context([Given(text) for text in shown], budget=100_000).passages, embedder)


def weighed(item: Item, embedder: Memo) -> dict:
    found = evidence(item.shown, embedder).weigh(item.claim)
    signals = found.windows[found.best(found.windows)].signals
    return {name: getattr(signals, name) for name in (*signals.__slots__, "support")}


# --- the figures ---------------------------------------------------------------------------------


def report(items: Sequence[Item], support: npt.NDArray[np.float64]) -> None:
    rows = []
    for source, kind, language in dict.fromkeys((i.source, i.kind, i.language) for i in items):
        mine = np.array([(i.source, i.kind, i.language) == (source, kind, language) for i in items])
        yes = support[mine & np.array([item.supported for item in items])]
        kept = rate(int((yes >= SUPPORTED).sum()), len(yes))
        name = f"{source} {kind} {language}"
        rows.append([name, "supported", f"{len(yes)}", "", shown(kept)])
        for negative in dict.fromkeys(i.negative for i, here in zip(items, mine, strict=True) if here):
            if negative:
                no = support[mine & np.array([item.negative == negative for item in items])]
                let = rate(int((no < SUPPORTED).sum()), len(no))
                low, high = auc_interval(yes, no)
                told = f"{auc(yes, no):.3f} [{low:.3f}, {high:.3f}]"
                rows.append([name, negative, f"{len(no)}", told, shown(let)])
    print(table(["set", "kind", "sentences", "AUC", f"told right at {SUPPORTED}"], rows))


def shown(told: object) -> str:
    return f"{told.value:.3f} [{told.low:.3f}, {told.high:.3f}]"  # type: ignore[attr-defined]


def auc(yes: npt.NDArray[np.float64], no: npt.NDArray[np.float64]) -> float:
    """The share of pairs that stand in the right order, ties half."""
    above = np.subtract.outer(yes, no)
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def auc_interval(yes: npt.NDArray[np.float64], no: npt.NDArray[np.float64]) -> tuple[float, float]:
    draw = np.random.default_rng(0)
    found = [auc(draw.choice(yes, len(yes)), draw.choice(no, len(no))) for _ in range(500)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
