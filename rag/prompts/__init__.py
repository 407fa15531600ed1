"""Prompts as files: read, checked, rendered. The shipped ones lie in ``shipped``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from rag.errors import InvalidTemplate, UnknownPrompt
from rag.prompts.template import MAX_FILE, PromptTemplate, RenderedPrompt

__all__ = ["PromptTemplate", "RenderedPrompt", "load", "names", "part_reader"]

_SUFFIX = ".prompty"
_MAX_BYTES = 4 * MAX_FILE
"""Of a file: what a character takes in UTF-8 at most."""


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


def part_reader(folder: Path | Traversable) -> Callable[[str], str]:
    """What gives the text of a file by its path below ``folder``, and of none that a link puts elsewhere.

    It raises KeyError for one that is not there, InvalidTemplate for one that is too large.

    >>> part_reader(files("rag.prompts").joinpath("shipped"))("../../errors.py")
    Traceback (most recent call last):
    ...
    KeyError: '../../errors.py'
    """

    inside: dict[str, Path | None] = {}  # what a library of thousands asks again and again

    def place(path: str) -> Path | None:
        if path not in inside:
            found = Path(str(folder), path)
            inside[path] = found if found.resolve().is_relative_to(Path(str(folder)).resolve()) else None
        return inside[path]

    def read(path: str) -> str:
        steps = path.split("/")
        if not path or "\\" in path or any(step in ("", ".", "..") for step in steps):
            raise KeyError(path)
        if not isinstance(folder, Path):
            file = folder.joinpath(*steps)
            if not file.is_file():
                raise KeyError(path)
            return file.read_text("utf-8")
        here = place("/".join(steps[:-1]))
        if here is None:
            raise KeyError(path)  # a link leads out
        try:
            status = (here / steps[-1]).lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(path) from None
        if S_ISLNK(status.st_mode):
            target = place(path)
            if target is None or not target.is_file():
                raise KeyError(path)
            status = target.stat()
        if not S_ISREG(status.st_mode):
            raise KeyError(path)
        if status.st_size > _MAX_BYTES:
            raise InvalidTemplate(f"{path} has {status.st_size} bytes; the limit is {_MAX_BYTES}")
        return (here / steps[-1]).read_bytes().decode("utf-8")

    return read


def _files(folder: Path | None) -> Iterator[tuple[Path | Traversable, str, Path | Traversable]]:
    """Folder, name and file of each prompt; names that begin with _ or . are parts of others, or hidden."""
    if folder is not None and folder.is_dir():
        for path in sorted(folder.rglob(f"*{_SUFFIX}")):
            below = path.relative_to(folder)
            if not any(step.startswith(("_", ".")) for step in below.parts):
                yield folder, below.as_posix().removesuffix(_SUFFIX), path
    home = files("rag.prompts").joinpath("shipped")
    for shipped in home.iterdir():
        if shipped.name.endswith(_SUFFIX):
            yield home, shipped.name.removesuffix(_SUFFIX), shipped
