"""LangChain's prompts as its hub and ``dumps`` write them: read as data, never loaded.

``{"lc": 1, "type": "constructor", "id": [..., "ChatPromptTemplate"], "kwargs": {...}}``. Nothing is imported
by the names in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Formatter
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.exchange import expressions, guess, jinja, mustache
from rag.prompts.exchange.draft import (
    ROLES,
    Draft,
    Names,
    Piece,
    Role,
    Text,
    Turn,
    Value,
    merged,
    refused,
    walk,
)
from rag.prompts.exchange.openai import losses, text_of
from rag.prompts.exchange.picoschema import kind_of
from rag.prompts.exchange.source import json_of, shown, texts
from rag.prompts.values import Input

SUFFIX = ".langchain.json"
_TEMPLATES: Mapping[str, Role] = {
    "SystemMessagePromptTemplate": "system",
    "HumanMessagePromptTemplate": "user",
    "AIMessagePromptTemplate": "assistant",
}
_MESSAGES: Mapping[str, Role] = {"SystemMessage": "system", "HumanMessage": "user", "AIMessage": "assistant"}


def read(text: str, *, name: str) -> tuple[Draft, list[str]]:
    """A serialised prompt as a draft, and what it loses. Raises InvalidTemplate."""
    reading = _Reading()
    kind, kwargs = _constructor(texts(json_of(text)))
    if kind == "RunnableSequence":
        reading.lost.append("what follows the prompt in the sequence: its model, its parsers")
        kind, kwargs = _constructor(kwargs.get("first"))
    if kind == "PromptTemplate":
        turns = [Turn("user", reading.template(kind, kwargs))]
    elif kind in ("ChatPromptTemplate", "StructuredPrompt"):
        listed = kwargs.get("messages")
        if not isinstance(listed, list) or not listed:
            raise InvalidTemplate("the prompt has no messages")
        turns = [turn for each in listed for turn in reading.turns(each)]
        if kind == "StructuredPrompt":
            reading.lost.append("the schema of the answer")
    else:
        raise InvalidTemplate(f"a {kind} is not taken over; ChatPromptTemplate and PromptTemplate are")
    reading.defaults |= _mapping(kwargs.get("partial_variables"))
    metadata = _mapping(kwargs.get("metadata"))
    title = str(metadata.get("lc_hub_repo") or "")
    inputs = tuple(
        Input(ours, reading.kind(foreign, ours), "", foreign not in given, given.get(foreign))
        for given in [reading.defaults]
        for foreign, ours in reading.names.foreign.items()
    )
    return Draft(name, tuple(turns), inputs, title=title), reading.lost + reading.names.told()


def _constructor(data: object) -> tuple[str, Mapping[str, Any]]:
    """The class that a serialised object names, and its arguments. Raises InvalidTemplate."""
    if (
        not isinstance(data, Mapping)
        or data.get("type") != "constructor"
        or not isinstance(data.get("id"), list)
    ):
        kind = data.get("type") if isinstance(data, Mapping) else type(data).__name__
        raise InvalidTemplate(
            f'not a serialised prompt of LangChain: {kind!r} where a "constructor" should be'
        )
    return str(data["id"][-1] if data["id"] else ""), _mapping(data.get("kwargs"))


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {}


class _Reading:
    def __init__(self) -> None:
        self.names = Names()
        self.lost: list[str] = []
        self.defaults: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}

    def kind(self, foreign: str, ours: str) -> str:
        """The kind of a variable: by how the template uses it, else by the value it has from the start."""
        return self.kinds.get(ours) or kind_of(self.defaults.get(foreign))

    def turns(self, data: object) -> list[Turn]:
        kind, kwargs = _constructor(data)
        if kind in _MESSAGES:
            return [Turn(_MESSAGES[kind], merged([Text(text_of(kwargs.get("content"), kind, self.lost))]))]
        if kind == "MessagesPlaceholder":
            self.lost.append(
                f"the messages that are put in as {kwargs.get('variable_name')!r}: a prompt here holds none"
            )
            return []
        role = _TEMPLATES.get(kind)
        if kind == "ChatMessagePromptTemplate":
            role = ROLES.get(str(kwargs.get("role")).lower())
            if role is None:
                raise InvalidTemplate(
                    f"the role {kwargs.get('role')!r} is not taken over; there are system, user, assistant"
                )
        if role is None:
            raise InvalidTemplate(f"a {kind} is not taken over")
        prompts = kwargs.get("prompt")
        pieces: list[Piece] = []
        for each in prompts if isinstance(prompts, list) else [prompts]:
            named, about = _constructor(each)
            if named != "PromptTemplate":
                self.lost.append(f"a part of a message, {named}: a prompt here is text")
                continue
            pieces.extend(self.template(named, about))
        return [Turn(role, merged(pieces))]

    def template(self, kind: str, kwargs: Mapping[str, Any]) -> tuple[Piece, ...]:
        text, format = str(kwargs.get("template") or ""), kwargs.get("template_format", "f-string")
        self.defaults |= _mapping(kwargs.get("partial_variables"))
        if format == "f-string":
            return self._fields(text)
        if format == "mustache":
            found = mustache.Reading(self.names, self.lost)
            pieces = found.read(text)
            self.kinds |= dict.fromkeys(found.looped, "array")
            return pieces
        if format == "jinja2":
            pieces = jinja.read(text)
            for about in guess.inputs([Turn("user", pieces)], lenient=False):
                name = about.name
                if about.kind != "string":
                    self.kinds[name] = about.kind
                if self.names.of(name) != name:
                    raise refused(
                        0, f"the variable {name!r} cannot be called so here: rename it in the template"
                    )
            return pieces
        raise InvalidTemplate(
            f"{kind}: the template_format {format!r} is not taken over; f-string, mustache, jinja2 are"
        )

    def _fields(self, text: str) -> tuple[Piece, ...]:
        found: list[Piece] = []
        try:
            fields = list(Formatter().parse(text))
        except ValueError as error:
            raise InvalidTemplate(f"the f-string {shown(text)}: {error}") from None
        for literal, field, spec, conversion in fields:
            found.append(Text(literal))
            if field is None:
                continue
            if spec or conversion or not field or any(sign in field for sign in ".[]") or field.isdigit():
                sign = f"!{conversion}" if conversion else ""
                told = f"{{{field}{sign}{':' if spec else ''}{spec or ''}}}"
                raise InvalidTemplate(f"the field {told} is not taken over; a variable's name alone is")
            found.append(Value(self.names.of(field)))
        return merged(found)


def write(draft: Draft) -> tuple[dict[str, str], list[str]]:
    """A draft as a serialised ChatPromptTemplate, and what it loses.

    f-strings where the prompt does no more than fill in values, as they are what LangChain takes from
    anybody; Jinja where it chooses, loops or filters.
    """
    lost = losses(draft)
    if draft.model.get("id") or draft.options:
        lost.append(f"the model and its options: {shown({**draft.model})}")
    if draft.tests:
        lost.append("the tests: LangChain's prompts have none; export them to promptfoo")
    lost = [line for line in lost if not line.startswith("the default of ")]
    simple = all(
        isinstance(piece, Text)
        or (isinstance(piece, Value) and len(expressions.plain(piece.expression) or ()) == 1)
        for turn in draft.turns
        for piece in turn.pieces
    )
    if not simple:
        lost.append(
            "the prompt does more than fill in values, so its format is jinja2, which LangChain's load takes "
            "only with an init_validator that lets it"
        )
    messages = []
    for turn in draft.turns:
        template = _as_fields(turn.pieces) if simple else jinja.written(turn.pieces)
        used = sorted(jinja.variables(turn.pieces))
        prompt = {
            "input_variables": used,
            "template": template,
            "template_format": "f-string" if simple else "jinja2",
        }
        named = next(name for name, role in _TEMPLATES.items() if role == turn.role)
        inner = _made(["prompt", "PromptTemplate"], prompt)
        messages.append(_made(["chat", named], {"prompt": inner}))
    used = sorted(set().union(*(jinja.variables(turn.pieces) for turn in draft.turns)))
    partial = {
        each.name: each.default if each.default is not None else _nothing(each)
        for each in draft.inputs
        if each.name in used and not each.required
    }
    kwargs: dict[str, Any] = {"input_variables": [name for name in used if name not in partial]}
    if partial:
        kwargs["partial_variables"] = partial
    whole = _made(["chat", "ChatPromptTemplate"], {**kwargs, "messages": messages})
    return {f"{draft.name}{SUFFIX}": f"{json.dumps(whole, ensure_ascii=False, indent=2)}\n"}, lost


def _nothing(about: Input) -> Any:
    return {"string": "", "array": [], "object": {}}.get(about.kind)


def _made(path: list[str], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", *path], "kwargs": dict(kwargs)}


def _as_fields(pieces: tuple[Piece, ...]) -> str:
    return "".join(
        piece.text.replace("{", "{{").replace("}", "}}")
        if isinstance(piece, Text)
        else f"{{{piece.expression}}}"
        for piece in walk(pieces)
        if isinstance(piece, Text | Value)
    )
