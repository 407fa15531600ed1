"""sentence-transformers models behind :class:`rag.protocols.Embedder`, with a fast path for BERT encoders.

    folder.py    where a model lies, what it says of itself, its fingerprint: no model is loaded
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
from rag.embed.folder import DEFAULT_MODEL, Precision, describe
from rag.embed.precision import Choice, Measured, choose_precision, rate

__all__ = [
    "DEFAULT_MODEL",
    "Choice",
    "Measured",
    "Precision",
    "SentenceTransformerEmbedder",
    "choose_precision",
    "describe",
    "rate",
]
