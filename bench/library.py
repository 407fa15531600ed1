"""What a library of many prompts costs: the first push, a push of one change, a list, a version read.

    .venv/bin/python -m bench.library --prompts 5000

Each is timed inside one process that has its imports behind it; the prompts include a shared file, one in ten
has tests, and all are written into a folder first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from api.prompts.library import find
from api.prompts.listing import listed
from api.prompts.pushing import push
from api.services import connect
from api.settings import load

PROMPT = """---
name: {name}
displayName: Reply {number}
description: Answers a question of kind {number} from the passages, with citations.
metadata:
  category: {category}
  tags: [support, kind-{number}]
  language: en
  context_budget: 1500
model: {{apiType: chat, options: {{temperature: 0}}}}
inputs:
  - name: question
    kind: string
    description: What the user wants to know.
  - name: context
    kind: string
    description: The passages.
---
system:
You answer questions about subject {number}.
{{% include "_core/rules.md" %}}

user:
Passages:

{{{{ context }}}}

Question: {{{{ question }}}}
"""
TESTS = """tests:
  - vars: {question: hi, context: [We open at nine]}
    assert: [{type: contains, value: nine}]
"""


def write(folder: Path, count: int) -> None:
    (folder / "_core").mkdir(parents=True)
    (folder / "_core" / "rules.md").write_text("Use only the passages.\nCite each by its number.\n")
    for number in range(count):
        group = folder / f"team{number % 20}"
        group.mkdir(exist_ok=True)
        name = f"reply{number}"
        text = PROMPT.format(name=name, number=number, category=f"category {number % 12}")
        (group / f"{name}.prompty").write_text(text)
        if number % 10 == 0:
            (group / f"{name}.tests.yaml").write_text(TESTS)


def timed(what: str, act: Callable[[], object], *, repeat: int = 1) -> None:
    took, used = [], []
    for _ in range(repeat):
        begin, cpu = time.perf_counter(), time.process_time()
        act()
        took.append(time.perf_counter() - begin)
        used.append(time.process_time() - cpu)
    print(f"{what:<36} {min(took):8.3f} s, {min(used):8.3f} s of CPU (the quickest of {repeat})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=5000)
    count = parser.parse_args().prompts
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "prompts"
        write(folder, count)
        settings = load(start=Path(room), env={}, overrides={"prompts.author": "bench"})
        with connect(settings) as services:
            find(services, "answer")  # the imports of the first parse
            timed(f"first push of {count:,} prompts", lambda: push(services, folder, message="first"))
            timed("push of nothing new", lambda: push(services, folder), repeat=3)
            changes = iter(range(100))

            def change() -> None:
                file = folder / "team1" / "reply1.prompty"
                file.write_text(file.read_text() + f"Now {next(changes)}.\n")
                assert push(services, folder, message="one change").versions

            timed("push of one change", change, repeat=5)
            timed("list, with the folder", lambda: listed(services), repeat=3)
            (folder / "_core" / "rules.md").write_text("Use only the passages.\n")
            timed("push of a part that all include", lambda: push(services, folder))
            timed("one version read and parsed", lambda: find(services, "team1/reply1@1"), repeat=20)
        bare = load(start=Path(room), env={}, overrides={"prompts.dir": Path(room) / "none"})
        with connect(bare) as services:
            timed("list, the library alone", lambda: listed(services), repeat=3)
        size = sum(path.stat().st_size for path in (Path(room) / ".rag").iterdir())
        print(f"library.db: {size / 1e6:.1f} MB for {2 * count + 5:,} versions")


if __name__ == "__main__":
    main()
