"""Chroma, embedded: a persistent client, one collection with cosine, its other settings by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from nearest import Search, main

BATCH = 5_000
"""Rows added at a time: Chroma takes 5,461 at most."""


def build(rows: Any, folder: Path) -> None:
    collection = chromadb.PersistentClient(folder).create_collection(
        "rows", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    for start in range(0, len(rows), BATCH):
        batch = np.asarray(rows[start : start + BATCH])
        collection.add(ids=[str(start + at) for at in range(len(batch))], embeddings=batch)


def opened(folder: Path) -> Search:
    collection = chromadb.PersistentClient(folder).get_collection("rows", embedding_function=None)

    def search(vector: Any, k: int) -> list[int]:
        found = collection.query(query_embeddings=[vector], n_results=k, include=["distances"])
        return [int(id) for id in found["ids"][0]]

    return search


if __name__ == "__main__":
    main(build, opened)
