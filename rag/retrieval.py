"""How a question is turned into hits, as a value; :mod:`rag.retrieve` does it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from rag.errors import InvalidSetting

Mode: TypeAlias = Literal["hybrid", "vector", "lexical"]

MAX_K = 1000
"""More than anyone reads; a bound, so that no request makes the indexes sort everything."""


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How a question is turned into hits; part of an answer's receipt.

    ``vector_pool`` and ``lexical_pool`` are how many candidates each leg offers to the fusion;
    ``vector_weight`` is the share of the vector leg in it, from 0 to 1. The ``token_pool`` best are compared
    with the question token by token, where the collection keeps token vectors (0: none). ``neighbours`` is
    the share of a passage's evidence that is that of the passages beside it, from 0 to 1. ``links`` is of how
    many of the best documents the names are followed (0: none). ``rewrite`` and ``reranker`` name what the
    retriever was given for them. ``rerank_pool`` hits are read again by the reranker, if there is one, in at
    most ``rerank_seconds``. ``per_document`` is the most hits of one document (0: no limit), ``diversity``
    how much a hit loses for being like a better one (0: nothing, up to 1), and ``min_score`` the least score
    of a hit. Raises InvalidSetting.
    """

    mode: Mode = field(default="hybrid", kw_only=True)
    k: int = field(default=8, kw_only=True)
    vector_pool: int = field(default=100, kw_only=True)
    lexical_pool: int = field(default=100, kw_only=True)
    vector_weight: float = field(default=0.5, kw_only=True)
    token_pool: int = field(default=50, kw_only=True)
    neighbours: float = field(default=0.2, kw_only=True)
    links: int = field(default=2, kw_only=True)
    rewrite: str = field(default="none", kw_only=True)
    reranker: str = field(default="", kw_only=True)
    rerank_pool: int = field(default=15, kw_only=True)
    rerank_seconds: float = field(default=2.0, kw_only=True)
    per_document: int = field(default=0, kw_only=True)
    diversity: float = field(default=0.0, kw_only=True)
    min_score: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InvalidSetting(f"retrieval mode {self.mode!r}: choose one of {', '.join(get_args(Mode))}")
        bounds: Mapping[str, tuple[float, float]] = {
            **dict.fromkeys(("k", "vector_pool", "lexical_pool", "rerank_pool"), (1, MAX_K)),
            **dict.fromkeys(("vector_weight", "neighbours", "diversity"), (0, 1)),
            "links": (0, 10),
            "token_pool": (0, MAX_K),
            "per_document": (0, MAX_K),
            "rerank_seconds": (0, 600),
            "min_score": (-math.inf, math.inf),  # any but NaN
        }
        for name, (least, most) in bounds.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise InvalidSetting(f"retrieval {name} = {value}: choose {least} to {most}")
