"""Which kinds of vector index there are, and which one a collection gets.

=================  =====  ==============================================================================
``flat``           exact  every row as it is, from a mapped file: nothing to build, slow when large
``sq8``            exact  every row by one byte a number, then those that could rank as they are
``hnsw``           close  a graph of neighbours over one byte a number: slow to build, large in memory
``rabitq``         close  one bit a number in lists around centres, the rows on disk: small and fast
``chroma``         close  a graph of neighbours that Chroma keeps in the generation's folder
``chroma-server``  close  the same as a collection of a Chroma server
=================  =====  ==============================================================================

All give the same score to the same row. A close one may miss a row that would rank: its recall is
measured when it is built, and by ``rag index audit``.
"""

from __future__ import annotations

from indexes.chroma import Chroma
from indexes.chroma_server import ChromaServer
from indexes.faiss import Flat, Hnsw, RaBitQ, Sq8
from indexes.settings import IndexSettings
from indexes.vector import Coarse
from rag.errors import InvalidSetting

COARSE: dict[str, type[Coarse]] = {
    each.kind: each for each in (Flat, Sq8, Hnsw, RaBitQ, Chroma, ChromaServer)
}

SCANNED_A_MS = 10_000_000
"""Numbers that ``sq8`` scans in a millisecond of one core (``python -m bench.vectors``)."""


def checked(settings: IndexSettings) -> IndexSettings:
    """The settings, if there is a kind for them. Raises InvalidSetting."""
    kinds = ["auto", *COARSE]
    if settings.kind not in kinds:
        raise InvalidSetting(
            f"unknown kind of vector index {settings.kind!r}: choose one of {', '.join(kinds)}"
        )
    return settings


def choose(settings: IndexSettings, *, count: int, dim: int) -> tuple[str, str]:
    """The kind for so many rows, and why.

    >>> kind, why = choose(IndexSettings(), count=20_000, dim=384)
    >>> print(f"{kind}, {why}")
    sq8, exact: looking at all 20,000 chunks takes about 0.8 ms, and [index] latency_ms allows 5
    >>> choose(IndexSettings(), count=1_000_000, dim=384)[0]
    'rabitq'
    """
    if settings.kind in (Chroma.kind, ChromaServer.kind):
        return settings.kind, '[index] backend = "chroma" asks for it'
    if settings.kind != "auto":
        return settings.kind, f'[index] kind = "{settings.kind}" asks for it'
    takes = count * dim / SCANNED_A_MS
    looking = f"looking at all {count:,} chunks"
    limit = f"and [index] latency_ms allows {settings.latency_ms:g}"
    if takes <= settings.latency_ms:
        return "sq8", f"exact: {looking} takes about {takes:.1f} ms, {limit}"
    return "rabitq", f"close, by one bit a number: {looking} would take about {takes:.0f} ms, {limit}"
