"""usearch by default: HNSW over bfloat16, connectivity 16, expansion 128 and 64; read into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nearest import Search, main
from usearch.index import Index


def build(rows: Any, folder: Path) -> None:
    index = Index(ndim=rows.shape[1])
    index.add(np.arange(len(rows)), np.ascontiguousarray(rows))
    index.save(str(folder / "index.usearch"))


def opened(folder: Path) -> Search:
    index = Index.restore(str(folder / "index.usearch"))
    return lambda vector, k: index.search(vector, k).keys


if __name__ == "__main__":
    main(build, opened)
