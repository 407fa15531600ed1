"""What a prompt says of itself: the keys under ``metadata`` that are ours, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class About:
    """The metadata of a prompt, as written, and our keys of it by name.

    >>> about = About({"tags": ["support"], "collection": "handbook"})
    >>> about.tags, about.collections, about.context_budget
    (('support',), ('handbook',), None)
    """

    metadata: Mapping[str, Any]

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.metadata.get("tags", ()))

    @property
    def category(self) -> str:
        """ "" where the file does not say."""
        return str(self.metadata.get("category", ""))

    @property
    def language(self) -> str:
        """ISO 639-1, "" where the file does not say."""
        return str(self.metadata.get("language", ""))

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that its context comes from, none where the file does not say."""
        return _listed(self.metadata.get("collection", ()))

    @property
    def retrieval(self) -> Mapping[str, Any]:
        """The fields of :class:`rag.retrieval.RetrievalSettings` that the prompt sets."""
        return cast("Mapping[str, Any]", self.metadata.get("retrieval", _EMPTY))

    @property
    def context_budget(self) -> int | None:
        """Tokens of context that the prompt asks for, None where it does not say."""
        return cast("int | None", self.metadata.get("context_budget"))

    @property
    def examples(self) -> Mapping[str, Any]:
        """Which set its examples come from (``collection`` or ``file``), and how they are chosen: ``k``,
        ``budget`` in tokens, ``diversity`` from 0 to 1. Empty without."""
        return cast("Mapping[str, Any]", self.metadata.get("examples", _EMPTY))

    @property
    def judged(self) -> str:
        """The judged set that it is measured on, "" where the file does not say."""
        return str(self.metadata.get("judged", ""))

    @property
    def not_found(self) -> tuple[str, ...]:
        """The sentences by which the prompt has the model say that the passages hold no answer."""
        return _listed(self.metadata.get("not_found", ()))


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
