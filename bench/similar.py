"""What looking through a library of many prompts costs: a search, the clusters, the categories.

    python -m bench.similar --data DIR [--prompts 5000] [--model all-MiniLM-L6-v2]

The prompts ask for work on 5,000 real abstracts (scifact), 800 characters of each in their instructions, so
that all are different and as long as prompts are; every fiftieth is a small edit of the one before it. The
first look embeds them; ``--data`` keeps that. Timed is what a command takes once imports and the model are
there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from api.prompts.similar import Shelf
from api.services import connect
from api.settings import load
from rag.prompts.versions import Draft, Facts

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT.parent / "shared" / "data" / "scifact" / "corpus.jsonl"
TEXT = """---
description: {title}
inputs: [{{name: question}}]
---
system:
You help researchers with questions on one subject. Answer from what stands below, and from nothing else.

{text}

user:
{{{{ question }}}}
"""


def drafts(count: int) -> list[Draft]:
    found: list[Draft] = []
    for line in CORPUS.read_text("utf-8").splitlines()[:count]:
        number, about = len(found), json.loads(line)
        title, text = about["title"].replace(":", ","), about["text"][:800]
        if number % 50 == 49:
            source = found[-1].source.replace("from nothing else", "from nothing else at all")
            title = found[-1].facts.description
        else:
            source = TEXT.format(title=title, text=text)
        category = ("", "review", "method")[number % 3]
        facts = Facts(description=title, category=category, language="en", tags=("science",))
        found.append(Draft(f"team{number % 20}/prompt{number}", source, {}, f"digest {hash(source)}", facts))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    options = parser.parse_args()
    overrides = {"data": str(options.data), "embedder.model": options.model, "embedder.precision": "float32"}
    with connect(load(start=options.data.parent, env={}, overrides=overrides)) as services:
        if not services.has_library:
            services.library(create=True).push(drafts(options.prompts), author="bench")
        services.embedder().embed(["load"], input_type="query")
        for what in ("first look", "again", "again"):
            begin, cpu = time.perf_counter(), time.process_time()
            found = Shelf(services).search("which drugs lower blood pressure in diabetic patients?")
            told = f"{time.perf_counter() - begin:6.2f} s, CPU {time.process_time() - cpu:6.2f} s"
            print(f"search, {what:10}: {told}; first: {found[0].card.facts.description[:60]}")
        begin, cpu = time.perf_counter(), time.process_time()
        shelf = Shelf(services)
        made, advice = shelf.clusters(), shelf.categories()
        told = f"{time.perf_counter() - begin:6.2f} s, CPU {time.process_time() - cpu:6.2f} s"
        said = sum(bool(one.category) for one in advice)
        print(f"clusters          : {told}; {len(made)} found, {said} of {len(advice)} categories suggested")


if __name__ == "__main__":
    main()
