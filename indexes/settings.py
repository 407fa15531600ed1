"""What the indexes are told: which kind, how hard it looks, where a server is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["auto", "flat", "sq8", "hnsw", "rabitq", "chroma", "chroma-server"]


@dataclass(frozen=True, slots=True)
class ChromaSettings:
    """The Chroma server that the kind ``chroma-server`` keeps its collections on.

    ``timeout_s`` is how long a search waits for it before it looks at every row instead. The server of
    ``chroma run`` asks for no ``token``; what stands before one may, and Chroma Cloud does.
    """

    url: str = ""
    tenant: str = "default_tenant"
    database: str = "default_database"
    timeout_s: float = 5.0
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Which vector index a collection gets; the defaults suit any size.

    ``kind``: see :mod:`indexes.kinds`; ``auto`` takes an exact one while a search by it takes about
    ``latency_ms`` (milliseconds of one core) at most. ``effort`` is how hard a close kind looks: 2 looks at
    twice as many rows as 1.
    """

    kind: Kind = "auto"
    latency_ms: float = 5.0
    effort: float = 1.0
    chroma: ChromaSettings = ChromaSettings()


DEFAULTS = IndexSettings()
