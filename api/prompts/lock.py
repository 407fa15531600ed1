"""The lock of prompts: made of what is there now, and compared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from api.prompts.library import Found, find
from indexes.contents import contents
from ingest.names import uri_of
from rag import prompts
from rag.errors import NotFound, PromptError, UnknownCollection
from rag.prompts.examples import ExampleSettings
from rag.prompts.lock import Change, Lock, LockedCollection, LockedPrompt, Value, changes
from rag.prompts.parts import plain
from rag.prompts.versions import PRODUCTION
from rag.sketch import Sketch
from rag.types import text_digest

if TYPE_CHECKING:
    from api.services import Services

FILE = "rag.lock"
_REWRITING = {"queries": "rewrite", "hyde": "hyde"}
"""The prompt that a way of rewriting questions uses."""


@dataclass(frozen=True, slots=True)
class Made:
    """A lock of what is there. ``documents`` are each collection's, by id; ``missing`` says what could not be
    looked at, and why."""

    lock: Lock
    documents: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def every_name(services: Services) -> list[str]:
    """The prompts that are locked where none is named: the folder's, the library's that are in production,
    and the one that ``rag ask`` takes."""
    named = set(prompts.own_names(services.settings.prompts.dir))
    if services.has_library:
        named |= {entry.name for entry in services.library().entries() if PRODUCTION in entry.labels}
    return sorted(named | {services.settings.prompts.default})


def there(services: Services, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of these references, those that lead to a prompt, and those that no longer do."""
    found: list[str] = []
    gone: list[str] = []
    for name in names:
        try:
            find(services, name)
        except NotFound:
            gone.append(name)
        else:
            found.append(name)
    return found, gone


def make(
    services: Services, names: Iterable[str], *, base: Path, collections: bool = True, strict: bool = True
) -> Made:
    """The lock of these prompts (references). Files of collections are named from ``base``, the folder of the
    lock, so that it is the same wherever the project lies; without ``collections`` those are not looked at.

    ``strict`` raises for what is not there: UnknownPrompt, InvalidTemplate, UnknownCollection; else it is
    among ``missing``.
    """
    settings = services.settings
    made = Made(Lock({}, {}, {}))
    locked: dict[str, LockedPrompt] = {}
    wanted: set[str] = set()
    asked = list(dict.fromkeys(names))
    if (way := settings.retrieval.rewrite) in _REWRITING:
        asked.append(_REWRITING[way])
    for name in asked:
        try:
            found = find(services, name)
            locked[name] = one = _prompt(services, found)
        except (PromptError, NotFound) as error:
            if strict:
                raise
            made.missing[f"prompt {name}"] = str(error)
            continue
        about = ExampleSettings.of(found.template)
        wanted |= {*one.collections, *([about.collection] if about and about.collection else [])}
    held: dict[str, LockedCollection] = {}
    for name in sorted(wanted) if collections else ():
        try:
            held[name], made.documents[name] = _collection(services, name, base)
        except NotFound as error:
            if strict:
                raise UnknownCollection(
                    f"{error}. A prompt is answered from {name!r}: without it there is nothing to lock; "
                    "--without-collections locks the prompts alone"
                ) from None
            made.missing[f"collection {name}"] = str(error)
    lock = Lock(_settings(services), held, locked)
    return Made(lock, made.documents, made.missing)


def verify(services: Services, was: Lock, *, base: Path, collections: bool = True) -> list[Change]:
    """What differs from a lock now. Raises nothing for what is gone: that is a difference."""
    now = make(services, was.prompts, base=base, collections=collections, strict=False)
    return changes(was, now.lock, documents=now.documents, missing=now.missing)


def _prompt(services: Services, found: Found) -> LockedPrompt:
    template = found.template
    answered_from = template.collections or (services.settings.collection,)
    examples = ExampleSettings.of(template)
    chosen = ""
    if examples is not None:
        chosen = f"collection {examples.collection}"
        if examples.file:
            chosen = f"{examples.file} by {services.settings.embedder.model}"
    return LockedPrompt(
        source=text_digest(template.source),
        parts={path: text_digest(text) for path, text in template.parts.items()},
        tests=text_digest(plain(found.tests)) if found.tests else "",
        collections=tuple(answered_from) if "context" in template.names else (),
        examples=chosen,
        digest=template.digest,
        origin=found.origin,
        version=found.version.number if found.version else 0,
    )


def _collection(services: Services, name: str, base: Path) -> tuple[LockedCollection, list[str]]:
    catalogue = services.catalogue()
    info = services.collection_info(name)
    here = f"{uri_of(base.absolute()).rstrip('/')}/"
    held = [(id.removeprefix(here), digest) for id, digest in contents(catalogue, name)]
    hasher = hashlib.sha256()
    for id, digest in sorted(held):
        hasher.update(f"{id}\0".encode("utf-8", "surrogatepass") + digest)
    space = info.space
    locked = LockedCollection(
        content=hasher.hexdigest(),
        chunker=space.chunker if space else "",
        embedder=f"{space.embedder.name} {space.embedder.fingerprint}" if space else "",
        documents=len(held),
        generation=info.generation.folder if info.generation else "",
        sketch=Sketch.of(held),
    )
    return locked, [id for id, _ in held]


def _settings(services: Services) -> dict[str, dict[str, Value]]:
    """Those that shape an answer; what only says where something runs, or how long it may take, does not."""
    settings = services.settings
    retrieval = asdict(settings.retrieval.retrieval_settings())
    llm = settings.llm
    return {
        "retrieval": {key: value for key, value in retrieval.items() if key != "rerank_seconds"},
        "context": {"max_tokens": settings.context.max_tokens},
        "answer": {"answered": settings.answer.answered, "ask_anyway": settings.answer.ask_anyway},
        "llm": {
            "model": llm.model or "extractive",
            "temperature": llm.temperature,
            "max_tokens": llm.max_tokens,
        },
    }


def read(file: Path) -> Lock:
    """The lock in a file. Raises NotFound, PromptError."""
    try:
        return Lock.parse(file.read_text("utf-8"), name=file.name)
    except FileNotFoundError:
        raise NotFound(f"there is no {file}: `rag prompts lock` writes it") from None
    except UnicodeDecodeError as error:
        raise PromptError(f"{file} is no text: {error}") from None
