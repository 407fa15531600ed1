"""Texts whose only syntax is ``{{name}}``: replaced as it stands, and everything else is text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.prompts.exchange.draft import MAX_TAGS, If, Names, Piece, Text, Value, merged, refused, unsayable
from rag.prompts.exchange.expressions import plain

_SLOT = re.compile(r"\{\{([A-Za-z_][\w.-]*)\}\}", re.ASCII)
_SPACED = re.compile(r"\{\{\s+([A-Za-z_][\w.-]*)\s*\}\}|\{\{([A-Za-z_][\w.-]*)\s+\}\}", re.ASCII)


def read(text: str, *, names: Names, lost: list[str]) -> tuple[Piece, ...]:
    """A text with slots as pieces.

    >>> read("{{{a}} {b}", names=Names(), lost=[])
    (Text(text='{'), Value(expression='a', line=0), Text(text=' {b}'))
    """
    found: list[Piece] = []
    at = 0
    for number, slot in enumerate(_SLOT.finditer(text)):
        if number == MAX_TAGS:
            raise refused(0, f"a message has more than {MAX_TAGS:,} variables")
        found += [Text(text[at : slot.start()]), Value(names.of(slot[1]))]
        at = slot.end()
    found.append(Text(text[at:]))
    lost += [
        f"{spaced[0]} stays text: only {{{{name}}}} without spaces is filled in there"
        for spaced in _SPACED.finditer(text)
    ]
    return merged(found)


def write(pieces: Sequence[Piece], *, format: str) -> str:
    """Pieces as a text with slots. Raises PromptError, with the line, for all that is no plain variable, and
    for a text that would be read as a slot.

    >>> write((Text("{"), Value("a")), format="x")
    '{{{a}}'
    """
    out, slots = "", []
    for piece in merged(list(pieces)):
        if isinstance(piece, Text):
            out += piece.text
        elif isinstance(piece, Value):
            path = plain(piece.expression)
            if path is None or len(path) > 1:
                raise unsayable(format, piece.line, f"`{piece.expression}`")
            slots.append((len(out), len(out) + len(str(path[0])) + 4))
            out += f"{{{{{path[0]}}}}}"
        else:
            what = "a condition" if isinstance(piece, If) else "a loop"
            raise unsayable(format, piece.line, what)
    for slot in _SLOT.finditer(out):
        if slot.span() not in slots:
            raise unsayable(format, 0, f"the text {slot[0]}, which would be filled in,")
    return out
