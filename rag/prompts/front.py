"""The front matter of a prompt file: read as plain YAML, checked key by key.

What is ours stands under ``metadata``; keys there that are not ours are kept and mean nothing to us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, NoReturn

from rag.errors import InvalidSetting, InvalidTemplate, PromptError
from rag.prompts.parts import path_of
from rag.prompts.values import KINDS, Input, checked
from rag.retrieval import RetrievalSettings

KEYS = ("name", "displayName", "description", "metadata", "inputs", "outputs", "model", "tools", "template")
MAX_VALUES = 10_000
"""Values in a front matter, each as often as it is referred to: a few lines of YAML can name billions."""
MAX_VARIANTS = 20
_EXAMPLES = ("collection", "file", "k", "budget", "diversity")


@dataclass(frozen=True, slots=True)
class Front:
    """A front matter. ``lines`` are its lines, the opening --- first; ``body`` begins on ``body_line``."""

    header: Mapping[str, Any]
    lines: tuple[str, ...]
    body: str
    body_line: int

    @staticmethod
    def of(text: str) -> Front:
        """Cut off where a line ``---`` closes it, and read. Raises InvalidTemplate.

        >>> front = Front.of("---\\nname: hi\\n---\\nuser:\\nHi!")
        >>> front.header["name"], front.body, front.body_line
        ('hi', 'user:\\nHi!', 4)
        """
        lines = text.split("\n")
        if lines[0].rstrip() != "---":
            return Front({}, (), text, 1)
        end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
        if end is None:
            raise InvalidTemplate(
                "line 1: the front matter opens with --- and is never closed by another ---"
            )
        front = Front(_yaml(lines[1:end]), tuple(lines[:end]), "\n".join(lines[end + 1 :]), end + 2)
        unknown = [str(key) for key in front.header if key not in KEYS]
        if unknown:
            front.fault(
                unknown[0],
                f"the front matter has {', '.join(sorted(unknown))}; it may have {', '.join(KEYS)} "
                "(what is your own goes under metadata)",
            )
        return front

    def fault(self, key: str, problem: str) -> NoReturn:
        """Raises InvalidTemplate with the first line on which the key stands."""
        written = re.compile(rf"(?:^|[\s{{,-])[\"']?{re.escape(key)}[\"']?\s*:")
        found = (number for number, line in enumerate(self.lines, 1) if written.search(line))
        raise InvalidTemplate(f"line {next(found, 1)}: {problem}")

    def mapping(self, key: str) -> dict[str, Any]:
        """The mapping under a key of the header, {} without one."""
        value = self.header.get(key) or {}
        if not isinstance(value, dict):
            self.fault(key, f"{key} must be a mapping")
        return {str(name): each for name, each in value.items()}

    def inputs(self) -> tuple[Input, ...]:
        """Prompty's two ways of writing them: a list of mappings, or name -> mapping or default."""
        declared = self.header.get("inputs") or []
        if isinstance(declared, dict):
            declared = [
                {"name": name, **(about if isinstance(about, dict) else {"default": about})}
                for name, about in declared.items()
            ]
        if not isinstance(declared, list):
            self.fault("inputs", "inputs must be a list, such as `- name: question`")
        inputs = [self._input(about) for about in declared]
        if len({each.name for each in inputs}) < len(inputs):
            self.fault("inputs", "two inputs have the same name")
        return tuple(inputs)

    def _input(self, about: Any) -> Input:
        if not isinstance(about, dict) or not re.fullmatch(r"[A-Za-z]\w*", str(about.get("name", ""))):
            self.fault("inputs", f"the input {str(about)[:80]!r} needs a name of letters, digits and _")
        kind = str(about.get("kind", "string"))
        if kind not in KINDS:
            self.fault("inputs", f"input {about['name']}: kind {kind!r}; choose {', '.join(KINDS)}")
        default = about.get("default")
        required = default is None and about.get("required", True) is not False
        declared = Input(about["name"], kind, str(about.get("description") or ""), required, default)
        try:
            checked(declared, default)
        except PromptError as error:
            self.fault("inputs", f"the default of an input: {error}")
        return declared

    def metadata(self) -> Mapping[str, Any]:
        """What stands under ``metadata``, our own keys of it checked."""
        metadata = self.mapping("metadata")
        for key in ("category", "language", "judged"):
            if not isinstance(value := metadata.get(key, ""), str):
                self.fault(key, f"metadata.{key} is {value!r}; write a text, in quotes if need be")
        for key in ("collection", "not_found"):
            if not isinstance(value := metadata.get(key, ""), str) and not _texts(value):
                self.fault(key, f"metadata.{key} is {value!r}; write a text, or a list of them")
        if not _texts(value := metadata.get("tags", [])):
            self.fault("tags", f"metadata.tags is {value!r}; write a list, such as [support, spanish]")
        if not _whole(value := metadata.get("context_budget", 0)):
            self.fault("context_budget", f"metadata.context_budget is {value!r}; write a whole number")
        for key in ("retrieval", "examples", "variants"):
            if not isinstance(value := metadata.get(key, {}), dict):
                self.fault(key, f"metadata.{key} is {value!r}; write a mapping")
        self._retrieval(metadata.get("retrieval", {}))
        self._examples(metadata.get("examples", {}))
        self._variants(metadata.get("variants", {}))
        return MappingProxyType(metadata)

    def _retrieval(self, given: Mapping[str, Any]) -> None:
        if not given:
            return
        defaults = RetrievalSettings()
        names = [each.name for each in fields(defaults)]
        for name, value in given.items():
            if name not in names:
                self.fault(str(name), f"metadata.retrieval has {name!r}; it may have {', '.join(names)}")
            kind = type(getattr(defaults, name))
            fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
            if not fits or isinstance(value, bool):
                self.fault(
                    name,
                    f"metadata.retrieval.{name} is {value!r}; write a value like {getattr(defaults, name)!r}",
                )
        try:
            RetrievalSettings(**given)
        except InvalidSetting as error:
            self.fault("retrieval", f"metadata.retrieval: {error}")

    def _examples(self, given: Mapping[str, Any]) -> None:
        if not given:
            return
        for name in given:
            if name not in _EXAMPLES:
                self.fault(str(name), f"metadata.examples has {name!r}; it may have {', '.join(_EXAMPLES)}")
        sources = [given[name] for name in ("collection", "file") if name in given]
        if len(sources) != 1 or not isinstance(sources[0], str) or not sources[0]:
            self.fault(
                "examples",
                "metadata.examples names its set by `collection: NAME` or by `file: PATH`, one of them",
            )
        for name in ("k", "budget"):
            if not _whole(value := given.get(name, 1)) or value < 1:
                self.fault(name, f"metadata.examples.{name} is {value!r}; write a whole number from 1 up")
        share = given.get("diversity", 0)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            self.fault("diversity", f"metadata.examples.diversity is {share!r}; write a number from 0 to 1")

    def _variants(self, given: Mapping[str, Any]) -> None:
        if len(given) > MAX_VARIANTS:
            self.fault(
                "variants", f"metadata.variants has {len(given)} variants; the limit is {MAX_VARIANTS}"
            )
        for pattern, path in given.items():
            if not isinstance(pattern, str) or not 0 < len(pattern) <= 100:
                self.fault(
                    "variants",
                    f"metadata.variants: {pattern!r} is no name of a model or a family; write it in quotes",
                )
            if not isinstance(path, str):
                self.fault(
                    pattern, f"metadata.variants: {pattern!r} is for {path!r}; write the path of its file"
                )
            try:
                path_of(path)
            except InvalidTemplate as error:
                self.fault(pattern, f"metadata.variants: {error}")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _yaml(lines: list[str]) -> dict[str, Any]:
    import yaml

    text = "\n".join(lines)
    try:
        # libyaml's loader where it is built in: the same plain data, ten times as fast.
        built_in = hasattr(yaml, "CSafeLoader")
        header = (yaml.load(text, Loader=yaml.CSafeLoader) if built_in else yaml.safe_load(text)) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 2
        problem = getattr(error, "problem", None) or "not readable"
        raise InvalidTemplate(f"line {line}: the front matter is not YAML: {problem}") from None
    if not isinstance(header, dict):
        raise InvalidTemplate("line 2: the front matter must be a mapping, such as `name: answer`")
    room = MAX_VALUES
    stack: list[Any] = [header]
    while stack:
        part = stack.pop()
        room -= 1
        if room < 0:
            raise InvalidTemplate(f"line 1: the front matter holds more than {MAX_VALUES} values")
        if isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, list | tuple | set):
            stack.extend(part)
    return header
