"""Dotprompt's ``.prompt``: YAML front matter with Picoschema, and a Handlebars body with role markers.

https://google.github.io/dotprompt/reference: a marker is ``{{role "system"}}``, what stands before any is
the user's, roles are system, user and model; values are put in as they are, not as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.exchange.draft import Draft, Names, Text, Value, refused, unsayable, walk
from rag.prompts.exchange.expressions import plain
from rag.prompts.exchange.handlebars_pieces import Reading
from rag.prompts.exchange.handlebars_writer import Writing
from rag.prompts.exchange.picoschema import inputs, picoschema
from rag.prompts.exchange.prompty import yaml_text
from rag.prompts.exchange.source import mapping, yaml_of
from rag.prompts.values import Input

SUFFIX = ".prompt"

_FRONT = re.compile(r"\A(?:(?:#[^\n]*|[ \t]*)\n)*---[^\S\n]*\n(?:(.*?)\n)?---[^\S\n]*\n(.*)\Z", re.DOTALL)
_KNOWN = frozenset(("name", "description", "model", "config", "input", "output", "metadata"))


def read(text: str, *, name: str) -> tuple[Draft, list[str]]:
    """A ``.prompt`` file as a draft, and what it loses. Raises InvalidTemplate, with the line."""
    front = _FRONT.match(text)
    header = yaml_of(front[1] or "", first_line=1 + text.count("\n", 0, front.start(1))) if front else {}
    header = {} if header is None else header
    body = front[2] if front else text
    line = 1 + text.count("\n", 0, len(text) - len(body.lstrip()))
    if not isinstance(header, Mapping):
        raise InvalidTemplate("line 2: the front matter must be a mapping, such as `model: gemini-flash`")
    lost = [f"{key} in the front matter" for key in map(str, header) if key not in _KNOWN]
    section = mapping(header, "input")
    reading = Reading({})
    declared = inputs(
        section.get("schema"), defaults=mapping(section, "default"), names=reading.names, lost=lost
    )
    foreign = {ours: old for old, ours in reading.names.foreign.items()}
    reading.kinds = {foreign[each.name]: each.kind for each in declared}
    turns = reading.turns(body.strip(), first_line=line)
    if not turns:
        raise refused(line, "the prompt has no message")
    known = {each.name for each in declared}
    used = [_guessed(name, reading) for name in reading.names.ours if name not in known]
    lost += reading.lost + _empty(declared, turns) + reading.names.told()
    model: dict[str, Any] = {"id": str(header["model"])} if header.get("model") else {}
    if config := mapping(header, "config"):
        model["options"] = dict(config)
    draft = Draft(
        name=name,
        turns=turns,
        inputs=(*declared, *used),
        title=str(header.get("name") or ""),
        description=str(header.get("description") or ""),
        model=model,
        metadata=dict(mapping(header, "metadata")),
    )
    return _with_outputs(draft, mapping(header, "output"), lost), lost


def _guessed(name: str, reading: Reading) -> Input:
    """An input that no schema declares: Handlebars prints nothing for what is not given, so may we."""
    if name in reading.looped:
        return Input(name, "array", "", False, None)
    if name in reading.entered:
        return Input(name, "object", "", True, None)
    return Input(name, "string", "", name not in reading.tested, None)


def _empty(declared: tuple[Input, ...], turns: Any) -> list[str]:
    """Inputs that print nothing there when they are not given, and something here."""
    shown = {
        path[0]
        for turn in turns
        for piece in walk(turn.pieces)
        if isinstance(piece, Value) and (path := plain(piece.expression.split(" | ")[0]))
    }
    return [
        f"{each.name} prints None here when it is not given, and nothing there; give it a default"
        for each in declared
        if each.kind in ("integer", "float", "boolean")
        and not each.required
        and each.default is None
        and each.name in shown
    ]


def _with_outputs(draft: Draft, output: Mapping[str, Any], lost: list[str]) -> Draft:
    schema = output.get("schema")
    if output.get("format"):
        lost.append(f"output.format {output['format']}: say in the prompt what form the answer takes")
    if not isinstance(schema, Mapping):
        return draft
    found = inputs(schema, defaults={}, names=Names(), lost=lost)
    outputs = [
        {"name": each.name, "kind": each.kind}
        | ({"description": each.description} if each.description else {})
        | ({} if each.required else {"required": False})
        for each in found
    ]
    return replace(draft, outputs=outputs)


def write(draft: Draft) -> tuple[dict[str, str], list[str]]:
    """A draft as a ``.prompt`` file, and what it loses. Raises PromptError for what it cannot say."""
    header: dict[str, Any] = {"name": draft.name}
    if draft.description:
        header["description"] = draft.description
    lost = []
    if draft.model.get("id"):
        header["model"] = draft.model["id"]
    if draft.options:
        header["config"] = draft.options
    lost += [f"model.{key}" for key in draft.model if key not in ("id", "options", "apiType")]
    if draft.inputs:
        defaults = {each.name: each.default for each in draft.inputs if each.default is not None}
        header["input"] = ({"default": defaults} if defaults else {}) | {"schema": picoschema(draft.inputs)}
    if isinstance(draft.outputs, list):
        kinds = [each for each in draft.outputs if isinstance(each, Mapping) and each.get("name")]
        declared = tuple(
            Input(
                str(each["name"]),
                str(each.get("kind") or "string"),
                str(each.get("description") or ""),
                each.get("required") is not False,
                None,
            )
            for each in kinds
        )
        header["output"] = {"format": "json", "schema": picoschema(declared)}
    elif draft.outputs:
        lost.append("outputs")
    if draft.metadata:
        header["metadata"] = dict(draft.metadata)
    if draft.title and draft.title != draft.name:
        lost.append(f"displayName {draft.title!r}")
    if draft.tests:
        lost.append("the tests: dotprompt has none; export them to promptfoo")
    for number, turn in enumerate(draft.turns, 1):
        texts = [piece for piece in walk(turn.pieces) if isinstance(piece, Text)]
        if any("<<<dotprompt:" in piece.text for piece in texts):
            raise unsayable("dotprompt", 0, "the text <<<dotprompt:, its own mark,")
        if not any(not isinstance(piece, Text) or piece.text.strip() for piece in turn.pieces):
            lost.append(f"message {number}, which holds nothing: dotprompt leaves it out")
    writing = Writing({each.name: each.kind for each in draft.inputs})
    body = writing.turns(draft.turns)
    if body[-1:].isspace():
        body += "{{!}}"  # the end of the file is trimmed
    return {f"{draft.name}{SUFFIX}": f"---\n{yaml_text(header)}---\n{body}\n"}, lost + writing.lost
