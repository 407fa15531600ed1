"""One kind of index of ours, through the product's own seam, as bench/peers/nearest.py asks for it.

The environment's ``VECTORS_KIND`` names the kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.nearest import Search, main
from indexes.kinds import COARSE
from indexes.settings import DEFAULTS
from indexes.vector import VectorIndex
from rag.types import Keys, Vectors

COARSE_KIND = COARSE[os.environ["VECTORS_KIND"]]
BATCH = 4_096


def build(rows: Any, folder: Path) -> None:
    def batches() -> Iterator[tuple[Keys, Vectors]]:
        for start in range(0, len(rows), BATCH):
            batch = np.asarray(rows[start : start + BATCH])
            yield np.arange(start, start + len(batch)), batch

    count, dim = rows.shape
    VectorIndex.build(folder, batches(), count=count, dim=dim, coarse=COARSE_KIND, settings=DEFAULTS)


def opened(folder: Path) -> Search:
    index = VectorIndex.open(folder, coarse=COARSE_KIND, settings=DEFAULTS)
    return lambda vector, k: index.search(vector, k=k)[0]


if __name__ == "__main__":
    main(build, opened)
