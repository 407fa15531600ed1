"""Why a search does not give a passage: the search, the document and the context, asked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.errors import UnknownDocument
from rag.filters import EVERYTHING, Where, of, passes
from rag.retrieve.why_not import WhyNot, why_not

if TYPE_CHECKING:
    from api.services import Services

SPECIAL = 2
"""Tokens that a model puts around a text."""


def why_not_found(
    services: Services,
    question: str,
    name: str,
    *,
    text: str = "",
    k: int | None = None,
    where: Where = EVERYTHING,
    mode: str | None = None,
    reranker: str | None = None,
) -> WhyNot:
    """The stage that lost the document ``name`` (an id, or the end of one), or the passage ``text`` of it, on
    its way into the context of an answer.

    The collection is the settings'; without ``k`` as many hits are looked at as an answer takes. Raises
    UnknownDocument for a name that neither a document nor a file that failed has, and as
    :meth:`api.services.Services.context`.
    """
    trail, context = services.context(question, k=k, where=where, mode=mode, reranker=reranker)
    try:
        document, chunks = services.document(name)
    except UnknownDocument:
        failed = [item for item in services.failed_items() if item.uri.endswith(name)]
        if not failed:
            raise
        detail = f"{failed[0].uri} could not be read ({failed[0].reason}): {failed[0].detail}"
        return WhyNot("not-parsed", detail, "mend the file, then rag ingest it again")
    searched = services.catalogue().collection(services.settings.collection)
    embedder = services.answering_embedder()
    limit = embedder.info.max_tokens - embedder.prefix_tokens - SPECIAL

    def reads(embedded: str) -> int:
        spans = embedder.tokenizer.offsets(embedded)
        return len(embedded) if len(spans) <= limit else int(spans[limit - 1][1])

    return why_not(
        trail,
        searched,
        document,
        chunks,
        text=text,
        passes=passes(of(where), document.metadata),
        reads=reads,
        context=context,
    )
