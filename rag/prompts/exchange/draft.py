"""A prompt between two formats: turns made of pieces, whose expressions are Jinja's."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rag.errors import InvalidTemplate, PromptError
from rag.prompts.values import Input

MAX_TAGS = 5_000
"""Tags of one template: reading, writing and compiling them takes time in proportion, or more."""

Role = Literal["system", "user", "assistant"]
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
}
"""What other formats call them."""

ReadFile: TypeAlias = Callable[[str], str]
"""The text of a file that another one names, by its path as written there."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stays as it is, braces and all."""

    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a Jinja expression; ``line`` is where it stands in its file, 0 when unknown."""

    expression: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class If:
    """The first of the ``branches`` (condition, pieces) that holds, else ``otherwise``."""

    branches: tuple[tuple[str, tuple[Piece, ...]], ...]
    otherwise: tuple[Piece, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Each:
    """The ``body`` for every ``item`` of ``items``; ``otherwise`` where there is none."""

    item: str
    items: str
    body: tuple[Piece, ...]
    otherwise: tuple[Piece, ...] = ()
    line: int = 0


Piece: TypeAlias = Text | Value | If | Each


@dataclass(frozen=True, slots=True)
class Turn:
    """One message."""

    role: Role
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt in no format. ``model`` and ``outputs`` are Prompty's, ``tests`` are promptfoo's."""

    name: str
    turns: tuple[Turn, ...]
    inputs: tuple[Input, ...] = ()
    title: str = ""
    description: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    outputs: Any = None
    tests: Mapping[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The model's parameters by Prompty's names."""
        options = self.model.get("options")
        return dict(options) if isinstance(options, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion made: the files' texts by relative path, and what could not go along, a line each."""

    files: Mapping[str, str]
    lost: tuple[str, ...] = ()


def walk(pieces: tuple[Piece, ...]) -> Iterator[Piece]:
    """Every piece, those within others too."""
    for piece in pieces:
        yield piece
        if isinstance(piece, If):
            for _, body in piece.branches:
                yield from walk(body)
            yield from walk(piece.otherwise)
        elif isinstance(piece, Each):
            yield from walk(piece.body)
            yield from walk(piece.otherwise)


def merged(pieces: tuple[Piece, ...] | list[Piece]) -> tuple[Piece, ...]:
    """The same with neighbouring texts as one, and no empty ones.

    >>> merged([Text("a"), Text(""), Text("b")])
    (Text(text='ab'),)
    """
    kept: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Text):
            if not piece.text:
                continue
            if kept and isinstance(kept[-1], Text):
                kept[-1] = Text(kept[-1].text + piece.text)
                continue
        kept.append(piece)
    return tuple(kept)


def refused(line: int, problem: str) -> InvalidTemplate:
    """The error for a foreign file, with the line where it is known."""
    return InvalidTemplate(f"line {line}: {problem}" if line else problem)


def unsayable(format: str, line: int, what: str) -> PromptError:
    """The error for a prompt that the format has no words for."""
    where = f"line {line}: " if line else ""
    return PromptError(f"{where}{what} cannot be said in {format}: write it another way")


_JINJA = frozenset(
    (
        *(
            "and",
            "as",
            "caller",
            "call",
            "elif",
            "else",
            "endfor",
            "endif",
            "extends",
            "false",
            "filter",
            "for",
        ),
        *(
            "from",
            "if",
            "import",
            "in",
            "include",
            "is",
            "kwargs",
            "loop",
            "macro",
            "none",
            "not",
            "or",
            "raw",
        ),
        *("recursive", "self", "set", "super", "true", "varargs", "with"),
    )
)


class Names:
    """What foreign variables are called here: letters, digits and ``_``, no word of Jinja's, no two alike.

    >>> names = Names()
    >>> names.of("user-name"), names.of("user.name"), names.of("if")
    ('user_name', 'user_name_2', 'if_')
    >>> names.told()[0]
    "the variable 'user-name' is called user_name here"
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._kept: set[str] = set()

    @property
    def ours(self) -> tuple[str, ...]:
        """The names given so far, as they came."""
        return tuple(self._of.values())

    @property
    def foreign(self) -> Mapping[str, str]:
        """Our names by the foreign ones."""
        return dict(self._of)

    def keep(self, stem: str) -> str:
        """A name that no variable has or will have: for the item of a loop."""
        name = self._free(stem)
        self._kept.add(name)
        return name

    def _free(self, stem: str) -> str:
        name, number = stem, 2
        while name in self._kept or name in self._of.values():
            name, number = f"{stem}_{number}", number + 1
        return name

    def of(self, foreign: str) -> str:
        """Our name for a foreign one; always the same."""
        if foreign not in self._of:
            name = re.sub(r"\W", "_", foreign, flags=re.ASCII).lstrip("_")
            if not name[:1].isalpha():
                name = f"v_{name}".rstrip("_")
            if name.lower() in _JINJA or keyword.iskeyword(name):
                name += "_"
            self._of[foreign] = self._free(name)
        return self._of[foreign]

    def told(self) -> list[str]:
        """A line for each that is called another way."""
        return [f"the variable {old!r} is called {new} here" for old, new in self._of.items() if old != new]

    def renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A mapping by foreign names as one by ours."""
        return {self._of.get(str(name), str(name)): value for name, value in values.items()}
