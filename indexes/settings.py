"""What the indexes are told: which kind, how hard it looks, where a server is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["auto", "faiss", "chroma"]
Kind = Literal["auto", "flat", "sq8", "hnsw", "rabitq"]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Which vector index a collection gets; the defaults suit any size.

    ``kind`` is one of FAISS; ``auto`` takes the exact one while a search by it takes about ``latency_ms``
    (milliseconds of one core) at most. ``effort`` is how hard a close kind looks: 2 looks at twice as many
    rows as 1.
    """

    backend: Backend = "auto"
    kind: Kind = "auto"
    latency_ms: float = 5.0
    effort: float = 1.0


DEFAULTS = IndexSettings()
