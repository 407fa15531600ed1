"""LanceDB: IVF_PQ by default, cosine.

With LANCEDB_REFINE=n in the environment, ``refine_factor(n)``, as its documentation advises for recall.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfPq
from nearest import Search, main

REFINE = int(os.environ.get("LANCEDB_REFINE", "0"))


def build(rows: Any, folder: Path) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(rows).ravel()), rows.shape[1])
    table = pa.table({"id": pa.array(np.arange(len(rows))), "vector": vectors})
    lancedb.connect(folder).create_table("rows", table).create_index(
        "vector", config=IvfPq(distance_type="cosine")
    )


def opened(folder: Path) -> Search:
    table = lancedb.connect(folder).open_table("rows")

    def search(vector: Any, k: int) -> Any:
        query = table.search(vector).distance_type("cosine").select(["id", "_distance"]).limit(k)
        if REFINE:
            query = query.refine_factor(REFINE)
        return query.to_arrow()["id"].to_numpy()

    return search


if __name__ == "__main__":
    main(build, opened)
