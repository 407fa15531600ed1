"""What a prompt costs apart from retrieval: CPU milliseconds to read its file, fit its context and render it.

    python -m bench.render [--prompt answer] [--passages 8] [--characters 1000] [--rounds 200] [--text FOLDER]

Each round takes other passages, cut from real text (the language reference that Python carries in
``pydoc_data``, or the ``.md`` and ``.txt`` files of a folder), and another question, so that nothing was
counted or rendered before; ``again`` is the same once more. The last line holds the figure to reach: a prompt
with 8 passages renders in under 2 ms.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median, quantiles
from typing import ParamSpec, TypeVar

from rag.context import fit
from rag.prompts import load
from rag.types import Chunk, Hit

LIMIT_MS = 2.0
P = ParamSpec("P")
T = TypeVar("T")


def passages(texts: list[str], *, count: int, characters: int, seed: int) -> list[Hit]:
    """Hits of as many documents, best first."""
    draw = random.Random(seed)
    hits = []
    for number in range(1, count + 1):
        text = draw.choice(texts)
        start = draw.randrange(max(1, len(text) - characters))
        piece = text[start : start + characters]
        chunk = Chunk(
            f"manual/{seed}-{number}.md",
            piece,
            start,
            start + len(piece),
            title=f"Chapter {draw.randrange(1000)}",
            heading=("Reference", f"Section {number}"),
            page=str(number),
            key=number,
        )
        hits.append(Hit(chunk, 1 / number))
    return hits


def texts_of(folder: str | None) -> list[str]:
    """The texts to cut passages from."""
    if folder is None:
        return [text for text in topics.values() if len(text) > 2_000]
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".md", ".txt"})
    return [path.read_text("utf-8", "replace") for path in files]


def timed(spent: list[float], call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What the call returns; its CPU milliseconds join ``spent``."""
    start = time.process_time_ns()
    result = call(*arguments, **options)
    spent.append((time.process_time_ns() - start) / 1e6)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompt", default="answer")
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--characters", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--text", metavar="FOLDER")
    given = parser.parse_args()
    texts = texts_of(given.text)
    spent: dict[str, list[float]] = {
        stage: [] for stage in ("read the file", "fit", "render", "fit again", "render again")
    }
    sizes, tokens = [], []
    for seed in range(given.rounds):
        hits = passages(texts, count=given.passages, characters=given.characters, seed=seed)
        values = {"question": f"What does section {seed} say about that?"}
        template = timed(spent["read the file"], load, given.prompt)
        for turn in ("", " again"):
            context = timed(spent[f"fit{turn}"], fit, hits, budget=100_000)
            prompt = timed(spent[f"render{turn}"], template.render, values, context=context)
        sizes.append(len(context.passages))
        tokens.append(prompt.total_tokens)
    print(
        f"{given.prompt}: {median(sizes):.0f} passages of {given.characters:,} characters, "
        f"about {median(tokens):,.0f} tokens, {given.rounds} rounds"
    )
    print(f"{'CPU ms':<16}{'median':>8}{'p95':>8}")
    for stage, each in spent.items():
        print(f"{stage:<16}{median(each):>8.2f}{quantiles(each, n=20)[-1]:>8.2f}")
    reached = median(spent["render"])
    print(f"render: {reached:.2f} ms, to reach: under {LIMIT_MS} ms: {'yes' if reached < LIMIT_MS else 'NO'}")


if __name__ == "__main__":
    main()
