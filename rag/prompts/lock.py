"""What prompts are made of, in a file to keep beside them, and how two such files differ.

The file is TOML, sorted, the same on every machine: what has not changed makes no difference in git. What
decides is content. Numbers of versions, names of generations and counts stand there to be read: an index that
is built anew over the same documents is the same knowledge.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rag.errors import PromptError
from rag.sketch import Sketch, name_hash

FORMAT = 1
NAMED = 5
"""Documents that a difference names; more are counted."""

Value: TypeAlias = str | int | float | bool | list[str]
_HEAD = """\
# What the prompts are made of: written by `rag prompts lock`, to be kept in version control.
# `rag prompts verify` says what differs from it and fails; `rag prompts lock` writes it anew.
"""
_HEX = re.compile(r"[0-9a-f]{32,}")


@dataclass(frozen=True, slots=True)
class LockedPrompt:
    """``source`` is the SHA-256 of the prompt's file, ``parts`` those of the files it is put together from,
    ``tests`` that of its tests, "" without. ``examples`` is the collection that its examples are chosen
    from, or the embedder that chooses them from a file. ``collections`` are those that its context comes
    from. For reading: ``digest``, as receipts have it, ``origin`` and the library's ``version``."""

    source: str
    parts: Mapping[str, str]
    tests: str
    collections: tuple[str, ...]
    examples: str
    digest: str
    origin: str
    version: int


@dataclass(frozen=True, slots=True)
class LockedCollection:
    """``content`` is the SHA-256 of its documents' ids and contents, ``sketch`` what tells which of them
    differ. For reading: ``documents``, how many there are, and the ``generation`` that answered."""

    content: str
    chunker: str
    embedder: str
    documents: int
    generation: str
    sketch: Sketch = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Lock:
    """``settings`` are those that shape an answer, by section and name."""

    settings: Mapping[str, Mapping[str, Value]]
    collections: Mapping[str, LockedCollection]
    prompts: Mapping[str, LockedPrompt]

    def text(self) -> str:
        """The file.

        >>> print(Lock({"retrieval": {"k": 8}}, {}, {}).text().split("\\n\\n", 1)[1], end="")
        format = 1
        <BLANKLINE>
        [retrieval]
        k = 8
        """
        tables: list[tuple[Sequence[str], Mapping[str, Any]]] = [
            ((name,), section) for name, section in sorted(self.settings.items())
        ]
        for name, kept in sorted(self.collections.items()):
            about = {key: getattr(kept, key) for key in ("chunker", "content", "documents", "embedder")}
            about |= {"generation": kept.generation, "sketch": kept.sketch.lines()}
            tables.append((("collections", name), about))
        for name, prompt in sorted(self.prompts.items()):
            about = {key: getattr(prompt, key) for key in ("digest", "origin", "source")}
            about |= {"collections": list(prompt.collections)}
            about |= {key: value for key in ("examples", "tests") if (value := getattr(prompt, key))}
            about |= {"version": prompt.version} if prompt.version else {}
            tables.append((("prompts", name), about))
            if prompt.parts:
                tables.append((("prompts", name, "parts"), prompt.parts))
        written = [_HEAD, f"format = {FORMAT}\n"]
        for path, table in tables:
            rows = [f"{_key(key)} = {_value(value)}" for key, value in sorted(table.items())]
            written.append("\n".join([f"[{'.'.join(map(_key, path))}]", *rows]) + "\n")
        return "\n".join(written)

    @staticmethod
    def parse(text: str, *, name: str) -> Lock:
        """What :meth:`text` wrote. Raises PromptError for what is none, or is of a newer promptwell."""
        try:
            found = tomllib.loads(text)
            if found.pop("format") != FORMAT:
                raise PromptError(f"{name}: its format is not {FORMAT}: take the promptwell that wrote it")
            collections = {each: _collection(about) for each, about in found.pop("collections", {}).items()}
            prompts = {each: _prompt(about) for each, about in found.pop("prompts", {}).items()}
            settings = {section: dict(values) for section, values in found.items()}
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise PromptError(
                f"{name} is not as `rag prompts lock` writes it ({told}): write it anew with that command"
            ) from None
        return Lock(settings, collections, prompts)


def _collection(about: Mapping[str, Any]) -> LockedCollection:
    sketch = Sketch.from_lines(about["sketch"])
    return LockedCollection(**{**about, "sketch": sketch})


def _prompt(about: Mapping[str, Any]) -> LockedPrompt:
    given = {"tests": "", "examples": "", "parts": {}, "version": 0, **about}
    return LockedPrompt(**{**given, "collections": tuple(about["collections"])})


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Value) -> str:
    """JSON's numbers, booleans, lists and strings are TOML's too, but for one control character."""
    if isinstance(value, list) and len(value) > 4:
        return "\n".join(["[", *(f"  {_value(each)}," for each in value), "]"])
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: a line for people. What only informs does not decide."""

    about: str
    text: str
    decides: bool = True

    def __str__(self) -> str:
        return f"{self.about}: {self.text}" if self.about else self.text


def changes(
    was: Lock,
    now: Lock,
    *,
    documents: Mapping[str, Sequence[str]],
    missing: Mapping[str, str],
) -> list[Change]:
    """What differs between what was locked and what is: settings, collections, prompts.

    ``documents`` are, by collection, the ids of those that are there now. ``missing`` says why ``now`` has
    not a prompt or a collection, by "prompt NAME" and "collection NAME"; one that neither has is left out.
    """
    found = list(_settings(was.settings, now.settings))
    for name, collection in sorted(was.collections.items()):
        about = f"collection {name}"
        if name in now.collections:
            told = _knowledge(collection, now.collections[name], documents.get(name, ()))
            found += [Change(about, text, decides) for text, decides in told]
        elif about in missing:
            found.append(Change(about, f"cannot be looked at: {missing[about]}"))
    for name, prompt in sorted(was.prompts.items()):
        about = f"prompt {name}"
        if name in now.prompts:
            told = _made_of(prompt, now.prompts[name])
            found += [Change(about, text, decides) for text, decides in told]
        elif about in missing:
            found.append(Change(about, f"cannot be read: {missing[about]}"))
    return found


Told: TypeAlias = Iterator[tuple[str, bool]]


def _settings(
    was: Mapping[str, Mapping[str, Value]], now: Mapping[str, Mapping[str, Value]]
) -> Iterator[Change]:
    for section in sorted({*was, *now}):
        a, b = was.get(section, {}), now.get(section, {})
        for key in sorted({*a, *b}):
            if a.get(key) != b.get(key):
                yield Change("", f"{section}.{key} {_was(a.get(key), b.get(key))}")


def _knowledge(was: LockedCollection, now: LockedCollection, documents: Sequence[str]) -> Told:
    if was.content != now.content:
        yield _documents(was, now, documents), True
    for key in ("embedder", "chunker"):
        if getattr(was, key) != getattr(now, key):
            yield f"{key} {_was(getattr(was, key), getattr(now, key))}", True
    if was.generation != now.generation:
        yield f"generation {_was(was.generation, now.generation)}", False


def _documents(was: LockedCollection, now: LockedCollection, documents: Sequence[str]) -> str:
    found = now.sketch.since(was.sketch)
    counts = f"{was.documents:,} documents" if was.documents == now.documents else ""
    counts = counts or f"{was.documents:,} documents, now {now.documents:,}"
    if found is None:
        return f"very many documents changed, or were added or removed ({counts})"
    parts = []
    for what, hashes in (("changed", found.changed), ("added", found.added)):
        if hashes:
            names = sorted(document for document in documents if name_hash(document) in hashes)
            more = ", …" if len(names) > NAMED else ""
            parts.append(f"{_count(len(hashes))} {what} ({', '.join(names[:NAMED])}{more})")
    if found.removed:
        parts.append(f"{_count(len(found.removed))} removed")
    return ", ".join(parts)


def _made_of(was: LockedPrompt, now: LockedPrompt) -> Told:
    version = f" (version {was.version}, now {now.version})" if was.version != now.version else ""
    if was.source != now.source:
        yield f"its file changed{version}", True
    elif version:
        yield f"version {_was(was.version, now.version)}, with the same file", False
    for path in sorted({*was.parts, *now.parts}):
        if was.parts.get(path) != now.parts.get(path):
            told = "is new" if path not in was.parts else "is no longer used" if path not in now.parts else ""
            yield f"{path} {told or 'changed'}", True
    if was.tests != now.tests:
        told = "its tests changed" if was.tests else "it has tests now"
        yield (told if now.tests else "it has no tests any more"), True
    if was.collections != now.collections:
        yield f"collections {_was(', '.join(was.collections), ', '.join(now.collections))}", True
    if was.examples != now.examples:
        yield f"examples chosen from or by {_was(was.examples, now.examples)}", True
    if was.origin != now.origin:
        yield f"it comes from the {now.origin}, came from the {was.origin}", False


def _count(number: int) -> str:
    return f"{number} document{'' if number == 1 else 's'}"


def _was(was: Value | None, now: Value | None) -> str:
    return f"was {_shown(was)}, is {_shown(now)}"


def _shown(value: Value | None) -> str:
    """A value as people read it: a long digest by its beginning."""
    if value is None or value == "":
        return "nothing"
    return _HEX.sub(lambda match: match[0][:12], value if isinstance(value, str) else json.dumps(value))
