"""From a question to ranked passages: the stages of a search, one file each.

    retriever.py  Retriever: the stages in their order, and the Trail that they leave
    rewrite.py    a language model writes other wordings, where one is configured
    fuse.py       two measures of evidence, made comparable, become one
    links.py      documents that the best passages name
    rerank.py     a model reads the best once more; late.py: one that the embedder itself is
    choose.py     at most so many of a document, unlike each other, above a threshold
    explain.py    why a hit stands where it stands, and why a passage is not among the hits

>>> RetrievalSettings(k=3).mode
'hybrid'
"""

from __future__ import annotations

from rag.retrieval import MAX_K, Mode, RetrievalSettings
from rag.retrieve.retriever import MAX_QUESTION, Retriever, Trail, checked_question

__all__ = [
    "MAX_K",
    "MAX_QUESTION",
    "Mode",
    "RetrievalSettings",
    "Retriever",
    "Trail",
    "checked_question",
]
