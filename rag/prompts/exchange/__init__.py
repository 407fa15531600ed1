"""Prompts from other formats and into them. What a format cannot carry is said, and nothing is run.

A foreign template is data: its text stays text in ours, whatever braces stand in it, and its conditions and
loops are taken over where both languages have them, else refused with their line.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rag.errors import InvalidTemplate, PromptError
from rag.prompts.exchange import dotprompt, github, langchain, openai, promptfoo, prompty
from rag.prompts.exchange.draft import Converted, Draft, ReadFile
from rag.prompts.exchange.source import cleaned, json_of, yaml_of
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.template import PromptTemplate
from rag.prompts.testing.suite import read_suite

__all__ = ["FORMATS", "Converted", "ReadFile", "exported", "format_of", "imported", "stem_of"]

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "dotprompt": dotprompt.SUFFIX,
        "github": github.SUFFIX,
        "langchain": langchain.SUFFIX,
        "openai": openai.SUFFIX,
        "promptfoo": promptfoo.SUFFIX,
        "prompty": SUFFIX,
    }
)
"""The formats, and how the names of their files end."""


def _nothing(path: str) -> str:
    raise InvalidTemplate(f"{path} is named there, and cannot be read from here")


def _opening(open: ReadFile) -> ReadFile:
    """The same, with an error that a person understands for a file that cannot be read."""

    def read(path: str) -> str:
        try:
            return open(path.removeprefix("./"))
        except (KeyError, OSError, ValueError) as error:
            why = f": {error}" if isinstance(error, OSError) and error.strerror else ""
            raise InvalidTemplate(f"{path} is named there, and cannot be read from here{why}") from None

    return read


def format_of(file: str, text: str) -> str:
    """The format that a file is in, by its name and what stands in it. Raises PromptError.

    >>> format_of("a.prompt.yml", ""), format_of("a.json", '{"lc": 1}')
    ('github', 'langchain')
    """
    name = file.rsplit("/", 1)[-1].lower()
    if name.endswith(".prompty"):
        return "prompty"
    if name.endswith(".prompt"):
        return "dotprompt"
    if name.endswith((".prompt.yml", ".prompt.yaml")):
        return "github"
    if name.endswith(".json"):
        data = json_of(text)
        return "langchain" if isinstance(data, Mapping) and "lc" in data else "openai"
    if name.endswith((".yaml", ".yml")):
        if "promptfoo" in name or "\nprompts:" in f"\n{text}":
            return "promptfoo"
        if "\nmessages:" in f"\n{text}":
            return "github"
    raise PromptError(f"{file}: its name does not tell its format; name one of {', '.join(FORMATS)}")


def stem_of(file: str) -> str:
    """The name of a prompt file without its folder and all that tells its format.

    >>> stem_of("prompts/answer.prompt.yml"), stem_of("promptfooconfig.yaml"), stem_of("a.langchain.json")
    ('answer', 'promptfooconfig', 'a')
    """
    name = file.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in (*FORMATS.values(), ".prompt.yaml", ".promptfooconfig.yml", ".json", ".yaml", ".yml"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def imported(text: str, *, format: str, name: str, open: ReadFile = _nothing) -> Converted:
    """A foreign file as prompt files of ours, with their tests, by path.

    ``name`` is what the prompt will be called; ``open`` gives the text of a file that this one names, by its
    path as written. Raises InvalidTemplate for what cannot be read, with the line, and PromptError.

    >>> made = imported('[{"role": "user", "content": "Hi {{who}}, {%"}]', format="openai", name="hi")
    >>> PromptTemplate.parse(made.files["hi.prompty"]).render({"who": "Ana"}).messages[0].content
    'Hi Ana, {%'
    """
    text = cleaned(text)
    drafts: list[tuple[Draft, list[str]]]
    match format:
        case "dotprompt":
            drafts = [dotprompt.read(text, name=name)]
        case "github":
            drafts = [github.read(text, name=name)]
        case "langchain":
            drafts = [langchain.read(text, name=name)]
        case "openai":
            drafts = [openai.read(text, name=name)]
        case "promptfoo":
            drafts = promptfoo.read(text, name=name, open=_opening(open))
        case "prompty":
            template = PromptTemplate.parse(text, name=name, read=open)
            return Converted({f"{name}{SUFFIX}": text, **template.parts})
        case _:
            raise _unknown(format)
    files: dict[str, str] = {}
    lost: list[str] = []
    for draft, told in drafts:
        made = prompty.files(draft)
        if twice := sorted(set(made) & set(files)):
            raise InvalidTemplate(f"two prompts would be {twice[0]}: give them labels that differ")
        lost += told
        tests = f"{draft.name}{TESTS}"
        if tests in made:
            try:
                read_suite(made[tests], name=tests)
            except PromptError as error:
                lost.append(f"the tests are written as they are, and do not run yet: {error}")
        files |= made
    return Converted(files, tuple(dict.fromkeys(lost)))


def exported(template: PromptTemplate, *, format: str, tests: str | None = None) -> Converted:
    """A prompt as files of another format, by path; what it includes is put in its place.

    ``tests`` is the text of its tests. Raises PromptError for what the format has no words for.

    >>> prompt = PromptTemplate.parse("---\\nname: hi\\ninputs: [{name: who}]\\n---\\nuser:\\nHi {{ who }}!")
    >>> print(exported(prompt, format="dotprompt").files["hi.prompt"].split("---")[-1].strip())
    {{role "user"~}}
    Hi {{who}}!
    """
    if format not in FORMATS:
        raise _unknown(format)
    if format == "prompty":
        files = {f"{template.name}{SUFFIX}": template.source, **template.parts}
        return Converted(files | ({f"{template.name}{TESTS}": tests} if tests else {}))
    suite: Any = None
    if tests:
        read_suite(tests, name=f"{template.name}{TESTS}")
        data = yaml_of(tests)
        suite = data if isinstance(data, Mapping) else {"tests": data}
    draft, lost = prompty.draft_of(template, tests=suite)
    match format:
        case "dotprompt":
            files, told = dotprompt.write(draft)
        case "github":
            files, told = github.write(draft)
        case "langchain":
            files, told = langchain.write(draft)
        case "openai":
            files, told = openai.write(draft)
        case _:
            files, told = promptfoo.write(draft)
    return Converted(files, tuple(dict.fromkeys(lost + told)))


def _unknown(format: str) -> PromptError:
    return PromptError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
