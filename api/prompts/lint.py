"""Prompts linted: those of a folder, a file, the library or the shipped ones, among all that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.prompts.library import find
from indexes.library.force import newest_sources
from rag.errors import NotFound, PromptError
from rag.prompts import PromptTemplate
from rag.prompts.anatomy import instructions_of
from rag.prompts.folder import SUFFIX, part_reader, prompt_files, shipped_files
from rag.prompts.lint import Finding, lint, refused, variants_of
from rag.prompts.twins import Twins

if TYPE_CHECKING:
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Linted:
    """One prompt, or a variant of one. ``place`` is its file, or its reference where it lies in no folder."""

    name: str
    place: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt that is to be linted, or why it cannot be. ``folder`` is where its files lie, if anywhere."""

    name: str
    place: str
    template: PromptTemplate | None
    problem: Finding | None = None
    folder: Path | None = None


def lint_prompts(services: Services, wanted: Sequence[str] = ()) -> list[Linted]:
    """What is to be mended in prompts: folders, files, or references; in the settings' folder without any.

    Near-duplicates are looked for among the prompts of the folders and files named, of the settings' folder,
    of the library (their newest versions) and the shipped ones. Raises NotFound for a folder that is not
    there or holds no prompt, UnknownPrompt, and PromptError for what cannot be a reference.
    """
    folder = services.settings.prompts.dir
    if not wanted and not folder.is_dir():
        raise NotFound(f"there is no folder {folder}: name a prompt, a file or a folder to lint")
    chosen = list(wanted) or [str(folder)]
    read = {each.place: each for text in chosen for each in _read(services, text)}
    others = Twins(_texts(services, read.values()))
    return [linted for each in read.values() for linted in _linted(services, each, others)]


def _linted(services: Services, read: _Read, others: Twins) -> Iterator[Linted]:
    template = read.template
    if template is None:
        yield Linted(read.name, read.place, (read.problem,) if read.problem else ())
        return
    yield Linted(read.name, read.place, lint(template, others=others, count_tokens=services.count_tokens))
    for path, variant in variants_of(template).items():
        place = str(read.folder / path) if read.folder else f"{read.place} {path}"
        yield Linted(read.name, place, lint(variant, count_tokens=services.count_tokens))


def _read(services: Services, text: str) -> Iterator[_Read]:
    path = Path(text)
    if path.is_dir():
        yield from _folder(services, path)
    elif text.endswith(SUFFIX):
        if not path.is_file():
            raise NotFound(f"there is no file {path}")
        yield _file(path, _root(services, path))
    elif text.endswith("/") or path.is_absolute():
        raise NotFound(f"there is no folder {path}")
    else:
        working = services.settings.prompts.dir / f"{text}{SUFFIX}"
        if working.is_file():
            yield _file(working, services.settings.prompts.dir)
            return
        found = find(services, text)
        version = found.version
        place = f"{version.name}@{version.number}" if version else f"{text} (shipped)"
        yield _Read(version.name if version else text, place, found.template)


def _folder(services: Services, folder: Path) -> Iterator[_Read]:
    root = _root(services, folder)
    found = [_file(path, root) for _, path in prompt_files(folder) if path.is_file()]
    if not found:
        raise NotFound(f"there are no prompts (*{SUFFIX}) in {folder}")
    variants = {path for each in found if each.template for path in each.template.variants.values()}
    yield from (each for each in found if f"{each.name}{SUFFIX}" not in variants)


def _root(services: Services, path: Path) -> Path:
    """From where names and includes of a file count: the settings' folder, or where it lies itself."""
    own = services.settings.prompts.dir
    if path.resolve().is_relative_to(own.resolve()):
        return own
    return path if path.is_dir() else path.parent


def _file(path: Path, root: Path) -> _Read:
    name = path.resolve().relative_to(root.resolve()).as_posix().removesuffix(SUFFIX)
    place = _shown(path)
    text = ""
    try:
        text = path.read_text("utf-8")
        template = PromptTemplate.parse(text, name=name, read=part_reader(root))
    except PromptError as error:
        return _Read(name, place, None, refused(error, text))
    except (OSError, UnicodeDecodeError) as error:
        return _Read(name, place, None, refused(PromptError(f"it cannot be read: {error}")))
    return _Read(name, place, template, folder=Path(place.removesuffix(f"{name}{SUFFIX}") or "."))


def _shown(path: Path) -> str:
    """As a person would name it: from the current folder, where it lies below that."""
    here = Path.cwd()
    whole = path.absolute()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else path)


def _texts(services: Services, read: Iterable[_Read]) -> dict[str, str]:
    """The instructions of all prompts there are, by name: the file comes before the library's, that before
    the shipped one, as when a prompt is named."""
    sources = {name: file.read_text("utf-8") for name, file in shipped_files()}
    if services.has_library:
        sources |= newest_sources(services.library())
    for name, path in prompt_files(services.settings.prompts.dir):
        if path.is_file():
            sources[name] = path.read_text("utf-8", errors="replace")
    sources.update((each.name, each.template.source) for each in read if each.template)
    return {name: instructions_of(source) for name, source in sources.items()}
