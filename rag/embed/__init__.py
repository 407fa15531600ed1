"""Embedding models behind :class:`rag.protocols.Embedder`, with a fast path for BERT encoders.

    locate.py    the bundled models; a name to the place where the model lies
    model.py     what is known of a model before it is loaded, and its fingerprint
    folder.py    a model kept as a sentence-transformers folder
    q4.py        a model kept as one file of 4-bit weights
    tokens.py    the model's tokenizer: exact offsets, truncated ids
    graph.py     a BERT encoder written as an ONNX graph, float32 or int8
    engines.py   what runs a batch: ONNX Runtime (no torch in the process), or sentence-transformers
    queue.py     the one queue of batches; questions go ahead of documents
    embedder.py  SentenceTransformerEmbedder
    precision.py which arithmetic suits this machine, measured

>>> describe("all-MiniLM-L6-v2").dim
384
"""

from __future__ import annotations

from rag.embed.embedder import SentenceTransformerEmbedder
from rag.embed.locate import BUNDLED, DEFAULT_MODEL, describe
from rag.embed.model import Precision
from rag.embed.precision import Choice, Measured, choose_precision, rate

__all__ = [
    "BUNDLED",
    "DEFAULT_MODEL",
    "Choice",
    "Measured",
    "Precision",
    "SentenceTransformerEmbedder",
    "choose_precision",
    "describe",
    "rate",
]
