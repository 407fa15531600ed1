"""GitHub Models' ``.prompt.yml``: messages with ``{{name}}``, test data and evaluators.

Written after docs.github.com/github-models and the reader of the extension ``gh models``: placeholders are
replaced as they stand, a string evaluator compares without case except ``equals``, and every evaluator is
applied to every item of the test data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.exchange import braces
from rag.prompts.exchange.draft import Draft, Names
from rag.prompts.exchange.openai import losses, messages
from rag.prompts.exchange.prompty import yaml_text
from rag.prompts.exchange.source import mapping, shown, yaml_of
from rag.prompts.values import Input

SUFFIX = ".prompt.yml"
_FORMAT = "GitHub's prompt files"
_OPTIONS = {"maxTokens": "maxOutputTokens", "temperature": "temperature", "topP": "topP"}
_KNOWN = ("name", "description", "model", "modelParameters", "messages", "testData", "evaluators")
_SIMILAR = 0.8
"""The likeness asked for where GitHub's own evaluator of similarity, a language model, stood."""


def read(text: str, *, name: str) -> tuple[Draft, list[str]]:
    """A ``.prompt.yml`` as a draft, and what it loses. Raises InvalidTemplate."""
    data = yaml_of(text)
    if not isinstance(data, Mapping) or "messages" not in data:
        raise InvalidTemplate("line 1: not a prompt of GitHub Models: it has no messages")
    names = Names()
    lost = [f"{key}: {shown(value)}" for key, value in data.items() if key not in _KNOWN]
    turns = messages(data["messages"], names=names, lost=lost)
    options = {}
    for key, value in mapping(data, "modelParameters").items():
        options[_OPTIONS.get(key, key)] = value
    model: dict[str, Any] = {"id": str(data["model"])} if data.get("model") else {}
    if options:
        model["options"] = options
    draft = Draft(
        name=name,
        turns=turns,
        inputs=tuple(Input(each, "string", "", True, None) for each in names.ours),
        title=str(data.get("name") or ""),
        description=str(data.get("description") or ""),
        model=model,
        tests=_tests(data, names, lost),
    )
    return draft, lost + names.told()


def _tests(data: Mapping[Any, Any], names: Names, lost: list[str]) -> dict[str, Any] | None:
    items, evaluators = data.get("testData") or [], data.get("evaluators") or []
    if not isinstance(items, list) or not isinstance(evaluators, list):
        raise InvalidTemplate("testData and evaluators must be lists")
    if not items:
        if evaluators:
            lost.append("the evaluators: there is no test data to apply them to")
        return None
    tests: list[dict[str, Any]] = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            raise InvalidTemplate(f"testData: item {number} is {shown(item)}, not a mapping of values")
        values = {str(key): value for key, value in item.items()}
        used = {key: value for key, value in values.items() if key in names.foreign}
        asserted = [
            made for each in evaluators if (made := _assertion(each, values, lost if number == 1 else []))
        ]
        beyond = sorted(set(values) - set(used) - {"expected"})
        if beyond and number == 1:
            lost.append(f"{', '.join(beyond)} of the test data: no message uses it")
        tests.append({"vars": names.renamed(used)} | ({"assert": asserted} if asserted else {}))
    return {"tests": tests}


def _assertion(evaluator: object, values: Mapping[str, Any], lost: list[str]) -> dict[str, Any] | None:
    """An evaluator as an assertion of promptfoo's, for one item; None where there is none like it."""
    if not isinstance(evaluator, Mapping):
        raise InvalidTemplate(f"evaluators: {shown(evaluator)} is not a mapping")
    named = str(evaluator.get("name") or "an evaluator")
    string = mapping(evaluator, "string")
    for key, kind in (("equals", "equals"), ("contains", "icontains"), ("startsWith", "starts-with")):
        if string.get(key):
            if key == "startsWith":
                lost.append(f"the evaluator {named!r} compares without case there, with case here")
            return {"type": kind, "value": _filled(str(string[key]), values)}
    if evaluator.get("uses") == "github/similarity" and "expected" in values:
        lost.append(
            f"the evaluator {named!r} asks a model there, and compares by meaning here (≥ {_SIMILAR})"
        )
        return {"type": "similar", "value": str(values["expected"]), "threshold": _SIMILAR}
    if prompt := mapping(evaluator, "llm").get("prompt"):
        lost.append(f"the evaluator {named!r}: its model and its choices; its question is an llm-rubric")
        return {"type": "llm-rubric", "value": _filled(str(prompt), values)}
    lost.append(f"the evaluator {named!r}: nothing here checks this")
    return None


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: str(values.get(slot[1], slot[0])), text)


def write(draft: Draft) -> tuple[dict[str, str], list[str]]:
    """A draft as a ``.prompt.yml``, and what it loses. Raises PromptError for what it cannot say."""
    data: dict[str, Any] = {"name": draft.title or draft.name}
    if draft.description:
        data["description"] = draft.description
    if draft.model.get("id"):
        data["model"] = str(draft.model["id"])
    lost = losses(draft, described=True)
    if not draft.model.get("id"):
        lost.append("no model is named in the prompt, and GitHub asks for one: write it into the file")
    back = {ours: theirs for theirs, ours in _OPTIONS.items()}
    parameters = {back[key]: value for key, value in draft.options.items() if key in back}
    lost += [
        f"model.options.{key}: {shown(value)}" for key, value in draft.options.items() if key not in back
    ]
    if parameters:
        data["modelParameters"] = parameters
    data["messages"] = [
        {"role": turn.role, "content": braces.write(turn.pieces, format=_FORMAT)} for turn in draft.turns
    ]
    if draft.tests:
        data |= _test_data(draft.tests, lost)
    return {f"{draft.name}{SUFFIX}": yaml_text(data)}, lost


def _test_data(tests: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    """The tests' variables, and what all tests assert alike: evaluators are for all items together."""
    cases = [case for case in tests.get("tests") or [] if isinstance(case, Mapping)]
    shared = list(mapping(tests, "defaultTest").get("assert") or [])
    own = [list(case.get("assert") or []) for case in cases]
    if own and all(each == own[0] for each in own):
        shared, own = shared + own[0], [[] for _ in own]
    evaluators = []
    for assertion in shared:
        kind, value = str(assertion.get("type")), str(assertion.get("value") or "")
        key = {"equals": "equals", "icontains": "contains"}.get(kind)
        if key and value:
            evaluators.append({"name": f"{kind} {shown(value)}", "string": {key: value}})
        else:
            lost.append(f"the assertion {kind} of all tests: no evaluator does this")
    likened = [[each for each in mine if each.get("type") == "similar"] for mine in own]
    if likened and all(len(each) == 1 for each in likened):
        evaluators.append({"name": "similar to what is expected", "uses": "github/similarity"})
        lost.append("the thresholds of the assertions `similar`: GitHub's similarity has its own")
    else:
        likened = [[] for _ in own]
    items = [
        {str(key): value for key, value in mapping(case, "vars").items()}
        | ({"expected": alike[0].get("value")} if alike else {})
        for case, alike in zip(cases, likened, strict=True)
    ]
    left = sum(len(mine) - len(alike) for mine, alike in zip(own, likened, strict=True))
    if left:
        lost.append(f"{left} assertions of single tests: GitHub's evaluators are the same for all")
    return ({"testData": items} if items else {}) | ({"evaluators": evaluators} if evaluators else {})
