"""Messages as OpenAI's chat API takes them, ``{{name}}`` for what is filled in: a list, or a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.exchange import braces
from rag.prompts.exchange.draft import ROLES, Draft, Names, Turn
from rag.prompts.exchange.source import json_of, shown, texts
from rag.prompts.values import Input

SUFFIX = ".messages.json"
OPTIONS = {
    "temperature": "temperature",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "top_p": "topP",
    "stop": "stopSequences",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
"""The request's parameters by their names in Prompty."""
_FORMAT = "OpenAI's messages"


def read(text: str, *, name: str) -> tuple[Draft, list[str]]:
    """Messages as a draft, and what they lose. Raises InvalidTemplate."""
    data = texts(json_of(text))
    request: Mapping[str, Any] = data if isinstance(data, Mapping) else {"messages": data}
    names, lost = Names(), list[str]()
    turns = messages(request.get("messages"), names=names, lost=lost)
    options = {}
    for key, value in request.items():
        if key in OPTIONS:
            options[OPTIONS[key]] = [value] if (key, type(value)) == ("stop", str) else value
        elif key not in ("messages", "model"):
            lost.append(f"{key}: {shown(value)}")
    model: dict[str, Any] = {"id": str(request["model"])} if request.get("model") else {}
    if options:
        model["options"] = options
    inputs = tuple(Input(each, "string", "", True, None) for each in names.ours)
    return Draft(name, turns, inputs, model=model), lost + names.told()


def messages(listed: object, *, names: Names, lost: list[str]) -> tuple[Turn, ...]:
    """A list of messages as turns. Raises InvalidTemplate."""
    if not isinstance(listed, list) or not listed:
        raise InvalidTemplate('no messages: there must be a list of {"role": …, "content": …}')
    turns = []
    for number, message in enumerate(listed, 1):
        if not isinstance(message, Mapping):
            raise InvalidTemplate(
                f"message {number} is {shown(message)}, not a mapping with role and content"
            )
        role = ROLES.get(str(message.get("role")).lower())
        if role is None:
            told = ", ".join(("system", "user", "assistant"))
            raise InvalidTemplate(f"message {number} has the role {message.get('role')!r}; there are {told}")
        lost += [f"{key} of message {number}" for key in message if key not in ("role", "content")]
        content = text_of(message.get("content"), f"message {number}", lost)
        turns.append(Turn(role, braces.read(content, names=names, lost=lost)))
    return tuple(turns)


def text_of(content: object, where: str, lost: list[str]) -> str:
    """The text of a message's content: a text, or parts of which some are texts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidTemplate(f"{where}: the content is {shown(content)}, neither a text nor a list of parts")
    found = []
    for part in content:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
            found.append(part["text"])
        else:
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            lost.append(f"{where}: its part of kind {kind!r}: a prompt here is text")
    return "".join(found)


def write(draft: Draft) -> tuple[dict[str, str], list[str]]:
    """A draft as a request, and what it loses. Raises PromptError for conditions, loops and filters."""
    listed = [
        {"role": turn.role, "content": braces.write(turn.pieces, format=_FORMAT)} for turn in draft.turns
    ]
    request: dict[str, Any] = {"model": draft.model["id"]} if draft.model.get("id") else {}
    request["messages"] = listed
    back = {ours: theirs for theirs, ours in OPTIONS.items() if theirs != "max_tokens"}
    lost = losses(draft)
    for key, value in draft.options.items():
        if key in back:
            request[back[key]] = value
        else:
            lost.append(f"model.options.{key}: {shown(value)}")
    whole = request if len(request) > 1 else listed
    if draft.tests:
        lost.append("the tests: these messages have none; export them to promptfoo")
    return {f"{draft.name}{SUFFIX}": f"{json.dumps(whole, ensure_ascii=False, indent=2)}\n"}, lost


def losses(draft: Draft, *, described: bool = False) -> list[str]:
    """What a format without places for inputs and metadata cannot take."""
    lost = [f"the metadata: {', '.join(draft.metadata)}"] if draft.metadata else []
    lost += [f"model.{key}: {shown(draft.model[key])}" for key in draft.model if key not in ("id", "options")]
    lost += [
        f"the default of {each.name}: {shown(each.default)}"
        for each in draft.inputs
        if each.default is not None
    ]
    kinds = [each.name for each in draft.inputs if each.kind != "string" or each.description]
    if kinds:
        lost.append(f"kinds and descriptions of the inputs {', '.join(kinds)}")
    if draft.outputs:
        lost.append("the outputs")
    if not described:
        told = {"title": draft.title, "description": draft.description}
        lost += [f"the {key}: {shown(value)}" for key, value in told.items() if value]
    return [line for line in lost if line != 'model.apiType: "chat"']
