"""The files that a prompt is put together from: what it includes, and its variants.

``{% include "_core/rules.md" %}`` stands for the text of that file, once and for all when the prompt is read:
nothing is looked up while it renders. A path is written from the folder of the library, or, beginning with
``./``, from the folder of the file it stands in. An included file is text and Jinja. It has no front matter
and no role lines: which messages a prompt has is read in its own file alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from rag.errors import InvalidTemplate, RagError

ReadPart: TypeAlias = Callable[[str], str]
"""The text of a file by its path below the library's folder. Raises KeyError or OSError where none is."""

MAX_PART = 200_000
"""Characters of one file."""
MAX_PARTS = 100
"""Files of one prompt."""
MAX_INCLUDES = 200
"""Includes of one prompt, each counted as often as it is carried out."""
MAX_INCLUDED = 500_000
"""Characters that they put in, together."""
MAX_NODES = 6_000
"""Parts of the templates of one prompt, its messages, includes and variants together: compiling them takes
time in proportion."""
MAX_DEPTH = 8
"""Files that include one another, one within the other."""

ROLE = re.compile(r"[ \t]*(?:#[ \t]*)?(system|user|assistant|developer)[ \t]*:[ \t]*", re.IGNORECASE)
"""A line that opens a message."""


@dataclass(slots=True)
class _Spent:
    includes: int = 0
    characters: int = 0
    nodes: int = 0


class Parts:
    """Reads the files of one prompt, each once, and keeps within the bounds. ``own`` is the prompt's path.

    >>> parts = Parts({"_core/rules.md": "Be brief."}.__getitem__, own="support/answer.prompty")
    >>> parts.included("_core/rules.md", trail=("support/answer.prompty",))
    ('_core/rules.md', 'Be brief.')
    """

    def __init__(self, read: ReadPart | None, *, own: str, spent: _Spent | None = None) -> None:
        self.own = own
        self._read = read
        self._texts: dict[str, str] = {}
        self._spent = spent or _Spent()

    @property
    def texts(self) -> Mapping[str, str]:
        """What was read, by path, in the order of the paths."""
        return MappingProxyType(dict(sorted(self._texts.items())))

    @property
    def readable(self) -> bool:
        """Whether there is a folder to read from."""
        return self._read is not None

    def of(self, own: str) -> Parts:
        """The parts of one of the files, a variant: read through these, and counted with them."""
        return Parts(self.text, own=own, spent=self._spent)

    def compiling(self, nodes: int) -> None:
        """Takes so many parts of a template off what the prompt may have. Raises InvalidTemplate."""
        self._spent.nodes += nodes
        if self._spent.nodes > MAX_NODES:
            raise InvalidTemplate(f"the templates of the prompt have more than {MAX_NODES} parts in all")

    def text(self, path: str) -> str:
        """The text of a file by its :func:`path_of`. Raises InvalidTemplate, without a line."""
        if path not in self._texts:
            if self._read is None:
                raise InvalidTemplate(
                    f"{path!r} cannot be read: this prompt was read without the folder it lies in"
                )
            if len(self._texts) == MAX_PARTS:
                raise InvalidTemplate(f"the prompt is put together from more than {MAX_PARTS} files")
            try:
                text = self._read(path)
            except InvalidTemplate:
                raise
            except (KeyError, OSError, ValueError, RagError) as error:
                told = "" if isinstance(error, KeyError | FileNotFoundError) else f": {error}"
                raise InvalidTemplate(
                    f"there is no file {path!r} in the library{told} (./NAME is one beside the prompt)"
                ) from None
            if len(text) > MAX_PART:
                raise InvalidTemplate(f"{path!r} has {len(text)} characters; the limit is {MAX_PART}")
            self._texts[path] = plain(text)
        return self._texts[path]

    def included(self, written: str, *, trail: tuple[str, ...]) -> tuple[str, str]:
        """Path and text of the file that is included as ``written`` by the last of ``trail``.

        One line end at the end of the file is left out, as Jinja does. Raises InvalidTemplate.
        """
        path = path_of(written, beside=trail[-1])
        if path in trail:
            circle = " -> ".join([*trail[trail.index(path) :], path])
            raise InvalidTemplate(f"the files include each other in a circle: {circle}")
        if len(trail) > MAX_DEPTH:
            raise InvalidTemplate(f"includes stand more than {MAX_DEPTH} deep: {' -> '.join(trail)}")
        if path.endswith(".prompty"):
            raise InvalidTemplate(
                f"{path!r} is a prompt; what is shared goes into a text file that both include, such as "
                "_core/rules.md"
            )
        text = self.text(path).removesuffix("\n")
        for number, line in enumerate(text.split("\n"), 1):
            if ROLE.fullmatch(line):
                raise InvalidTemplate(
                    f"{path}, line {number}: {line.strip()!r} would open a message; role lines stand in the "
                    "prompt's own file"
                )
        self._spent.includes += 1
        self._spent.characters += len(text)
        if self._spent.includes > MAX_INCLUDES or self._spent.characters > MAX_INCLUDED:
            raise InvalidTemplate(
                f"the prompt includes too much: the limit is {MAX_INCLUDES} times, {MAX_INCLUDED} characters"
            )
        return path, text


def plain(text: str) -> str:
    """A file's text as it is read, compared and kept: no byte order mark, ``\\n`` line ends.

    >>> plain("\\ufeffa\\r\\nb")
    'a\\nb'
    """
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def path_of(written: str, *, beside: str = "") -> str:
    """A file's path below the folder of the library. Raises InvalidTemplate for one that may lead out of it.

    >>> path_of("_core/rules.md"), path_of("./answer.gpt.prompty", beside="support/answer.prompty")
    ('_core/rules.md', 'support/answer.gpt.prompty')
    """
    folder = ""
    rest = written
    if written.startswith("./"):
        folder, rest = beside.rpartition("/")[0], written.removeprefix("./")
    steps = rest.split("/")
    if (
        len(written) > 300
        or not written.isprintable()
        or any(sign in written for sign in '\\:*?"<>|')
        or any(not step or step.startswith(".") or step != step.strip() for step in steps)
    ):
        raise InvalidTemplate(
            f"{written[:80]!r} is no path below the library's folder: write names parted by /, without .. "
            "and none that begins with a dot (./name is a file beside this one)"
        )
    return f"{folder}/{rest}" if folder else rest
