"""YAML that remembers its lines: what a person wrote by hand is told by the line when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from rag.errors import PromptError

if TYPE_CHECKING:
    import yaml

MAX_TEXT = 2_000_000
"""Characters of a file."""
MAX_PARTS = 200_000
"""Values of a file, each alias counted as often as it stands: a few lines of them could say billions."""

MAX_REFERENCES = 10
"""References to references, one after the other."""

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TAGS = ("null", "bool", "int", "float", "str", "timestamp", "value")
_MERGE = "tag:yaml.org,2002:merge"

Value: TypeAlias = "str | int | float | bool | tuple[Part, ...] | Mapping[str, Part] | None"


@dataclass(frozen=True, slots=True)
class Part:
    """A value and the line, from 1, on which it begins. ``written`` is a scalar as it stands in the file.

    Numbers are what JSON calls so, true and false what YAML 1.2 does; dates, ``12:30``, ``010`` and ``no``
    stay the text that was written.
    """

    value: Value
    line: int
    written: str
    size: int

    def plain(self) -> Any:
        """The value without lines: lists and dicts as JSON has them."""
        if isinstance(self.value, tuple):
            return [each.plain() for each in self.value]
        if isinstance(self.value, Mapping):
            return {key: each.plain() for key, each in self.value.items()}
        return self.value

    @property
    def kind(self) -> str:
        """What it is, for a message.

        >>> read_yaml("[1, 2]").kind
        'a list'
        """
        match self.value:
            case None:
                return "empty"
            case bool():
                return self.written
            case str():
                return "a text"
            case int() | float():
                return "a number"
            case tuple():
                return "a list"
            case _:
                return "a mapping"


def read_yaml(text: str) -> Part:
    """The document of a YAML file. Raises PromptError that begins with the line.

    >>> part = read_yaml("a: 1\\nb: [x, 12:30]")
    >>> part.plain(), part.value["b"].line
    ({'a': 1, 'b': ['x', '12:30']}, 2)
    """
    import yaml

    if len(text) > MAX_TEXT:
        raise PromptError(f"it has {len(text):,} characters; the limit is {MAX_TEXT:,}")
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _Reader().read(node) if node is not None else Part(None, 1, "", 1)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not readable"
        raise PromptError(f"line {mark.line + 1 if mark else 1}: not YAML: {problem}") from None
    except RecursionError:
        raise PromptError("line 1: nested too deeply") from None


def referred(part: Part, root: Part) -> Part:
    """``part``, or what it names where it is ``{$ref: '#/a/b'}``: the part under these keys of ``root``.

    Raises PromptError with the line.

    >>> document = read_yaml("a: {b: 1}\\nc: {$ref: '#/a/b'}")
    >>> referred(document.value["c"], document).value
    1
    """
    for _ in range(MAX_REFERENCES):
        if not isinstance(part.value, Mapping) or "$ref" not in part.value:
            return part
        named = part.value["$ref"]
        steps = named.written.removeprefix("#/").split("/")
        if not named.written.startswith("#/") or len(part.value) > 1:
            raise PromptError(
                f"line {named.line}: $ref stands alone, as in {{$ref: '#/assertionTemplates/x'}}"
            )
        part = root
        for step in steps:
            held = part.value.get(step) if isinstance(part.value, Mapping) else None
            if held is None:
                raise PromptError(f"line {named.line}: there is no {named.written} in the file")
            part = held
    raise PromptError(f"line {part.line}: it refers to itself")


class _Reader:
    """Nodes to parts, each node once, whatever refers to it."""

    def __init__(self) -> None:
        self._read: dict[int, Part | None] = {}

    def read(self, node: yaml.Node) -> Part:
        if id(node) in self._read:
            part = self._read[id(node)]
            if part is None:
                raise PromptError(f"line {node.start_mark.line + 1}: it refers to itself")
            return part
        self._read[id(node)] = None
        part = self._part(node)
        if part.size > MAX_PARTS:
            raise PromptError(f"line {part.line}: it holds more than {MAX_PARTS:,} values")
        self._read[id(node)] = part
        return part

    def _part(self, node: yaml.Node) -> Part:
        import yaml

        line = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            parts = tuple(self.read(each) for each in node.value)
            return Part(parts, line, "", 1 + sum(part.size for part in parts))
        if isinstance(node, yaml.MappingNode):
            fields = self._fields(node)
            return Part(MappingProxyType(fields), line, "", 1 + sum(part.size for part in fields.values()))
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag not in _TAGS:
            raise PromptError(f"line {line}: the tag {node.tag} is not read here")
        return Part(_scalar(tag, node.value), line, node.value, 1)

    def _fields(self, node: yaml.MappingNode) -> dict[str, Part]:
        own: dict[str, Part] = {}
        merged: dict[str, Part] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                part = self.read(value)
                for each in part.value if isinstance(part.value, tuple) else (part,):
                    if not isinstance(each.value, Mapping):
                        raise PromptError(f"line {line}: << takes a mapping, or a list of them")
                    merged = {**each.value, **merged}
                continue
            if not isinstance(key.value, str):
                raise PromptError(f"line {line}: a key must be a word")
            if key.value in own:
                raise PromptError(f"line {line}: {key.value!r} stands twice")
            own[key.value] = self.read(value)
        return {**merged, **own}


def _scalar(tag: str, written: str) -> str | int | float | bool | None:
    match tag:
        case "null":
            return None
        case "bool" if written.lower() in ("true", "false"):
            return written.lower() == "true"
        case "int" if _WHOLE.fullmatch(written) and len(written) < 400:
            return int(written)
        case "float" | "int" if _NUMBER.fullmatch(written) and len(written) < 400:
            return float(written)
        case _:
            return written
