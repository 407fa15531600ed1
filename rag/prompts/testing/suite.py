"""The tests of a prompt as a file, in promptfoo's shape: variables in, assertions about what comes out.

``support/answer.tests.yaml`` lies beside ``support/answer.prompty``:

    tests:
      - description: opening hours
        vars: {question: When do you open?, context: [We open at nine.]}
        assert:
          - {type: icontains, value: nine}
          - {type: cites}

A whole promptfoo configuration is read too: what concerns other prompts and providers is passed over.
Everything else that this module does not know is an error with its line, and what promptfoo would run
as code is kept and told as not evaluated: no test passes because nobody looked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import product
from types import MappingProxyType
from typing import Any

from rag.errors import PromptError
from rag.prompts.parts import plain
from rag.prompts.testing.assertions import Assertion, read_assertion, share
from rag.prompts.testing.located import Part, read_yaml, referred
from rag.types import text_digest

MAX_COMBINATIONS = 1000
"""Tests that one test may become by the lists among its variables."""

_PROMPTFOO = """
    prompts providers targets tags outputPath sharing env evaluateOptions metadata commandLineOptions
    writeLatestResults derivedMetrics tracing redteam assertionTemplates $schema"""
_IGNORED = tuple(_PROMPTFOO.split())
"""What a promptfoo configuration says of prompts, providers and its own output."""
_TEST = ("description", "vars", "context", "assert", "threshold", "options", "metadata")
_OPTIONS = ("collection", "k", "where", "disableVarExpansion", "disableDefaultAsserts")


@dataclass(frozen=True, slots=True)
class Given:
    """A passage that a test brings itself."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One test. ``context`` are its own passages; None has them retrieved, from ``collection`` and with ``k``
    and ``where`` (a filter's text) where they are given. ``threshold`` is the share of the assertions'
    weight that has to pass, None: all of them. ``line`` is where it stands in its file."""

    description: str
    vars: Mapping[str, Any]
    assertions: tuple[Assertion, ...]
    threshold: float | None = None
    context: tuple[Given, ...] | None = None
    collection: str = ""
    k: int | None = None
    where: str = ""
    expands: bool = True
    line: int = 0

    def each(self, *, lists: Collection[str]) -> Iterator[Case]:
        """The tests that it stands for: a list among its variables is one test for each element, as in
        promptfoo, except for the variables in ``lists``, which take a list as their value.

        >>> case = Case("greets", {"who": ["Ana", "Leo"]}, ())
        >>> [(one.description, one.vars["who"]) for one in case.each(lists=())]
        [('greets (who: Ana)', 'Ana'), ('greets (who: Leo)', 'Leo')]
        """
        names = [
            name
            for name, value in self.vars.items()
            if self.expands and isinstance(value, list) and value and name not in lists
        ]
        if not names:
            yield self
            return
        for chosen in product(*(self.vars[name] for name in names)):
            told = ", ".join(f"{name}: {value}" for name, value in zip(names, chosen, strict=True))
            values = {**self.vars, **dict(zip(names, chosen, strict=True))}
            yield replace(self, description=f"{self.description} ({told})", vars=MappingProxyType(values))


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one file, in its order. ``digest`` is the SHA-256 (hex) of its text."""

    name: str
    cases: tuple[Case, ...]
    description: str
    digest: str
    source: str = field(repr=False)


def read_suite(text: str, *, name: str) -> Suite:
    """The tests of a file; ``name`` is told in errors. Raises PromptError with the line.

    >>> suite = read_suite("tests: [{vars: {q: hi}, assert: [{type: contains, value: hello}]}]", name="t")
    >>> suite.cases[0].assertions[0].value
    'hello'
    >>> read_suite("tests:\\n- vars: {}\\n  asert: []", name="t.tests.yaml")
    Traceback (most recent call last):
    ...
    rag.errors.PromptError: t.tests.yaml: line 3: no key 'asert' in a test; did you mean assert?
    """
    try:
        return _read(plain(text), name)
    except PromptError as error:
        raise PromptError(f"{name}: {error}") from None


def _read(text: str, name: str) -> Suite:
    document = read_yaml(text)
    description, default = "", Part(MappingProxyType({}), 1, "", 1)
    tests = document
    if isinstance(document.value, Mapping):
        fields = document.value
        _known(document, ("description", "defaultTest", "tests", *_IGNORED), "the file")
        if "tests" not in fields:
            raise PromptError("line 1: the file has no `tests:`")
        description = _text(fields["description"]) if "description" in fields else ""
        default = referred(fields.get("defaultTest", default), document)
        tests = fields["tests"]
        if not isinstance(default.value, Mapping):
            raise PromptError(
                f"line {default.line}: defaultTest is {default.kind}; write a test without name"
            )
        _known(default, _TEST, "defaultTest")
    if not isinstance(tests.value, tuple):
        raise PromptError(f"line {tests.line}: the tests are {tests.kind}; write them here, as a list")
    cases = tuple(
        _case(referred(part, document), default, document, number)
        for number, part in enumerate(tests.value, 1)
    )
    return Suite(name, cases, description, text_digest(text), text)


def _case(part: Part, default: Part, root: Part, number: int) -> Case:
    own, shared = _mapping(part, "a test"), _mapping(default, "defaultTest")
    _known(part, _TEST, "a test")
    options = {**_options(shared.get("options")), **_options(own.get("options"))}
    values = {**_vars(shared.get("vars")), **_vars(own.get("vars"))}
    given = [fields[key] for fields in (own, shared) for key in ("context",) if key in fields][:1]
    if "context" in values:
        if given:
            raise PromptError(f"line {given[0].line}: the context is given twice, here and under vars")
        given = [values.pop("context")]
    asserted = [own.get("assert")]
    if options.get("disableDefaultAsserts", False) is not True:
        asserted.insert(0, shared.get("assert"))
    names = frozenset(values)
    assertions = [
        read_assertion(each, root, names=names)
        for listed in asserted
        if listed is not None
        for each in _listed(listed, "assert")
    ]
    threshold = own.get("threshold", shared.get("threshold"))
    described = own.get("description", shared.get("description"))
    return Case(
        description=_text(described) if described and described.value is not None else f"test {number}",
        vars=MappingProxyType({key: value.plain() for key, value in values.items()}),
        assertions=tuple(assertions),
        threshold=None if threshold is None else share(threshold, "threshold"),
        context=_context(given[0]) if given else None,
        collection=str(options.get("collection", "")),
        k=options.get("k"),
        where=str(options.get("where", "")),
        expands=options.get("disableVarExpansion", False) is not True,
        line=part.line,
    )


def _vars(part: Part | None) -> dict[str, Part]:
    if part is None or part.value is None:
        return {}
    if isinstance(part.value, str):
        raise PromptError(f"line {part.line}: variables in a file of their own are not read; write them here")
    values = _mapping(part, "vars")
    lists = 1
    for value in values.values():
        if isinstance(value.value, tuple):
            lists *= max(1, len(value.value))
        if isinstance(value.value, str) and value.value.startswith("file://"):
            raise PromptError(f"line {value.line}: {value.value} is not read; write its text here")
    if lists > MAX_COMBINATIONS:
        raise PromptError(
            f"line {part.line}: the lists make {lists:,} tests of one; the limit is {MAX_COMBINATIONS:,} "
            "(options: {disableVarExpansion: true} passes lists on as they are)"
        )
    return values


def _context(part: Part) -> tuple[Given, ...]:
    """A text, or a list of texts and ``{title, text}``."""
    parts = part.value if isinstance(part.value, tuple) else (part,)
    passages = []
    for each in parts:
        if isinstance(each.value, Mapping):
            _known(each, ("title", "text"), "a passage")
            if "text" not in each.value:
                raise PromptError(f"line {each.line}: the passage has no text")
            title = _text(each.value["title"]) if "title" in each.value else ""
            passages.append(Given(_text(each.value["text"]), title))
        elif each.value is not None:
            passages.append(Given(_text(each)))
    return tuple(passages)


def _options(part: Part | None) -> dict[str, Any]:
    if part is None or part.value is None:
        return {}
    fields = _mapping(part, "options")
    _known(part, _OPTIONS, "options")
    for key, kinds, wanted in (
        ("collection", str, "a collection's name"),
        ("k", int, "a whole number"),
        ("where", str, "a filter, such as language=es"),
        ("disableVarExpansion", bool, "true or false"),
        ("disableDefaultAsserts", bool, "true or false"),
    ):
        value = fields[key].value if key in fields else None
        if key in fields and (not isinstance(value, kinds) or (kinds is int and isinstance(value, bool))):
            raise PromptError(f"line {fields[key].line}: {key} is {fields[key].kind}; write {wanted}")
    return {key: value.value for key, value in fields.items()}


def _known(part: Part, keys: Collection[str], where: str) -> None:
    for key, value in _mapping(part, where).items():
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(keys)}"
            raise PromptError(f"line {value.line}: no key {key!r} in {where}; {hint}")


def _mapping(part: Part, what: str) -> dict[str, Part]:
    if not isinstance(part.value, Mapping):
        raise PromptError(f"line {part.line}: {what} is {part.kind}; write a mapping, such as `key: value`")
    return dict(part.value)


def _listed(part: Part, what: str) -> tuple[Part, ...]:
    if part.value is None:
        return ()
    if not isinstance(part.value, tuple):
        raise PromptError(f"line {part.line}: {what} is {part.kind}; write a list")
    return part.value


def _text(part: Part) -> str:
    if isinstance(part.value, tuple | Mapping):
        raise PromptError(f"line {part.line}: {part.kind} stands where a text should")
    return part.written
