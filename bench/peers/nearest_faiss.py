"""FAISS's IndexHNSWFlat with M 32, its other settings by default: efConstruction 40, efSearch 16 (or k)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from nearest import Search, main


def build(rows: Any, folder: Path) -> None:
    index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(np.ascontiguousarray(rows))
    faiss.write_index(index, str(folder / "hnsw.faiss"))


def opened(folder: Path) -> Search:
    index = faiss.read_index(str(folder / "hnsw.faiss"))
    return lambda vector, k: index.search(vector[np.newaxis], k)[1][0]


if __name__ == "__main__":
    main(build, opened)
