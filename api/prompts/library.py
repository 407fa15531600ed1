"""Prompts by reference: the file in work, the library's version, the shipped one."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rag import prompts
from rag.errors import InvalidTemplate, PromptError, UnknownPrompt
from rag.prompts import PromptTemplate
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.versions import LATEST, PRODUCTION, Version, reference

if TYPE_CHECKING:
    from api.parts import Parts


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference leads to. ``label`` is the one that it was taken by, "" for none; ``version`` is
    None unless it is the library's; ``tests`` is the text of its tests, None without any."""

    template: PromptTemplate
    origin: Literal["file", "library", "shipped"]
    version: Version | None = None
    label: str = ""
    tests: str | None = None


def find(parts: Parts, text: str) -> Found:
    """What a reference names, and where it is from.

    A plain name is the file in the settings' folder, else the library's ``production``, else the shipped
    prompt. Raises PromptError for what cannot be a reference, UnknownPrompt, which says what there is, and
    InvalidTemplate.
    """
    asked = reference(text)
    folder = parts.settings.prompts.dir
    if asked.path is not None:
        return _of_file(folder, asked.path)
    if asked.number is None and not asked.label:
        if (path := folder / f"{asked.name}{SUFFIX}").is_file():
            return _of_file(folder, path)
        if (found := _in_production(parts, asked.name)) is not None:
            return found
        try:
            return Found(prompts.load(asked.name), "shipped")
        except UnknownPrompt:
            raise _unknown(parts, asked.name) from None
    library = parts.library()
    version = library.version(asked.name, asked.number or asked.label)
    return Found(version.template(), "library", version, asked.label, library.tests(asked.name))


def author_of(parts: Parts, given: str = "") -> str:
    """Who does something: as given, as the settings say, else the user that the system knows.

    Names are claims: nobody logs in yet.
    """
    name = given.strip() or parts.settings.prompts.author.strip()
    if name:
        return " ".join(name.split())
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def version_named(text: str, beside: Sequence[str] = ()) -> tuple[str, int | str]:
    """The name and the version that a command means: ``NAME@3``, or ``NAME`` and ``3`` beside it; a label in
    place of the number; the newest where none is named. Raises PromptError.

    >>> version_named("support/answer", ["3"]), version_named("support/answer@staging")
    (('support/answer', 3), ('support/answer', 'staging'))
    """
    asked = reference("@".join([text, *beside]))
    if asked.path is not None or len(beside) > 1:
        raise PromptError(f"{' '.join([text, *beside])!r}: name a prompt of the library, as NAME or NAME@3")
    return asked.name, asked.number or asked.label or LATEST


def _of_file(folder: Path, path: Path) -> Found:
    if not path.is_file():
        raise UnknownPrompt(f"there is no file {path}")
    path = path.resolve()
    root = folder.resolve() if path.is_relative_to(folder.resolve()) else path.parent
    name = path.relative_to(root).as_posix().removesuffix(SUFFIX)
    read = prompts.part_reader(root)
    beside = path.with_name(path.name.removesuffix(SUFFIX) + TESTS)
    try:
        template = PromptTemplate.parse(read(f"{name}{SUFFIX}"), name=name, read=read)
        tests = read(f"{name}{TESTS}") if beside.is_file() else None
    except InvalidTemplate as error:
        raise InvalidTemplate(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTemplate(f"{path} cannot be read: {error}") from error
    except KeyError:
        raise InvalidTemplate(
            f"{beside} is a link that leads out of {root}: put the file itself there"
        ) from None
    return Found(template, "file", tests=tests)


def _in_production(parts: Parts, name: str) -> Found | None:
    if not parts.has_library:
        return None
    library = parts.library()
    try:
        version = library.version(name, PRODUCTION)
    except UnknownPrompt:
        return None
    return Found(version.template(), "library", version, PRODUCTION, library.tests(name))


def _unknown(parts: Parts, name: str) -> UnknownPrompt:
    if parts.has_library:
        try:
            parts.library().version(name, PRODUCTION)
        except UnknownPrompt as error:
            if name in parts.library().names():  # it is there, and not in production
                return error
    kept = parts.library().names() if parts.has_library else []
    there = sorted({*prompts.names(folder=parts.settings.prompts.dir), *kept})
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    return UnknownPrompt(f"no prompt {name!r}; there are: {shown}")
