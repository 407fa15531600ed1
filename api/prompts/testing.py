"""The tests of prompts, run: which there are, what answers them, and the library's record of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.prompts.examples import ExampleSets
from api.prompts.library import Found, author_of, find
from rag.answer import Answer, Retrieved
from rag.errors import NotFound, PromptError, UnknownPrompt
from rag.prompts.examples import VARIABLE
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.template import PromptTemplate
from rag.prompts.testing.checks import Tools
from rag.prompts.testing.recorded import NotRecorded, RecordedModel, Recordings
from rag.prompts.testing.runs import Reply, Result, cases_of, counts, given_context, reply_from, run
from rag.prompts.testing.suite import Case, Suite, read_suite
from rag.prompts.versions import PRODUCTION, reference
from rag.protocols import ChatModel, Message

if TYPE_CHECKING:
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Target:
    """A prompt and its tests. ``name`` is the reference that leads to it; ``whole`` says that they are its
    own tests, so that the library may count the run."""

    name: str
    found: Found
    suite: Suite
    whole: bool = True

    @property
    def template(self) -> PromptTemplate:
        return self.found.template


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers the tests. ``replay`` gives recorded answers and, unless there is ``record`` too, asks no
    model; ``record`` keeps what a model says. ``jobs`` tests are put to a model at a time."""

    collection: str | None = None
    replay: Recordings | None = None
    record: Recordings | None = None
    jobs: int = 1

    @property
    def live(self) -> bool:
        """Whether a model may be asked."""
        return self.replay is None or self.record is not None


def targets(
    services: Services, references: Sequence[str] = (), *, file: Path | None = None
) -> tuple[Target, ...]:
    """The prompts to be tested, with their tests; ``file`` holds other tests for the one prompt named, or
    for the prompt that it lies beside.

    Without references, every prompt with tests in the settings' folder and those in production in the
    library. Raises UnknownPrompt, NotFound where there are no tests, and PromptError for tests that cannot
    be read.
    """
    if file is None:
        return tuple(_target(services, name) for name in dict.fromkeys(references) or _all(services))
    if len(references) > 1:
        raise PromptError("--file holds the tests of one prompt: name one, or none to take the one beside it")
    beside = file.with_name(file.name.removesuffix(TESTS) + SUFFIX)
    if not references and not (file.name.endswith(TESTS) and beside.is_file()):
        raise PromptError(f"which prompt is {file} for? Name it: rag prompts test NAME --file {file}")
    name = references[0] if references else str(beside)
    suite = read_suite(_read(file), name=str(file))
    found = find(services, name)
    return (Target(name, found, suite, whole=suite.source == found.tests),)


def selected(target: Target, only: str = "") -> list[Case]:
    """The tests of a target whose description holds ``only``, whatever its case."""
    cases = cases_of(target.suite, target.template)
    return [case for case in cases if only.casefold() in case.description.casefold()]


def results(
    services: Services, target: Target, cases: Sequence[Case], *, answering: Answering
) -> Iterator[Result]:
    """The tests of one prompt, run, one result after the other.

    A context comes from the test itself, else from a search as ``rag ask`` makes it. Answers come from
    the recording, from the language model of the settings, or are extractive where there is neither.
    Raises PromptError where it is not clear whose answers are wanted; what goes wrong in a test is its
    result.
    """
    name = _model_name(services, answering)
    with _asker(services, target, answering, name) as ask:
        jobs = answering.jobs if name and answering.live else 1
        tools = Tools(services.count_tokens, embedder=ask.services.embedder, grader=ask.model)
        yield from run(cases, ask.template, ask=ask, tools=tools, jobs=jobs)


def keep(services: Services, target: Target, of_prompt: Sequence[Result]) -> bool:
    """Record a run of all of a prompt's tests with the library, where the prompt is one of its versions.

    Returns whether it did: a protected label may ask for it. An error counts as a failure.
    """
    version, tests = target.found.version, target.found.tests
    if version is None or tests is None or not target.whole:
        return False
    found = counts(of_prompt)
    services.library().record_run(
        version.name,
        version.number,
        target.suite.digest,
        found["passed"],
        found["failed"] + found["error"],
        found["unevaluated"],
        {
            "models": sorted({result.model for result in of_prompt if result.model}),
            "not passed": [
                {"test": result.case.description, "status": result.status, "reason": result.reason}
                for result in of_prompt
                if result.status != "passed"
            ],
        },
        author_of(services),
    )
    return True


# --- which tests there are -------------------------------------------------------------------------


def _all(services: Services) -> list[str]:
    folder = services.settings.prompts.dir
    names = {
        path.relative_to(folder).as_posix().removesuffix(TESTS)
        for path in (folder.rglob(f"*{TESTS}") if folder.is_dir() else ())
    }
    if services.has_library:
        entries = services.library().entries()
        names.update(entry.name for entry in entries if entry.tests and PRODUCTION in entry.labels)
    if not names:
        raise NotFound(f"no tests in {folder}: write NAME{TESTS} beside a prompt, or name a prompt")
    return sorted(names)


def _target(services: Services, name: str) -> Target:
    found = find(services, name)
    asked = reference(name)
    working = services.settings.prompts.dir / f"{asked.name}{TESTS}"
    plain_name = asked.path is None and asked.number is None and not asked.label
    if plain_name and found.origin != "file" and working.is_file():
        # Tests of one's own for a prompt that lies elsewhere: those count, as a file does before a version.
        suite = read_suite(_read(working), name=str(working))
        return Target(name, found, suite, whole=suite.source == found.tests)
    tests = found.tests
    if tests is None and found.origin == "shipped":
        file = files("rag.prompts").joinpath("shipped", f"{found.template.name}{TESTS}")
        tests = file.read_text("utf-8") if file.is_file() else None
    if tests is None:
        place = f"{str(asked.path).removesuffix(SUFFIX) if asked.path else asked.name}{TESTS}"
        mend = {
            "file": f"write {place} beside it, or give some with --file",
            "library": f"write {place} beside its file and push it, or give some with --file",
            "shipped": "give some with --file",
        }
        raise NotFound(f"prompt {name!r} has no tests; {mend[found.origin]}")
    suite = read_suite(tests, name=f"the tests of {name}")
    return Target(name, replace(found, tests=tests), suite)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{file} cannot be read: {error}") from error


# --- what answers ----------------------------------------------------------------------------------


def _model_name(services: Services, answering: Answering) -> str:
    """Whose answers these are; "" for extractive ones."""
    name = services.settings.llm.model
    if name or answering.replay is None:
        if answering.record is not None and not name:
            raise PromptError("there is nothing to record: name a language model with --model")
        return name
    models = answering.replay.models()
    if len(models) != 1:
        held = f"answers of {', '.join(models)}: choose one with --model" if models else "no answers"
        raise PromptError(f"{answering.replay.name} holds {held}")
    return models[0]


class _PerTest:
    """The chat model of a run: each thread is at one test, and a recording is kept for each test."""

    def __init__(self, services: Services, name: str, prompt: str, answering: Answering) -> None:
        self.name = name
        self._services = services
        self._prompt = prompt
        self._answering = answering
        self._at = threading.local()

    def begin(self, test: str, *, digest: str) -> None:
        """What this thread asks from now on is asked for this test."""
        self._at.test, self._at.digest = test, digest

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        chat = self._services.chat if self._answering.live else None
        if self._answering.replay is None and self._answering.record is None:
            yield from chat.stream(messages) if chat is not None else ()
            return
        yield from RecordedModel(
            self.name,
            self._prompt,
            self._at.digest,
            self._at.test,
            model=chat,
            replay=self._answering.replay,
            record=self._answering.record,
        ).stream(messages)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Puts the tests of one prompt to the product: :class:`rag.prompts.testing.runs.Ask`."""

    services: Services
    reference: str
    template: PromptTemplate
    collection: str | None
    model: _PerTest | None
    examples: ExampleSets

    def __call__(self, case: Case, values: Mapping[str, Any], *, answer: bool) -> Reply:
        if self.model is not None:
            self.model.begin(case.description, digest=self.template.digest)
        question = str(case.vars.get("question", ""))
        if case.context is None and "context" in self.template.names:
            return self._retrieved(case, question, values, answer=answer)
        settings = self.services.settings
        most = settings.context.max_tokens
        budget = min(self.template.context_budget or most, most)
        context = (
            None
            if case.context is None
            else given_context(case.context, budget=budget, count_tokens=self.services.count_tokens)
        )
        if question and self.template.examples and VARIABLE not in values:
            chosen = self.examples(self.template, question)
            values = {**values, VARIABLE: [example.as_value() for example in chosen]}
        tools = Tools(self.services.count_tokens, embedder=self.services.embedder)
        chat: ChatModel | None = self.model
        return reply_from(
            context, self.template, values, question=question, chat=chat, tools=tools, answer=answer
        )

    def _retrieved(self, case: Case, question: str, values: Mapping[str, Any], *, answer: bool) -> Reply:
        from rag.filters import EVERYTHING, parse

        if not question:
            raise PromptError("the test has no context of its own, and no question to search one with")
        options: dict[str, Any] = {
            "collection": self.collection or case.collection or None,
            "k": case.k,
            "where": parse(case.where) if case.where else EVERYTHING,
            "prompt": self.reference,
            "variables": {name: value for name, value in values.items() if name != "question"},
        }
        reply = Reply()
        try:
            if not answer:
                return replace(reply, context=self.services.render(question, **options).context)
            for event in self.services.ask_events(question, **options):
                match event:
                    case Retrieved(context=context, tokens=tokens):
                        reply = replace(reply, context=context, tokens=sum(tokens.values()))
                    case Answer() as given:
                        model = given.receipt.model
                        reply = replace(reply, text=given.text, found=given.found, model=model)
        except NotRecorded as error:
            return replace(reply, no_text=str(error))
        except UnknownPrompt:
            raise
        except NotFound as error:
            return replace(reply, no_text=str(error), no_context=str(error))
        return reply


@contextmanager
def _asker(services: Services, target: Target, answering: Answering, name: str) -> Iterator[_Asker]:
    """With a product of its own, which keeps no traces: a test is no question that somebody asked. Its model
    is ours, so that what rewrites a question is recorded as well."""
    from api.services import connect

    template = target.template.for_model(name) if name else target.template
    model = _PerTest(services, name, template.name, answering) if name else None
    untraced = services.settings.traces.model_copy(update={"enabled": False})
    with connect(services.settings.model_copy(update={"traces": untraced})) as own:
        own.chat = model
        yield _Asker(own, target.name, template, answering.collection, model, ExampleSets(own))
