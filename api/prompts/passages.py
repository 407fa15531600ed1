"""The passages of a trace, looked up now: is the text that was shown still there?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rag.errors import UnknownCollection, UnknownDocument
from rag.types import text_hash

if TYPE_CHECKING:
    from indexes.catalogue import Catalogue
    from rag.trace import Trace

State: TypeAlias = Literal["same", "moved", "changed", "gone"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A chunk that an answer was made from, ``passage`` the number it is cited by, and what became of it.

    *same*: the text stands where it stood; *moved*: elsewhere in its document; *changed*: no longer in it;
    *gone*: the document is not there. ``start`` and ``end`` are where it stands now, or stood; ``text`` is ""
    for what is not there.
    """

    collection: str
    document_id: str
    start: int
    end: int
    sha256: str
    score: float
    passage: int
    state: State
    text: str = ""
    title: str = ""


def shown(catalogue: Catalogue, trace: Trace) -> list[Shown]:
    """The chunks that the answer was made from, in the order of the context."""
    return [shown_chunk(catalogue, chunk) for chunk in trace.chunks]


def shown_chunk(catalogue: Catalogue, chunk: Mapping[str, Any]) -> Shown:
    """One chunk of a receipt, looked up now."""
    names = ("collection", "document_id", "start", "end", "sha256", "score", "passage")
    about: dict[str, Any] = {name: chunk[name] for name in names}
    collection, document_id, sha256 = chunk["collection"], chunk["document_id"], chunk["sha256"]
    try:
        document = catalogue.document(collection, document_id)
    except (UnknownDocument, UnknownCollection):
        return Shown(**about, state="gone")
    text = document.text[chunk["start"] : chunk["end"]]
    if text_hash(text).hex() == sha256:
        return Shown(**about, state="same", text=text, title=document.title)
    for now in catalogue.chunks(collection, document_id):
        if text_hash(now.text).hex() == sha256:
            about |= {"start": now.start, "end": now.end}
            return Shown(**about, state="moved", text=now.text, title=document.title)
    return Shown(**about, state="changed", title=document.title)
