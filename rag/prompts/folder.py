"""Where prompts lie: the names of their files, those of a folder, the shipped ones, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from rag.errors import InvalidTemplate
from rag.prompts.template import MAX_FILE

SUFFIX, TESTS = ".prompty", ".tests.yaml"
SHIPPED = files("rag.prompts").joinpath("shipped")
_MAX_BYTES = 4 * MAX_FILE
"""Of a file: what a character takes in UTF-8 at most."""


def prompt_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The name and the file of each prompt below a folder, in order; none where it is not there. What a name
    that begins with _ or . holds is a part of others, or hidden."""
    if folder.is_dir():
        for path in sorted(folder.rglob(f"*{SUFFIX}")):
            below = path.relative_to(folder)
            if not any(step.startswith(("_", ".")) for step in below.parts):
                yield below.as_posix().removesuffix(SUFFIX), path


def shipped_files() -> Iterator[tuple[str, Traversable]]:
    """The name and the file of each prompt that is shipped."""
    for file in SHIPPED.iterdir():
        if file.name.endswith(SUFFIX):
            yield file.name.removesuffix(SUFFIX), file


def part_reader(folder: Path | Traversable) -> Callable[[str], str]:
    """What gives the text of a file by its path below ``folder``, and of none that a link puts elsewhere.

    It raises KeyError for one that is not there, InvalidTemplate for one that is too large.

    >>> part_reader(SHIPPED)("../../errors.py")
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
