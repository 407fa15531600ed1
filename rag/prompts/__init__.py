"""Prompts as files: read, checked, rendered. The shipped ones lie in ``shipped``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from rag.errors import InvalidTemplate, UnknownPrompt
from rag.prompts.folder import SHIPPED, part_reader, prompt_files, shipped_files
from rag.prompts.template import PromptTemplate, RenderedPrompt

__all__ = ["PromptTemplate", "RenderedPrompt", "load", "names", "part_reader"]


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
    """The names that :func:`load` takes, in order."""
    return sorted({name for _, name, _ in _files(folder)})


def _files(folder: Path | None) -> Iterator[tuple[Path | Traversable, str, Path | Traversable]]:
    """Folder, name and file of each prompt, the folder's own first."""
    if folder is not None:
        yield from ((folder, name, path) for name, path in prompt_files(folder))
    yield from ((SHIPPED, name, file) for name, file in shipped_files())
