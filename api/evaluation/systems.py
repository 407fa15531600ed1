"""Systems to evaluate: a name, and the settings in which it differs from those in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.rerankers import LATE
from api.settings import Settings, changed
from rag.errors import InvalidSetting

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "lexical": {"retrieval.mode": "lexical"},
    "vector": {"retrieval.mode": "vector"},
    "hybrid": {"retrieval.mode": "hybrid", "retrieval.reranker": ""},
    "reranked": {"retrieval.mode": "hybrid"},
    "as-set": {},
}
"""What can be asked for by name alone. ``reranked`` reads with the settings' reranker, or with late
interaction where they name none; ``as-set`` is what the settings say."""
DEFAULT = ("lexical", "vector", "hybrid")
INGEST = ("embedder.", "chunker.", "index.")
"""Settings that shape what is kept of the documents: a system with others needs a collection of its own."""
ASKING = ("retrieval.", "context.")


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """A system by its ``name``, and its ``changes`` to the settings in force, by key."""

    name: str
    changes: Mapping[str, Any]

    def over(self, settings: Settings) -> Settings:
        """The settings that it runs with. Raises InvalidSetting."""
        return changed(settings, self.changes)

    @property
    def own_collection(self) -> Mapping[str, Any]:
        """The changes that need documents to be taken in anew."""
        return {key: value for key, value in self.changes.items() if key.startswith(INGEST)}


def read_system(text: str, settings: Settings) -> SystemSettings:
    """A system as it is written: a preset's name, or ``NAME=key=value,key=value`` with settings by key.

    Raises InvalidSetting.

    >>> from api.settings import load
    >>> from pathlib import Path
    >>> settings = load(start=Path("/"), env={}, overrides={})
    >>> read_system("small=chunker.target_tokens=128,retrieval.mode=vector", settings)
    SystemSettings(name='small', changes={'chunker.target_tokens': 128, 'retrieval.mode': 'vector'})
    """
    name, sign, rest = text.partition("=")
    name = name.strip()
    if not sign:
        if name not in PRESETS:
            raise InvalidSetting(
                f"no system {name!r}; there are {', '.join(PRESETS)}, and NAME=key=value,… with settings by "
                "key, such as wide=retrieval.vector_pool=300"
            )
        changes = dict(PRESETS[name])
        if name == "reranked" and not settings.retrieval.reranker:
            changes["retrieval.reranker"] = LATE
        return SystemSettings(name, changes)
    changes = {}
    for pair in rest.split(","):
        key, sign, value = (part.strip() for part in pair.partition("="))
        if not (name and sign and key.startswith((*INGEST, *ASKING))):
            raise InvalidSetting(
                f"system {text!r}: write NAME=key=value,key=value with keys of [retrieval], [context], "
                "[chunker], [embedder] or [index], such as wide=retrieval.vector_pool=300"
            )
        try:
            changes[key] = json.loads(value)
        except ValueError:
            changes[key] = value
    made = SystemSettings(name, changes)
    made.over(settings)  # a wrong value is told before anything is taken in
    return made
