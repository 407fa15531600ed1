"""Versions of a prompt, as the library keeps them: values that never change, and how one is named.

A reference is ``NAME`` (what is in force), ``NAME@3`` (a version), ``NAME@production`` (a label; ``latest``
is always the highest version) or a path that ends in ``.prompty``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rag.errors import InvalidTemplate, PromptError
from rag.prompts.folder import SUFFIX
from rag.prompts.template import PromptTemplate

PRODUCTION, LATEST = "production", "latest"
LONGEST = 200
"""Characters of a prompt's name."""
_NAME = re.compile(r"[^\W_][\w.+-]*(?:/[^\W_][\w.+-]*)*")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a text names: a file, or a prompt's name with a version's number, a label, or neither."""

    name: str = ""
    number: int | None = None
    label: str = ""
    path: Path | None = None


def reference(text: str) -> Reference:
    """What ``text`` names. Raises PromptError for what cannot be a name, a version or a label.

    >>> reference("support/answer@3").number, reference("answer@production").label
    (3, 'production')
    >>> reference("drafts/answer.prompty").path.as_posix()
    'drafts/answer.prompty'
    """
    if text.endswith(SUFFIX):
        return Reference(path=Path(text))
    name, at, which = text.partition("@")
    name = checked_name(name)
    if not at:
        return Reference(name)
    if which.isascii() and which.isdigit() and len(which) < 10 and int(which) > 0:
        return Reference(name, number=int(which))
    if not _LABEL.fullmatch(which):
        raise PromptError(
            f"{text!r}: after @ stands a version, from 1, or a label: {name}@3, {name}@{PRODUCTION}"
        )
    return Reference(name, label=which)


def checked_name(name: str) -> str:
    """A prompt's name as it is kept (NFC): also a path below a folder, on any system. Raises PromptError.

    >>> checked_name("support/answer")
    'support/answer'
    >>> checked_name("../answer")
    Traceback (most recent call last):
    ...
    rag.errors.PromptError: '../answer' cannot name a prompt: use letters, digits, - _ . + and / for folders
    """
    name = unicodedata.normalize("NFC", name)
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise PromptError(
            f"{name[:LONGEST]!r} cannot name a prompt: use letters, digits, - _ . + and / for folders"
        )
    return name


def checked_label(label: str) -> str:
    """A label that can be moved. Raises PromptError."""
    if label == LATEST:
        raise PromptError(f"{LATEST!r} is always the highest version: move another label")
    if not _LABEL.fullmatch(label):
        raise PromptError(f"{label!r} cannot be a label: use a letter, then letters, digits, - _ .")
    return label


@dataclass(frozen=True, slots=True)
class Facts:
    """What a list of prompts shows and is filtered by; ``models`` are those that the file names."""

    description: str = ""
    category: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    @staticmethod
    def of(template: PromptTemplate) -> Facts:
        """Those of a prompt."""
        named = [template.model.get(key) for key in ("id", "name")]
        return Facts(
            description=template.description,
            category=template.category,
            language=template.language,
            tags=template.tags,
            models=tuple(str(model) for model in [*named, *template.variants] if model),
        )

    @staticmethod
    def from_json(text: str) -> Facts:
        """What :meth:`as_json` wrote."""
        about = json.loads(text)
        return Facts(**{**about, "tags": tuple(about["tags"]), "models": tuple(about["models"])})

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """What may become a version: the file's text, and by path the text of each part that it uses."""

    name: str
    source: str
    parts: Mapping[str, str]
    digest: str
    facts: Facts

    @staticmethod
    def of(template: PromptTemplate, *, name: str) -> Draft:
        """That of a prompt which was read."""
        return Draft(name, template.source, dict(template.parts), template.digest, Facts.of(template))


@dataclass(frozen=True, slots=True)
class Version:
    """A prompt as it was pushed once. ``created_at`` is UTC, as ISO 8601 writes it."""

    name: str
    number: int
    source: str = field(repr=False)
    parts: Mapping[str, str] = field(repr=False)
    digest: str
    author: str
    message: str
    created_at: str

    def template(self) -> PromptTemplate:
        """The prompt, under the library's name. Raises InvalidTemplate where promptwell takes less by now."""
        try:
            return PromptTemplate.parse(
                self.source, name=self.name, version=self.number, read=self.parts.__getitem__
            )
        except InvalidTemplate as error:
            raise InvalidTemplate(f"{self.name}@{self.number}: {error}") from None


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the audit log: who did what, when and why.

    ``number`` is the version that it is about, or that a label was moved to; ``before`` where the label
    stood, or the version that a push followed. 0 where there is none.
    """

    id: int
    at: str
    who: str
    action: str
    name: str
    number: int
    label: str
    before: int
    why: str

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self)
