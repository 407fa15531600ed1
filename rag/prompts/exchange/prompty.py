"""Drafts as Prompty files, and prompts as drafts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.exchange.draft import MAX_TAGS, Draft, Role, Turn, merged
from rag.prompts.exchange.jinja import read, written
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.front import Front
from rag.prompts.parts import ROLE
from rag.prompts.template import PromptTemplate
from rag.prompts.values import Input

_BREAKS = frozenset("\x85\u2028\u2029")


def files(draft: Draft) -> dict[str, str]:
    """The draft's prompt file, and its tests' beside it, by path. Raises InvalidTemplate, with the line.

    >>> from rag.prompts.exchange.draft import Text
    >>> print(files(Draft("hi", (Turn("user", (Text("{{who}}"),)),)))["hi.prompty"])
    ---
    name: hi
    ---
    user:
    {{ "{{" }}who}}
    <BLANKLINE>
    """
    text = _text(draft)
    if (tags := text.count("{{") + text.count("{%")) > MAX_TAGS:  # escaped texts are tags too
        raise InvalidTemplate(f"{draft.name} would have {tags:,} tags; the limit is {MAX_TAGS:,}")
    made = PromptTemplate.parse(text, name=draft.name)
    roles = [section.role for section in made._sections]
    if roles != [turn.role for turn in draft.turns]:
        raise InvalidTemplate(f"{draft.name}: a line of a message would be read as the beginning of another")
    found = {f"{draft.name}{SUFFIX}": text}
    if draft.tests:
        found[f"{draft.name}{TESTS}"] = yaml_text(draft.tests)
    return found


def yaml_text(value: Any) -> str:
    """A value as YAML: keys in the order given, texts of several lines as blocks where YAML lets them."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        # YAML reads NEL, LS and PS as line breaks, and a reader of it makes a newline or a space of them:
        # only in double quotes are they written as what they are.
        style = '"' if _BREAKS & set(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    dumped: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=2**16)
    return dumped


def _text(draft: Draft) -> str:
    header: dict[str, Any] = {"name": draft.name}
    if draft.title and draft.title != draft.name:
        header["displayName"] = draft.title
    if draft.description:
        header["description"] = draft.description
    for key, value in (("metadata", draft.metadata), ("model", draft.model)):
        if value:
            header[key] = dict(value)
    if draft.inputs:
        header["inputs"] = [_input(each) for each in draft.inputs]
    if draft.outputs:
        header["outputs"] = draft.outputs
    body = "\n\n".join(f"{turn.role}:\n{written(turn.pieces).strip(chr(10))}" for turn in draft.turns)
    return f"---\n{yaml_text(header)}---\n{body}\n"


def _input(about: Input) -> dict[str, Any]:
    found: dict[str, Any] = {"name": about.name, "kind": about.kind}
    if about.description:
        found["description"] = about.description
    if about.default is not None:
        found["default"] = about.default
    elif not about.required:
        found["required"] = False
    return found


def draft_of(template: PromptTemplate, *, tests: Mapping[str, Any] | None = None) -> tuple[Draft, list[str]]:
    """A prompt as a draft, what it includes put in its place; and what no other format has words for.

    Raises InvalidTemplate, with the line.
    """
    front = Front.of(template.source)
    header = front.header
    told = {"variants": "the variants for other models", "examples": "the examples, which are chosen here"}
    lost = [line for key, line in told.items() if template.metadata.get(key)]
    if header.get("tools"):
        lost.append("the tools")
    draft = Draft(
        name=template.name,
        turns=_turns(front.body, front.body_line, template),
        inputs=template.inputs,
        title=str(header.get("displayName") or ""),
        description=template.description,
        model=template.model,
        metadata=template.metadata,
        outputs=header.get("outputs"),
        tests=tests,
    )
    return draft, lost


def _turns(body: str, first_line: int, template: PromptTemplate) -> tuple[Turn, ...]:
    own = f"{template.name}{SUFFIX}"
    found: list[tuple[Role, int, list[str]]] = []
    for number, line in enumerate(body.split("\n"), first_line):
        role = ROLE.fullmatch(line)
        if role:
            named = role[1].lower()
            found.append(("system" if named == "developer" else named, number + 1, []))  # type: ignore[arg-type]
        elif found:
            found[-1][2].append(line)
        elif line.strip():
            found.append(("system", number, [line]))
    turns = []
    for named, line_number, content in found:
        blank = next((at for at, text in enumerate(content) if text), 0)
        text = "\n".join(content).strip("\n")
        pieces = read(text, first_line=line_number + blank, parts=template.parts, own=own)
        turns.append(Turn(named, merged(pieces)))
    return tuple(turns)
