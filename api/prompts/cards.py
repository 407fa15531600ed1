"""Every prompt there is as a card: what it says of itself, its words, and the pieces that are embedded of it.

What is computed is remembered by the prompt's content, so that a library of thousands is read anew only
where it changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from indexes.library.force import in_force, sources
from indexes.memo import Memo
from indexes.terms import text_terms
from rag.errors import RagError
from rag.prompts import PromptTemplate
from rag.prompts.anatomy import instructions_of
from rag.prompts.folder import SHIPPED, SUFFIX, part_reader, prompt_files, shipped_files
from rag.prompts.parts import plain
from rag.prompts.similar import windows
from rag.prompts.versions import Facts
from rag.types import text_digest
from rag.words import language_of

if TYPE_CHECKING:
    from api.services import Services
    from rag.embed import SentenceTransformerEmbedder

_RECIPE = "prompt card 1"
"""Changes with what a card is made of."""
_HEAD_WEIGHT = 3
"""How often the words of name, description, tags and category count for those of the instructions."""

Origin = Literal["file", "library", "shipped"]


@dataclass(frozen=True, slots=True)
class Card:
    """A prompt as it is looked for. ``reference`` names it; ``pieces`` are what is embedded of it, ``terms``
    its words as the lexical index writes them, in ``language``, ``text`` its own instructions."""

    name: str
    origin: Origin
    reference: str
    facts: Facts
    language: str
    pieces: tuple[str, ...] = field(repr=False)
    terms: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cards:
    """``used`` are the prompts that their plain names mean, by name, or the newest version of one that the
    library has in no ``production``; ``shipped`` all shipped ones, those too that a name of one's own hides.
    ``broken`` are files that cannot be read (name, why)."""

    used: tuple[Card, ...]
    shipped: tuple[Card, ...]
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A prompt before its card is made: ``digest`` names its content. The library's ``text`` is read when
    it is needed, and its facts are known; the others are text, and are parsed for their facts."""

    name: str
    origin: Origin
    reference: str
    digest: str
    text: str = ""
    facts: Facts | None = None

    key: str = field(init=False)
    """What its card is remembered by."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", text_digest(f"{self.name}\0{self.digest}"))


def cards(services: Services, embedder: SentenceTransformerEmbedder) -> Cards:
    """Those of the settings' folder, of the library and of the shipped prompts."""
    shipped = {name: _read(name, "shipped", file.read_text("utf-8")) for name, file in shipped_files()}
    own = {one.name: one for one in _of_library(services)}
    folder = {one.name: one for one in _files(services.settings.prompts.dir)}
    used = {**shipped, **own, **folder}
    hidden = [one for name, one in shipped.items() if used[name] is not one]
    recipe = f"{_RECIPE} {embedder.info.fingerprint}"
    wanted = [*used.values(), *hidden]
    memo = Memo(services.settings.data)
    notes = {key: json.loads(note) for key, note in memo.notes(recipe, [one.key for one in wanted]).items()}
    missing = [one for one in wanted if one.key not in notes]
    texts = _texts(services, missing)
    new: dict[str, dict[str, Any]] = {}
    broken: list[tuple[str, str]] = []
    for one in missing:
        try:
            new[one.key] = _about(one, texts.get(one.name, one.text), embedder, services)
        except RagError as error:  # not remembered: it may be mended by another file
            broken.append((one.name, str(error)))
    if new:
        memo.note(recipe, {key: json.dumps(about) for key, about in new.items()})
        notes |= new
    parts = {path for one in used.values() if one.key in notes for path in notes[one.key]["variants"]}
    told = [name for name in used if f"{name}{SUFFIX}" not in parts and used[name].key in notes]
    return Cards(
        used=tuple(_card(used[name], notes[used[name].key]) for name in sorted(told)),
        shipped=tuple(_card(one, notes[one.key]) for one in shipped.values()),
        broken=tuple((name, why) for name, why in broken if f"{name}{SUFFIX}" not in parts),
    )


def _card(one: _Source, about: Mapping[str, Any]) -> Card:
    facts = one.facts or Facts.from_json(about["facts"])
    pieces = tuple(about["pieces"])
    return Card(
        one.name, one.origin, one.reference, facts, about["language"], pieces, about["terms"], about["text"]
    )


def _about(
    one: _Source, text: str, embedder: SentenceTransformerEmbedder, services: Services
) -> dict[str, Any]:
    """What is remembered of a prompt. Raises RagError for a file that cannot be read."""
    facts, variants = one.facts, tuple[str, ...]()
    if facts is None:
        home = services.settings.prompts.dir if one.origin == "file" else SHIPPED
        template = PromptTemplate.parse(text, name=one.name, read=part_reader(home))
        facts, variants = Facts.of(template), tuple(template.variants.values())
    own = re.sub(r"[ \t]+", " ", instructions_of(text)).strip()
    named = re.sub(r"[\W_]+", " ", one.name)
    said = [named, facts.description.rstrip("."), " ".join(facts.tags), facts.category]
    head = ". ".join(part for part in said if part)
    language = facts.language or language_of(own)
    room = embedder.info.max_tokens - embedder.prefix_tokens - 2
    return {
        "facts": facts.as_json(),
        "variants": variants,
        "language": language,
        "pieces": windows(f"{head}\n{own}", embedder.tokenizer, room=room),
        "terms": " ".join([text_terms(head, language)] * _HEAD_WEIGHT + [text_terms(own, language)]),
        "text": own,
    }


def _texts(services: Services, some: Sequence[_Source]) -> dict[str, str]:
    """The file's text of each that is the library's, by name."""
    kept = {one.name for one in some if one.origin == "library"}
    if not kept:
        return {}
    library = services.library()
    return sources(library, [one for one in in_force(library) if one.name in kept])


def _of_library(services: Services) -> Iterator[_Source]:
    if services.has_library:
        for one in in_force(services.library()):
            reference = one.name if one.production else f"{one.name}@{one.number}"
            yield _Source(one.name, "library", reference, one.digest, facts=one.facts)


def _files(folder: Path) -> Iterator[_Source]:
    for name, path in prompt_files(folder):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""  # which, read as a prompt, has no message
        yield _read(name, "file", text)


def _read(name: str, origin: Origin, text: str) -> _Source:
    text = plain(text)
    return _Source(name, origin, name, text_digest(text), text)
