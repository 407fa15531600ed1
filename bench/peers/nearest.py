"""What bench/vectors asks of every system, ours and the peers': build in one process, search in another.

    SCRIPT build ROWS.npy COUNT FOLDER OUT.json
    SCRIPT search ASKED.npy FOLDER OUT.npz

A search runs on one core, each question by itself, the index's folder having been read once by the page
cache. Memory is looked at after the first round of questions: all resident pages, and of them the
anonymous ones; the others are files that the system can drop.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Build: TypeAlias = Callable[[Any, Path], None]
"""From rows, shape (n, dim), mapped, to whatever lies in the folder."""
Search: TypeAlias = Callable[[Any, int], Any]
"""From one vector, shape (dim,), and k to the places of rows, best first."""

DEPTHS = (100, 10)
"""What the hybrid search asks of its vectors by default, and what a plain one does."""
WARM = 20


def main(build: Build, opened: Callable[[Path], Search]) -> None:
    if sys.argv[1] == "build":
        rows, count, folder, out = Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])
        began, cpu = time.perf_counter(), time.process_time()
        build(np.load(rows, mmap_mode="r")[:count], folder)
        found = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        found["disk"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        out.write_text(json.dumps(found))
        return
    asked, folder, out = np.load(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began = time.perf_counter()
    search = opened(folder)
    search(asked[0], DEPTHS[0])
    results: dict[str, Any] = {"open": time.perf_counter() - began}
    for k in DEPTHS:
        for vector in asked[:WARM]:
            search(vector, k)
        places = np.full((len(asked), k), -1, dtype=np.int64)
        took = np.empty(len(asked))
        cpu = time.process_time()
        for number, vector in enumerate(asked):
            began = time.perf_counter()
            found = search(vector, k)
            took[number] = time.perf_counter() - began
            places[number, : len(found)] = found
        results |= {f"places{k}": places, f"took{k}": took}
        results[f"cpu{k}"] = (time.process_time() - cpu) / len(asked)
        if k == DEPTHS[0]:
            results["rss"], results["anonymous"] = resident()
    with out.open("wb") as file:
        np.savez(file, **results)


def resident() -> tuple[int, int]:
    """Bytes of this process in memory, and how many of them are no file's."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    return sizes["Rss"], sizes["Anonymous"]
