"""promptfoo's configuration: prompts in Nunjucks, which is near to Jinja, and tests, which are ours too.

https://promptfoo.dev/docs/configuration: a prompt is a text (one message of the user's), a list of messages
as JSON or YAML, or a file of either. What is code (``.js``, ``.py``, ``exec:``) is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import nodes

from rag.errors import InvalidTemplate, PromptError
from rag.prompts.exchange import expressions, guess, jinja
from rag.prompts.exchange.draft import ROLES, Draft, Each, If, ReadFile, Turn, Value, unsayable, walk
from rag.prompts.exchange.openai import OPTIONS, losses, text_of
from rag.prompts.exchange.prompty import yaml_text
from rag.prompts.exchange.source import cleaned, json_of, mapping, shown, yaml_of

SUFFIX, CHAT = ".promptfooconfig.yaml", ".chat.json"
MAX_PROMPTS = 100
"""Prompts of one configuration."""
_FORMAT = "Nunjucks"
_FILTERS = frozenset(
    (
        *(
            "abs",
            "capitalize",
            "default",
            "dictsort",
            "first",
            "float",
            "int",
            "join",
            "last",
            "length",
            "list",
        ),
        *("lower", "reverse", "sort", "string", "title", "trim", "upper"),
    )
)
"""Those that Jinja and Nunjucks have alike."""
_OURS = frozenset(
    ("cites", "cites-only-retrieved", "context-contains", "found", "json-schema", "language", "max-tokens")
)
"""Assertions that promptfoo does not know."""
_READ = ("description", "prompts", "tests", "defaultTest", "providers", "targets", "$schema")


def read(text: str, *, name: str, open: ReadFile) -> list[tuple[Draft, list[str]]]:
    """A configuration's prompts as drafts, each with its tests and what it loses.

    ``open`` gives the text of a file that the configuration names. Raises PromptError, InvalidTemplate.
    """
    data = yaml_of(text)
    if not isinstance(data, Mapping) or "prompts" not in data:
        raise InvalidTemplate("line 1: not a configuration of promptfoo: it has no prompts")
    lost = [f"{key}: {shown(value)}" for key, value in data.items() if key not in _READ]
    model = _model(data.get("providers") or data.get("targets"), lost)
    tests = _tests(data, open, lost)
    listed = data["prompts"] if isinstance(data["prompts"], list) else [data["prompts"]]
    found: list[tuple[str, str, str]] = []
    for each in listed:
        found.extend(_texts(each, open, lost))
    if len(found) > MAX_PROMPTS:
        raise InvalidTemplate(f"the configuration has {len(found)} prompts; the limit is {MAX_PROMPTS}")
    if not found:
        raise InvalidTemplate(f"no prompt to take over: {'; '.join(lost)}")
    drafts = []
    for number, (label, body, where) in enumerate(found, 1):
        turns = _turns(body, where)
        slug = re.sub(r"[^\w.+-]+", "-", label).strip("-._+").lower() if label else ""
        title = slug or (f"{name}-{number}" if len(found) > 1 else name)
        draft = Draft(
            name=name if len(found) == 1 else title,
            turns=turns,
            inputs=guess.inputs(turns, lenient=True),
            title=label,
            description=str(data.get("description") or ""),
            model=model,
            tests=tests,
        )
        drafts.append((draft, lost if number == 1 else []))
    return drafts


def _texts(prompt: object, open: ReadFile, lost: list[str]) -> Iterator[tuple[str, str, str]]:
    """Label, text and file of each prompt that an entry stands for; what is code goes to ``lost``."""
    label, raw = "", prompt
    if isinstance(prompt, Mapping):
        label = str(prompt.get("label") or "")
        raw = prompt.get("raw") or prompt.get("id")
        lost += [
            f"{key} of the prompt {label or shown(raw)}" for key in prompt if key in ("config", "function")
        ]
    if not isinstance(raw, str):
        raise InvalidTemplate(f"prompts: {shown(prompt)} is neither a text nor a file")
    path = raw.removeprefix("file://") if raw.startswith("file://") else ""
    if raw.startswith("exec:") or re.search(
        r"\.(?:[cm]?[jt]s|py|sh|rb|csv)(?::\w+)?\Z", path or raw.split()[-1]
    ):
        lost.append(f"the prompt {raw}: it is made by a program, and nothing foreign is run here")
    elif "://" in raw.split()[0] and not path:
        lost.append(f"the prompt {raw}: it is kept elsewhere")
    elif path:
        text = cleaned(open(path), file=path)
        pieces = text.split("\n---\n") if path.endswith(".txt") else [text]
        for number, piece in enumerate(pieces, 1):
            stem = label or re.sub(r"\.\w+\Z", "", path.rsplit("/", 1)[-1])
            yield (f"{stem}-{number}" if len(pieces) > 1 else stem), piece.strip("\n"), path
    else:
        yield label, raw, ""


def _turns(text: str, where: str) -> tuple[Turn, ...]:
    file = f"{where}: " if where else ""
    listed: object = None
    try:
        if re.match(r"\s*\[\s*\{", text) or where.endswith(".json"):
            listed = json_of(text)
        elif re.match(r"\s*-\s+(?:role|content)\s*:", text):
            listed = yaml_of(text)
        if not isinstance(listed, list):
            return (Turn("user", jinja.read(text)),)
        turns = []
        for number, message in enumerate(listed, 1):
            role = ROLES.get(str(message.get("role")).lower()) if isinstance(message, Mapping) else None
            if role is None:
                raise InvalidTemplate(f"message {number} has no role that is taken over: {shown(message)}")
            turns.append(Turn(role, jinja.read(text_of(message.get("content"), f"message {number}", []))))
        return tuple(turns)
    except PromptError as error:
        raise InvalidTemplate(f"{file}{error}") from None


def _model(providers: object, lost: list[str]) -> dict[str, Any]:
    listed = providers if isinstance(providers, list) else [providers] if providers else []
    if not listed:
        return {}
    lost += [f"the provider {shown(each)}: a prompt names one model" for each in listed[1:]]
    first = listed[0]
    if isinstance(first, str):
        return {"id": first}
    if not isinstance(first, Mapping) or not isinstance(first.get("id"), str):
        lost.append(f"the provider {shown(first)}")
        return {}
    options = {}
    for key, value in mapping(first, "config").items():
        if key in OPTIONS:
            options[OPTIONS[key]] = value
        else:
            lost.append(f"{key} of the provider {first['id']}: {shown(value)}")
    return {"id": first["id"]} | ({"options": options} if options else {})


def _tests(data: Mapping[str, Any], open: ReadFile, lost: list[str]) -> dict[str, Any] | None:
    tests, shared = data.get("tests"), data.get("defaultTest")
    listed: list[Any] = []
    for each in tests if isinstance(tests, list) else [tests] if tests else []:
        if not isinstance(each, str):
            listed.append(each)
        elif re.search(r"\.(?:ya?ml|json)\Z", each) and "*" not in each:
            inner = yaml_of(cleaned(open(each.removeprefix("file://")), file=each))
            listed += inner if isinstance(inner, list) else [inner]
        else:
            lost.append(f"the tests {each}: write them as YAML to have them taken over")
    if isinstance(shared, str):
        shared = yaml_of(cleaned(open(shared.removeprefix("file://")), file=shared))
    if not listed:
        return None
    return ({"defaultTest": shared} if shared else {}) | {"tests": listed}


def write(draft: Draft) -> tuple[dict[str, str], list[str]]:
    """A draft as a configuration, its messages and its tests, and what it loses. Raises PromptError."""
    messages = []
    lost = [line for line in losses(draft, described=True) if not line.startswith("the default of ")]
    kinds = {each.name: each.kind for each in draft.inputs}
    for turn in draft.turns:
        for piece in walk(turn.pieces):
            _check(piece, kinds, lost)
        pieces = jinja.renamed(turn.pieces, lambda expression: re.sub(r"\| tojson\Z", "| dump", expression))
        messages.append({"role": turn.role, "content": jinja.written(pieces)})
    base = draft.name.rsplit("/", 1)[-1]
    chat = f"{draft.name}{CHAT}"
    config: dict[str, Any] = {"description": draft.description or draft.title or draft.name}
    config["prompts"] = [{"id": f"file://{base}{CHAT}", "label": draft.name}]
    config["providers"] = [_provider(draft, lost)]
    defaults = {each.name: each.default for each in draft.inputs if each.default is not None}
    tests = dict(draft.tests or {})
    shared = dict(mapping(tests, "defaultTest"))
    if defaults:
        shared["vars"] = {**defaults, **mapping(shared, "vars")}
    if shared:
        config["defaultTest"] = _known(shared, lost)
    config["tests"] = [_known(case, lost) for case in tests.get("tests") or [] if isinstance(case, Mapping)]
    if not config["tests"]:
        config["tests"] = [{"vars": {each.name: "" for each in draft.inputs if each.required}}]
        lost.append("there are no tests: one with empty variables stands in their place, to be filled in")
    return {
        f"{draft.name}{SUFFIX}": yaml_text(config),
        chat: f"{json.dumps(messages, ensure_ascii=False, indent=2)}\n",
    }, lost


def _check(piece: object, kinds: Mapping[str, str], lost: list[str]) -> None:
    """Refuse the filters that Nunjucks lacks; tell where it prints a value another way."""
    if isinstance(piece, Value):
        path = expressions.plain(piece.expression)
        kind = kinds.get(str(path[0]), "") if path and len(path) == 1 else ""
        if kind in ("boolean", "array", "object"):
            lost.append(f"`{piece.expression}` is printed as JavaScript prints a value of kind {kind}")
        written = [re.sub(r"\| tojson\Z", "", piece.expression).strip()]
        if written[0] != piece.expression:
            lost.append(f"`{piece.expression}` is `dump` there, which writes fewer spaces")
    elif isinstance(piece, If):
        written = [test for test, _ in piece.branches]
    elif isinstance(piece, Each):
        written = [piece.items]
        if expressions.parsed(piece.items) is None:
            raise unsayable(_FORMAT, piece.line, f"the loop `for {piece.item} in {piece.items}`")
    else:
        return
    for expression in written:
        node = expressions.parsed(expression)
        whole = nodes.Output([node]) if isinstance(node, nodes.Expr) else nodes.Output([])
        for each in whole.find_all(nodes.Filter):
            if each.name not in _FILTERS:
                raise unsayable(_FORMAT, piece.line, f"the filter {each.name}")


def _provider(draft: Draft, lost: list[str]) -> Any:
    named = str(draft.model.get("id") or "")
    back = {ours: theirs for theirs, ours in OPTIONS.items() if theirs != "max_completion_tokens"}
    config = {back[key]: value for key, value in draft.options.items() if key in back}
    lost += [
        f"model.options.{key}: {shown(value)}" for key, value in draft.options.items() if key not in back
    ]
    if ":" in named:
        return {"id": named, "config": config} if config else named
    lost.append(
        f"promptfoo asks for a provider: write one in place of echo, such as openai:chat:{named or 'MODEL'}"
        + (f", with {shown(config)}" if config else "")
    )
    return "echo"


def _known(case: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    """A test without what promptfoo does not know."""
    kept = {key: value for key, value in case.items() if key not in ("context", "assert", "options")}
    values = dict(mapping(case, "vars"))
    passages = values.get("context", case.get("context"))
    if passages is not None:
        values["context"] = "\n\n".join(_passages(passages))
        _once(lost, "the fences around the tests' passages: promptfoo puts them in as one text")
    if values:
        kept["vars"] = values
    asserted = [each for each in case.get("assert") or [] if isinstance(each, Mapping)]
    ours = [each for each in asserted if str(each.get("type")).removeprefix("not-") in _OURS]
    for each in ours:
        _once(lost, f"the assertions {each.get('type')}: promptfoo does not know them")
    options = mapping(case, "options")
    if here := sorted(set(options) & {"collection", "k", "where"}):
        _once(lost, f"{', '.join(here)} of the tests: promptfoo retrieves nothing")
    options = {key: value for key, value in options.items() if key not in ("collection", "k", "where")}
    known = [each for each in asserted if each not in ours]
    return kept | ({"options": options} if options else {}) | ({"assert": known} if known else {})


def _passages(given: object) -> list[str]:
    listed = given if isinstance(given, list) else [given]
    return [str(each.get("text") if isinstance(each, Mapping) else each) for each in listed]


def _once(lost: list[str], told: str) -> None:
    if told not in lost:
        lost.append(told)
