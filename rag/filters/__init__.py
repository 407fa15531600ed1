"""Which documents a search may find: conditions on their metadata, as a small tree of values.

    tree.py     the tree, and how it judges a document
    mapping.py  the same as JSON: {"language": "es", "year": {"$gte": 2020}}
    text.py     the same as it is typed: language=es and year>=2020

How values compare: a list is as good as its best element. A document without the key meets no condition on
it, and so meets the ``not`` of each. Two values are equal when they are written alike, whatever their types:
2026 is "2026", 2026.0 too, and true is "true". Below and above compare numbers where both are numbers, else
texts, character by character: so dates in ISO 8601 compare as dates. A text is a number when it is
written as one usually is: "2026" and "0.5" are, "007" and "1.10" are not.

>>> of({"language": "es", "year": {"$gte": 2020}}) == parse("language=es and year>=2020")
True
"""

from __future__ import annotations

from rag.filters.mapping import Where, as_json, of
from rag.filters.text import parse
from rag.filters.tree import (
    EVERYTHING,
    And,
    Compare,
    Exists,
    Filter,
    In,
    Not,
    Or,
    both,
    names,
    number_of,
    passes,
    text_of,
)

__all__ = [
    "EVERYTHING",
    "And",
    "Compare",
    "Exists",
    "Filter",
    "In",
    "Not",
    "Or",
    "Where",
    "as_json",
    "both",
    "names",
    "number_of",
    "of",
    "parse",
    "passes",
    "text_of",
]
