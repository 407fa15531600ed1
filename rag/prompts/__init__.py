"""Prompts as files: read, checked, rendered. The shipped ones lie in ``shipped``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from rag.errors import InvalidTemplate, UnknownPrompt
from rag.prompts.folder import SHIPPED, SUFFIX, part_reader, prompt_files, shipped_files
from rag.prompts.front import Front
from rag.prompts.parts import path_of, plain
from rag.prompts.template import PromptTemplate, RenderedPrompt

__all__ = ["PromptTemplate", "RenderedPrompt", "load", "names", "own_names", "part_reader"]


def load(name: str, *, folder: Path | None = None) -> PromptTemplate:
    """The prompt of this name: from the user's ``folder`` (sub-folders included) first, else shipped.

    A name is the file's path below the folder without ``.prompty``: ``support/answer``. Raises
    UnknownPrompt, which names what there is, and InvalidTemplate, which names file and line.

    >>> load("answer").name
    'answer'
    """
    for home, found, file in _files(folder):
        if found == name:
            try:
                return PromptTemplate.parse(file.read_text("utf-8"), name=name, read=part_reader(home))
            except InvalidTemplate as error:
                raise InvalidTemplate(f"{file}: {error}") from None
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidTemplate(f"{file} cannot be read: {error}") from error
    raise UnknownPrompt(f"no prompt {name!r}; there are: {', '.join(names(folder=folder))}")


def names(*, folder: Path | None = None) -> list[str]:
    """The prompts that :func:`load` knows, in order. A file that is another prompt's variant is a part of
    that prompt, and no prompt of its own."""
    own = own_names(folder) if folder is not None else []
    return sorted({*own, *(name for name, _ in shipped_files())})


def own_names(folder: Path) -> list[str]:
    """Those of a folder alone. A file that cannot be read counts: it is a prompt that is to be mended.

    What is read of a file is its front matter, and that only where it may name variants.
    """
    found: list[str] = []
    variants = set[str]()
    for name, path in prompt_files(folder):
        found.append(name)
        try:
            text = path.read_text("utf-8") if path.is_file() else ""
            if "variants" in text:
                named = Front.of(plain(text)).metadata().get("variants", {}).values()
                variants |= {path_of(each, beside=f"{name}{SUFFIX}").removesuffix(SUFFIX) for each in named}
        except (InvalidTemplate, OSError, UnicodeDecodeError):
            continue
    return [name for name in found if name not in variants]


def _files(folder: Path | None) -> Iterator[tuple[Path | Traversable, str, Path | Traversable]]:
    """Folder, name and file of each prompt, the folder's own first."""
    if folder is not None:
        yield from ((folder, name, path) for name, path in prompt_files(folder))
    yield from ((SHIPPED, name, file) for name, file in shipped_files())
